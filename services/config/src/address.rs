//! Addresses: where to listen, and where others are reached.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// What is allowed for a [`ListenAddress`].
pub(crate) const LISTEN_ALLOWED: &str = "an IP address and a port such as 0.0.0.0:7233 or [::]:7233 is allowed";
/// What is allowed for a [`HostPort`].
pub(crate) const HOST_PORT_ALLOWED: &str =
    "a host name or an IP address, and a port from 1 to 65535, such as history-0.outlast:7240 is allowed";

/// Where a listener is bound. Port 0 takes any free one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ListenAddress(SocketAddr);

impl ListenAddress {
    /// As listeners take it.
    #[must_use]
    pub fn socket(self) -> SocketAddr {
        self.0
    }
}

impl FromStr for ListenAddress {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self).map_err(|_| LISTEN_ALLOWED)
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A host and a port that others connect to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPort {
    host: String,
    port: u16,
}

impl HostPort {
    /// A name, or an IP address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Never 0.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for HostPort {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (host, port) = text.rsplit_once(':').ok_or(HOST_PORT_ALLOWED)?;
        let port: u16 = port.parse().ok().filter(|port| *port != 0).ok_or(HOST_PORT_ALLOWED)?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bracketed {
            Some(inside) if inside.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6()) => inside,
            Some(_) => return Err(HOST_PORT_ALLOWED),
            None if is_host_name(host) => host,
            None => return Err(HOST_PORT_ALLOWED),
        };
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Labels of letters, digits, `-` and `_`, as DNS and container networks have them; IPv4 addresses are among them.
fn is_host_name(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    host.len() <= 253 && host.strip_suffix('.').unwrap_or(host).split('.').all(label)
}

macro_rules! text_in_serde {
    ($type:ty, $name:literal, $format:literal) => {
        impl TryFrom<String> for $type {
            type Error = &'static str;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(address: $type) -> Self {
                address.to_string()
            }
        }

        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "format": $format })
            }
        }
    };
}

text_in_serde!(ListenAddress, "ListenAddress", "outlast-listen-address");
text_in_serde!(HostPort, "HostPort", "outlast-host-port");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_split() {
        for (text, host, port) in [
            ("history-0.outlast.svc:7240", "history-0.outlast.svc", 7240),
            ("127.0.0.1:1", "127.0.0.1", 1),
            ("[::1]:65535", "::1", 65_535),
            ("db_1:9042", "db_1", 9042),
        ] {
            let address: HostPort = text.parse().unwrap();
            assert_eq!((address.host(), address.port()), (host, port));
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn what_cannot_be_connected_to_is_refused() {
        for text in
            ["", "host", ":7240", "host:", "host:0", "host:65536", "::1:7240", "[x]:1", "a b:1", "http://a:1", "-a:1"]
        {
            assert_eq!(text.parse::<HostPort>(), Err(HOST_PORT_ALLOWED), "{text:?}");
        }
        for text in ["", "localhost:7233", "127.0.0.1", "127.0.0.1:65536", ":7233"] {
            assert_eq!(text.parse::<ListenAddress>(), Err(LISTEN_ALLOWED), "{text:?}");
        }
    }
}

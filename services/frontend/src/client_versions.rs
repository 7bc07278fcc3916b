//! Which clients this server serves, and whether a client accepts this server. Clients name in headers themselves and
//! which servers they know how to speak to; an unsupported pair gets an error at once, whatever it asks for.
//!
//! Absent on purpose: any look at clients that do not say both their name and their version.

mod range;

use std::borrow::Cow;

use http::HeaderMap;
use range::Range;
use semver::Version;

use crate::validation::fields::beginning;

/// The clients whose versions are bounded. Others are served whatever their version.
pub(crate) const CLIENTS: &[(&str, &str)] = &[
    ("temporal-cli", "<2.0.0"),
    ("temporal-go", "<2.0.0"),
    ("temporal-java", "<2.0.0"),
    ("temporal-php", "<2.0.0"),
    ("temporal-server", "<2.0.0"),
    ("temporal-typescript", "<2.0.0"),
    ("temporal-ui", "<3.0.0"),
];

/// Why a client and this server do not go together. The texts are the public server's, as far as they end.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum Mismatch {
    /// INVALID_ARGUMENT.
    #[error("{0}")]
    Unreadable(String),
    /// FAILED_PRECONDITION with ClientVersionNotSupportedFailure.
    #[error("Client version {version} is not supported. Server supports {name} versions: {supported}")]
    Client { name: String, version: String, supported: String },
    /// FAILED_PRECONDITION with ServerVersionNotSupportedFailure.
    #[error("Server version {version} is not supported. Client supports server versions: {supported}")]
    Server { version: String, supported: String },
}

/// Holds clients against the version of this server.
pub(crate) struct ClientVersions {
    server: Version,
    clients: Vec<(&'static str, &'static str, Range)>,
}

impl ClientVersions {
    /// For a server that calls itself `server_version`.
    pub(crate) fn new(server_version: &str) -> Result<Self, String> {
        let server = version(server_version)?;
        let clients = CLIENTS.iter().map(|(name, supported)| Ok((*name, *supported, Range::parse(supported)?)));
        Ok(Self { server, clients: clients.collect::<Result<_, String>>()? })
    }

    /// Whether the client that sends these headers and this server go together.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), Mismatch> {
        let (Some(name), Some(given)) = (value(headers, "client-name"), value(headers, "client-version")) else {
            return Ok(());
        };
        if let Some((_, supported, range)) = self.clients.iter().find(|(known, ..)| *known == name) {
            let client = version(&given).map_err(|error| {
                Mismatch::Unreadable(format!("Unable to parse client version: client-version {error}"))
            })?;
            if !range.contains(&client) {
                return Err(Mismatch::Client {
                    name: name.into_owned(),
                    version: given.into_owned(),
                    supported: (*supported).to_owned(),
                });
            }
        }
        let Some(supported) = value(headers, "supported-server-versions") else { return Ok(()) };
        let range = Range::parse(&supported).map_err(|error| {
            Mismatch::Unreadable(format!(
                "Unable to parse supported server versions: supported-server-versions {error}"
            ))
        })?;
        if range.contains(&self.server) {
            return Ok(());
        }
        Err(Mismatch::Server { version: self.server.to_string(), supported: supported.into_owned() })
    }
}

/// The first header of this name, unless it is empty.
fn value<'a>(headers: &'a HeaderMap, name: &str) -> Option<Cow<'a, str>> {
    let value = headers.get(name).filter(|value| !value.is_empty())?;
    Some(String::from_utf8_lossy(value.as_bytes()))
}

fn version(text: &str) -> Result<Version, String> {
    Version::parse(text)
        .map_err(|error| format!("is {:?}, a semantic version such as 1.2.3 is allowed ({error})", beginning(text)))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn answer(headers: &[(&'static str, &str)]) -> String {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let versions = ClientVersions::new("1.32.0+outlast.7").unwrap();
        versions.check(&map).err().map_or_else(|| "served".to_owned(), |mismatch| mismatch.to_string())
    }

    fn client(name: &str, version: &str) -> String {
        answer(&[("client-name", name), ("client-version", version)])
    }

    /// As the public server 1.32.0 has it, client by client.
    #[test]
    fn clients_above_their_bound_are_refused_and_unknown_ones_are_not() {
        for (name, bound) in CLIENTS {
            let (major, text) = if *bound == "<3.0.0" { (3, "<3.0.0") } else { (2, "<2.0.0") };
            for fine in ["0.0.0".to_owned(), format!("{}.99.99", major - 1), format!("{major}.0.0-rc1")] {
                assert_eq!(client(name, &fine), "served", "{name} {fine}");
            }
            let beyond = format!("{major}.0.0");
            let refusal = format!("Client version {beyond} is not supported. Server supports {name} versions: {text}");
            assert_eq!(client(name, &beyond), refusal);
        }
        for name in ["temporal-python", "temporal-dotnet", "temporal-ruby", "temporal-php-2", "Temporal-Go", "mine"] {
            assert_eq!([client(name, "99.0.0"), client(name, "x")], ["served", "served"], "{name}");
        }
    }

    #[test]
    fn versions_that_are_none_are_said_to_be_so() {
        for bad in ["1.10", "v1.10.0", "x", "01.0.0", " 1.0.0", "1.0.0 ", "1.0.0-01", "99999999999999999999.0.0", "é"]
        {
            let given = client("temporal-go", bad);
            let expected =
                format!("Unable to parse client version: client-version is {bad:?}, a semantic version such");
            assert!(given.starts_with(&expected), "{given}");
        }
        assert_eq!(client("temporal-go", "1.0.0+build.1"), "served");
        let long = client("temporal-go", &"9".repeat(5000));
        assert!(long.len() < 400, "{long}");
    }

    #[test]
    fn a_client_that_does_not_say_name_and_version_is_asked_nothing() {
        let unmet = ("supported-server-versions", ">=3.0.0");
        let (name, version) = (("client-name", "temporal-go"), ("client-version", "9.0.0"));
        for headers in [&[unmet][..], &[name, unmet], &[version, unmet], &[name, ("client-version", ""), unmet]] {
            assert_eq!(answer(headers), "served", "{headers:?}");
        }
    }

    #[test]
    fn a_server_that_the_client_does_not_know_is_refused_by_any_client() {
        for name in ["temporal-go", "mine"] {
            let asked = [("client-name", name), ("client-version", "1.0.0"), ("supported-server-versions", "<1.32.0")];
            let text = "Server version 1.32.0+outlast.7 is not supported. Client supports server versions: <1.32.0";
            assert_eq!(answer(&asked), text);
        }
    }

    #[test]
    fn the_client_is_judged_before_the_server_and_the_first_of_several_headers_counts() {
        let go = ("client-name", "temporal-go");
        let (fine, beyond) = (("client-version", "1.0.0"), ("client-version", "2.0.0"));
        let unmet = ("supported-server-versions", ">=3.0.0");
        let nonsense = ("supported-server-versions", "nonsense");
        assert!(answer(&[go, beyond, unmet]).starts_with("Client version 2.0.0"));
        assert!(answer(&[go, beyond, nonsense]).starts_with("Client version 2.0.0"));
        assert!(answer(&[go, ("client-version", "x"), unmet]).starts_with("Unable to parse client version: "));
        let unreadable = answer(&[go, fine, nonsense]);
        assert!(unreadable.starts_with("Unable to parse supported server versions: supported-server-versions "));
        assert_eq!(answer(&[go, fine, beyond]), "served");
        assert!(answer(&[go, beyond, fine]).starts_with("Client version 2.0.0"));
        assert_eq!(answer(&[("client-name", "mine"), go, beyond]), "served");
    }
}

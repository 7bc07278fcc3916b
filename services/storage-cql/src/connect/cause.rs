//! Why the driver has no session, in the words of our settings.

use std::sync::Arc;

use rustls::{AlertDescription, CertificateError};
use scylla::errors::{
    BrokenConnectionError, BrokenConnectionErrorKind, ConnectionError, ConnectionPoolError,
    ConnectionSetupRequestError, ConnectionSetupRequestErrorKind as Setup, DbError, FrameHeaderParseError,
    MetadataError, NewSessionError,
};

use super::ConnectError;
use crate::settings::CqlSettings;

const LOGIN: &str = "look at username and password (or password_file)";

/// What went wrong with a new session: whether login was refused, or no node answered.
pub(super) fn explain(error: &NewSessionError, settings: &CqlSettings) -> ConnectError {
    let contact_points = settings.contact_points.clone();
    let unreachable =
        |reason: String| ConnectError::Unreachable { contact_points: settings.contact_points.clone(), reason };
    let NewSessionError::MetadataError(MetadataError::ConnectionPoolError(ConnectionPoolError::Broken {
        last_connection_error: error,
    })) = error
    else {
        return unreachable(error.to_string());
    };
    if let Some(reason) = refused_login(error, settings) {
        return ConnectError::Refused { contact_points, reason };
    }
    match broken_by(error) {
        Some(io) => match io.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(error) => ConnectError::Refused { contact_points, reason: refused_encryption(error, settings) },
            None if hung_up_at_once(error, io) && settings.tls.is_none() => unreachable(format!(
                "it hung up at the first request ({io}), as one does that wants encryption: look at tls"
            )),
            None => unreachable(io.to_string()),
        },
        None => unreachable(error.to_string()),
    }
}

fn refused_login(error: &ConnectionError, settings: &CqlSettings) -> Option<String> {
    let ConnectionError::ConnectionSetupRequestError(ConnectionSetupRequestError { error, .. }) = error else {
        return None;
    };
    let name = settings.credentials.as_ref().map(|credentials| credentials.username.as_str());
    match (error, name) {
        (Setup::MissingAuthentication, _) => {
            Some(format!("it requires a user and a password, and none are set: {LOGIN}"))
        }
        // What it says when it could not look the user up: nothing about whether the password is right.
        (Setup::DbError(DbError::AuthenticationError, reply), _) if reply.starts_with("Unable to perform") => None,
        (Setup::DbError(DbError::AuthenticationError, reply), Some(name)) => {
            Some(format!("it does not log {name:?} in ({reply}): {LOGIN}"))
        }
        _ => None,
    }
}

fn refused_encryption(error: &rustls::Error, settings: &CqlSettings) -> String {
    let shown = settings.tls.as_ref().is_some_and(|tls| tls.certificate_file.is_some());
    match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "no certificate of tls.ca_file has signed the node's certificate: look at tls.ca_file".to_owned()
        }
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => format!("the node's certificate bears another name ({error}): look at tls.server_name"),
        rustls::Error::InvalidCertificate(_) => {
            format!("the node's certificate will not do ({error}): look at it, and at tls.ca_file")
        }
        rustls::Error::AlertReceived(AlertDescription::ProtocolVersion) => {
            format!("it speaks no version of TLS that we do, which are 1.2 and 1.3 ({error})")
        }
        rustls::Error::AlertReceived(_) if shown => format!(
            "it did not accept the handshake ({error}), perhaps not our certificate: look at tls.certificate_file and \
             tls.key_file"
        ),
        rustls::Error::AlertReceived(_) => format!(
            "it did not accept the handshake ({error}), perhaps because it requires a certificate of us: look at \
             tls.certificate_file and tls.key_file"
        ),
        rustls::Error::InvalidMessage(_) => {
            format!(
                "it does not answer with TLS ({error}): look at contact_points, and whether tls should be set at all"
            )
        }
        _ => format!("the handshake failed ({error}): look at tls"),
    }
}

/// The socket's error when the connection broke.
fn broken_by(error: &ConnectionError) -> Option<&std::io::Error> {
    let broken: &BrokenConnectionError = match error {
        ConnectionError::IoError(io) => return Some(Arc::as_ref(io)),
        ConnectionError::BrokenConnection(broken) => broken,
        ConnectionError::ConnectionSetupRequestError(ConnectionSetupRequestError {
            error: Setup::BrokenConnection(broken),
            ..
        }) => broken,
        _ => return None,
    };
    match broken.downcast_ref()? {
        BrokenConnectionErrorKind::WriteError(io)
        | BrokenConnectionErrorKind::FrameHeaderParseError(
            FrameHeaderParseError::HeaderIoError(io) | FrameHeaderParseError::BodyChunkIoError(_, io),
        ) => Some(io),
        _ => None,
    }
}

/// Whether it took the connection and ended it when we began to speak.
fn hung_up_at_once(error: &ConnectionError, io: &std::io::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error, ConnectionError::ConnectionSetupRequestError(_))
        && matches!(io.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

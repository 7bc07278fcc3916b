//! Certificates from files to a TLS configuration.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName as Name, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::settings::{ServerName, TlsSettings};

/// Why the files make no TLS configuration.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is missing or is no PEM of the right kind.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A certificate without its key, or the other way round.
    #[error("certificate_file and key_file go together: give both or none")]
    HalfIdentity,
    /// The configured server name is no host name or address.
    #[error("server_name {0:?} is neither a host name nor an address")]
    ServerName(String),
    /// The pieces do not fit together (a key of another certificate, an unusable CA).
    #[error("unusable certificates: {0}")]
    Unusable(String),
}

pub(crate) fn client_config(settings: &TlsSettings) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let unusable = |error: &dyn std::fmt::Display| TlsError::Unusable(error.to_string());
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&settings.ca_file)? {
        roots.add(certificate).map_err(|error| unusable(&error))?;
    }
    let by_chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| unusable(&error))?;
    let verifier = NodeVerifier { by_chain, expected: Expected::from(&settings.server_name)? };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let config = match (&settings.certificate_file, &settings.key_file) {
        (None, None) => builder.with_no_client_auth(),
        (Some(certificate), Some(key)) => {
            let private = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| TlsError::File { path: key.clone(), reason: error.to_string() })?;
            builder.with_client_auth_cert(certificates(certificate)?, private).map_err(|error| unusable(&error))?
        }
        _ => return Err(TlsError::HalfIdentity),
    };
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |reason: String| TlsError::File { path: path.to_owned(), reason };
    let found: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|error| failed(error.to_string()))?.collect();
    let found = found.map_err(|error| failed(error.to_string()))?;
    if found.is_empty() { Err(failed("no certificate in it".to_owned())) } else { Ok(found) }
}

#[derive(Debug)]
enum Expected {
    Address,
    Fixed(Name<'static>),
    Any,
}

impl Expected {
    fn from(name: &ServerName) -> Result<Self, TlsError> {
        Ok(match name {
            ServerName::Address => Self::Address,
            ServerName::Any => Self::Any,
            ServerName::Fixed(name) => {
                Self::Fixed(Name::try_from(name.clone()).map_err(|_| TlsError::ServerName(name.clone()))?)
            }
        })
    }
}

/// The usual verification, but for the name: the driver knows nodes by address only.
#[derive(Debug)]
struct NodeVerifier {
    by_chain: Arc<WebPkiServerVerifier>,
    expected: Expected,
}

impl ServerCertVerifier for NodeVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        address: &Name<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let name = match &self.expected {
            Expected::Fixed(name) => name,
            Expected::Address | Expected::Any => address,
        };
        let verified = self.by_chain.verify_server_cert(end_entity, intermediates, name, ocsp_response, now);
        match (&self.expected, verified) {
            // The name is checked last, after the chain has been found good.
            (
                Expected::Any,
                Err(Error::InvalidCertificate(
                    CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
                )),
            ) => Ok(ServerCertVerified::assertion()),
            (_, verified) => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_chain.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_chain.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by_chain.supported_verify_schemes()
    }
}

#[cfg(test)]
#[path = "tls_test.rs"]
mod tests;

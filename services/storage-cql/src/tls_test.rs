//! Handshakes in memory, with the certificates of tests/certificates.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName as Name};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConnection, RootCertStore, ServerConfig, ServerConnection};

use super::*;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/certificates").join(name)
}

fn settings(ca: &str, server_name: ServerName) -> TlsSettings {
    TlsSettings { ca_file: file(ca), certificate_file: None, key_file: None, server_name }
}

fn authority() -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(file("authority.pem")).unwrap()).unwrap();
    Arc::new(roots)
}

/// A node with the certificate `node.pem`, which says 127.0.0.1 and node.test.
fn node(asks_for_certificate: bool) -> ServerConnection {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let builder = if asks_for_certificate {
        let verifier = WebPkiClientVerifier::builder_with_provider(authority(), provider).build().unwrap();
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    let chain = vec![CertificateDer::from_pem_file(file("node.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(file("node.key")).unwrap();
    ServerConnection::new(Arc::new(builder.with_single_cert(chain, key).unwrap())).unwrap()
}

/// Whether the two agree, when the node is at `address`.
fn shake_hands(settings: &TlsSettings, address: Ipv4Addr, mut node: ServerConnection) -> Result<(), Error> {
    let name = Name::IpAddress(std::net::IpAddr::from(address).into());
    let mut client = ClientConnection::new(client_config(settings).unwrap(), name).unwrap();
    for _ in 0..10 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        node.read_tls(&mut wire.as_slice()).unwrap();
        node.process_new_packets()?;
        let mut wire = Vec::new();
        while node.wants_write() {
            node.write_tls(&mut wire).unwrap();
        }
        client.read_tls(&mut wire.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    assert!(!client.is_handshaking() && !node.is_handshaking(), "the handshake is stuck");
    Ok(())
}

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

#[test]
fn a_node_must_have_the_right_name_and_the_right_authority() {
    let fixed = |name: &str| ServerName::Fixed(name.to_owned());
    let cases = [
        ("authority.pem", ServerName::Address, HERE, true),
        ("authority.pem", ServerName::Address, ELSEWHERE, false),
        ("authority.pem", fixed("node.test"), ELSEWHERE, true),
        ("authority.pem", fixed("other.test"), HERE, false),
        ("authority.pem", ServerName::Any, ELSEWHERE, true),
        ("stranger.pem", ServerName::Address, HERE, false),
        ("stranger.pem", fixed("node.test"), HERE, false),
        ("stranger.pem", ServerName::Any, HERE, false),
    ];
    for (ca, server_name, address, accepted) in cases {
        let settings = settings(ca, server_name);
        let agreed = shake_hands(&settings, address, node(false));
        assert_eq!(agreed.is_ok(), accepted, "{settings:?} at {address}: {agreed:?}");
    }
}

#[test]
fn a_client_shows_its_certificate_when_asked() {
    let without = settings("authority.pem", ServerName::Address);
    assert!(shake_hands(&without, HERE, node(true)).is_err());
    let with =
        TlsSettings { certificate_file: Some(file("client.pem")), key_file: Some(file("client.key")), ..without };
    shake_hands(&with, HERE, node(true)).unwrap();
    shake_hands(&with, HERE, node(false)).unwrap();
}

#[test]
fn files_that_will_not_do_are_named() {
    let good = settings("authority.pem", ServerName::Address);
    let cases = [
        (settings("missing.pem", ServerName::Address), "missing.pem"),
        (settings("node.key", ServerName::Address), "no certificate in it"),
        (settings("authority.pem", ServerName::Fixed("not a name".to_owned())), "\"not a name\""),
        (TlsSettings { certificate_file: Some(file("client.pem")), ..good.clone() }, "go together"),
        (TlsSettings { key_file: Some(file("client.key")), ..good.clone() }, "go together"),
        (
            TlsSettings {
                certificate_file: Some(file("client.pem")),
                key_file: Some(file("node.pem")),
                ..good.clone()
            },
            "node.pem",
        ),
        (
            TlsSettings { certificate_file: Some(file("client.pem")), key_file: Some(file("node.key")), ..good },
            "unusable certificates",
        ),
    ];
    for (settings, expected) in cases {
        let refused = client_config(&settings).unwrap_err().to_string();
        assert!(refused.contains(expected), "{refused}");
    }
}

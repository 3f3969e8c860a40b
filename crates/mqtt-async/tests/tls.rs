//! TLS: what is refused and with which words, and what goes through.
#![cfg(all(feature = "async-io", feature = "tls-ring"))]

#[path = "common/certificates.rs"]
mod certificates;
mod common;

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use certificates::{Authority, Identity, Valid, self_signed};
use common::layers::{Dial, exercise};
use common::pipe::Shape;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use futures_rustls::TlsAcceptor;
use mqtt_async::rustls::pki_types::pem::PemObject;
use mqtt_async::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use mqtt_async::rustls::server::WebPkiClientVerifier;
use mqtt_async::rustls::{ClientConfig, RootCertStore, ServerConfig, crypto::ring};
use mqtt_async::{Address, ConnectStage, Connector, Progress, Tls, TlsConfig, TlsError};

static OURS: LazyLock<Authority> = LazyLock::new(|| Authority::new("ours"));
static OTHER: LazyLock<Authority> = LazyLock::new(|| Authority::new("other"));

/// Trusts our authority.
fn trusting() -> TlsConfig {
    TlsConfig::own_roots().ca(OURS.certificate.as_bytes()).unwrap()
}

fn server(identity: &Identity) -> ServerConfig {
    serving(identity, None)
}

/// A server, which wants certificates of clients if there is an authority for them.
fn serving(identity: &Identity, clients: Option<&Authority>) -> ServerConfig {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(der(&authority.certificate)).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        }
    };
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    builder.with_single_cert(vec![der(&identity.certificate)], key).unwrap()
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

/// Connects to a server that echoes one byte; returns what it said, or why not.
fn greet(client: Tls<Dial>, dial: &Dial) -> Result<(), std::io::Error> {
    let (mut client, progress) = (client, Progress::default());
    let result = dial.connect(&mut client, &progress, async |mut io| {
        io.write_all(b"x").await?;
        io.flush().await?;
        let mut byte = [0];
        io.read_exact(&mut byte).await?;
        assert_eq!(&byte, b"x");
        io.close().await
    });
    // Only what the caller had wrong is told before there is a connection.
    let early = result.as_ref().is_err_and(|error| error.kind() == ErrorKind::InvalidInput);
    assert_eq!(progress.stage(), (!early).then_some(ConnectStage::Tls));
    result?
}

fn dial(host: Option<&str>, config: ServerConfig) -> Dial {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let address = host.map(|host| Address::new(host, 8883));
    Dial::new(address, Shape::default(), move |pipe| {
        let accepting = acceptor.accept(pipe);
        async move {
            let Ok(mut io) = accepting.await else { return };
            let mut byte = [0];
            if io.read_exact(&mut byte).await.is_ok() {
                io.write_all(&byte).await.unwrap();
                io.flush().await.unwrap();
                // close_notify came, and not just the end of the transport.
                assert_eq!(io.read(&mut byte).await.unwrap(), 0);
            }
        }
    })
}

fn to(host: &str, client: Arc<ClientConfig>, config: ServerConfig) -> Result<(), std::io::Error> {
    let dial = dial(Some(host), config);
    greet(Tls::new(dial.clone(), client), &dial)
}

#[track_caller]
fn refused(result: Result<(), std::io::Error>, words: &str) {
    let error = result.expect_err("it is refused");
    assert!(error.to_string().contains(words), "{error}");
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>());
    let in_handshake = matches!(inner, Some(TlsError::Handshake(_) | TlsError::Eof));
    assert_eq!(in_handshake, error.kind() != ErrorKind::InvalidInput, "{error:?}");
}

fn sign(hosts: &[&str]) -> Identity {
    OURS.sign(hosts, "server", Valid::Now)
}

#[test]
fn the_server_that_is_meant_is_trusted() {
    for host in ["localhost", "127.0.0.1", "::1"] {
        to(host, trusting().build().unwrap(), server(&sign(&[host]))).unwrap();
    }
    let wildcard = server(&sign(&["*.example.com"]));
    to("mqtt.example.com", trusting().build().unwrap(), wildcard).unwrap();
}

// class: 46
#[test]
fn another_name_is_refused() {
    for (host, names) in [
        ("localhost", &["other"][..]),
        ("localhost", &["127.0.0.1"]),
        ("127.0.0.1", &["localhost", "127.0.0.2"]),
        ("deep.mqtt.example.com", &["*.example.com"]),
    ] {
        let result = to(host, trusting().build().unwrap(), server(&sign(names)));
        refused(result, "is for another host");
    }
}

// class: 46
#[test]
fn another_authority_and_a_self_signed_certificate_are_refused() {
    let other = OTHER.sign(&["localhost"], "server", Valid::Now);
    for identity in [other, self_signed("localhost")] {
        let words = "self-signed, or from an authority that is not trusted";
        refused(to("localhost", trusting().build().unwrap(), server(&identity)), words);
        #[cfg(feature = "tls-webpki-roots")]
        {
            let webpki = TlsConfig::webpki_roots().build().unwrap();
            refused(to("localhost", webpki, server(&identity)), words);
        }
        // The operating system has authorities only where some are installed.
        #[cfg(feature = "tls-platform-verifier")]
        if let Ok(platform) = TlsConfig::platform_roots().build() {
            refused(to("localhost", platform, server(&identity)), words);
        }
    }
}

// class: 46
#[test]
fn a_certificate_out_of_its_time_is_refused() {
    for (valid, words) in [(Valid::NoLonger, "has expired"), (Valid::NotYet, "not valid yet")] {
        let identity = OURS.sign(&["localhost"], "server", valid);
        refused(to("localhost", trusting().build().unwrap(), server(&identity)), words);
    }
}

#[test]
fn authorities_are_added_to_those_that_are_built_in() {
    #[cfg(feature = "tls-webpki-roots")]
    {
        let both = TlsConfig::webpki_roots().ca(OURS.certificate.as_bytes()).unwrap();
        to("localhost", both.build().unwrap(), server(&sign(&["localhost"]))).unwrap();
    }
    #[cfg(feature = "tls-platform-verifier")]
    {
        let both = TlsConfig::platform_roots().ca(OURS.certificate.as_bytes()).unwrap();
        to("localhost", both.build().unwrap(), server(&sign(&["localhost"]))).unwrap();
    }
}

/// A file that is gone with the test.
struct File(PathBuf);

impl File {
    fn new(name: &str, content: impl AsRef<[u8]>) -> File {
        let name = format!("tls-{}-{name}", std::process::id());
        let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&path, content).unwrap();
        File(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

// class: 46
#[test]
fn material_that_is_missing_or_broken_is_an_error_and_no_lack_of_verification() {
    let identity = sign(&["localhost"]);
    let (certificate, key) = (identity.certificate.as_bytes(), identity.key.as_bytes());
    let empty = File::new("empty", "");
    let words = |result: Result<TlsConfig, TlsError>| result.unwrap_err().to_string();
    let built = |config: TlsConfig| config.build().unwrap_err().to_string();

    let missing = words(TlsConfig::own_roots().ca_file("/no/such/ca.pem"));
    assert!(missing.contains("cannot read /no/such/ca.pem"), "{missing}");
    for none in [&b""[..], b"no certificate", key] {
        let error = words(TlsConfig::own_roots().ca(none));
        assert!(error.contains("no certificate"), "{error}");
    }
    let error = words(TlsConfig::own_roots().ca_file(&empty.0));
    assert!(error.contains("no certificate, in PEM or DER, in /"), "{error}");
    let cut = &OURS.certificate.as_bytes()[..100];
    assert!(words(TlsConfig::own_roots().ca(cut)).contains("no certificate"));
    let malformed = TlsConfig::own_roots().ca(b"0\x03\x02\x01\x05").unwrap();
    assert!(built(malformed).contains("configuration is wrong"));
    assert!(built(TlsConfig::own_roots()).contains("no certificate authority is trusted"));

    for none in [&b""[..], b"0\x00", certificate] {
        let error = words(trusting().identity(certificate, none));
        assert!(error.contains("no private key"), "{error}");
    }
    let missing = words(trusting().identity_files("/no/such/client.pem", &empty.0));
    assert!(missing.contains("cannot read /no/such/client.pem"), "{missing}");
    let pem = File::new("client.pem", certificate);
    let missing = words(trusting().identity_files(&pem.0, "/no/such/client.key"));
    assert!(missing.contains("cannot read /no/such/client.key"), "{missing}");
    let foreign = trusting().identity(certificate, sign(&["x"]).key.as_bytes()).unwrap();
    assert!(built(foreign).contains("configuration is wrong"));
}

#[test]
fn a_key_is_not_shown() {
    let identity = sign(&["localhost"]);
    let (certificate, key) = (identity.certificate.as_bytes(), identity.key.as_bytes());
    let shown = format!("{:?}", trusting().identity(certificate, key).unwrap());
    assert!(shown.len() < 100, "{shown}");
}

#[test]
fn clients_show_their_certificate_where_it_is_asked_for() {
    let wanted = || serving(&sign(&["localhost"]), Some(&OURS));
    let ours = OURS.sign(&[], "client", Valid::Now);
    let (certificate, key) = (ours.certificate.as_bytes(), ours.key.as_bytes());
    let der_key = PrivateKeyDer::from_pem_slice(key).unwrap();
    let both = File::new("both.pem", [certificate, key].concat());
    for known in [
        trusting().identity(certificate, key),
        trusting().identity(&der(&ours.certificate), der_key.secret_der()),
        trusting().identity_files(&both.0, &both.0),
    ] {
        to("localhost", known.unwrap().build().unwrap(), wanted()).unwrap();
    }
    // In TLS 1.3 the refusal comes behind the handshake, with the first bytes.
    let other = OTHER.sign(&[], "client", Valid::Now);
    let other = trusting().identity(other.certificate.as_bytes(), other.key.as_bytes());
    for (unknown, words) in
        [(trusting(), "CertificateRequired"), (other.unwrap(), "fatal alert: UnknownCA")]
    {
        let error = to("localhost", unknown.build().unwrap(), wanted()).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn authorities_come_from_memory_and_files_in_pem_and_der() {
    let der = der(&OURS.certificate);
    let both = format!("{}\n{}", OTHER.certificate, OURS.certificate);
    let (pem_file, der_file) = (File::new("both", &both), File::new("der", &der));
    for config in [
        TlsConfig::own_roots().ca(both.as_bytes()),
        TlsConfig::own_roots().ca(&der),
        TlsConfig::own_roots().ca_file(&pem_file.0),
        TlsConfig::own_roots().ca_file(&der_file.0),
    ] {
        let config = config.unwrap().build().unwrap();
        to("localhost", config, server(&sign(&["localhost"]))).unwrap();
    }
}

// class: 46
#[test]
fn the_certificate_is_checked_against_the_host_that_is_connected_to() {
    let dial = dial(Some("first"), server(&sign(&["second"])));
    let layer = || Tls::new(dial.clone(), trusting().build().unwrap());
    refused(greet(layer(), &dial), "is for another host");
    let mut selected = layer();
    selected.select("second").unwrap();
    assert_eq!(selected.address(), Some(Address::new("second", 1883)));
    greet(selected, &dial).unwrap();
    greet(layer().server_name("second").unwrap(), &dial).unwrap();
    assert!(layer().server_name("no name").is_err());
}

#[test]
fn a_host_that_nobody_names_cannot_be_checked() {
    let dial = dial(None, server(&sign(&["localhost"])));
    let layer = || Tls::new(dial.clone(), trusting().build().unwrap());
    refused(greet(layer(), &dial), "does not know which host");
    greet(layer().server_name("localhost").unwrap(), &dial).unwrap();
}

#[test]
fn what_is_no_tls_is_told_apart() {
    for (answer, words) in [
        (&b""[..], "is this a port for TLS?"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak TLS"),
        (b"\x20\x02\x00\x00 \x02\x00\x01", "does not speak TLS"),
    ] {
        let address = Some(Address::new("localhost", 1883));
        let dial = Dial::new(address, Shape::default(), move |mut pipe| async move {
            let _ = pipe.read(&mut [0; 1000]).await;
            pipe.write_all(answer).await.unwrap();
            pipe.close().await.unwrap();
        });
        let client = Tls::new(dial.clone(), trusting().build().unwrap());
        refused(greet(client, &dial), words);
    }
}

#[test]
fn application_protocols_are_offered() {
    let with = |protocols: &[&str]| {
        let mut config = server(&sign(&["localhost"]));
        config.alpn_protocols = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
        config
    };
    let mqtt = || trusting().alpn("mqtt").build().unwrap();
    to("localhost", mqtt(), with(&["http/1.1", "mqtt"])).unwrap();
    to("localhost", trusting().build().unwrap(), with(&["http/1.1"])).unwrap();
    refused(to("localhost", mqtt(), with(&["http/1.1"])), "application protocols");
}

#[test]
fn only_who_says_so_trusts_everybody() {
    let identity = OTHER.sign(&["elsewhere"], "server", Valid::NoLonger);
    let config = TlsConfig::dangerous_without_verification().build().unwrap();
    to("localhost", config, server(&identity)).unwrap();
}

#[test]
fn the_users_own_cryptography_is_used() {
    let mut provider = ring::default_provider();
    provider.cipher_suites.retain(|suite| {
        suite.suite() == mqtt_async::rustls::CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
    });
    let config = trusting().provider(Arc::new(provider)).build().unwrap();
    let dial = dial(Some("localhost"), server(&sign(&["localhost"])));
    let mut client = Tls::new(dial.clone(), config);
    let suite = dial.connect(&mut client, &Progress::default(), async |io| {
        io.get_ref().1.negotiated_cipher_suite().unwrap().suite()
    });
    let expected = mqtt_async::rustls::CipherSuite::TLS13_CHACHA20_POLY1305_SHA256;
    assert_eq!(suite.unwrap(), expected);
}

// class: 11, class: 12
#[test]
fn messages_pass_however_records_are_torn() {
    let identity = sign(&["localhost"]);
    let acceptor = TlsAcceptor::from(Arc::new(server(&identity)));
    let config = trusting().build().unwrap();
    exercise(
        "localhost",
        1,
        move |dial| Tls::new(dial, Arc::clone(&config)),
        move |pipe| {
            let accepting = acceptor.accept(pipe);
            async move { accepting.await.unwrap() }
        },
    );
}

/// A provider is chosen for whoever has not chosen, without a word to the rest of the process.
#[test]
fn nothing_is_installed_for_the_whole_process() {
    trusting().build().unwrap();
    assert!(mqtt_async::rustls::crypto::CryptoProvider::get_default().is_none());
}

#[cfg(feature = "websocket")]
mod with_websocket {
    use mqtt_async::WebSocket;

    use super::common::served::Served;
    use super::*;

    #[test]
    fn messages_pass_over_both_layers() {
        let identity = sign(&["localhost"]);
        let acceptor = TlsAcceptor::from(Arc::new(server(&identity)));
        let config = trusting().build().unwrap();
        exercise(
            "localhost",
            7,
            move |dial| WebSocket::new(Tls::new(dial, Arc::clone(&config))),
            move |pipe| {
                let accepting = acceptor.accept(pipe);
                async move { Served::accept(accepting.await.unwrap()).await }
            },
        );
    }
}

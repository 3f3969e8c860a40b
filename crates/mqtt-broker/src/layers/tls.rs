//! TLS in the role of the server.

use std::path::Path;
use std::sync::Arc;
use std::{fmt, fs, io};

use bytes::Bytes;
use futures_rustls::TlsAcceptor;
use futures_rustls::rustls::crypto::CryptoProvider;
use futures_rustls::rustls::pki_types::pem::PemObject;
use futures_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use futures_rustls::rustls::server::WebPkiClientVerifier;
use futures_rustls::rustls::{Error, RootCertStore, ServerConfig};
use mqtt_async::{AnyTransport, TlsConfig, TlsError};

use super::Accepted;

/// Who a broker is: makes a configuration of rustls, for [`Layers::tls`](crate::Layers::tls).
///
/// Whatever is wrong with a certificate, a key or a file is an error here. Cryptography is that of
/// [`provider`](TlsIdentity::provider), else of the process (`CryptoProvider::install_default`), else of the
/// feature `tls-aws-lc-rs`, else of `tls-ring`.
///
/// ```no_run
/// # fn example() -> Result<(), mqtt_broker::TlsError> {
/// use mqtt_broker::TlsIdentity;
///
/// // Clients have to show a certificate of that authority: mutual TLS.
/// let tls = TlsIdentity::files("server.pem", "server.key")?.client_ca_file("ca.pem")?.build()?;
/// # Ok(()) }
/// ```
#[must_use = "a configuration is made with `build`"]
pub struct TlsIdentity {
    certificates: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    client_authorities: Vec<CertificateDer<'static>>,
    provider: Option<Arc<CryptoProvider>>,
}

impl TlsIdentity {
    /// Takes the certificate of the broker, with those of its issuers behind it, and its private key, in PEM.
    ///
    /// # Errors
    ///
    /// If there is no certificate or no key.
    pub fn pem(certificates: &[u8], key: &[u8]) -> Result<TlsIdentity, TlsError> {
        TlsIdentity::read((certificates, "the certificate"), (key, "the key"))
    }

    /// Takes certificate and private key from files; see [`pem`](TlsIdentity::pem). They are read now. One file
    /// may have both.
    ///
    /// # Errors
    ///
    /// If a file cannot be read, or there is no certificate or no key in it.
    pub fn files(
        certificates: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<TlsIdentity, TlsError> {
        let (chain, key) = (certificates.as_ref(), key.as_ref());
        let (names, texts) = ([chain, key].map(named), (read(chain)?, read(key)?));
        TlsIdentity::read((&texts.0, &names[0]), (&texts.1, &names[1]))
    }

    fn read(
        (certificates, chain_from): (&[u8], &str),
        (key, key_from): (&[u8], &str),
    ) -> Result<TlsIdentity, TlsError> {
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|_| TlsError::NoKey { from: key_from.to_owned() })?;
        Ok(TlsIdentity {
            certificates: read_certificates(certificates, chain_from)?,
            key,
            client_authorities: Vec::new(),
            provider: None,
        })
    }

    /// Lets in only clients with a certificate of that authority, or of these, in PEM: mutual TLS.
    ///
    /// # Errors
    ///
    /// If there is no certificate.
    pub fn client_ca(mut self, certificates: &[u8]) -> Result<TlsIdentity, TlsError> {
        self.client_authorities
            .extend(read_certificates(certificates, "the authority of the clients")?);
        Ok(self)
    }

    /// As [`client_ca`](TlsIdentity::client_ca), from a file. It is read now.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or there is no certificate in it.
    pub fn client_ca_file(mut self, path: impl AsRef<Path>) -> Result<TlsIdentity, TlsError> {
        let path = path.as_ref();
        self.client_authorities.extend(read_certificates(&read(path)?, &named(path))?);
        Ok(self)
    }

    /// Sets the cryptography.
    pub fn provider(mut self, provider: Arc<CryptoProvider>) -> TlsIdentity {
        self.provider = Some(provider);
        self
    }

    /// Makes the configuration, for any number of listeners. It may be changed with `Arc::make_mut`.
    ///
    /// # Errors
    ///
    /// If an authority is malformed, the key does not fit the certificate, or there is no cryptography.
    pub fn build(self) -> Result<Arc<ServerConfig>, TlsError> {
        let provider = self.provider.map_or_else(TlsConfig::default_provider, Ok)?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let builder = if self.client_authorities.is_empty() {
            builder.with_no_client_auth()
        } else {
            let mut roots = RootCertStore::empty();
            for authority in self.client_authorities {
                roots.add(authority)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = verifier.build().map_err(|error| Error::General(error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        };
        Ok(Arc::new(builder.with_single_cert(self.certificates, self.key)?))
    }
}

/// Shows no key.
impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsIdentity")
            .field("certificates", &self.certificates.len())
            .field("client_authorities", &self.client_authorities.len())
            .finish_non_exhaustive()
    }
}

fn named(path: &Path) -> String {
    path.display().to_string()
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|error| TlsError::File { path: path.to_owned(), error: Arc::new(error) })
}

fn read_certificates(pem: &[u8], from: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(TlsError::NoCertificate { from: from.to_owned() }),
    }
}

pub(super) async fn accept(tls: &TlsAcceptor, stream: AnyTransport) -> io::Result<Accepted> {
    let stream = tls.accept(stream).await?;
    let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let certificates = shown.iter().map(|it| Bytes::copy_from_slice(it)).collect();
    Ok(Accepted { stream: Box::new(stream), certificates })
}

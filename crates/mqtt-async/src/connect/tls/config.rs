//! What TLS is made from.

use std::path::Path;
use std::sync::Arc;
use std::{fmt, fs};

use futures_rustls::rustls::crypto::CryptoProvider;
use futures_rustls::rustls::pki_types::pem::PemObject;
use futures_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use futures_rustls::rustls::{ClientConfig, RootCertStore};

use super::error::TlsError;
use super::unverified::Unverified;

/// Makes a configuration of rustls, for [`Tls`](crate::Tls).
///
/// It begins with whom to trust: [`platform_roots`](TlsConfig::platform_roots) (feature
/// `tls-platform-verifier`), [`webpki_roots`](TlsConfig::webpki_roots) (feature `tls-webpki-roots`), or only
/// the authorities that are added. Whatever is wrong with a certificate, a key or a file is an error here,
/// and never a connection that is not verified.
///
/// Cryptography is that of [`provider`](TlsConfig::provider), else of the process
/// (`CryptoProvider::install_default`), else of the feature `tls-aws-lc-rs`, else of `tls-ring`.
///
/// ```no_run
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use mqtt_async::TlsConfig;
///
/// let tls = TlsConfig::own_roots()
///     .ca_file("ca.pem")?
///     .identity_files("client.pem", "client.key")?
///     .build()?;
/// # Ok(()) }
/// ```
#[must_use = "a configuration is made with `build`"]
pub struct TlsConfig {
    trust: Trust,
    authorities: Vec<CertificateDer<'static>>,
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    alpn: Vec<Vec<u8>>,
    provider: Option<Arc<CryptoProvider>>,
}

/// Whom to trust besides the authorities that are added.
#[derive(Clone, Copy, Debug)]
enum Trust {
    Nobody,
    #[cfg(feature = "tls-platform-verifier")]
    Platform,
    #[cfg(feature = "tls-webpki-roots")]
    Webpki,
    Everybody,
}

impl TlsConfig {
    /// Trusts whom the operating system trusts.
    #[cfg(feature = "tls-platform-verifier")]
    pub fn platform_roots() -> TlsConfig {
        TlsConfig::trusting(Trust::Platform)
    }

    /// Trusts the authorities that Mozilla's browser trusts, as they were when the crate `webpki-roots` was
    /// released.
    #[cfg(feature = "tls-webpki-roots")]
    pub fn webpki_roots() -> TlsConfig {
        TlsConfig::trusting(Trust::Webpki)
    }

    /// Trusts nobody but the authorities that are added: [`ca`](TlsConfig::ca),
    /// [`ca_file`](TlsConfig::ca_file).
    pub fn own_roots() -> TlsConfig {
        TlsConfig::trusting(Trust::Nobody)
    }

    /// Trusts whoever answers: **the connection is encrypted, and anybody on the way can read and change
    /// it**. For experiments on a machine of your own.
    pub fn dangerous_without_verification() -> TlsConfig {
        TlsConfig::trusting(Trust::Everybody)
    }

    fn trusting(trust: Trust) -> TlsConfig {
        TlsConfig {
            trust,
            authorities: Vec::new(),
            identity: None,
            alpn: Vec::new(),
            provider: None,
        }
    }

    /// Trusts an authority, or several: certificates in PEM, or one in DER.
    ///
    /// # Errors
    ///
    /// If there is no certificate.
    pub fn ca(mut self, certificates: &[u8]) -> Result<TlsConfig, TlsError> {
        self.authorities.extend(read_certificates(certificates, "the authority that was given")?);
        Ok(self)
    }

    /// Trusts the authorities in a file: certificates in PEM, or one in DER. It is read now.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or there is no certificate in it.
    pub fn ca_file(mut self, path: impl AsRef<Path>) -> Result<TlsConfig, TlsError> {
        let path = path.as_ref();
        self.authorities.extend(read_certificates(&read(path)?, &path.display().to_string())?);
        Ok(self)
    }

    /// Sets the certificate of this client, with those of its issuers behind it, and its private key:
    /// each in PEM or DER. For servers that ask for it (mutual TLS).
    ///
    /// # Errors
    ///
    /// If there is no certificate or no key.
    pub fn identity(mut self, certificates: &[u8], key: &[u8]) -> Result<TlsConfig, TlsError> {
        let certificates = read_certificates(certificates, "the certificate of this client")?;
        self.identity = Some((certificates, read_key(key, "the key that was given")?));
        Ok(self)
    }

    /// Sets certificate and private key of this client from files; see [`identity`](TlsConfig::identity).
    /// They are read now. One file may have both.
    ///
    /// # Errors
    ///
    /// If a file cannot be read, or there is no certificate or no key in it.
    pub fn identity_files(
        mut self,
        certificates: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<TlsConfig, TlsError> {
        let (certificates, key) = (certificates.as_ref(), key.as_ref());
        let chain = read_certificates(&read(certificates)?, &certificates.display().to_string())?;
        self.identity = Some((chain, read_key(&read(key)?, &key.display().to_string())?));
        Ok(self)
    }

    /// Offers an application protocol (ALPN), after those that were offered before; default: none.
    ///
    /// `mqtt` is the registered name. A server that knows none of what is offered refuses the connection.
    pub fn alpn(mut self, protocol: impl Into<Vec<u8>>) -> TlsConfig {
        self.alpn.push(protocol.into());
        self
    }

    /// Sets the cryptography.
    pub fn provider(mut self, provider: Arc<CryptoProvider>) -> TlsConfig {
        self.provider = Some(provider);
        self
    }

    /// Returns the cryptography where none was set: that of the process, else of the feature `tls-aws-lc-rs`,
    /// else of `tls-ring`.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn default_provider() -> Result<Arc<CryptoProvider>, TlsError> {
        let installed = CryptoProvider::get_default().cloned();
        installed.or_else(built_in).ok_or(TlsError::NoProvider)
    }

    /// Makes the configuration: for any number of connectors, which then resume each other's sessions.
    ///
    /// It may be changed with `Arc::make_mut`.
    ///
    /// # Errors
    ///
    /// If nobody is trusted, an authority is malformed, the key does not fit the certificate, or there is no
    /// cryptography.
    pub fn build(self) -> Result<Arc<ClientConfig>, TlsError> {
        let TlsConfig { trust, authorities, identity, alpn, provider } = self;
        let provider = provider.map_or_else(TlsConfig::default_provider, Ok)?;
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions()?;
        let builder = match trust {
            Trust::Nobody => {
                builder.with_root_certificates(store(RootCertStore::empty(), authorities)?)
            }
            #[cfg(feature = "tls-webpki-roots")]
            Trust::Webpki => {
                let roots = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
                builder.with_root_certificates(store(roots, authorities)?)
            }
            #[cfg(feature = "tls-platform-verifier")]
            Trust::Platform => {
                let verifier = platform_verifier(authorities, provider)?;
                builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
            }
            Trust::Everybody => {
                let verifier = Arc::new(Unverified::new(provider));
                builder.dangerous().with_custom_certificate_verifier(verifier)
            }
        };
        let mut config = match identity {
            Some((certificates, key)) => builder.with_client_auth_cert(certificates, key)?,
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = alpn;
        Ok(Arc::new(config))
    }
}

/// Shows no key.
impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfig")
            .field("trust", &self.trust)
            .field("authorities", &self.authorities.len())
            .field("identity", &self.identity.is_some())
            .finish_non_exhaustive()
    }
}

/// Returns the cryptography that a feature has chosen.
fn built_in() -> Option<Arc<CryptoProvider>> {
    #[cfg(feature = "tls-aws-lc-rs")]
    return Some(Arc::new(futures_rustls::rustls::crypto::aws_lc_rs::default_provider()));
    #[cfg(all(feature = "tls-ring", not(feature = "tls-aws-lc-rs")))]
    return Some(Arc::new(futures_rustls::rustls::crypto::ring::default_provider()));
    #[cfg(not(any(feature = "tls-ring", feature = "tls-aws-lc-rs")))]
    None
}

fn store(
    mut roots: RootCertStore,
    authorities: Vec<CertificateDer<'static>>,
) -> Result<RootCertStore, TlsError> {
    for authority in authorities {
        roots.add(authority)?;
    }
    if roots.is_empty() { Err(TlsError::NobodyTrusted) } else { Ok(roots) }
}

#[cfg(feature = "tls-platform-verifier")]
fn platform_verifier(
    authorities: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
) -> Result<rustls_platform_verifier::Verifier, TlsError> {
    use rustls_platform_verifier::Verifier;

    if authorities.is_empty() {
        return Ok(Verifier::new(provider)?);
    }
    #[cfg(not(target_os = "android"))]
    return Ok(Verifier::new_with_extra_roots(authorities, provider)?);
    #[cfg(target_os = "android")]
    Err(TlsError::NotSupported("authorities of one's own besides those of Android"))
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|error| TlsError::File { path: path.to_owned(), error: Arc::new(error) })
}

/// Reads certificates in PEM, or one in DER, which begins with the byte of an ASN.1 sequence.
fn read_certificates(bytes: &[u8], from: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    if bytes.first() == Some(&0x30) {
        return Ok(vec![CertificateDer::from(bytes.to_vec())]);
    }
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(TlsError::NoCertificate { from: from.to_owned() }),
    }
}

/// Reads a private key in PEM or DER. What is wrong with it is not told in detail: it is a secret.
fn read_key(bytes: &[u8], from: &str) -> Result<PrivateKeyDer<'static>, TlsError> {
    let key = match bytes.first() {
        Some(0x30) => PrivateKeyDer::try_from(bytes.to_vec()).ok(),
        _ => PrivateKeyDer::from_pem_slice(bytes).ok(),
    };
    key.ok_or_else(|| TlsError::NoKey { from: from.to_owned() })
}

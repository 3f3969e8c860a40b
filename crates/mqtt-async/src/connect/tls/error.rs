//! What may be wrong with TLS, and what to do about it.

use std::error::Error as StdError;
use std::path::PathBuf;
use std::sync::Arc;
use std::{fmt, io};

use futures_rustls::rustls::{AlertDescription, CertificateError, Error as RustlsError};

use super::super::is_end;

/// Tells why there is no TLS: the configuration is wrong, or the handshake failed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        error: Arc<io::Error>,
    },
    /// There is no certificate, neither in PEM nor in DER.
    NoCertificate {
        /// The file, or what was given.
        from: String,
    },
    /// There is no private key, neither in PEM nor in DER.
    NoKey {
        /// The file, or what was given.
        from: String,
    },
    /// No authority is trusted, so no server would be.
    NobodyTrusted,
    /// No cryptography was chosen.
    NoProvider,
    /// That is no DNS name and no IP address.
    ServerName(String),
    /// The connector does not know its host, and no name was set.
    NoServerName,
    /// This platform does not have this.
    NotSupported(&'static str),
    /// Certificates, key and cryptography do not fit together.
    Config(RustlsError),
    /// The handshake failed: this side or the server refused.
    Handshake(RustlsError),
    /// The server closed the connection in the handshake.
    Eof,
}

/// What is wrong with a configuration, not with a handshake.
impl From<RustlsError> for TlsError {
    fn from(error: RustlsError) -> TlsError {
        TlsError::Config(error)
    }
}

/// What the caller can mend is an invalid input, and not worth another attempt.
impl From<TlsError> for io::Error {
    fn from(error: TlsError) -> io::Error {
        let kind = match error {
            TlsError::Handshake(_) => io::ErrorKind::InvalidData,
            TlsError::Eof => io::ErrorKind::UnexpectedEof,
            _ => io::ErrorKind::InvalidInput,
        };
        io::Error::new(kind, error)
    }
}

/// Tells apart what broke in a handshake.
pub(super) fn in_handshake(error: io::Error) -> io::Error {
    let rustls = error.get_ref().and_then(|inner| inner.downcast_ref::<RustlsError>());
    match rustls {
        Some(rustls) => TlsError::Handshake(rustls.clone()).into(),
        // Who closes with our first bytes unread resets.
        None if is_end(error.kind()) => TlsError::Eof.into(),
        None => error,
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsError::File { path, error } => write!(f, "cannot read {}: {error}", path.display()),
            TlsError::NoCertificate { from } => {
                write!(f, "there is no certificate, in PEM or DER, in {from}")
            }
            TlsError::NoKey { from } => {
                write!(f, "there is no private key, in PEM or DER, in {from}")
            }
            TlsError::NobodyTrusted => f.write_str(
                "no certificate authority is trusted, so every server would be refused: add one",
            ),
            TlsError::NoProvider => f.write_str(
                "there is no cryptography for TLS: enable the feature `tls-ring` or \
                 `tls-aws-lc-rs`, or set a provider",
            ),
            TlsError::ServerName(name) => {
                write!(f, "{name:?} is no name that a certificate can have")
            }
            TlsError::NoServerName => f.write_str(
                "the connector does not know which host it connects to: say with `server_name` \
                 whose certificate to expect",
            ),
            TlsError::NotSupported(what) => write!(f, "this platform does not have {what}"),
            TlsError::Config(error) => write!(f, "the TLS configuration is wrong: {error}"),
            TlsError::Handshake(error) => write!(f, "{}: {error}", explain(error)),
            TlsError::Eof => f.write_str(
                "the server closed the connection in the TLS handshake: is this a port for TLS?",
            ),
        }
    }
}

impl StdError for TlsError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            TlsError::File { error, .. } => Some(&**error),
            TlsError::Config(error) | TlsError::Handshake(error) => Some(error),
            _ => None,
        }
    }
}

/// Says in plain words who refused what.
fn explain(error: &RustlsError) -> &'static str {
    use CertificateError as Certificate;
    match error {
        RustlsError::InvalidCertificate(certificate) => match certificate {
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
                "the server's certificate is for another host"
            }
            Certificate::Expired | Certificate::ExpiredContext { .. } => {
                "the server's certificate has expired, or this machine's clock is wrong"
            }
            Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => {
                "the server's certificate is not valid yet, or this machine's clock is wrong"
            }
            Certificate::UnknownIssuer => {
                "the server's certificate is self-signed, or from an authority that is not trusted"
            }
            Certificate::Revoked => "the server's certificate is revoked",
            _ => "the server's certificate is refused",
        },
        RustlsError::InvalidMessage(_) => "what answered does not speak TLS (is the port right?)",
        RustlsError::AlertReceived(alert) => match alert {
            AlertDescription::CertificateRequired => {
                "the server wants a certificate of this client, and none was set"
            }
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA => "the server refuses the certificate of this client",
            AlertDescription::NoApplicationProtocol => {
                "the server knows none of the application protocols (ALPN) that were offered"
            }
            _ => "the server refuses the TLS handshake",
        },
        RustlsError::NoApplicationProtocol => {
            "the server chose none of the application protocols (ALPN) that were offered"
        }
        _ => "the TLS handshake failed",
    }
}

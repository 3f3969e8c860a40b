//! What may be wrong with a URL.

use std::error::Error as StdError;
use std::fmt;

/// Tells why a URL leads nowhere. It shows nothing of what a user name or password may be in.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum UrlError {
    /// A part of it is wrong.
    Part {
        /// Which one.
        part: UrlPart,
        /// What about it.
        problem: &'static str,
    },
    /// The scheme needs more than this program was built with.
    NotBuilt {
        /// Which scheme.
        scheme: &'static str,
        /// What is missing.
        needs: &'static str,
    },
    /// Certificates or key are wrong.
    #[cfg(feature = "tls")]
    Tls(crate::connect::TlsError),
}

/// A part of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UrlPart {
    /// What stands before `://`.
    Scheme,
    /// What stands before `:` or `@`.
    UserName,
    /// What stands between `:` and `@`.
    Password,
    /// The name or address of the server.
    Host,
    /// The number behind the host.
    Port,
    /// What begins with `/`.
    Path,
    /// One of what stands behind `?`, by its name.
    Option(String),
    /// What stands behind `#`.
    Fragment,
}

impl UrlError {
    pub(in crate::connect) const fn part(part: UrlPart, problem: &'static str) -> UrlError {
        UrlError::Part { part, problem }
    }
}

#[cfg(feature = "tls")]
impl From<crate::connect::TlsError> for UrlError {
    fn from(error: crate::connect::TlsError) -> UrlError {
        UrlError::Tls(error)
    }
}

impl fmt::Display for UrlPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UrlPart::Scheme => "scheme",
            UrlPart::UserName => "user name",
            UrlPart::Password => "password",
            UrlPart::Host => "host",
            UrlPart::Port => "port",
            UrlPart::Path => "path",
            UrlPart::Option(name) => return write!(f, "option `{name}`"),
            UrlPart::Fragment => "fragment",
        })
    }
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UrlError::Part { part, problem } => write!(f, "the {part} of the URL {problem}"),
            UrlError::NotBuilt { scheme, needs } => write!(f, "a URL with {scheme} needs {needs}"),
            #[cfg(feature = "tls")]
            UrlError::Tls(error) => error.fmt(f),
        }
    }
}

impl StdError for UrlError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            #[cfg(feature = "tls")]
            UrlError::Tls(error) => error.source(),
            _ => None,
        }
    }
}

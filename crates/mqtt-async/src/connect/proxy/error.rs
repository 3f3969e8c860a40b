//! What a proxy may refuse, and why.

use std::error::Error as StdError;
use std::sync::Arc;
use std::{fmt, io};

/// Tells why there is no connection through a proxy.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ProxyError {
    /// The proxy itself cannot be connected to.
    Connect(Arc<io::Error>),
    /// That is no host that a proxy can be asked for.
    Host(String),
    /// The user name cannot be sent: SOCKS takes 1 to 255 bytes, HTTP no colon.
    UserName,
    /// The password cannot be sent: SOCKS takes 1 to 255 bytes.
    Password,
    /// The proxy wants credentials, or others.
    Credentials,
    /// The proxy refused, with this status of HTTP.
    Status(u16),
    /// The proxy refused, with this reply of SOCKS: RFC 1928 section 6.
    Reply(u8),
    /// What answered does not speak this.
    NotSpoken(&'static str),
    /// The answer does not end.
    TooLong,
    /// The proxy closed the connection instead of answering.
    Eof,
}

/// What the caller can mend is an invalid input, and not worth another attempt.
impl From<ProxyError> for io::Error {
    fn from(error: ProxyError) -> io::Error {
        let kind = match &error {
            ProxyError::Connect(error) => error.kind(),
            ProxyError::Host(_)
            | ProxyError::UserName
            | ProxyError::Password
            | ProxyError::Credentials => io::ErrorKind::InvalidInput,
            ProxyError::Status(_) | ProxyError::Reply(_) => io::ErrorKind::ConnectionRefused,
            ProxyError::NotSpoken(_) | ProxyError::TooLong => io::ErrorKind::InvalidData,
            ProxyError::Eof => io::ErrorKind::UnexpectedEof,
        };
        io::Error::new(kind, error)
    }
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProxyError::Connect(error) => write!(f, "cannot connect to the proxy: {error}"),
            ProxyError::Host(host) => write!(f, "a proxy cannot be asked for the host {host:?}"),
            ProxyError::UserName => f.write_str(
                "the user name for the proxy cannot be sent: SOCKS takes 1 to 255 bytes, and HTTP \
                 no colon",
            ),
            ProxyError::Password => {
                f.write_str("the password for the proxy cannot be sent: SOCKS takes 1 to 255 bytes")
            }
            ProxyError::Credentials => {
                f.write_str("the proxy wants a user name and password, or others")
            }
            ProxyError::Status(status) => {
                write!(f, "the proxy refused the connection: HTTP {status}")
            }
            ProxyError::Reply(reply) => {
                let reason = match reply {
                    1 => "general failure",
                    2 => "not allowed by its rules",
                    3 => "network unreachable",
                    4 => "host unreachable",
                    5 => "connection refused",
                    6 => "TTL expired",
                    7 => "command not supported",
                    8 => "address type not supported",
                    _ => "unknown reason",
                };
                write!(f, "the proxy refused the connection: {reason} (SOCKS {reply})")
            }
            ProxyError::NotSpoken(protocol) => {
                write!(f, "what answered is no proxy that speaks {protocol} (is the port right?)")
            }
            ProxyError::TooLong => f.write_str("the proxy's answer does not end"),
            ProxyError::Eof => f.write_str("the proxy closed the connection instead of answering"),
        }
    }
}

impl StdError for ProxyError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            ProxyError::Connect(error) => Some(&**error),
            _ => None,
        }
    }
}

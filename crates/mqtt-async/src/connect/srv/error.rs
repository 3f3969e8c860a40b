//! Why a domain has led to no server.

use std::error::Error as StdError;
use std::net::SocketAddr;
use std::sync::Arc;
use std::{fmt, io};

use crate::connect::Address;

/// Tells why there is no connection to a server of a domain.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SrvError {
    /// The connector does not know its host, which would be the domain.
    NoDomain,
    /// That is no name that can be looked up.
    Name(String),
    /// The system has no name servers, as far as `/etc/resolv.conf` says.
    NoNameserver,
    /// None of the name servers has given an answer: what each of them has said last.
    Lookup(Arc<[(SocketAddr, io::Error)]>),
    /// The domain says that it does not offer MQTT.
    NotOffered,
    /// None of the servers can be connected to: each of them with its error.
    Servers(Arc<[(Address, io::Error)]>),
}

/// What the caller can mend is an invalid input, and not worth another attempt.
impl From<SrvError> for io::Error {
    fn from(error: SrvError) -> io::Error {
        let kind = match &error {
            SrvError::NoDomain | SrvError::Name(_) | SrvError::NoNameserver => {
                io::ErrorKind::InvalidInput
            }
            SrvError::NotOffered => io::ErrorKind::NotFound,
            SrvError::Lookup(errors) => last(errors).map_or(io::ErrorKind::Other, io::Error::kind),
            // A record may be nonsense today, and mended tomorrow.
            SrvError::Servers(errors) => match last(errors).map(io::Error::kind) {
                None | Some(io::ErrorKind::InvalidInput) => io::ErrorKind::InvalidData,
                Some(kind) => kind,
            },
        };
        io::Error::new(kind, error)
    }
}

fn last<At>(errors: &[(At, io::Error)]) -> Option<&io::Error> {
    errors.last().map(|(_, error)| error)
}

fn list<At: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    what: &str,
    errors: &[(At, io::Error)],
) -> fmt::Result {
    f.write_str(what)?;
    for (number, (at, error)) in errors.iter().enumerate() {
        write!(f, "{} {at}: {error}", if number == 0 { ":" } else { ";" })?;
    }
    Ok(())
}

impl fmt::Display for SrvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SrvError::NoDomain => {
                f.write_str("the connector knows no host, so there is no domain to look up")
            }
            SrvError::Name(name) => write!(f, "{name:?} is no name that can be looked up"),
            SrvError::NoNameserver => {
                f.write_str("there is no name server to ask for SRV records: set one")
            }
            SrvError::Lookup(errors) => list(f, "no name server has answered", errors),
            SrvError::NotOffered => {
                f.write_str("the domain says, in its SRV record, that it does not offer MQTT")
            }
            SrvError::Servers(errors) => list(f, "no server of the domain can be reached", errors),
        }
    }
}

/// The last one, if there are several.
impl StdError for SrvError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            SrvError::Lookup(errors) => last(errors).map(|error| error as _),
            SrvError::Servers(errors) => last(errors).map(|error| error as _),
            _ => None,
        }
    }
}

//! Why a session cannot be durable.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use mqtt_proto::RecordError;

use super::Error;

/// Tells why a session cannot be durable, or is not any more.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// The store failed: to read, to write, or to make it last. What was not in it yet is not durable.
    Failed(Arc<dyn StdError + Send + Sync>),
    /// The configuration has no Client Identifier, by which the server finds the session again.
    NoClientId,
    /// The server ends the session with the connection: the configuration has no Session Expiry Interval, or
    /// one of 0 (MQTT 5.0 section 3.1.2.11.2).
    NoSessionExpiry,
    /// The server is asked to forget the session: Clean Session is 1 in MQTT 3.x, where it ends with each
    /// connection, also after [`fall_back_to_v311`](crate::Config::fall_back_to_v311); or a hook has set Clean
    /// Start for a session that goes on.
    CleanStart,
    /// The store holds the session of another client.
    OtherClient {
        /// The Client Identifier whose session is stored.
        stored: String,
        /// The Client Identifier that was to go on with it.
        configured: String,
    },
    /// A record is damaged.
    Record(RecordError),
    /// There is a record that this version of the crate does not know.
    Unknown,
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Error {
        Error::Store(error)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Failed(error) => write!(f, "the store of the session failed: {error}"),
            StoreError::NoClientId => f.write_str(
                "a durable session needs a Client Identifier: set `Config::client_id`, the same each time",
            ),
            StoreError::NoSessionExpiry => f.write_str(
                "a durable session needs a Session Expiry Interval above 0: \
                 set `session.connect.session_expiry_interval`",
            ),
            StoreError::CleanStart => f.write_str(
                "a durable session is not to be cleaned: set `session.connect.clean_start` to false",
            ),
            StoreError::OtherClient { stored, configured } => write!(
                f,
                "the store holds the session of client {stored:?}, and this one is {configured:?}: \
                 use a store of its own"
            ),
            StoreError::Record(error) => write!(f, "the stored session cannot be read: {error}"),
            StoreError::Unknown => f.write_str(
                "the stored session cannot be read: it has a record of a kind that is not known here",
            ),
        }
    }
}

impl StdError for StoreError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            StoreError::Failed(error) => Some(&**error),
            StoreError::Record(error) => Some(error),
            _ => None,
        }
    }
}

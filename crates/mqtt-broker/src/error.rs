//! What the caller is told when something does not work.

use std::sync::Arc;
use std::{fmt, io};

/// Tells why a broker does not listen.
///
/// ```
/// use mqtt_broker::{Broker, BrokerConfig, ListenError};
///
/// let (broker, driver) = Broker::new(BrokerConfig::default());
/// drop(driver);
/// assert!(matches!(broker.listen("127.0.0.1:0"), Err(ListenError::Stopped)));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ListenError {
    /// The address cannot be resolved, or not be listened on.
    Bind(Arc<io::Error>),
    /// The broker has been shut down, or its driver was dropped.
    Stopped,
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenError::Bind(error) => write!(f, "cannot listen on the address: {error}"),
            ListenError::Stopped => f.write_str("the broker has stopped"),
        }
    }
}

impl std::error::Error for ListenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ListenError::Bind(error) => Some(&**error),
            ListenError::Stopped => None,
        }
    }
}

impl From<io::Error> for ListenError {
    fn from(error: io::Error) -> ListenError {
        ListenError::Bind(Arc::new(error))
    }
}

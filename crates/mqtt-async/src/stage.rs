//! How far an attempt to connect has come, told by the connector and timed by the driver.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// A stage on the way to a transport; each has a limit of its own: see
/// [`StageTimeouts`](crate::StageTimeouts).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectStage {
    /// The name of the host is looked up.
    Resolve,
    /// A socket is connected: all addresses of the host together.
    Connect,
    /// A proxy is asked to connect.
    Proxy,
    /// The handshake of TLS.
    Tls,
    /// The handshake of WebSocket.
    WebSocket,
}

impl ConnectStage {
    const ALL: [ConnectStage; 5] = [
        ConnectStage::Resolve,
        ConnectStage::Connect,
        ConnectStage::Proxy,
        ConnectStage::Tls,
        ConnectStage::WebSocket,
    ];
}

impl fmt::Display for ConnectStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ConnectStage::Resolve => "looking up the name of the host",
            ConnectStage::Connect => "connecting the socket",
            ConnectStage::Proxy => "connecting through the proxy",
            ConnectStage::Tls => "the TLS handshake",
            ConnectStage::WebSocket => "the WebSocket handshake",
        })
    }
}

/// Where a [`Connector`](crate::Connector) says which stage it has come to; clones are one and the same.
///
/// The driver looks at it whenever it has polled the connector: neither needs a timer for that.
///
/// ```
/// use mqtt_async::{ConnectStage, Progress};
///
/// let progress = Progress::default();
/// assert_eq!(progress.stage(), None);
/// progress.enter(ConnectStage::Tls);
/// assert_eq!(progress.stage(), Some(ConnectStage::Tls));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<AtomicU8>);

impl Progress {
    /// Says that this stage begins. The one before it is over.
    pub fn enter(&self, stage: ConnectStage) {
        // Zero is no stage yet.
        self.0.store(1 + stage as u8, Ordering::Relaxed);
    }

    /// Returns the stage that began last, if any was told.
    pub fn stage(&self) -> Option<ConnectStage> {
        let place = self.0.load(Ordering::Relaxed).checked_sub(1)?;
        ConnectStage::ALL.get(usize::from(place)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stage_is_told() {
        let progress = Progress::default();
        let clone = progress.clone();
        for stage in ConnectStage::ALL {
            progress.enter(stage);
            assert_eq!(clone.stage(), Some(stage));
        }
    }
}

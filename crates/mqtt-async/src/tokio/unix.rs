//! Unix domain sockets over tokio.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;

use super::TokioIo;
use crate::connect::{Connector, Target};
use crate::stage::{ConnectStage, Progress};

/// Connects to a Unix domain socket inside a tokio runtime with I/O enabled.
///
/// Servers that are selected ([`Connector::select`]) are paths.
///
/// ```
/// use mqtt_async::{Client, Config, TokioTimer, TokioUnix, Version};
///
/// let connector = TokioUnix::new("/run/mqtt.sock");
/// let (client, driver) = Client::with_timer(Config::new(Version::V5), connector, TokioTimer::new());
/// # drop((client, driver));
/// ```
#[derive(Clone, Debug)]
pub struct TokioUnix(Target<PathBuf>);

impl TokioUnix {
    /// Returns a connector to the socket at that path.
    pub fn new(path: impl Into<PathBuf>) -> TokioUnix {
        TokioUnix(Target::new(path.into()))
    }
}

impl Connector for TokioUnix {
    type Io = TokioIo<tokio::net::UnixStream>;
    type Connecting = Pin<Box<dyn Future<Output = io::Result<Self::Io>> + Send>>;

    fn connect(&mut self, progress: &Progress) -> Self::Connecting {
        progress.enter(ConnectStage::Connect);
        let path = self.0.take();
        Box::pin(async move { tokio::net::UnixStream::connect(path).await.map(TokioIo::new) })
    }

    fn select(&mut self, server: &str) -> io::Result<()> {
        self.0.select(server.into());
        Ok(())
    }
}

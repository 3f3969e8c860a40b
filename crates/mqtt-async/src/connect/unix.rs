//! Unix domain sockets over `async-io`.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;

use async_io::Async;

use super::socket::Socket;
use super::{Connector, Target};
use crate::stage::{ConnectStage, Progress};

/// A connection that [`Unix`] has made.
pub type UnixStream = Socket<std::os::unix::net::UnixStream>;

/// Connects to a Unix domain socket, under any executor.
///
/// Servers that are selected ([`Connector::select`]) are paths. Under the hood: sockets wait in the one
/// thread of `async-io`.
///
/// ```
/// use mqtt_async::{Client, Config, Unix, Version};
///
/// let (client, driver) = Client::new(Config::new(Version::V5), Unix::new("/run/mqtt.sock"));
/// # drop((client, driver));
/// ```
#[derive(Clone, Debug)]
pub struct Unix(Target<PathBuf>);

impl Unix {
    /// Returns a connector to the socket at that path.
    pub fn new(path: impl Into<PathBuf>) -> Unix {
        Unix(Target::new(path.into()))
    }
}

impl Connector for Unix {
    type Io = UnixStream;
    type Connecting = Pin<Box<dyn Future<Output = io::Result<UnixStream>> + Send>>;

    fn connect(&mut self, progress: &Progress) -> Self::Connecting {
        progress.enter(ConnectStage::Connect);
        let path = self.0.take();
        Box::pin(async move {
            Async::<std::os::unix::net::UnixStream>::connect(path).await.map(Socket::new)
        })
    }

    fn select(&mut self, server: &str) -> io::Result<()> {
        self.0.select(server.into());
        Ok(())
    }
}

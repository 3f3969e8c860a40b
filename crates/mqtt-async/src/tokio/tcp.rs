//! TCP over tokio.

use std::future::Future;
use std::io;
use std::pin::Pin;

use super::TokioIo;
use crate::connect::{Address, Connector, Target};
use crate::stage::{ConnectStage, Progress};

/// Connects over TCP inside a tokio runtime with I/O enabled.
///
/// All addresses of the host are tried in turn. `TCP_NODELAY` is set: the driver gathers what is ready
/// itself. Names are resolved by tokio, in its pool of blocking threads.
///
/// ```
/// use mqtt_async::{Client, Config, TokioTcp, TokioTimer, Version};
///
/// let connector = TokioTcp::new("test.mosquitto.org", 1883);
/// let (client, driver) = Client::with_timer(Config::new(Version::V5), connector, TokioTimer::new());
/// # drop((client, driver));
/// ```
#[derive(Clone, Debug)]
pub struct TokioTcp {
    target: Target<Address>,
}

impl TokioTcp {
    /// Returns a connector to that host, a name or an address, and port; 1883 is usual.
    pub fn new(host: impl Into<String>, port: u16) -> TokioTcp {
        TokioTcp { target: Target::new(Address::new(host.into(), port)) }
    }
}

impl Connector for TokioTcp {
    type Io = TokioIo<tokio::net::TcpStream>;
    type Connecting = Pin<Box<dyn Future<Output = io::Result<Self::Io>> + Send>>;

    fn connect(&mut self, progress: &Progress) -> Self::Connecting {
        let progress = progress.clone();
        let target = self.target.take();
        Box::pin(async move {
            progress.enter(ConnectStage::Resolve);
            let addresses: Vec<_> =
                tokio::net::lookup_host((target.host(), target.port())).await?.collect();
            progress.enter(ConnectStage::Connect);
            let stream = tokio::net::TcpStream::connect(&*addresses).await?;
            stream.set_nodelay(true)?;
            Ok(TokioIo::new(stream))
        })
    }

    fn select(&mut self, server: &str) -> io::Result<()> {
        self.target.select(self.target.own().other(server)?);
        Ok(())
    }

    fn address(&mut self) -> Option<Address> {
        Some(self.target.next().clone())
    }
}

//! TCP over tokio.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

use super::TokioIo;
use crate::connect::{Address, Connector, Target, TcpOptions, dial};
use crate::stage::{ConnectStage, Progress};

/// Connects over TCP inside a tokio runtime with I/O and time enabled.
///
/// If the host has several addresses, they are tried one after the other, each 250 ms after the one before or
/// as soon as that has failed, and the first one that answers is taken: RFC 8305, "Happy Eyeballs". If none
/// does, the error has an [`AddressErrors`](crate::AddressErrors) inside. Names are resolved by tokio, in its
/// pool of blocking threads.
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
    options: TcpOptions,
}

impl TokioTcp {
    /// Returns a connector to that host, a name or an address, and port; 1883 is usual.
    pub fn new(host: impl Into<String>, port: u16) -> TokioTcp {
        let target = Target::new(Address::new(host.into(), port));
        TokioTcp { target, options: TcpOptions::new() }
    }

    /// Sets what is set on the sockets.
    #[must_use]
    pub fn options(mut self, options: TcpOptions) -> TokioTcp {
        self.options = options;
        self
    }

    /// Returns a connector to the same host through a proxy. The sockets, which go to the proxy then, have the
    /// same options.
    #[cfg(feature = "proxy")]
    pub fn via(self, proxy: crate::connect::Proxy) -> crate::connect::Proxied<TokioTcp> {
        let target = Target::new(proxy.address().clone());
        let server = self.target.own().clone();
        crate::connect::Proxied::new(TokioTcp { target, ..self }, proxy, server)
    }
}

impl Connector for TokioTcp {
    type Io = TokioIo<tokio::net::TcpStream>;
    type Connecting = Pin<Box<dyn Future<Output = io::Result<Self::Io>> + Send>>;

    fn connect(&mut self, progress: &Progress) -> Self::Connecting {
        let progress = progress.clone();
        let target = self.target.take();
        let options = self.options.clone();
        Box::pin(async move {
            progress.enter(ConnectStage::Resolve);
            let found = tokio::net::lookup_host((target.host(), target.port())).await?;
            let addresses = found.collect();
            progress.enter(ConnectStage::Connect);
            dial(addresses, &options, attempt, tokio::time::sleep).await.map(TokioIo::new)
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

async fn attempt(
    socket: std::net::TcpStream,
    address: SocketAddr,
) -> io::Result<tokio::net::TcpStream> {
    tokio::net::TcpSocket::from_std_stream(socket).connect(address).await
}

//! TCP over `async-io`.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::thread;

use async_io::Async;

use super::socket::Socket;
use super::{Address, Connector, Target};
use crate::answer::answer;
use crate::stage::{ConnectStage, Progress};

/// Connects over TCP, under any executor.
///
/// All addresses of the host are tried in turn. `TCP_NODELAY` is set: the driver gathers what is ready
/// itself.
///
/// Under the hood: sockets wait in the one thread of `async-io`. Names are resolved by the operating
/// system, whose function blocks, in a thread named `mqtt-resolve` that ends with its answer; addresses
/// like `127.0.0.1` need none.
///
/// ```
/// use mqtt_async::{Client, Config, Tcp, Version};
///
/// let (client, driver) = Client::new(Config::new(Version::V5), Tcp::new("test.mosquitto.org", 1883));
/// # drop((client, driver));
/// ```
#[derive(Clone, Debug)]
pub struct Tcp {
    target: Target<Address>,
}

impl Tcp {
    /// Returns a connector to that host, a name or an address, and port; 1883 is usual.
    pub fn new(host: impl Into<String>, port: u16) -> Tcp {
        Tcp { target: Target::new(Address::new(host.into(), port)) }
    }
}

impl Connector for Tcp {
    type Io = TcpStream;
    type Connecting = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;

    fn connect(&mut self, progress: &Progress) -> Self::Connecting {
        let progress = progress.clone();
        let target = self.target.take();
        Box::pin(async move {
            let mut last = None;
            progress.enter(ConnectStage::Resolve);
            let addresses = resolve(target).await?;
            progress.enter(ConnectStage::Connect);
            for address in addresses {
                match Async::<std::net::TcpStream>::connect(address).await {
                    Ok(stream) => {
                        stream.get_ref().set_nodelay(true)?;
                        return Ok(Socket::new(stream));
                    }
                    Err(error) => last = Some(error),
                }
            }
            Err(last.unwrap_or_else(|| {
                io::Error::new(io::ErrorKind::NotFound, "the host name has no address")
            }))
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

/// A connection that [`Tcp`] has made.
pub type TcpStream = Socket<std::net::TcpStream>;

/// Returns the addresses of a host, without blocking.
async fn resolve(target: Address) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = target.host().parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, target.port())]);
    }
    let (giver, answer) = answer();
    thread::Builder::new().name("mqtt-resolve".into()).spawn(move || {
        giver.give((target.host(), target.port()).to_socket_addrs().map(Iterator::collect));
    })?;
    let gone = || Err(io::Error::other("the thread that looked the name up has ended"));
    answer.await.unwrap_or_else(gone)
}

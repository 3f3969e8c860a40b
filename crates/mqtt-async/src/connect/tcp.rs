//! TCP over `async-io`.

use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::pin::Pin;

use async_io::Async;
use socket2::SockRef;

use super::socket::Socket;
use super::{Address, Connector, Target, TcpOptions, dial, in_thread};
use crate::stage::{ConnectStage, Progress};

/// Connects over TCP, under any executor.
///
/// If the host has several addresses, they are tried one after the other, each 250 ms after the one before or
/// as soon as that has failed, and the first one that answers is taken: RFC 8305, "Happy Eyeballs". If none
/// does, the error has an [`AddressErrors`](crate::AddressErrors) inside.
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
    options: TcpOptions,
}

impl Tcp {
    /// Returns a connector to that host, a name or an address, and port; 1883 is usual.
    pub fn new(host: impl Into<String>, port: u16) -> Tcp {
        let target = Target::new(Address::new(host.into(), port));
        Tcp { target, options: TcpOptions::new() }
    }

    /// Sets what is set on the sockets.
    #[must_use]
    pub fn options(mut self, options: TcpOptions) -> Tcp {
        self.options = options;
        self
    }

    /// Returns a connector to the same host through a proxy. The sockets, which go to the proxy then, have the
    /// same options.
    #[cfg(feature = "proxy")]
    pub fn via(self, proxy: super::Proxy) -> super::Proxied<Tcp> {
        let target = Target::new(proxy.address().clone());
        let server = self.target.own().clone();
        super::Proxied::new(Tcp { target, ..self }, proxy, server)
    }
}

impl Connector for Tcp {
    type Io = TcpStream;
    type Connecting = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;

    fn connect(&mut self, progress: &Progress) -> Self::Connecting {
        let progress = progress.clone();
        let target = self.target.take();
        let options = self.options.clone();
        Box::pin(async move {
            progress.enter(ConnectStage::Resolve);
            let addresses = resolve(target).await?;
            progress.enter(ConnectStage::Connect);
            dial(addresses, &options, attempt, async_io::Timer::after).await.map(Socket::new)
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
    let look_up = move || Ok((target.host(), target.port()).to_socket_addrs()?.collect());
    in_thread(look_up).await
}

async fn attempt(
    socket: std::net::TcpStream,
    address: SocketAddr,
) -> io::Result<Async<std::net::TcpStream>> {
    match SockRef::from(&socket).connect(&address.into()) {
        Err(error) if !is_under_way(&error) => return Err(error),
        _ => {}
    }
    let stream = Async::new_nonblocking(socket)?;
    // `writable` keeps a list of its own with the socket, for as long as that lives.
    poll_fn(|cx| stream.poll_writable(cx)).await?;
    match stream.get_ref().take_error()? {
        Some(error) => Err(error),
        None => Ok(stream),
    }
}

/// Tells whether a socket that does not block has begun to connect.
fn is_under_way(error: &io::Error) -> bool {
    #[cfg(unix)]
    return error.raw_os_error() == Some(libc::EINPROGRESS);
    #[cfg(not(unix))]
    return error.kind() == io::ErrorKind::WouldBlock;
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_refused_address_makes_way_for_the_next_one() {
        let [one, other] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let addresses = [&one, &other].map(|listener| listener.local_addr().unwrap());
        drop(one);
        // Nobody waits: the next attempt begins when this one has failed.
        let never = |_| std::future::pending::<()>();
        let options = TcpOptions::new();
        let dialing = dial(addresses.to_vec(), &options, attempt, never);
        let stream = async_io::block_on(dialing).unwrap();
        assert_eq!(stream.get_ref().peer_addr().unwrap(), addresses[1]);
        assert_eq!(stream.get_ref().local_addr().unwrap(), other.accept().unwrap().1);
    }
}

//! TCP over `async-io`.

use std::future::Future;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Shutdown, SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::{fmt, mem, thread};

use async_io::Async;
use futures_io::{AsyncRead, AsyncWrite};

use super::{Address, Connector};
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
    address: Address,
    /// The server of the next connection, if it is another one.
    selected: Option<Address>,
}

impl Tcp {
    /// Returns a connector to that host, a name or an address, and port; 1883 is usual.
    pub fn new(host: impl Into<String>, port: u16) -> Tcp {
        Tcp { address: Address::new(host, port), selected: None }
    }
}

impl Connector for Tcp {
    type Io = TcpStream;
    type Connecting = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;

    fn connect(&mut self, progress: &Progress) -> Self::Connecting {
        let progress = progress.clone();
        let Address { host, port } = self.selected.take().unwrap_or_else(|| self.address.clone());
        Box::pin(async move {
            let mut last = None;
            progress.enter(ConnectStage::Resolve);
            let addresses = resolve(host, port).await?;
            progress.enter(ConnectStage::Connect);
            for address in addresses {
                match Async::<std::net::TcpStream>::connect(address).await {
                    Ok(stream) => {
                        stream.get_ref().set_nodelay(true)?;
                        return Ok(TcpStream(stream));
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
        self.selected = Some(self.address.other(server)?);
        Ok(())
    }
}

/// A TCP connection that [`Tcp`] has made.
pub struct TcpStream(Async<std::net::TcpStream>);

impl TcpStream {
    /// Returns the socket, to look at or to set options of.
    pub fn get_ref(&self) -> &std::net::TcpStream {
        self.0.get_ref()
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get_ref().fmt(f)
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read_vectored(cx, buffers)
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Ends the direction to the server; `Async` itself would leave it open.
    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.get_ref().shutdown(Shutdown::Write))
    }
}

/// Returns the addresses of a host, without blocking.
async fn resolve(host: Arc<str>, port: u16) -> io::Result<Vec<SocketAddr>> {
    let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&host);
    if let Ok(address) = literal.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let answer = Arc::new(Mutex::new(Answer::Waiting(None)));
    let answer_to = Arc::clone(&answer);
    thread::Builder::new().name("mqtt-resolve".into()).spawn(move || {
        let addresses = (&*host, port).to_socket_addrs().map(Iterator::collect);
        let before = {
            let mut answer = answer_to.lock().unwrap_or_else(PoisonError::into_inner);
            mem::replace(&mut *answer, Answer::Ready(addresses))
        };
        if let Answer::Waiting(Some(waker)) = before {
            waker.wake();
        }
    })?;
    std::future::poll_fn(move |cx| {
        let waker = cx.waker().clone();
        let mut answer = answer.lock().unwrap_or_else(PoisonError::into_inner);
        match mem::replace(&mut *answer, Answer::Waiting(Some(waker))) {
            Answer::Ready(addresses) => Poll::Ready(addresses),
            Answer::Waiting(_) => Poll::Pending,
        }
    })
    .await
}

enum Answer {
    Waiting(Option<Waker>),
    Ready(io::Result<Vec<SocketAddr>>),
}

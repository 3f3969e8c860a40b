//! How transports are made.

use std::future::Future;
use std::io;

use futures_io::{AsyncRead, AsyncWrite};

use crate::stage::Progress;

mod address;
mod any;
#[cfg(any(feature = "async-io", feature = "tokio"))]
mod options;
#[cfg(feature = "proxy")]
mod proxy;
#[cfg(any(feature = "async-io", feature = "tokio"))]
mod race;
mod servers;
#[cfg(feature = "async-io")]
mod socket;
#[cfg(feature = "srv")]
mod srv;
#[cfg(feature = "async-io")]
mod tcp;
#[cfg(feature = "tls")]
mod tls;
#[cfg(all(unix, feature = "async-io"))]
mod unix;
#[cfg(feature = "url")]
mod url;
#[cfg(feature = "websocket")]
mod websocket;

#[allow(unused_imports, reason = "every connector that has an address uses it")]
pub(crate) use address::Target;
#[cfg(any(feature = "async-io", feature = "tokio"))]
pub(crate) use race::dial;

pub use address::Address;
pub use any::{AnyConnector, AnyTransport, Transport};
#[cfg(any(feature = "async-io", feature = "tokio"))]
pub use options::TcpOptions;
#[cfg(feature = "proxy")]
pub use proxy::{Proxied, Proxy, ProxyError};
#[cfg(any(feature = "async-io", feature = "tokio"))]
pub use race::AddressErrors;
pub use servers::Servers;
#[cfg(feature = "async-io")]
pub use socket::Socket;
#[cfg(feature = "srv")]
pub use srv::{Srv, SrvError};
#[cfg(feature = "async-io")]
pub use tcp::{Tcp, TcpStream};
#[cfg(feature = "tls")]
pub use tls::{Tls, TlsConfig, TlsError, TlsStream};
#[cfg(all(unix, feature = "async-io"))]
pub use unix::{Unix, UnixStream};
#[cfg(feature = "url")]
pub use url::{Url, UrlError, UrlPart};
#[cfg(feature = "websocket")]
pub use websocket::{WebSocket, WebSocketError, WebSocketRequest, WebSocketStream};

/// Makes a transport, once for each attempt to connect.
///
/// Closures that return a future are connectors:
///
/// ```
/// # fn assert_connector<C: mqtt_async::Connector>(connector: C) -> C { connector }
/// # #[cfg(feature = "async-io")]
/// let connector = assert_connector(|| async {
///     async_io::Async::<std::net::TcpStream>::connect(([127, 0, 0, 1], 1883)).await
/// });
/// ```
///
/// The driver drops the future if it takes too long ([`StageTimeouts`](crate::StageTimeouts)) or the client
/// is closed.
pub trait Connector {
    /// The transport: a stream of bytes in both directions. It need not be `Send`; the driver then is
    /// not either.
    ///
    /// `poll_close` should end the direction to the server and leave the other one open, as TCP does.
    type Io: AsyncRead + AsyncWrite + Unpin;

    /// What [`connect`](Connector::connect) returns. The driver drops it when it takes too long or is not wanted
    /// any more: nothing is to be left of it then, and the next one is to work.
    type Connecting: Future<Output = io::Result<Self::Io>>;

    /// Begins to make a transport.
    ///
    /// What takes long is told to `progress` as it begins, so that it has a limit of its own. A layer around
    /// another connector passes it on. Whoever tells nothing has the limit on all of it.
    fn connect(&mut self, progress: &Progress) -> Self::Connecting;

    /// Says which server the next [`connect`](Connector::connect) goes to, and only that one.
    ///
    /// The hook [`before_connect`](crate::Driver::before_connect) names servers. What a name is says the
    /// connector: a host, or `host:port`, for the TCP connectors, a path for Unix sockets, and an entry of
    /// a list for [`Servers`](crate::Servers). A layer around another connector passes it on.
    ///
    /// # Errors
    ///
    /// If there is no such server. A connector that does not choose, as a closure, knows none.
    fn select(&mut self, server: &str) -> io::Result<()> {
        let what = format!("the connector knows no server that is named {server:?}");
        Err(io::Error::new(io::ErrorKind::Unsupported, what))
    }

    /// Says that the server that was connected to last has sent the client to this one: the next
    /// [`connect`](Connector::connect), and only that one, goes there, in the way that the last one went.
    ///
    /// The default is [`select`](Connector::select), which is right where there is one way. A connector that
    /// has several of them, as [`Servers`](crate::Servers), stays on the one it is on: a server cannot send the
    /// client away from TLS. A layer around another connector passes it on.
    ///
    /// # Errors
    ///
    /// If there is no such server.
    fn redirect(&mut self, server: &str) -> io::Result<()> {
        self.select(server)
    }

    /// Returns where the next [`connect`](Connector::connect) goes to, as far as the connector knows.
    ///
    /// Layers ask for it: TLS checks the certificate against this host, and WebSocket puts both into its
    /// request. A layer around another connector passes it on. The default knows nothing, as with a closure.
    fn address(&mut self) -> Option<Address> {
        None
    }
}

impl<F, Connecting, Io> Connector for F
where
    F: FnMut() -> Connecting,
    Connecting: Future<Output = io::Result<Io>>,
    Io: AsyncRead + AsyncWrite + Unpin,
{
    type Io = Io;
    type Connecting = Connecting;

    fn connect(&mut self, _: &Progress) -> Connecting {
        self()
    }
}

/// Has a thread look something up that blocks.
#[cfg(any(feature = "async-io", feature = "srv"))]
async fn in_thread<T: Send + 'static>(
    look_up: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (giver, answer) = crate::answer::answer();
    let thread = std::thread::Builder::new().name("mqtt-resolve".into());
    thread.spawn(move || giver.give(look_up()))?;
    let gone = || Err(io::Error::other("the thread that looked the name up has ended"));
    answer.await.unwrap_or_else(gone)
}

/// Tells whether a peer that was spoken to has closed the connection instead of answering.
#[cfg(any(feature = "proxy", feature = "tls", feature = "websocket"))]
fn is_end(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(kind, UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe)
}

//! How transports are made.

use std::future::Future;
use std::io;

use futures_io::{AsyncRead, AsyncWrite};

#[cfg(feature = "async-io")]
mod tcp;

#[cfg(feature = "async-io")]
pub use tcp::{Tcp, TcpStream};

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
/// The driver drops the future if [`connect_timeout`](crate::Config::connect_timeout) runs out or the
/// client is closed.
pub trait Connector {
    /// The transport: a stream of bytes in both directions. It need not be `Send`; the driver then is
    /// not either.
    ///
    /// `poll_close` should end the direction to the server and leave the other one open, as TCP does.
    type Io: AsyncRead + AsyncWrite + Unpin;

    /// What [`connect`](Connector::connect) returns.
    type Connecting: Future<Output = io::Result<Self::Io>>;

    /// Begins to make a transport.
    fn connect(&mut self) -> Self::Connecting;
}

impl<F, Connecting, Io> Connector for F
where
    F: FnMut() -> Connecting,
    Connecting: Future<Output = io::Result<Io>>,
    Io: AsyncRead + AsyncWrite + Unpin,
{
    type Io = Io;
    type Connecting = Connecting;

    fn connect(&mut self) -> Connecting {
        self()
    }
}

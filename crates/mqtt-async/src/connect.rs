//! How transports are made.

use std::future::Future;
use std::io;
#[cfg(all(unix, any(feature = "async-io", feature = "tokio")))]
use std::path::PathBuf;
#[cfg(any(feature = "async-io", feature = "tokio"))]
use std::sync::Arc;

use futures_io::{AsyncRead, AsyncWrite};

use crate::stage::Progress;

mod servers;
#[cfg(feature = "async-io")]
mod socket;
#[cfg(feature = "async-io")]
mod tcp;
#[cfg(all(unix, feature = "async-io"))]
mod unix;

#[cfg(feature = "async-io")]
pub use socket::Socket;
#[cfg(feature = "async-io")]
pub use tcp::{Tcp, TcpStream};
#[cfg(all(unix, feature = "async-io"))]
pub use unix::{Unix, UnixStream};

pub use servers::Servers;

/// A host and a port.
#[cfg(any(feature = "async-io", feature = "tokio"))]
#[derive(Clone, Debug)]
pub(crate) struct Address {
    pub(crate) host: Arc<str>,
    pub(crate) port: u16,
}

#[cfg(any(feature = "async-io", feature = "tokio"))]
impl Address {
    pub(crate) fn new(host: impl Into<String>, port: u16) -> Address {
        Address { host: host.into().into(), port }
    }

    /// Reads `host`, `host:port`, or an IPv6 address, which stands in brackets if a port follows: as MQTT
    /// 5.0 section 4.13 has it for Server References. Without a port it is that of this address.
    pub(crate) fn other(&self, server: &str) -> io::Result<Address> {
        let (host, port) = match server.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, rest)) => (host, Some(rest.strip_prefix(':').unwrap_or_default())),
            None => match server.split_once(':') {
                Some((host, port)) if !port.contains(':') => (host, Some(port)),
                _ => (server, None),
            },
        };
        let port = port.map_or(Ok(self.port), |port| port.parse::<u16>());
        match port {
            Ok(port) if !host.is_empty() && !host.contains(char::is_whitespace) => {
                Ok(Address::new(host, port))
            }
            _ => {
                let what = format!("{server:?} is no host, and no host with a port");
                Err(io::Error::new(io::ErrorKind::InvalidInput, what))
            }
        }
    }
}

/// The path of a Unix domain socket.
#[cfg(all(unix, any(feature = "async-io", feature = "tokio")))]
#[derive(Clone, Debug)]
pub(crate) struct Path {
    path: PathBuf,
    /// The server of the next connection, if it is another one.
    selected: Option<PathBuf>,
}

#[cfg(all(unix, any(feature = "async-io", feature = "tokio")))]
impl Path {
    pub(crate) fn new(path: impl Into<PathBuf>) -> Path {
        Path { path: path.into(), selected: None }
    }

    /// Returns where the next connection goes to.
    pub(crate) fn next(&mut self) -> PathBuf {
        self.selected.take().unwrap_or_else(|| self.path.clone())
    }

    pub(crate) fn select(&mut self, server: &str) -> io::Result<()> {
        if server.is_empty() || server.contains('\0') {
            let what = format!("{server:?} is no path of a socket");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        self.selected = Some(server.into());
        Ok(())
    }
}

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

    /// What [`connect`](Connector::connect) returns.
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

#[cfg(all(test, any(feature = "async-io", feature = "tokio")))]
mod tests {
    use super::*;

    #[test]
    fn reads_server_names() {
        let address = Address::new("first", 1883);
        let read = |server| address.other(server).map(|it| (it.host.to_string(), it.port));
        for (server, host, port) in [
            ("h", "h", 1883),
            ("h.example.com:8883", "h.example.com", 8883),
            ("10.0.0.1:1", "10.0.0.1", 1),
            ("::1", "::1", 1883),
            ("[::1]", "::1", 1883),
            ("[2001:db8::1]:1884", "2001:db8::1", 1884),
        ] {
            assert_eq!(read(server).unwrap(), (host.to_owned(), port), "{server}");
        }
        for server in ["", ":1883", "h:", "h:x", "h:65536", "[::1]1883", "[::1", "one two"] {
            let read = read(server);
            // Half of a bracket is a host that no system will find.
            assert!(read.is_err() || server == "[::1", "{server}: {read:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_socket_that_is_selected_counts_once() {
        let mut path = Path::new("/run/first.sock");
        path.select("/run/other.sock").unwrap();
        assert_eq!(path.next(), std::path::Path::new("/run/other.sock"));
        assert_eq!(path.next(), std::path::Path::new("/run/first.sock"));
        for server in ["", "a\0b"] {
            let error = path.select(server).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{server:?}");
        }
    }
}

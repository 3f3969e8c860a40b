//! Connectors of different types behind one.

use std::future::Future;
use std::pin::Pin;
use std::{fmt, io};

use futures_io::{AsyncRead, AsyncWrite};

use super::{Address, Connector};
use crate::stage::Progress;

/// A transport of any type that can be sent to another thread.
pub trait Transport: AsyncRead + AsyncWrite + Unpin + Send {}

impl<Io: AsyncRead + AsyncWrite + Unpin + Send> Transport for Io {}

/// What an [`AnyConnector`] makes.
pub type AnyTransport = Box<dyn Transport>;

/// A connector of any type, so that different ones can stand in one place: chosen at run time, or in one
/// list of [`Servers`](crate::Servers).
///
/// It costs a box for each connection, and an indirect call for each read and write.
///
/// ```
/// # #[cfg(all(unix, feature = "async-io"))]
/// # fn example() {
/// use mqtt_async::{AnyConnector, Client, Config, Servers, Tcp, Unix, Version};
///
/// let servers = Servers::new("local", AnyConnector::new(Unix::new("/run/mqtt.sock")))
///     .and("remote", AnyConnector::new(Tcp::new("mqtt.example.com", 1883)));
/// let (client, driver) = Client::new(Config::new(Version::V5), servers);
/// # }
/// ```
pub struct AnyConnector(Box<dyn Erased + Send>);

impl AnyConnector {
    /// Puts a connector in a box.
    pub fn new<C>(connector: C) -> AnyConnector
    where
        C: Connector<Io: Send + 'static, Connecting: Send + 'static> + Send + 'static,
    {
        AnyConnector(Box::new(connector))
    }
}

impl fmt::Debug for AnyConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyConnector")
    }
}

impl Connector for AnyConnector {
    type Io = AnyTransport;
    type Connecting = AnyConnecting;

    fn connect(&mut self, progress: &Progress) -> AnyConnecting {
        self.0.connect_any(progress)
    }

    fn select(&mut self, server: &str) -> io::Result<()> {
        self.0.select_any(server)
    }

    fn redirect(&mut self, server: &str) -> io::Result<()> {
        self.0.redirect_any(server)
    }

    fn address(&mut self) -> Option<Address> {
        self.0.address_any()
    }
}

type AnyConnecting = Pin<Box<dyn Future<Output = io::Result<AnyTransport>> + Send>>;

/// [`Connector`] without its types.
trait Erased {
    fn connect_any(&mut self, progress: &Progress) -> AnyConnecting;
    fn select_any(&mut self, server: &str) -> io::Result<()>;
    fn redirect_any(&mut self, server: &str) -> io::Result<()>;
    fn address_any(&mut self) -> Option<Address>;
}

impl<C> Erased for C
where
    C: Connector<Io: Send + 'static, Connecting: Send + 'static>,
{
    fn connect_any(&mut self, progress: &Progress) -> AnyConnecting {
        let connecting = self.connect(progress);
        Box::pin(async move { Ok(Box::new(connecting.await?) as AnyTransport) })
    }

    fn select_any(&mut self, server: &str) -> io::Result<()> {
        self.select(server)
    }

    fn redirect_any(&mut self, server: &str) -> io::Result<()> {
        self.redirect(server)
    }

    fn address_any(&mut self) -> Option<Address> {
        self.address()
    }
}

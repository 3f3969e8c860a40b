//! TLS with rustls, around any connector: feature `tls`.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use futures_rustls::TlsConnector;
use futures_rustls::rustls::ClientConfig;
use futures_rustls::rustls::pki_types::ServerName;

use super::{Address, Connector};
use crate::stage::{ConnectStage, Progress};

mod config;
mod error;
mod unverified;

pub use config::TlsConfig;
pub use error::TlsError;

/// A connection that [`Tls`] has made.
pub type TlsStream<Io> = futures_rustls::client::TlsStream<Io>;

/// TLS around another connector.
///
/// The certificate of the server is checked against the host that the inner connector goes to, also if
/// that was selected ([`Connector::select`]), or against [`server_name`](Tls::server_name). A handshake
/// that fails is an [`Error::Connect`](crate::Error::Connect) whose inner error is a [`TlsError`], and says
/// what is wrong.
///
/// At the end of a connection, close_notify is sent.
///
/// ```
/// # #[cfg(all(feature = "async-io", feature = "tls-webpki-roots", feature = "tls-ring"))]
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use mqtt_async::{Client, Config, Tcp, Tls, TlsConfig, Version};
///
/// let tls = TlsConfig::webpki_roots().build()?;
/// let connector = Tls::new(Tcp::new("mqtt.example.com", 8883), tls);
/// let (client, driver) = Client::new(Config::new(Version::V5), connector);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Tls<C> {
    inner: C,
    config: Arc<ClientConfig>,
    name: Option<ServerName<'static>>,
}

impl<C> Tls<C> {
    /// Returns a layer around that connector. The configuration comes from [`TlsConfig`], or is one of
    /// rustls.
    pub fn new(inner: C, config: Arc<ClientConfig>) -> Tls<C> {
        Tls { inner, config, name: None }
    }

    /// Sets the name that the certificate of the server must have, whatever host is connected to. It is
    /// told to the server as well (SNI), unless it is an IP address.
    ///
    /// # Errors
    ///
    /// If it is no DNS name and no IP address.
    pub fn server_name(mut self, name: impl Into<String>) -> Result<Tls<C>, TlsError> {
        self.name = Some(server_name(name.into())?);
        Ok(self)
    }
}

impl<C> Connector for Tls<C>
where
    C: Connector<Io: Send + 'static, Connecting: Send + 'static>,
{
    type Io = TlsStream<C::Io>;
    type Connecting = Pin<Box<dyn Future<Output = io::Result<Self::Io>> + Send>>;

    fn connect(&mut self, progress: &Progress) -> Self::Connecting {
        let name = match (&self.name, self.inner.address()) {
            (Some(name), _) => Ok(name.clone()),
            (None, Some(address)) => server_name(address.host().to_owned()),
            (None, None) => Err(TlsError::NoServerName),
        };
        let inner = self.inner.connect(progress);
        let tls = TlsConnector::from(Arc::clone(&self.config));
        let progress = progress.clone();
        Box::pin(async move {
            let name = name?;
            let io = inner.await?;
            progress.enter(ConnectStage::Tls);
            tls.connect(name, io).await.map_err(error::in_handshake)
        })
    }

    fn select(&mut self, server: &str) -> io::Result<()> {
        self.inner.select(server)
    }

    fn redirect(&mut self, server: &str) -> io::Result<()> {
        self.inner.redirect(server)
    }

    fn address(&mut self) -> Option<Address> {
        self.inner.address()
    }
}

fn server_name(name: String) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(name.clone()).map_err(|_| TlsError::ServerName(name))
}

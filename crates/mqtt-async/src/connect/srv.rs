//! SRV records, which say where the servers of a domain are: feature `srv`.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{io, mem};

use super::{Address, Connector};
use crate::stage::{ConnectStage, Progress};

mod error;
mod lookup;

pub use error::SrvError;
use lookup::Lookup;

/// Looks up where the servers of a domain are, and has another connector go there: RFC 2782.
///
/// The domain is the host of that connector, which is cloned for each attempt, and is told each server by
/// [`Connector::select`]. They are tried in the order of their priorities and by the chance of their weights;
/// an attempt after one that failed begins with the next server. A domain without records is a server itself, at the port
/// of the connector; so is an IP address.
///
/// TLS around it checks the certificate of whichever server it is against the domain: records can be forged, where
/// the domain is what the user has named. `Tls::server_name` sets another name. What is selected
/// ([`Connector::select`]) is not looked up.
///
/// Under the hood: a thread named `mqtt-resolve`, which ends with its answer, asks the name servers of
/// `/etc/resolv.conf`, each for 2 s and twice at most. Nothing is kept: the name server does that.
///
/// ```
/// # #[cfg(feature = "async-io")]
/// # fn example() {
/// use mqtt_async::{Client, Config, Srv, Tcp, Version};
///
/// // _mqtt._tcp.example.com
/// let connector = Srv::mqtt(Tcp::new("example.com", 1883));
/// let (client, driver) = Client::new(Config::new(Version::V5), connector);
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Srv<C> {
    inner: C,
    service: &'static str,
    /// `None`: those that the system has.
    nameservers: Option<Vec<SocketAddr>>,
    /// Whether the inner connector goes to a server that was selected.
    selected: bool,
    /// How many attempts have begun since one has succeeded.
    failed: Arc<AtomicUsize>,
}

impl<C> Srv<C> {
    /// Looks up `_mqtt._tcp`, the service without TLS.
    pub fn mqtt(inner: C) -> Srv<C> {
        Srv::new(inner, "_mqtt._tcp")
    }

    /// Looks up `_secure-mqtt._tcp`, the service for `Tls` around this.
    pub fn secure_mqtt(inner: C) -> Srv<C> {
        Srv::new(inner, "_secure-mqtt._tcp")
    }

    fn new(inner: C, service: &'static str) -> Srv<C> {
        Srv { inner, service, nameservers: None, selected: false, failed: Arc::default() }
    }

    /// Asks these name servers, of which at most three; for systems without `/etc/resolv.conf`.
    #[must_use]
    pub fn nameservers(mut self, servers: impl IntoIterator<Item = SocketAddr>) -> Srv<C> {
        self.nameservers = Some(servers.into_iter().collect());
        self
    }
}

impl<C> Connector for Srv<C>
where
    C: Connector<Io: Send + 'static, Connecting: Send + 'static> + Clone + Send + 'static,
{
    type Io = C::Io;
    type Connecting = Pin<Box<dyn Future<Output = io::Result<C::Io>> + Send>>;

    fn connect(&mut self, progress: &Progress) -> Self::Connecting {
        let selected = mem::take(&mut self.selected);
        let domain = match self.inner.address() {
            _ if selected => None,
            None => return Box::pin(async { Err(SrvError::NoDomain.into()) }),
            Some(address) => Some(address).filter(|it| it.host().parse::<IpAddr>().is_err()),
        };
        let Some(domain) = domain else { return Box::pin(self.inner.connect(progress)) };
        let lookup = Lookup {
            name: format!("{}.{}", self.service, domain.host()),
            servers: self.nameservers.clone(),
        };
        let (mut inner, failed) = (self.inner.clone(), Arc::clone(&self.failed));
        let progress = progress.clone();
        Box::pin(async move {
            progress.enter(ConnectStage::Resolve);
            let Some(mut servers) = lookup.servers().await? else {
                return inner.connect(&progress).await;
            };
            // One that never answers would take the time of every attempt.
            let begun = failed.fetch_add(1, Ordering::Relaxed);
            let places = servers.len().max(1);
            servers.rotate_left(begun % places);
            let io = try_each(&mut inner, servers, &progress).await?;
            failed.store(0, Ordering::Relaxed);
            Ok(io)
        })
    }

    fn select(&mut self, server: &str) -> io::Result<()> {
        self.inner.select(server)?;
        self.selected = true;
        Ok(())
    }

    fn redirect(&mut self, server: &str) -> io::Result<()> {
        self.inner.redirect(server)?;
        self.selected = true;
        Ok(())
    }

    fn address(&mut self) -> Option<Address> {
        self.inner.address()
    }
}

async fn try_each<C: Connector>(
    connector: &mut C,
    servers: Vec<Address>,
    progress: &Progress,
) -> io::Result<C::Io> {
    let mut failed = Vec::new();
    for server in servers {
        let tried = match connector.select(&server.to_string()) {
            Ok(()) => connector.connect(progress).await,
            Err(error) => Err(error),
        };
        match tried {
            Ok(io) => return Ok(io),
            Err(error) => failed.push((server, error)),
        }
    }
    Err(SrvError::Servers(failed.into()).into())
}

//! The layers that a URL asks for, around a TCP connector.

use super::{Url, UrlError};
use crate::connect::AnyConnector;
#[cfg(any(feature = "async-io", feature = "tokio"))]
use crate::connect::{Address, Connector};

impl Url {
    /// Returns the layers of this URL around sockets to its server, or to its proxy.
    #[cfg(any(feature = "async-io", feature = "tokio"))]
    pub(super) fn over<C>(
        &self,
        tcp: impl FnOnce(&Address) -> C,
        server: &Address,
    ) -> Result<AnyConnector, UrlError>
    where
        C: Connector<Io: Send, Connecting: Send> + Clone + Send + 'static,
    {
        #[cfg(feature = "proxy")]
        if let Some(proxy) = self.options.proxy.clone() {
            let to_proxy = tcp(proxy.address());
            let proxied = crate::connect::Proxied::new(to_proxy, proxy, server.clone());
            return self.layers(self.looked_up(proxied));
        }
        self.layers(self.looked_up(tcp(server)))
    }

    #[cfg(any(feature = "async-io", feature = "tokio"))]
    fn looked_up<C>(&self, connector: C) -> AnyConnector
    where
        C: Connector<Io: Send, Connecting: Send> + Clone + Send + 'static,
    {
        #[cfg(feature = "srv")]
        if self.options.srv {
            use crate::connect::Srv;
            return AnyConnector::new(match self.scheme.has_tls() {
                true => Srv::secure_mqtt(connector),
                false => Srv::mqtt(connector),
            });
        }
        AnyConnector::new(connector)
    }

    /// Returns the layers of this URL, TLS and WebSocket, around a connector to its host: one that makes
    /// streams of your own, or whose sockets have options. Files are read now.
    ///
    /// The options `proxy` and `srv` are about how to get to the host, so they do not count here.
    ///
    /// ```
    /// # #[cfg(feature = "async-io")]
    /// # fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use mqtt_async::{AnyConnector, Client, Tcp, TcpOptions, Url};
    ///
    /// let url: Url = "mqtt://localhost?client_id=sensor-7".parse()?;
    /// let host = url.address().ok_or("that is a Unix socket")?;
    /// let options = TcpOptions::new().keepalive(Duration::from_secs(60));
    /// let tcp = Tcp::new(host.host(), host.port()).options(options);
    /// let connector = url.layers(AnyConnector::new(tcp))?;
    /// let (client, driver) = Client::new(url.config(), connector);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// If the features that it needs are not enabled, or certificates or key are wrong.
    pub fn layers(&self, mut connector: AnyConnector) -> Result<AnyConnector, UrlError> {
        if self.scheme.has_tls() {
            connector = self.tls(connector)?;
        }
        if self.scheme.has_websocket() {
            connector = self.websocket(connector)?;
        }
        Ok(connector)
    }

    #[cfg(feature = "tls")]
    fn tls(&self, connector: AnyConnector) -> Result<AnyConnector, UrlError> {
        use crate::connect::{Tls, TlsConfig};

        let options = &self.options.tls;
        let mut config = match &options.ca {
            Some(path) => TlsConfig::own_roots().ca_file(path)?,
            None => self.roots()?,
        };
        if let Some((cert, key)) = options.cert.as_ref().zip(options.key.as_ref()) {
            config = config.identity_files(cert, key)?;
        }
        for protocol in &options.alpn {
            config = config.alpn(protocol.as_bytes());
        }
        let mut tls = Tls::new(connector, config.build()?);
        if let Some(name) = &options.server_name {
            tls = tls.server_name(name)?;
        }
        Ok(AnyConnector::new(tls))
    }

    #[cfg(feature = "tls")]
    #[allow(clippy::unnecessary_wraps, reason = "without a feature there are none")]
    fn roots(&self) -> Result<crate::connect::TlsConfig, UrlError> {
        #[cfg(feature = "tls-platform-verifier")]
        return Ok(crate::connect::TlsConfig::platform_roots());
        #[cfg(all(feature = "tls-webpki-roots", not(feature = "tls-platform-verifier")))]
        return Ok(crate::connect::TlsConfig::webpki_roots());
        #[cfg(not(any(feature = "tls-webpki-roots", feature = "tls-platform-verifier")))]
        Err(UrlError::NotBuilt {
            scheme: self.scheme.name(),
            needs: "the option `ca`, or the feature `tls-platform-verifier` or `tls-webpki-roots`",
        })
    }

    #[cfg(not(feature = "tls"))]
    fn tls(&self, _: AnyConnector) -> Result<AnyConnector, UrlError> {
        Err(UrlError::NotBuilt { scheme: self.scheme.name(), needs: "the feature `tls`" })
    }

    #[cfg(feature = "websocket")]
    fn websocket(&self, connector: AnyConnector) -> Result<AnyConnector, UrlError> {
        use super::UrlPart;
        use crate::connect::WebSocket;

        let websocket = WebSocket::new(connector).path(&self.path);
        let error = UrlError::part(UrlPart::Path, "has characters that no request has");
        Ok(AnyConnector::new(websocket.map_err(|_| error)?))
    }

    #[cfg(not(feature = "websocket"))]
    fn websocket(&self, _: AnyConnector) -> Result<AnyConnector, UrlError> {
        Err(UrlError::NotBuilt { scheme: self.scheme.name(), needs: "the feature `websocket`" })
    }
}

//! What a client goes through before MQTT begins.

use std::io;
#[cfg(feature = "tls")]
use std::sync::Arc;

use bytes::Bytes;
use futures_io::{AsyncRead, AsyncWrite};
#[cfg(feature = "tls")]
use futures_rustls::{TlsAcceptor, rustls::ServerConfig};
use mqtt_async::AnyTransport;

#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "websocket")]
mod websocket;

#[cfg(feature = "tls")]
pub use tls::TlsIdentity;

/// The layers between a transport and MQTT: none, TLS, WebSocket, or WebSocket over TLS.
///
/// For [`Broker::listen_with`](crate::Broker), [`Broker::listen_unix_with`](crate::Broker) and
/// [`Broker::attach_with`](crate::Broker::attach_with).
///
/// ```no_run
/// # #[cfg(all(feature = "async-io", feature = "tls-ring", feature = "websocket"))]
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use mqtt_broker::{Broker, BrokerConfig, Layers, TlsIdentity};
///
/// let (broker, driver) = Broker::new(BrokerConfig::default());
/// let tls = TlsIdentity::files("server.pem", "server.key")?.build()?;
/// broker.listen_with("0.0.0.0:8883", Layers::new().tls(tls.clone()))?;
/// broker.listen_with("127.0.0.1:8080", Layers::new().websocket())?;
/// broker.listen_with("0.0.0.0:8443", Layers::new().tls(tls).websocket())?;
/// # Ok(()) }
/// ```
#[derive(Clone, Default)]
#[must_use]
pub struct Layers {
    #[cfg(feature = "tls")]
    tls: Option<TlsAcceptor>,
    #[cfg(feature = "websocket")]
    websocket: bool,
}

/// A transport that is ready for MQTT.
pub(crate) struct Accepted {
    pub(crate) stream: AnyTransport,
    /// Those of the client, its own first.
    pub(crate) certificates: Vec<Bytes>,
}

impl Layers {
    /// Returns that there are none: MQTT begins at once.
    pub fn new() -> Layers {
        Layers::default()
    }

    /// Adds TLS. The configuration comes from [`TlsIdentity`], or is one of rustls.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, config: Arc<ServerConfig>) -> Layers {
        self.tls = Some(TlsAcceptor::from(config));
        self
    }

    /// Adds WebSocket, over TLS if there is TLS: MQTT 5.0 and 3.1.1 section 6.
    ///
    /// Any path will do. The client has to offer the subprotocol `mqtt`, or `mqttv3.1` as some do for MQTT 3.1, or
    /// is refused with HTTP 400. Packets may come in any number of messages, as long as one is no longer than the
    /// largest packet and 64 KiB. A client that sends text is cut off (MQTT-6.0.0-1).
    #[cfg(feature = "websocket")]
    pub fn websocket(mut self) -> Layers {
        self.websocket = true;
        self
    }

    pub(crate) const fn is_empty(&self) -> bool {
        #[cfg(feature = "tls")]
        if self.tls.is_some() {
            return false;
        }
        #[cfg(feature = "websocket")]
        if self.websocket {
            return false;
        }
        true
    }

    /// Goes through the handshakes; `largest` is that of the packets.
    pub(crate) async fn accept<S>(self, stream: S, largest: u32) -> io::Result<Accepted>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let accepted = Accepted { stream: Box::new(stream), certificates: Vec::new() };
        #[cfg(feature = "tls")]
        let accepted = match self.tls {
            Some(tls) => tls::accept(&tls, accepted.stream).await?,
            None => accepted,
        };
        #[cfg(feature = "websocket")]
        let accepted = match self.websocket {
            true => {
                let stream = websocket::accept(accepted.stream, largest).await?;
                Accepted { stream, ..accepted }
            }
            false => accepted,
        };
        // Without WebSocket there are no messages to bound.
        let _ = largest;
        Ok(accepted)
    }
}

/// Shows no key.
impl std::fmt::Debug for Layers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut list = f.debug_list();
        #[cfg(feature = "tls")]
        if self.tls.is_some() {
            list.entry(&"TLS");
        }
        #[cfg(feature = "websocket")]
        if self.websocket {
            list.entry(&"WebSocket");
        }
        list.finish()
    }
}

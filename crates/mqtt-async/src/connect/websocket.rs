//! WebSocket around any connector: feature `websocket`.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use async_tungstenite::client_async_with_config;
use async_tungstenite::tungstenite::handshake::client::generate_key;
use async_tungstenite::tungstenite::http::uri::PathAndQuery;
use async_tungstenite::tungstenite::http::{self, HeaderMap, HeaderName, HeaderValue, Request};
use async_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::{Address, Connector};
use crate::hooks::HookError;
use crate::stage::{ConnectStage, Progress};

mod error;
mod stream;

pub use error::WebSocketError;
pub use stream::WebSocketStream;

/// How much is read from the transport at once. It is held for each connection, idle ones too.
const READ_BUFFER: usize = 16 * 1024;

/// WebSocket around another connector: MQTT 5.0 and 3.1.1 section 6.
///
/// The request asks for the subprotocol `mqtt`; the server has to choose it. What the driver writes at
/// once goes out as one binary frame, however many packets that are; packets may come in any number of
/// frames. Pings of the server are answered. A handshake that fails is an
/// [`Error::Connect`](crate::Error::Connect) whose inner error is a [`WebSocketError`].
///
/// Redirects of HTTP are not followed.
///
/// ```
/// # #[cfg(all(feature = "async-io", feature = "tls-webpki-roots", feature = "tls-ring"))]
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use mqtt_async::{Client, Config, Tcp, Tls, TlsConfig, Version, WebSocket};
///
/// let tls = Tls::new(Tcp::new("mqtt.example.com", 443), TlsConfig::webpki_roots().build()?);
/// let connector = WebSocket::new(tls).path("/mqtt")?.header("x-tenant", "plant")?;
/// let (client, driver) = Client::new(Config::new(Version::V5), connector);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct WebSocket<C> {
    inner: C,
    path: PathAndQuery,
    headers: HeaderMap,
    max_message_size: usize,
    edit: Option<Edit>,
}

/// The request of a WebSocket handshake, without a body.
pub type WebSocketRequest = Request<()>;

type Editing = Pin<Box<dyn Future<Output = Result<WebSocketRequest, HookError>> + Send>>;
type Edit = Arc<dyn Fn(WebSocketRequest) -> Editing + Send + Sync>;

impl<C> WebSocket<C> {
    /// Returns a layer around that connector, which asks for the path `/mqtt`.
    pub fn new(inner: C) -> WebSocket<C> {
        WebSocket {
            inner,
            path: PathAndQuery::from_static("/mqtt"),
            headers: HeaderMap::new(),
            max_message_size: 16 * 1024 * 1024,
            edit: None,
        }
    }

    /// Sets the path, with a query if there is one.
    ///
    /// # Errors
    ///
    /// If it is none; it begins with `/`.
    pub fn path(mut self, path: &str) -> Result<WebSocket<C>, WebSocketError> {
        let valid = path.starts_with('/').then(|| path.parse().ok()).flatten();
        self.path = valid.ok_or_else(|| WebSocketError::Path(path.to_owned()))?;
        Ok(self)
    }

    /// Adds a header to the request; one of the handshake, as `Host`, is replaced.
    ///
    /// # Errors
    ///
    /// If name or value have characters that no header has.
    pub fn header(mut self, name: &str, value: &str) -> Result<WebSocket<C>, WebSocketError> {
        let header = name.parse::<HeaderName>().ok().zip(HeaderValue::from_str(value).ok());
        let Some((key, mut value)) = header else {
            return Err(WebSocketError::Header(name.to_owned()));
        };
        // It may well be a secret.
        value.set_sensitive(true);
        self.headers.append(key, value);
        Ok(self)
    }

    /// Sets the largest message to take, in bytes; default 16 MiB.
    ///
    /// A message of WebSocket may have several packets of MQTT, or a part of one. A server that sends a
    /// longer one loses the connection.
    pub fn max_message_size(mut self, bytes: usize) -> WebSocket<C> {
        self.max_message_size = bytes;
        self
    }

    /// Sets a hook that may change the request of each attempt: sign it, add a fresh token.
    ///
    /// It runs before the transport is made, and has
    /// [`stage_timeouts.websocket`](crate::StageTimeouts::websocket) for it. Of the URI, only path and query
    /// are sent. An error is an [`Error::Connect`](crate::Error::Connect).
    ///
    /// ```
    /// # async fn fetch_token() -> std::io::Result<String> { Ok(String::new()) }
    /// # fn example<C>(connector: mqtt_async::WebSocket<C>) -> mqtt_async::WebSocket<C> {
    /// connector.edit_request(|mut request| async {
    ///     let token = fetch_token().await?;
    ///     request.headers_mut().insert("authorization", format!("Bearer {token}").parse()?);
    ///     Ok(request)
    /// })
    /// # }
    /// ```
    pub fn edit_request<F, Fut>(mut self, hook: F) -> WebSocket<C>
    where
        F: Fn(WebSocketRequest) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<WebSocketRequest, HookError>> + Send + 'static,
    {
        self.edit = Some(Arc::new(move |request| Box::pin(hook(request))));
        self
    }

    fn request(&self, address: Option<&Address>) -> Result<WebSocketRequest, http::Error> {
        let host = match address {
            None => "localhost".to_owned(),
            // The usual ports are left out, as browsers do it: signatures count on that.
            Some(address) if matches!(address.port(), 80 | 443) => {
                let shown = address.to_string();
                shown.rsplit_once(':').map_or_else(String::new, |(host, _)| host.to_owned())
            }
            Some(address) => address.to_string(),
        };
        let mut request = Request::builder()
            .uri(format!("ws://{host}{}", self.path))
            .header("Host", host)
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", generate_key())
            .header("Sec-WebSocket-Protocol", "mqtt")
            .body(())?;
        for name in self.headers.keys() {
            request.headers_mut().remove(name);
        }
        for (name, value) in &self.headers {
            request.headers_mut().append(name, value.clone());
        }
        Ok(request)
    }

    fn config(&self) -> WebSocketConfig {
        WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            // Each frame goes to the transport at once: what that does not take, holds the driver back.
            .write_buffer_size(0)
            .max_message_size(Some(self.max_message_size))
            .max_frame_size(Some(self.max_message_size))
    }
}

/// Gives a request that was edited a URI that has all its parts, of which only path and query are sent.
fn whole(mut request: WebSocketRequest) -> Result<WebSocketRequest, WebSocketError> {
    let path = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
    let uri = format!("ws://localhost{path}").parse();
    *request.uri_mut() = uri.map_err(|_| WebSocketError::Path(path.to_owned()))?;
    Ok(request)
}

/// Shows no headers.
impl<C: fmt::Debug> fmt::Debug for WebSocket<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket")
            .field("inner", &self.inner)
            .field("path", &self.path.path())
            .finish_non_exhaustive()
    }
}

impl<C> Connector for WebSocket<C>
where
    C: Connector<Io: Send + 'static, Connecting: Send + 'static>,
{
    type Io = WebSocketStream<C::Io>;
    type Connecting = Pin<Box<dyn Future<Output = io::Result<Self::Io>> + Send>>;

    fn connect(&mut self, progress: &Progress) -> Self::Connecting {
        let address = self.inner.address();
        let request = self.request(address.as_ref());
        let config = self.config();
        let edit = self.edit.clone();
        let inner = self.inner.connect(progress);
        let progress = progress.clone();
        Box::pin(async move {
            let mut request = request.map_err(|error| WebSocketError::Request(Arc::new(error)))?;
            if let Some(edit) = edit {
                progress.enter(ConnectStage::WebSocket);
                request = whole(edit(request).await.map_err(io::Error::other)?)?;
            }
            let io = inner.await?;
            progress.enter(ConnectStage::WebSocket);
            let handshake = client_async_with_config(request, io, Some(config)).await;
            let (stream, _) = handshake.map_err(error::in_handshake)?;
            Ok(WebSocketStream::new(stream))
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

//! WebSocket in the role of the server.

use std::io;

use async_tungstenite::accept_hdr_async_with_config;
use async_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use async_tungstenite::tungstenite::http::{HeaderValue, StatusCode, header};
use async_tungstenite::tungstenite::protocol::WebSocketConfig;
use mqtt_async::{AnyTransport, WebSocketStream};

/// How much is read from the transport at once. It is held for each connection, idle ones too.
const READ_BUFFER: usize = 16 * 1024;

/// How much longer than the largest packet a message may be: it may have several.
const ROOM: usize = 64 * 1024;

/// The names of the subprotocol, the best first: MQTT-6.0.0-3, and an older one that clients of 3.1 offer.
const PROTOCOLS: [&str; 2] = ["mqtt", "mqttv3.1"];

pub(super) async fn accept(stream: AnyTransport, largest: u32) -> io::Result<AnyTransport> {
    let longest = usize::try_from(largest).unwrap_or(usize::MAX).saturating_add(ROOM);
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        // Each frame goes to the transport at once: what that does not take, holds the connection back.
        .write_buffer_size(0)
        .max_message_size(Some(longest))
        .max_frame_size(Some(longest));
    let accepted = accept_hdr_async_with_config(stream, choose, Some(config)).await;
    Ok(Box::new(WebSocketStream::new(accepted.map_err(io::Error::other)?)))
}

/// Chooses the subprotocol, or refuses a client that offers none for MQTT.
#[expect(clippy::result_large_err, reason = "the signature is that of the library")]
fn choose(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let offered = request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL);
    let offered = offered.iter().filter_map(|value| value.to_str().ok());
    let offered: Vec<&str> = offered.flat_map(|value| value.split(',')).map(str::trim).collect();
    let Some(chosen) = PROTOCOLS.into_iter().find(|name| offered.contains(name)) else {
        let mut refusal = ErrorResponse::new(Some("offer the subprotocol mqtt\n".to_owned()));
        *refusal.status_mut() = StatusCode::BAD_REQUEST;
        return Err(refusal);
    };
    let chosen = HeaderValue::from_static(chosen);
    response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, chosen);
    Ok(response)
}

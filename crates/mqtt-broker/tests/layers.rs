//! TLS and WebSocket in front of the broker: with our client, and with peers that get them wrong.
#![cfg(all(feature = "async-io", feature = "tls", feature = "tokio", feature = "websocket"))]

#[path = "../../mqtt-async/tests/common/certificates.rs"]
mod certificates;
mod support;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_tungstenite::tungstenite::handshake::client::generate_key;
use async_tungstenite::tungstenite::http::Request;
use async_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use async_tungstenite::tungstenite::{Error, Message};
use async_tungstenite::{WebSocketStream, client_async};
use bytes::Buf;
use certificates::{Authority, Identity, Valid};
use futures_lite::{AsyncReadExt, AsyncWriteExt, StreamExt};
use mqtt_async::{
    AnyConnector, Client, Config, QoS, Tcp, Tls, TlsConfig, TokioTcp, Version, WebSocket,
};
use mqtt_broker::{
    Broker, BrokerConfig, ClientInfo, Hooks, Layers, Peer as From, TlsError, TlsIdentity, TokioIo,
    TokioTimer,
};
use mqtt_proto::{Connect, ReasonCode, TxBuf};
use smol::net::TcpStream;
use support::*;

/// An authority, and who it has signed.
struct Pki {
    authority: Authority,
    server: Identity,
    client: Identity,
}

impl Pki {
    fn new() -> Pki {
        let authority = Authority::new("test authority");
        let server = authority.sign(&["localhost", "127.0.0.1"], "localhost", Valid::Now);
        let client = authority.sign(&[], "a client", Valid::Now);
        Pki { authority, server, client }
    }

    fn identity(&self) -> TlsIdentity {
        TlsIdentity::pem(self.server.certificate.as_bytes(), self.server.key.as_bytes()).unwrap()
    }

    fn tls(&self) -> Layers {
        Layers::new().tls(self.identity().build().unwrap())
    }

    fn trust(&self) -> TlsConfig {
        TlsConfig::own_roots().ca(self.authority.certificate.as_bytes()).unwrap()
    }
}

/// Runs the body with a broker for which time passes when it says so.
fn timed(config: BrokerConfig, body: impl AsyncFn(Broker, Manual)) {
    guard(async {
        let time = Manual::new();
        let (broker, driver) = Broker::with_timer(config, time.clone());
        let _driver = smol::spawn(Watched(driver));
        body(broker, time).await;
    });
}

/// Notes where clients come from.
#[derive(Default)]
struct Note(Arc<Mutex<Vec<From>>>);

impl Hooks for Note {
    fn connected(&self, client: &ClientInfo, _resumed: bool) {
        self.0.lock().unwrap().push(From::clone(&client.peer));
    }
}

/// A client that talks to itself, and leaves.
async fn talk(connector: AnyConnector, version: Version) {
    let config = Config::new(version).client_id("talker").unwrap();
    let (client, driver) = Client::new(config, connector);
    let driver = smol::spawn(driver);
    converse(client).await;
    driver.await.unwrap();
}

async fn converse(client: Client) {
    let mut messages = client.messages();
    client.subscribe("t", QoS::ExactlyOnce).unwrap().await.unwrap();
    for qos in EACH_QOS {
        for size in [0, 1, 100, 900_000] {
            client.publish("t", vec![7; size], qos).unwrap().await.unwrap();
            let message = messages.next().await.unwrap();
            assert_eq!((message.qos(), message.payload().len()), (qos, size));
        }
    }
    client.disconnect().await.unwrap();
}

#[cfg(unix)]
#[test]
fn our_client_comes_through_layers_over_a_unix_socket() {
    use mqtt_async::Unix;

    let pki = Pki::new();
    let folder = std::env::temp_dir().join(format!("mqtt-layers-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    timed(BrokerConfig::default(), async |broker, _| {
        let [ws, tls] = ["ws", "tls"].map(|name| folder.join(name));
        broker.listen_unix_with(&ws, Layers::new().websocket()).unwrap();
        broker.listen_unix_with(&tls, pki.tls()).unwrap();
        talk(AnyConnector::new(WebSocket::new(Unix::new(ws))), Version::V5).await;
        let tls = Tls::new(Unix::new(tls), pki.trust().build().unwrap());
        talk(AnyConnector::new(tls.server_name("localhost").unwrap()), Version::V5).await;
    });
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn our_client_comes_through_each() {
    let pki = Pki::new();
    let seen = Arc::default();
    let config = BrokerConfig::default().hooks(Note(Arc::clone(&seen)));
    timed(config, async |broker, _| {
        let mutual = pki.identity().client_ca(pki.authority.certificate.as_bytes()).unwrap();
        let mutual = Layers::new().tls(mutual.build().unwrap());
        let listen = |layers| broker.listen_with("127.0.0.1:0", layers).unwrap().port();
        let [tls, mutual, ws, wss] = [
            listen(pki.tls()),
            listen(mutual),
            listen(Layers::new().websocket()),
            listen(pki.tls().websocket()),
        ];
        let tcp = |port| Tcp::new("localhost", port);
        let trusting = pki.trust().build().unwrap();
        let (certificate, key) = (pki.client.certificate.as_bytes(), pki.client.key.as_bytes());
        let known = pki.trust().identity(certificate, key).unwrap().build().unwrap();
        for version in ALL {
            for (shows, connector) in [
                (0, AnyConnector::new(Tls::new(tcp(tls), Arc::clone(&trusting)))),
                (1, AnyConnector::new(Tls::new(tcp(mutual), Arc::clone(&known)))),
                (0, AnyConnector::new(WebSocket::new(tcp(ws)))),
                (0, AnyConnector::new(WebSocket::new(Tls::new(tcp(wss), Arc::clone(&trusting))))),
            ] {
                talk(connector, version).await;
                let peer = seen.lock().unwrap().pop().unwrap();
                assert!(peer.address.is_some_and(|address| address.ip().is_loopback()));
                assert_eq!(peer.certificates.len(), shows);
            }
        }
        broker.shutdown();
        until(&broker, |stats| stats.connections == 0).await;
    });
}

#[test]
fn tokio_alone_will_do() {
    let pki = Pki::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(guarded(async {
        let (broker, driver) = Broker::with_timer(BrokerConfig::default(), TokioTimer::new());
        let driver = tokio::spawn(driver);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (accepting, layers) = (broker.clone(), pki.tls().websocket());
        let accept = tokio::spawn(async move {
            while let Ok((stream, address)) = listener.accept().await {
                let peer = From::from_address(address);
                accepting.attach_with(TokioIo::new(stream), peer, &layers);
            }
        });
        let tls = Tls::new(TokioTcp::new("localhost", port), pki.trust().build().unwrap());
        let config = Config::new(Version::V5);
        let (client, ours) = Client::with_timer(config, WebSocket::new(tls), TokioTimer::new());
        let ours = tokio::spawn(ours);
        converse(client).await;
        ours.await.unwrap().unwrap();
        broker.shutdown();
        driver.await.unwrap();
        accept.abort();
    }));
}

#[test]
fn a_client_without_a_certificate_is_not_let_in_where_one_is_wanted() {
    let pki = Pki::new();
    timed(BrokerConfig::default(), async |broker, _| {
        let mutual = pki.identity().client_ca(pki.authority.certificate.as_bytes()).unwrap();
        let layers = Layers::new().tls(mutual.build().unwrap());
        let port = broker.listen_with("127.0.0.1:0", layers).unwrap().port();
        let trusting = pki.trust().build().unwrap();
        let mut config = Config::new(Version::V5);
        config.reconnect = None;
        let connector = Tls::new(Tcp::new("127.0.0.1", port), trusting);
        let (_client, driver) = Client::new(config, connector);
        let error = driver.await.unwrap_err();
        assert!(error.to_string().contains("CertificateRequired"), "{error}");
        until(&broker, |stats| stats.connections == 0).await;
    });
}

/// One of each kind of listener that has a handshake.
fn slow_listeners(broker: &Broker) -> [SocketAddr; 2] {
    let layers = [Pki::new().tls(), Layers::new().websocket()];
    layers.map(|layers| broker.listen_with("127.0.0.1:0", layers).unwrap())
}

async fn closed(mut stream: TcpStream) {
    let mut rest = Vec::new();
    // With unread bytes it is an RST.
    let _ = stream.read_to_end(&mut rest).await;
}

#[test]
fn a_slow_handshake_ends_in_time_and_holds_nobody_up() {
    let config = BrokerConfig::default();
    let limit = config.session.connect_timeout;
    timed(config, async |broker, time| {
        let addresses = slow_listeners(&broker);
        let plain = broker.listen("127.0.0.1:0").unwrap();
        // One that says nothing, and one that begins and stops.
        let mut slow = Vec::new();
        for address in addresses {
            for begin in [&b""[..], b"\x16\x03\x01", b"GET /mqtt HT"] {
                let mut stream = TcpStream::connect(address).await.unwrap();
                stream.write_all(begin).await.unwrap();
                slow.push(stream);
            }
        }
        // What is no TLS, or no HTTP, is refused at once.
        for wrong in [4, 2] {
            closed(slow.remove(wrong)).await;
        }
        until(&broker, |stats| stats.connections == 4).await;
        talk(AnyConnector::new(Tcp::new("127.0.0.1", plain.port())), Version::V5).await;
        talk(
            AnyConnector::new(WebSocket::new(Tcp::new("127.0.0.1", addresses[1].port()))),
            Version::V5,
        )
        .await;
        time.advance(limit - Duration::from_millis(1));
        until(&broker, |stats| stats.connections == 4).await;
        time.advance(Duration::from_millis(1));
        for stream in slow {
            closed(stream).await;
        }
        until(&broker, |stats| stats.connections == 0).await;
    });
}

#[test]
fn a_handshake_counts_as_a_connection() {
    let mut config = BrokerConfig::default();
    config.max_connections = 2;
    timed(config, async |broker, _| {
        let addresses = slow_listeners(&broker);
        let mut held = Vec::new();
        for address in addresses {
            held.push(TcpStream::connect(address).await.unwrap());
        }
        until(&broker, |stats| stats.connections == 2).await;
        for address in addresses {
            closed(TcpStream::connect(address).await.unwrap()).await;
        }
        assert_eq!(broker.stats().connections_refused, 2);
        // The end of the broker does not wait for them.
        broker.shutdown();
        for stream in held {
            closed(stream).await;
        }
    });
}

async fn websocket(
    address: SocketAddr,
    protocols: &str,
) -> Result<WebSocketStream<TcpStream>, Error> {
    let stream = TcpStream::connect(address).await.unwrap();
    let mut request = Request::builder()
        .uri(format!("ws://{address}/anything?at=all"))
        .header("Host", address.to_string())
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", generate_key());
    if !protocols.is_empty() {
        request = request.header("Sec-WebSocket-Protocol", protocols);
    }
    let (stream, response) = client_async(request.body(()).unwrap(), stream).await?;
    let chosen = response.headers().get("Sec-WebSocket-Protocol").unwrap();
    assert!(protocols.split(", ").any(|name| chosen == name), "{chosen:?}");
    Ok(stream)
}

// covers: v5 MQTT-6.0.0-3, v3 MQTT-6.0.0-3, v5 MQTT-6.0.0-4, v3 MQTT-6.0.0-4
#[test]
fn a_websocket_has_to_be_for_mqtt() {
    timed(BrokerConfig::default(), async |broker, _| {
        let address = broker.listen_with("127.0.0.1:0", Layers::new().websocket()).unwrap();
        for refused in ["", "chat", "mqttv5"] {
            match websocket(address, refused).await {
                Err(Error::Http(answer)) => assert_eq!(answer.status(), 400, "{refused}"),
                other => panic!("{refused}: {other:?}"),
            }
        }
        for accepted in ["mqtt", "mqttv3.1", "chat, mqttv3.1, mqtt"] {
            websocket(address, accepted).await.unwrap();
        }
        until(&broker, |stats| stats.connections == 0).await;
    });
}

fn connect() -> Vec<u8> {
    connect_bytes(Version::V5, Connect { clean_start: true, ..Connect::default() })
}

async fn next(stream: &mut WebSocketStream<TcpStream>) -> Option<Message> {
    stream.next().await.map(Result::unwrap)
}

// covers: v5 MQTT-6.0.0-1, v3 MQTT-6.0.0-1
#[test]
fn text_is_refused() {
    timed(BrokerConfig::default(), async |broker, _| {
        let address = broker.listen_with("127.0.0.1:0", Layers::new().websocket()).unwrap();
        let mut stream = websocket(address, "mqtt").await.unwrap();
        stream.send(Message::Binary(connect().into())).await.unwrap();
        assert!(matches!(next(&mut stream).await, Some(Message::Binary(_))), "CONNACK");
        stream.send(Message::Text("\u{c0}\0".into())).await.unwrap();
        loop {
            match next(&mut stream).await {
                Some(Message::Close(Some(frame))) => {
                    break assert_eq!(frame.code, CloseCode::Unsupported);
                }
                Some(_) => {}
                None => panic!("it does not say why"),
            }
        }
        drop(stream);
        until(&broker, |stats| stats.connections == 0).await;
    });
}

// covers: v5 MQTT-6.0.0-2, v3 MQTT-6.0.0-2
#[test]
fn packets_span_and_share_messages_and_pings_are_answered() {
    timed(BrokerConfig::default(), async |broker, _| {
        let address = broker.listen_with("127.0.0.1:0", Layers::new().websocket()).unwrap();
        let mut stream = websocket(address, "mqtt").await.unwrap();
        // CONNECT byte by byte, with a ping in between, and two PINGREQ with its last byte.
        let bytes = connect();
        let (last, first) = bytes.split_last().unwrap();
        for byte in first {
            stream.send(Message::Binary(vec![*byte].into())).await.unwrap();
        }
        stream.send(Message::Ping(vec![1].into())).await.unwrap();
        stream.send(Message::Binary(vec![*last, 0xC0, 0, 0xC0, 0].into())).await.unwrap();
        let (mut got, mut pongs) = (Vec::new(), 0);
        while !got.ends_with(&[0xD0, 0, 0xD0, 0]) {
            match next(&mut stream).await.unwrap() {
                Message::Binary(bytes) => got.extend_from_slice(&bytes),
                Message::Pong(payload) => pongs += payload.len(),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((got[0], pongs), (0x20, 1));
        // A polite end is answered with one.
        stream.close(None).await.unwrap();
        assert!(matches!(next(&mut stream).await, Some(Message::Close(_)) | None));
        until(&broker, |stats| stats.connections == 0).await;
    });
}

#[test]
fn a_message_that_is_too_long_ends_the_connection() {
    let mut config = BrokerConfig::default();
    config.session.maximum_packet_size = 1000;
    timed(config, async |broker, _| {
        let address = broker.listen_with("127.0.0.1:0", Layers::new().websocket()).unwrap();
        let mut stream = websocket(address, "mqtt").await.unwrap();
        // Only its header: nobody waits for the rest.
        let header = [&[0x82, 0xFF][..], &10_000_000_u64.to_be_bytes(), &[0; 4]].concat();
        stream.get_mut().write_all(&header).await.unwrap();
        until(&broker, |stats| stats.connections == 0).await;
        assert!(!matches!(stream.next().await, Some(Ok(Message::Binary(_)))));
    });
}

#[test]
fn the_end_of_the_broker_is_told_through_the_layers() {
    timed(BrokerConfig::default(), async |broker, _| {
        let address = broker.listen_with("127.0.0.1:0", Layers::new().websocket()).unwrap();
        let mut stream = websocket(address, "mqtt").await.unwrap();
        stream.send(Message::Binary(connect().into())).await.unwrap();
        next(&mut stream).await.unwrap();
        broker.shutdown();
        let mut expected = TxBuf::new();
        let goodbye = mqtt_proto::Disconnect::new(ReasonCode::SERVER_SHUTTING_DOWN);
        let packet = mqtt_proto::Packet::Disconnect(goodbye);
        mqtt_proto::codec::encode(&packet, Version::V5, &mut expected).unwrap();
        let said = next(&mut stream).await.unwrap();
        assert_eq!(said, Message::Binary(expected.chunk().to_vec().into()));
        assert!(matches!(next(&mut stream).await, Some(Message::Close(_))));
    });
}

#[test]
fn what_is_wrong_with_an_identity_is_told() {
    let pki = Pki::new();
    let (certificate, key) = (pki.server.certificate.as_bytes(), pki.server.key.as_bytes());
    let other = pki.client.key.as_bytes();
    assert!(matches!(TlsIdentity::pem(b"", key), Err(TlsError::NoCertificate { .. })));
    assert!(matches!(TlsIdentity::pem(certificate, certificate), Err(TlsError::NoKey { .. })));
    let wrong = TlsIdentity::pem(certificate, other).unwrap().build();
    assert!(matches!(wrong, Err(TlsError::Config(_))), "{wrong:?}");
    let missing = TlsIdentity::files("/no/such/file", "/none").unwrap_err();
    assert!(missing.to_string().contains("/no/such/file"), "{missing}");
    let shown = format!("{:?} {:?}", pki.identity(), pki.tls().websocket());
    assert!(!shown.contains("KEY") && shown.ends_with(r#"["TLS", "WebSocket"]"#), "{shown}");
}

//! WebSocket: the handshake, the frames, and messages that pass over them.
#![cfg(all(feature = "async-io", feature = "websocket"))]

mod common;

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_tungstenite::tungstenite::Message;
use async_tungstenite::tungstenite::handshake::server::{Request, Response};
use async_tungstenite::tungstenite::protocol::CloseFrame;
use async_tungstenite::tungstenite::protocol::frame::Frame;
use async_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use async_tungstenite::{WebSocketStream as Ws, accept_hdr_async};
use common::layers::{Dial, exercise};
use common::pipe::{Pipe, Shape};
use common::served::{Requests, Served, accept};
use futures_io::AsyncRead;
use futures_lite::{AsyncReadExt, AsyncWriteExt, StreamExt};
use mqtt_async::http::HeaderValue;
use mqtt_async::{Address, ConnectStage, Progress, WebSocket, WebSocketError};

// ---- a server ----

/// What a server does with its connection is up to the test; then it reads to the end.
fn dial<Fut>(serve: impl Fn(Ws<Pipe>) -> Fut + Clone + Send + Sync + 'static) -> (Dial, Requests)
where
    Fut: Future<Output = Ws<Pipe>> + Send + 'static,
{
    let requests = Requests::default();
    let noted = Arc::clone(&requests);
    let address = Some(Address::new("broker.example.com", 8083));
    let dial = Dial::new(address, Shape::default(), move |pipe| {
        let (accepting, serve) = (accept(pipe, Arc::clone(&noted)), serve.clone());
        async move {
            let mut ws = serve(accepting.await).await;
            while let Some(Ok(_)) = ws.next().await {}
        }
    });
    (dial, requests)
}

/// Answers the request with these bytes.
fn answering(answer: &'static [u8]) -> Dial {
    let address = Some(Address::new("localhost", 80));
    Dial::new(address, Shape::default(), move |mut pipe| async move {
        let _ = pipe.read(&mut [0; 1000]).await;
        pipe.write_all(answer).await.unwrap();
        pipe.close().await.unwrap();
    })
}

fn connect<T>(
    dial: &Dial,
    mut client: WebSocket<Dial>,
    then: impl AsyncFnOnce(mqtt_async::WebSocketStream<Pipe>) -> T,
) -> io::Result<T> {
    let progress = Progress::default();
    let result = dial.connect(&mut client, &progress, then);
    assert_eq!(progress.stage(), Some(ConnectStage::WebSocket));
    result
}

fn inner(error: &io::Error) -> Option<&WebSocketError> {
    error.get_ref().and_then(|inner| inner.downcast_ref::<WebSocketError>())
}

// ---- the handshake ----

// covers: v5 MQTT-6.0.0-3, v3 MQTT-6.0.0-3
#[test]
fn the_request_asks_for_mqtt_at_the_path_with_the_headers() {
    let (dial, requests) = dial(async |ws| ws);
    connect(&dial, WebSocket::new(dial.clone()), async |_| ()).unwrap();
    let other = WebSocket::new(dial.clone()).path("/a/b?c=d").unwrap();
    let other = other.header("x-tenant", "plant").unwrap().header("Host", "other").unwrap();
    connect(&dial, other, async |_| ()).unwrap();
    let requests = requests.lock().unwrap();
    let header = |at: usize, name: &str| {
        let values = requests[at].headers().get_all(name).iter();
        values.map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(requests[0].uri(), "/mqtt");
    assert_eq!(requests[1].uri(), "/a/b?c=d");
    for at in [0, 1] {
        assert_eq!(header(at, "sec-websocket-protocol"), ["mqtt"]);
    }
    assert_eq!(header(0, "host"), ["broker.example.com:8083"]);
    assert_eq!(
        (header(1, "host"), header(1, "x-tenant")),
        (vec!["other".into()], vec!["plant".into()])
    );
    assert_ne!(header(0, "sec-websocket-key"), header(1, "sec-websocket-key"));
}

#[test]
fn the_host_of_the_request_is_the_one_that_is_connected_to() {
    for (address, host) in [
        (Some(("h", 80)), "h"),
        (Some(("h", 443)), "h"),
        (Some(("h", 8080)), "h:8080"),
        (Some(("::1", 443)), "[::1]"),
        (Some(("::1", 1)), "[::1]:1"),
        (None, "localhost"),
    ] {
        let requests = Requests::default();
        let noted = Arc::clone(&requests);
        let address = address.map(|(host, port)| Address::new(host, port));
        let dial = Dial::new(address, Shape::default(), move |pipe| {
            let accepting = accept(pipe, Arc::clone(&noted));
            async { drop(accepting.await) }
        });
        connect(&dial, WebSocket::new(dial.clone()), async |_| ()).unwrap();
        assert_eq!(requests.lock().unwrap()[0].headers()["host"], host);
    }
}

#[test]
fn what_makes_no_request_is_refused_at_once() {
    let layer = || WebSocket::new(answering(b""));
    for path in ["", "mqtt", "/a b", "http://h/mqtt"] {
        assert!(matches!(layer().path(path), Err(WebSocketError::Path(_))), "{path}");
    }
    for (name, value) in [("", "x"), ("a b", "x"), ("a", "x\r\ny: z"), ("a", "\0")] {
        let error = layer().header(name, value).map(drop).unwrap_err();
        assert!(matches!(error, WebSocketError::Header(_)), "{name} {value}");
    }
    let tcp = WebSocket::new(mqtt_async::Tcp::new("h", 1)).path("/p?secret").unwrap();
    let shown = format!("{:?}", tcp.header("authorization", "secret").unwrap());
    assert!(!shown.contains("secret"), "{shown}");
}

#[test]
fn a_hook_edits_the_request_of_each_attempt() {
    let (dial, requests) = dial(async |ws| ws);
    let count = Arc::new(AtomicUsize::new(0));
    let client = WebSocket::new(dial.clone()).edit_request(move |mut request| {
        let number = count.fetch_add(1, Ordering::Relaxed);
        async move {
            futures_lite::future::yield_now().await;
            if number == 2 {
                return Err(io::Error::other("no token").into());
            }
            *request.uri_mut() = format!("/mqtt?signature={number}").parse()?;
            request.headers_mut().insert("x-number", number.into());
            Ok(request)
        }
    });
    for number in 0..2 {
        connect(&dial, client.clone(), async |_| ()).unwrap();
        let requests = requests.lock().unwrap();
        assert_eq!(*requests[number].uri(), *format!("/mqtt?signature={number}"));
        assert_eq!(requests[number].headers()["x-number"], number.to_string());
    }
    let error = connect(&dial, client.clone(), async |_| ()).unwrap_err();
    assert_eq!(error.to_string(), "no token");
    assert_eq!(requests.lock().unwrap().len(), 2);
}

#[test]
fn what_is_no_websocket_for_mqtt_is_told_apart() {
    const NO_SUBPROTOCOL: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n";
    for (answer, kind, words) in [
        (&b""[..], ErrorKind::UnexpectedEof, "is this a port for WebSocket?"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", ErrorKind::ConnectionRefused, "is the path right?"),
        (b"HTTP/1.1 401 No\r\n\r\n", ErrorKind::PermissionDenied, "other credentials"),
        (b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n", ErrorKind::ConnectionRefused, "redirects"),
        (b"\x20\x02\x00\x00", ErrorKind::InvalidData, "the WebSocket failed"),
        (NO_SUBPROTOCOL, ErrorKind::InvalidData, "Sec-WebSocket-Accept"),
    ] {
        let dial = answering(answer);
        let error = connect(&dial, WebSocket::new(dial.clone()), async |_| ()).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(inner(&error).is_some(), "{error:?}");
    }
}

// covers: v5 MQTT-6.0.0-4, v3 MQTT-6.0.0-4
#[test]
fn a_server_that_does_not_choose_mqtt_is_left() {
    for protocol in [None, Some("other")] {
        let address = Some(Address::new("localhost", 80));
        let dial = Dial::new(address, Shape::default(), move |pipe| async move {
            #[allow(clippy::result_large_err, reason = "the signature of the callback")]
            let callback = move |_: &Request, mut response: Response| {
                if let Some(protocol) = protocol {
                    let value = HeaderValue::from_static(protocol);
                    response.headers_mut().insert("sec-websocket-protocol", value);
                }
                Ok(response)
            };
            drop(accept_hdr_async(pipe, callback).await);
        });
        let error = connect(&dial, WebSocket::new(dial.clone()), async |_| ()).unwrap_err();
        assert!(matches!(inner(&error), Some(WebSocketError::NoMqtt)), "{error:?}");
    }
}

// ---- frames ----

async fn send(ws: &mut Ws<Pipe>, message: Message) {
    ws.send(message).await.unwrap();
}

async fn read(io: &mut (impl AsyncRead + Unpin), count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    io.read_exact(&mut bytes).await.unwrap();
    bytes
}

// covers: v5 MQTT-6.0.0-2, v3 MQTT-6.0.0-2
// class: 11
#[test]
fn bytes_come_in_frames_of_any_size_and_go_out_one_frame_at_a_time() {
    let (dial, _) = dial(async |mut ws| {
        // What was written at once is one frame.
        let Some(Ok(Message::Binary(frame))) = ws.next().await else { panic!("no frame") };
        assert_eq!(frame, "onetwothree");
        send(&mut ws, Message::binary("a")).await;
        send(&mut ws, Message::binary("")).await;
        send(&mut ws, Message::binary("bcdef")).await;
        // A message in three frames, with a ping in between.
        let part = |bytes: &'static str, code, last| {
            Message::Frame(Frame::message(bytes, OpCode::Data(code), last))
        };
        send(&mut ws, part("gh", Data::Binary, false)).await;
        send(&mut ws, Message::Ping("1".into())).await;
        send(&mut ws, part("", Data::Continue, false)).await;
        send(&mut ws, part("i", Data::Continue, true)).await;
        ws
    });
    let bytes = connect(&dial, WebSocket::new(dial.clone()), async |mut io| {
        let parts = [IoSlice::new(b"one"), IoSlice::new(b""), IoSlice::new(b"twothree")];
        assert_eq!(io.write_vectored(&parts).await.unwrap(), 11);
        io.flush().await.unwrap();
        let mut bytes = read(&mut io, 3).await;
        bytes.extend(read(&mut io, 6).await);
        bytes
    });
    assert_eq!(bytes.unwrap(), b"abcdefghi");
}

#[test]
fn pings_are_answered_by_a_client_that_only_reads() {
    let (dial, _) = dial(async |mut ws| {
        for payload in ["first", "second"] {
            send(&mut ws, Message::Ping(payload.into())).await;
            let Some(Ok(Message::Pong(pong))) = ws.next().await else { panic!("no pong") };
            assert_eq!(pong, payload);
        }
        send(&mut ws, Message::Pong("unasked".into())).await;
        send(&mut ws, Message::binary("x")).await;
        ws
    });
    let byte = connect(&dial, WebSocket::new(dial.clone()), async |mut io| read(&mut io, 1).await);
    assert_eq!(byte.unwrap(), b"x");
}

#[test]
fn a_flood_of_pings_lets_others_run() {
    let (dial, _) = dial(async |mut ws| {
        for _ in 0..1000 {
            send(&mut ws, Message::Ping("".into())).await;
        }
        send(&mut ws, Message::binary("x")).await;
        ws
    });
    connect(&dial, WebSocket::new(dial.clone()), async |mut io| {
        // Everything is there before the client looks.
        for _ in 0..10_000 {
            futures_lite::future::yield_now().await;
        }
        let mut polls = 0;
        let mut byte = [0];
        std::future::poll_fn(|cx| {
            polls += 1;
            Pin::new(&mut io).poll_read(cx, &mut byte)
        })
        .await
        .unwrap();
        assert!(polls > 10, "{polls}");
    })
    .unwrap();
}

// covers: v5 MQTT-6.0.0-1, v3 MQTT-6.0.0-1
#[test]
fn text_is_refused() {
    let told = Arc::new(Mutex::new(None));
    let telling = Arc::clone(&told);
    let (dial, _) = dial(move |mut ws| {
        let telling = Arc::clone(&telling);
        async move {
            send(&mut ws, Message::text("x")).await;
            *telling.lock().unwrap() = ws.next().await;
            ws
        }
    });
    connect(&dial, WebSocket::new(dial.clone()), async |mut io| {
        let error = io.read(&mut [0]).await.unwrap_err();
        assert!(matches!(inner(&error), Some(WebSocketError::Text)), "{error:?}");
        // It is over.
        assert!(io.write(b"x").await.is_err());
        while told.lock().unwrap().is_none() {
            futures_lite::future::yield_now().await;
        }
    })
    .unwrap();
    let told = told.lock().unwrap().take();
    let Some(Ok(Message::Close(Some(close)))) = told else { panic!("{told:?}") };
    assert_eq!(close.code, CloseCode::Unsupported);
}

#[test]
fn a_message_over_the_limit_is_refused_by_its_header_and_in_parts() {
    for parts in [1, 3] {
        let (dial, _) = dial(move |mut ws| async move {
            send(&mut ws, Message::binary(vec![7; 100])).await;
            for part in 0..parts {
                let code = if part == 0 { Data::Binary } else { Data::Continue };
                let bytes = vec![7; 120 / parts];
                let frame = Frame::message(bytes, OpCode::Data(code), part + 1 == parts);
                send(&mut ws, Message::Frame(frame)).await;
            }
            ws
        });
        let client = WebSocket::new(dial.clone()).max_message_size(100);
        connect(&dial, client, async |mut io| {
            assert_eq!(read(&mut io, 100).await, [7; 100]);
            let error = io.read(&mut [0]).await.unwrap_err();
            assert!(matches!(inner(&error), Some(WebSocketError::Protocol(_))), "{error:?}");
            assert!(error.to_string().contains("too long"), "{error}");
        })
        .unwrap();
    }
}

#[test]
fn ends_are_told_apart() {
    let close = |code| Some(CloseFrame { code, reason: "because".into() });
    for (how, fault) in [
        (Some(None), None),
        (Some(close(CloseCode::Normal)), None),
        (Some(close(CloseCode::Away)), None),
        (Some(close(CloseCode::Policy)), Some("code 1008: \"because\"")),
        // Without a word.
        (None, None),
    ] {
        let (dial, _) = dial(move |mut ws| {
            let how = how.clone();
            async move {
                match how {
                    Some(frame) => send(&mut ws, Message::Close(frame)).await,
                    None => ws.get_mut().close().await.unwrap(),
                }
                ws
            }
        });
        connect(&dial, WebSocket::new(dial.clone()), async |mut io| {
            match (io.read(&mut [0]).await, fault) {
                (Ok(0), None) => assert_eq!(io.read(&mut [0]).await.unwrap(), 0),
                (Err(error), Some(words)) => assert!(error.to_string().contains(words), "{error}"),
                other => panic!("{other:?}"),
            }
        })
        .unwrap();
    }
}

#[test]
fn closing_says_so_and_reads_on() {
    let (dial, _) = dial(async |mut ws| {
        assert!(matches!(ws.next().await, Some(Ok(Message::Binary(_)))));
        // Before it has read the Close frame.
        send(&mut ws, Message::binary("late")).await;
        assert!(matches!(ws.next().await, Some(Ok(Message::Close(_)))));
        ws
    });
    connect(&dial, WebSocket::new(dial.clone()), async |mut io| {
        io.write_all(b"last words").await.unwrap();
        io.close().await.unwrap();
        assert_eq!(read(&mut io, 4).await, b"late");
        assert_eq!(io.read(&mut [0]).await.unwrap(), 0);
        assert!(io.write(b"x").await.is_err());
        io.close().await.unwrap();
    })
    .unwrap();
}

// ---- messages ----

// class: 11, class: 12
#[test]
fn messages_pass_however_frames_are_cut() {
    // A handshake in smaller parts is taken for an attack.
    exercise("localhost", 7, WebSocket::new, Served::accept);
}

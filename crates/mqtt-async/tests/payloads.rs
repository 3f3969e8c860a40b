//! Payloads: large ones are never copied, small ones keep no block alive, and what is too large is named.

mod common;

use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use common::bench::{Bench, config, lasting};
use common::pipe::{Pipe, Shape};
use common::server::{Seen, Server};
use common::streams::{acked, push, reconnect};
use futures_io::{AsyncRead, AsyncWrite};
use mqtt_async::{
    Client, Config, Connector, Error, Failure, Progress, PublishError, QoS, ReasonCode, TokenError,
    Version,
};

const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];
const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

/// Where bytes lay that went through a transport: address and length.
#[derive(Default)]
struct Places {
    read: Vec<(usize, usize)>,
    written: Vec<(usize, usize)>,
}

impl Places {
    /// How many bytes were written from a payload, and how many from elsewhere.
    fn written_from(&self, payload: &[u8]) -> (usize, usize) {
        let own = payload.as_ptr() as usize..payload.as_ptr() as usize + payload.len();
        let (inside, outside): (Vec<_>, Vec<_>) =
            self.written.iter().partition(|(place, _)| own.contains(place));
        [inside, outside].map(|all| all.iter().map(|(_, len)| len).sum()).into()
    }
}

struct Noting(Pipe, Arc<Mutex<Places>>);

impl AsyncRead for Noting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.0).poll_read(cx, buffer);
        if let Poll::Ready(Ok(count)) = poll {
            self.1.lock().unwrap().read.push((buffer.as_ptr() as usize, count));
        }
        poll
    }
}

impl AsyncWrite for Noting {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.0).poll_write_vectored(cx, slices);
        if let Poll::Ready(Ok(mut count)) = poll {
            for slice in slices {
                let part = slice.len().min(count);
                self.1.lock().unwrap().written.push((slice.as_ptr() as usize, part));
                count -= part;
            }
        }
        poll
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}

fn noting(config: Config) -> (Bench, Arc<Mutex<Places>>) {
    let places: Arc<Mutex<Places>> = Arc::default();
    let noted = Arc::clone(&places);
    let made = Bench::with(Server::new(), Shape::default(), |mut dial, clock| {
        let connector = move || {
            let (io, places) = (dial.connect(&Progress::default()), Arc::clone(&noted));
            async move { Ok(Noting(io.await?, places)) }
        };
        let (client, driver) = Client::with_timer(config, connector, clock);
        Ok::<_, Infallible>((client, driver, ()))
    });
    let Ok((mut bench, ())) = made;
    bench.settle();
    (bench, places)
}

#[test]
fn a_large_payload_is_written_from_where_it_lies() {
    for version in VERSIONS {
        for qos in QOS {
            let (mut bench, places) = noting(lasting(version));
            bench.server.script(|script| script.hold_acks = true);
            let payload = Bytes::from(vec![7; 300_000]);
            let token = bench.client().publish("t", payload.clone(), qos).unwrap();
            bench.settle();
            let (own, other) = places.lock().unwrap().written_from(&payload);
            assert_eq!(own, payload.len(), "{version} {qos}");
            assert!(other < 100, "{version} {qos}: {other}");
            // Also when it is sent again.
            reconnect(&mut bench);
            bench.server.script(|script| script.hold_acks = false);
            bench.done(token).unwrap();
            let (own, other) = places.lock().unwrap().written_from(&payload);
            let times = if qos == QoS::AtMostOnce { 1 } else { 2 };
            assert_eq!(own, times * payload.len(), "{version} {qos}");
            assert!(other < 200, "{version} {qos}: {other}");
        }
    }
}

#[test]
fn a_large_payload_is_handed_over_where_it_was_read_and_forwarded_from_there() {
    for version in VERSIONS {
        let (mut bench, places) = noting(config(version));
        let mut messages = bench.client().messages();
        let mut in_place = 0;
        for number in 0..30 {
            push(&bench, "in", (number % 10).to_string().repeat(10_000), QoS::AtLeastOnce);
        }
        bench.settle();
        while let Some(message) = messages.try_next() {
            let payload = message.payload();
            assert_eq!(payload.as_ptr(), message.payload_bytes().as_ptr());
            let place = payload.as_ptr() as usize;
            // Read as a whole, in one piece.
            let is_there =
                |(at, len): &(usize, usize)| *at <= place && place + payload.len() <= at + len;
            in_place += usize::from(places.lock().unwrap().read.iter().any(is_there));
            let forward = message.to_publish().unwrap();
            assert_eq!(forward.payload.as_ptr(), payload.as_ptr());
            let token = bench.client().send(forward).unwrap();
            bench.done(token).unwrap();
            let mut places = places.lock().unwrap();
            assert_eq!(places.written_from(&payload).0, payload.len(), "{version}");
            places.written.clear();
        }
        // What came in two reads stands in one piece all the same, so some of it was moved.
        assert!(in_place >= 15, "{version}: {in_place} of 30");
    }
}

#[test]
fn the_threshold_is_what_the_configuration_says() {
    for (copy_up_to, size, owned) in [
        (1024, 1000, true),
        (1024, 1100, false),
        (0, 10, false),
        (5000, 4900, true),
        (usize::MAX, 20_000, true),
    ] {
        for stream in [false, true] {
            let mut config = config(Version::V5);
            config.copy_up_to = copy_up_to;
            let mut bench = Bench::connected(config);
            let mut messages = bench.client().messages();
            let mut listener = stream.then(|| common::streams::listen(&mut bench, "t"));
            for payload in ["x", "y"] {
                push(&bench, "t", payload.repeat(size), QoS::AtMostOnce);
            }
            bench.settle();
            let [message, neighbour] = [(); 2].map(|()| match &mut listener {
                Some(listener) => listener.try_next().unwrap(),
                None => messages.try_next().unwrap(),
            });
            let payload = message.payload();
            drop(message);
            // Alone in its memory, it can be taken back as bytes that may be written to.
            assert_eq!(payload.try_into_mut().is_ok(), owned, "{copy_up_to} {size}");
            drop(neighbour);
        }
    }
}

#[test]
fn what_is_owned_keeps_no_block_and_can_be_acknowledged() {
    for qos in QOS {
        let mut config = config(Version::V5);
        config.manual_ack = true;
        let mut bench = Bench::connected(config);
        let mut messages = bench.client().messages();
        // They are read with one block.
        for payload in ["w", "x", "y"] {
            push(&bench, "t", payload.repeat(1200), qos);
        }
        bench.settle();
        let [first, message, neighbour] = [(); 3].map(|()| messages.try_next().unwrap());
        let payload = first.payload();
        first.ack();
        assert!(payload.try_into_mut().is_err(), "it shares the block");
        bench.settle();
        let before = acked(&bench);
        let message = message.into_owned();
        assert_eq!((message.topic(), message.payload_bytes()), ("t", [b'x'; 1200].as_slice()));
        assert_eq!(message.qos(), qos);
        bench.settle();
        if qos != QoS::AtMostOnce {
            assert_eq!((before, acked(&bench)), (1, 1));
        }
        let payload = message.payload();
        message.reject(ReasonCode::QUOTA_EXCEEDED);
        assert!(payload.try_into_mut().is_ok());
        bench.settle();
        if qos != QoS::AtMostOnce {
            assert!(bench.server.seen().contains(&Seen::Acked(ReasonCode::QUOTA_EXCEEDED)));
        }
        drop(neighbour);
    }
}

// covers: v5 MQTT-3.1.2-24
#[test]
fn the_maximum_packet_size_is_generous_announced_and_named() {
    for (limit, announced) in [(None, 1024 * 1024), (Some(5000), 5000)] {
        for version in VERSIONS {
            let mut config = config(version);
            if let Some(limit) = limit {
                config.session.maximum_packet_size = limit;
            }
            let mut bench = Bench::connected(config);
            let connect = bench.server.script(|script| script.connects[0].clone());
            let says = (version == Version::V5).then_some(announced);
            assert_eq!(connect.maximum_packet_size, says, "{version}");
            // What just fits comes in; the topic, the lengths and a flag take 9 bytes at most.
            let mut messages = bench.client().messages();
            push(&bench, "t", "x".repeat(announced as usize - 9), QoS::AtMostOnce);
            bench.settle();
            assert!(messages.try_next().is_some(), "{version}");
            // The server of the test heeds what it was told, so this is as one that does not.
            let mut length = announced + 1;
            let mut raw = vec![0x30];
            while length > 0x7F {
                raw.push(length as u8 | 0x80);
                length >>= 7;
            }
            raw.push(length as u8);
            bench.server.script(|script| script.raw = Some(raw));
            bench.settle();
            let error = bench.client().status().last_error.unwrap();
            assert!(matches!(error, Error::Protocol(_)), "{error:?}");
            let text = error.to_string();
            assert!(text.contains("Maximum Packet Size"), "{text}");
            assert!(text.contains(&announced.to_string()), "{text}");
        }
    }
}

#[test]
fn what_the_server_does_not_take_is_named_as_well() {
    let mut bench = Bench::new(config(Version::V5), Shape::default());
    bench.server.script(|script| script.connack.maximum_packet_size = Some(1000));
    let before = bench.client().publish("t", vec![0; 2000], QoS::AtLeastOnce).unwrap();
    let error = bench.done(before).unwrap_err();
    assert!(matches!(error, TokenError::Failed(Failure::TooLarge { limit: 1000, .. })));
    let texts = [
        error.to_string(),
        match bench.client().publish("t", vec![0; 2000], QoS::AtLeastOnce).unwrap_err() {
            error @ PublishError::TooLarge { limit: 1000, .. } => error.to_string(),
            error => panic!("{error}"),
        },
    ];
    for text in texts {
        assert!(text.contains("Maximum Packet Size is 1000"), "{text}");
    }
}

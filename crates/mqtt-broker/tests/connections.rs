//! Connections that go wrong, and the end of the broker.

mod support;

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use mqtt_broker::BrokerConfig;
use mqtt_proto::{CloseReason, Disconnect, QoS, ReasonCode, Version};
use smol::future;
use smol::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use support::*;

async fn rest(pipe: &mut Pipe) -> Vec<u8> {
    let mut bytes = Vec::new();
    pipe.read_to_end(&mut bytes).await.unwrap();
    bytes
}

// covers: v3 MQTT-3.1.4-1, v3 MQTT-3.1.2-2, v5 MQTT-4.13.1-1
#[test]
fn a_bad_first_packet_ends_the_connection() {
    let cases: &[(&str, &[u8], &[u8])] = &[
        ("HTTP", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b""),
        ("not CONNECT", b"\xC0\x00", b""),
        ("nothing of it", b"\x00\x00", b""),
        ("another protocol", b"\x10\x0C\x00\x04MQTX\x04\x02\0\0\0\0", b""),
        ("a later version", b"\x10\x0D\x00\x04MQTT\x06\x02\0\0\0\0\0", b"\x20\x03\0\x84\0"),
        ("an earlier version", b"\x10\x0C\x00\x04MQTT\x02\x02\0\0\0\0", b"\x20\x02\0\x01"),
        ("reserved flag, 3.1.1", b"\x10\x0C\x00\x04MQTT\x04\x03\0\0\0\0", b""),
        ("reserved flag, 5.0", b"\x10\x0D\x00\x04MQTT\x05\x03\0\0\0\0\0", b"\x20\x03\0\x81\0"),
        ("too large", b"\x10\xFF\xFF\xFF\x7F", b""),
    ];
    scenario_with(&[Version::V5], BrokerConfig::default(), async |world| {
        for (name, bytes, answer) in cases {
            let mut pipe = world.pipe();
            pipe.write_all(bytes).await.unwrap();
            let got = rest(&mut pipe).await;
            assert_eq!(got, *answer, "{name}");
            // The peer does not close: the broker waits for a while only.
            world.time.advance(BrokerConfig::default().linger);
            world.until(|stats| stats.connections == 0).await;
        }
    });
}

// covers: v5 X5-3.1.4-a, v3 X3-3.1.4-a
#[test]
fn a_connection_without_a_connect_ends() {
    scenario_with(&[Version::V5], BrokerConfig::default(), async |world| {
        for bytes in [&b""[..], b"\x10", b"\x10\x0D\x00\x04MQ"] {
            let mut pipe = world.pipe();
            pipe.write_all(bytes).await.unwrap();
            for _ in 0..100 {
                future::yield_now().await;
            }
            world.time.advance(Duration::from_millis(9_999));
            for _ in 0..100 {
                future::yield_now().await;
            }
            assert_eq!(world.broker.stats().connections, 1);
            world.time.advance(Duration::from_millis(1));
            assert_eq!(rest(&mut pipe).await, b"");
            // The peer does not close: the broker waits for a while only.
            world.time.advance(BrokerConfig::default().linger);
            world.until(|stats| stats.connections == 0).await;
        }
    });
}

// class: 42
#[test]
fn a_client_that_never_reads_is_not_listened_to() {
    scenario(async |world| {
        let mut pipe = world.pipe();
        let config = world.clean("deaf");
        pipe.write_all(&connect_bytes(world.version, config.connect)).await.unwrap();
        let written = Cell::new(0);
        let flood = async {
            let pings = [0xC0, 0x00].repeat(512);
            loop {
                // The pipe may take half a packet.
                let from = written.get() % 2;
                written.set(written.get() + pipe.write(&pings[from..]).await.unwrap());
            }
        };
        let taken = stalls(flood, || written.get()).await;
        assert!(taken < 512 * 1024, "the broker took {taken} bytes, and owes as many");
        // Others are served all the same.
        let mut client = world.client("client").await;
        client.subscribe("a", QoS::AtMostOnce).await;
        world.silent(&mut client).await;
        // And one that reads after all gets every answer, even the slowest.
        let mut answers = 0;
        while answers < taken - 1 {
            let mut block = [0; 100];
            answers += pipe.read(&mut block).await.unwrap();
        }
    });
}

/// A peer that always has more to say, up to a number of bytes, and takes whatever it is told.
struct Flood {
    bytes: Vec<u8>,
    at: usize,
    /// Where the packet begins that it goes on and on with.
    again: usize,
    left: Arc<AtomicUsize>,
}

impl AsyncRead for Flood {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        room: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let count = room.len().min(self.left.load(Ordering::Relaxed));
        for slot in &mut room[..count] {
            *slot = self.bytes[self.at];
            self.at += 1;
            if self.at == self.bytes.len() {
                self.at = self.again;
            }
        }
        // The test may have ended it meanwhile.
        let _ = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            Some(left.saturating_sub(count))
        });
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Flood {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

// class: 42
#[test]
fn a_client_that_floods_the_broker_holds_nobody_up() {
    const MOST: usize = 2 * 1024 * 1024 * 1024;
    let (world, driver) = World::new(Version::V311, BrokerConfig::default());
    // In a thread of its own, as the flood never waits for anything.
    let driver = std::thread::spawn(|| smol::block_on(driver));
    guard(async {
        let mut client = world.client("client").await;
        client.subscribe("a", QoS::ExactlyOnce).await;
        let mut bytes = connect_bytes(world.version, world.clean("flood").connect);
        let again = bytes.len();
        // PUBLISH of QoS 0 to `f`, with a thousand bytes.
        bytes.extend([0x30, 0xEB, 0x07, 0, 1, b'f']);
        bytes.resize(again + 1006, b'x');
        let left = Arc::new(AtomicUsize::new(MOST));
        world.broker.attach(Flood { bytes, at: 0, again, left: Arc::clone(&left) });
        world.until(|stats| stats.messages_in > 0).await;
        for number in 0..20 {
            let sent = number.to_string();
            client.send("a", &sent, QoS::AtMostOnce).await;
            assert_eq!(client.message().await.payload, sent);
        }
        assert_ne!(left.swap(0, Ordering::Relaxed), 0, "all of the flood went first");
        drop(client);
        world.broker.shutdown();
    });
    driver.join().unwrap();
}

#[test]
fn a_slow_reader_is_listened_to() {
    scenario(async |world| {
        let mut slow = world.client("slow").await;
        slow.subscribe("a", QoS::AtMostOnce).await;
        let payload = "x".repeat(10_000);
        for _ in 0..200 {
            world.broker.publish(&message("a", &payload));
        }
        while slow.stream.waiting() < 16 * 1024 {
            future::yield_now().await;
        }
        let before = world.broker.stats().messages_in;
        slow.start(message("b", "heard").qos(QoS::AtLeastOnce));
        slow.flush().await.unwrap();
        let mut read = 0;
        while world.broker.stats().messages_in == before {
            let mut block = [0; 1000];
            read += slow.stream.read(&mut block).await.unwrap();
            assert!(read < 1_000_000, "half of it is read, and the message was not heard");
        }
    });
}

#[test]
fn a_transport_that_takes_everything_gets_everything() {
    scenario(async |world| {
        let (near, far) = pipe(4 * 1024 * 1024);
        world.broker.attach(far);
        let mut client = Peer::connect(world.clean("client"), near).await;
        client.subscribe("a", QoS::AtMostOnce).await;
        let payload = "x".repeat(10_000);
        for _ in 0..200 {
            world.broker.publish(&message("a", &payload));
        }
        assert_eq!(client.payloads(200).await.len(), 200);
    });
}

// class: 44
#[test]
fn what_comes_after_the_end_is_read_away() {
    scenario(async |world| {
        let mut client = world.client("client").await;
        client.stream.write_all(&[0xC1, 0x00]).await.unwrap();
        let malformed = world.version.is_v5().then_some(ReasonCode::MALFORMED_PACKET);
        assert_eq!(client.disconnected().await, malformed);
        client.stream.write_all(&[0; 500_000]).await.unwrap();
        drop(client);
        world.until(|stats| stats.connections == 0).await;
    });
}

// class: 35
#[test]
fn a_client_that_takes_nothing_for_long_is_cut_off() {
    scenario(async |world| {
        let mut deaf = world.connect(world.lasting("deaf")).await;
        deaf.subscribe("a", QoS::AtLeastOnce).await;
        let large = message("a", &"x".repeat(100_000)).qos(QoS::AtLeastOnce);
        world.broker.publish(&large);
        while deaf.stream.waiting() < 16 * 1024 {
            future::yield_now().await;
        }
        world.time.advance(Duration::from_secs(29));
        // One that takes a little from time to time is only slow.
        let mut block = [0; 10];
        deaf.stream.read_exact(&mut block).await.unwrap();
        while deaf.stream.waiting() < 16 * 1024 {
            future::yield_now().await;
        }
        world.time.advance(Duration::from_secs(29));
        for _ in 0..100 {
            future::yield_now().await;
        }
        assert_eq!(world.broker.stats().connections, 1);
        world.time.advance(Duration::from_secs(30));
        for _ in 0..100 {
            future::yield_now().await;
        }
        world.time.advance(BrokerConfig::default().linger);
        world.until(|stats| stats.connections == 0).await;
        // The message is still there.
        let mut client = world.connect(world.lasting("deaf")).await;
        assert_eq!(client.message().await.payload.len(), 100_000);
    });
}

#[test]
fn what_a_slow_reader_does_not_take_is_dropped_and_counted() {
    let mut config = BrokerConfig::default();
    config.session.bounds.messages = 100;
    config.session.bounds.bytes = 100 * 1024;
    scenario_with(&BOTH, config, async |world| {
        for qos in EACH_QOS {
            let mut slow = world.client("slow").await;
            slow.acks = false;
            slow.subscribe("a", QoS::ExactlyOnce).await;
            let before = world.broker.stats();
            let mut publisher = world.client("publisher").await;
            let payload = "x".repeat(10_000);
            for _ in 0..200 {
                publisher.send("a", &payload, qos).await;
            }
            world.until(|stats| stats.messages_in == before.messages_in + 200).await;
            let stats = world.broker.stats();
            let dropped = stats.dropped_full - before.dropped_full;
            let taken = stats.messages_out - before.messages_out;
            assert_eq!(dropped + taken, 200, "{qos}");
            // The queue, the output buffer and the pipe, 10 kB each message.
            assert!(dropped > 160, "{qos}: {dropped}");
            assert_eq!(slow.payloads(taken as usize).await.len(), taken as usize);
        }
    });
}

#[test]
fn a_message_above_the_clients_maximum_is_left_out() {
    scenario_with(&ALL[2..], BrokerConfig::default(), async |world| {
        let mut config = world.clean("small");
        config.connect.maximum_packet_size = Some(100);
        let mut client = world.connect(config).await;
        client.subscribe("#", QoS::AtLeastOnce).await;
        world.broker.publish(&message("a", &"x".repeat(200)).qos(QoS::AtLeastOnce));
        world.broker.publish(&message("a", "small").qos(QoS::AtLeastOnce));
        assert_eq!(client.message().await.payload, "small");
        assert_eq!(world.broker.stats().dropped_too_large, 1);
    });
}

// covers: v3 MQTT-3.1.2-24, v5 MQTT-3.2.2-22, v5 X5-3.1.2-a, v3 X3-3.1.2-a
#[test]
fn silence_ends_the_connection() {
    scenario(async |world| {
        let mut unbounded = world.client("unbounded").await;
        let mut config = world.clean("client");
        config.connect.keep_alive = 10;
        let mut client = world.connect(config).await;
        for _ in 0..3 {
            world.time.advance(Duration::from_millis(14_900));
            client.stream.write_all(&[0xC0, 0x00]).await.unwrap();
            let mut answer = [0; 2];
            client.stream.read_exact(&mut answer).await.unwrap();
            assert_eq!(answer, [0xD0, 0x00]);
        }
        world.time.advance(Duration::from_secs(15));
        let reason = world.version.is_v5().then_some(ReasonCode::KEEP_ALIVE_TIMEOUT);
        assert_eq!(client.disconnected().await, reason);
        world.silent(&mut unbounded).await;
    });
}

#[test]
fn there_is_a_bound_on_connections() {
    let mut config = BrokerConfig::default();
    config.max_connections = 2;
    scenario_with(&BOTH, config, async |world| {
        let _one = world.client("one").await;
        let two = world.client("two").await;
        let mut refused = world.pipe();
        assert_eq!(rest(&mut refused).await, b"");
        assert_eq!(world.broker.stats().connections_refused, 1);
        drop(two);
        world.until(|stats| stats.connections == 1).await;
        world.client("three").await;
    });
}

#[test]
fn many_clients() {
    scenario(async |world| {
        let mut clients = Vec::new();
        for number in 0..300 {
            let mut client = world.client(&format!("client-{number}")).await;
            client.subscribe("all", QoS::AtLeastOnce).await;
            client.subscribe(&format!("one/{number}"), QoS::ExactlyOnce).await;
            clients.push(client);
        }
        let mut publisher = world.client("publisher").await;
        publisher.send("all", "hello", QoS::ExactlyOnce).await;
        for (number, client) in clients.iter_mut().enumerate() {
            publisher.send(&format!("one/{number}"), "you", QoS::ExactlyOnce).await;
            assert_eq!(client.payloads(2).await, ["hello", "you"]);
        }
        drop(clients);
        world.until(|stats| (stats.connections, stats.sessions) == (1, 1)).await;
        assert_eq!(world.broker.stats().subscriptions, 0);
    });
}

#[test]
fn large_messages_pass_through_small_pipes() {
    scenario(async |world| {
        let mut client = world.client("client").await;
        client.subscribe("a", QoS::ExactlyOnce).await;
        for size in [0, 1, 2_000, 70_000, 900_000] {
            let payload = "x".repeat(size);
            let token = client.start(message("a", &payload).qos(QoS::ExactlyOnce));
            assert_eq!(client.message().await.payload, payload);
            client.outcome(token).await;
        }
    });
}

#[test]
fn shutdown_says_goodbye_and_ends_the_driver() {
    for version in BOTH {
        let (world, driver) = World::new(version, BrokerConfig::default());
        guard(async {
            let clients = async {
                let mut config = world.clean("client");
                config.connect.will = Some(will("will"));
                let mut client = world.connect(config).await;
                client.subscribe("#", QoS::AtLeastOnce).await;
                // One that has not said who it is, and one that never reads.
                let mut unknown = world.pipe();
                let mut deaf = world.client("deaf").await;
                deaf.subscribe("b", QoS::AtMostOnce).await;
                for _ in 0..50 {
                    world.broker.publish(&message("b", &"x".repeat(10_000)));
                    client.message().await;
                }
                world.broker.publish(&message("a", "last").qos(QoS::AtLeastOnce));
                world.broker.shutdown();
                world.broker.shutdown();
                assert_eq!(client.message().await.payload, "last");
                let reason = version.is_v5().then_some(ReasonCode::SERVER_SHUTTING_DOWN);
                assert_eq!(client.disconnected().await, reason);
                assert_eq!(rest(&mut unknown).await, b"");
                let mut late = world.pipe();
                assert_eq!(rest(&mut late).await, b"", "no more are let in");
                drop((client, unknown));
                world.until(|stats| stats.connections == 1).await;
                world.time.advance(Duration::from_secs(5));
                deaf
            };
            let (_deaf, ()) = future::zip(clients, driver).await;
            assert_eq!(world.broker.stats().connections, 0);
        });
    }
}

#[test]
fn without_the_driver_everything_ends() {
    let (world, mut driver) = World::new(Version::V5, BrokerConfig::default());
    guard(async {
        let mut client = future::or(world.client("client"), async {
            (&mut driver).await;
            unreachable!("the driver does not end by itself")
        })
        .await;
        drop(driver);
        assert!(matches!(client.closed().await, CloseReason::Eof));
        assert_eq!(world.broker.stats().connections, 0);
        assert_eq!(rest(&mut world.pipe()).await, b"");
        #[cfg(feature = "async-io")]
        assert!(world.broker.listen("127.0.0.1:0").is_err());
        assert_eq!(world.broker.publish(&message("a", "x")), 0);
        world.broker.shutdown();
    });
}

#[test]
fn a_client_that_closes_only_its_write_side() {
    scenario(async |world| {
        let mut client = world.client("client").await;
        let now = client.now();
        client.session.disconnect(Disconnect::default(), now).unwrap();
        client.flush().await.unwrap();
        client.stream.close().await.unwrap();
        assert_eq!(rest(&mut client.stream).await, b"");
        world.until(|stats| stats.connections == 0).await;
    });
}

//! The same on every runtime: over TCP, with the timers of the runtimes.
#![cfg(feature = "async-io")]

mod support;

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use futures_lite::AsyncReadExt;
use mqtt_async::{TokioIo, TokioTimer};
use mqtt_broker::{AsyncIoTimer, Broker, BrokerConfig, ListenError, Timer};
use mqtt_proto::{ClientConfig, ReasonCode, Text, Version};
use support::*;

fn config(version: Version, id: &str) -> ClientConfig {
    let mut config = ClientConfig::new(version);
    config.connect.client_id = Text::new(id).unwrap();
    config.connect.clean_start = false;
    config.adopt_session = true;
    config.connect.session_expiry_interval = version.is_v5().then_some(u32::MAX);
    config
}

/// What has to work over any transport.
async fn exercise<S: Stream>(broker: &Broker, connect: impl AsyncFn() -> S) {
    for version in ALL {
        let mut publisher = Peer::connect(config(version, "publisher"), connect().await).await;
        let mut leaving = config(version, "subscriber");
        leaving.connect.will = Some(will("will"));
        let mut subscriber = Peer::connect(leaving.clone(), connect().await).await;
        publisher.subscribe("will", mqtt_proto::QoS::AtMostOnce).await;
        subscriber.subscribe("a/#", mqtt_proto::QoS::ExactlyOnce).await;
        let large = "x".repeat(300_000);
        for qos in EACH_QOS {
            for payload in ["small", &large] {
                let token = publisher.start(message("a/b", payload).qos(qos));
                assert_eq!(publisher.outcome(token).await, ReasonCode::SUCCESS);
                let got = subscriber.message().await;
                assert_eq!((got.payload.as_str(), got.qos), (payload, qos));
            }
        }
        drop(subscriber);
        assert_eq!(publisher.message().await.payload, "gone");
        for number in 0..100 {
            let message = message("a", &number.to_string()).qos(mqtt_proto::QoS::ExactlyOnce);
            assert_eq!(broker.publish(&message), 1);
        }
        let mut subscriber = Peer::connect(leaving, connect().await).await;
        let expected: Vec<_> = (0..100).map(|number| number.to_string()).collect();
        assert_eq!(subscriber.payloads(100).await, expected);
        subscriber.disconnect(ReasonCode::SUCCESS).await;
        publisher.unsubscribe("will").await;
        publisher.disconnect(ReasonCode::SUCCESS).await;
    }
}

/// Deadlines pass in real time as well.
async fn deadlines(timer: impl Timer + Send + 'static) {
    let mut config = BrokerConfig::default();
    config.session.connect_timeout = Duration::from_millis(20);
    let (broker, driver) = Broker::with_timer(config, timer);
    let body = async {
        let (mut near, far) = pipe(100);
        broker.attach(far);
        assert_eq!(near.read(&mut [0]).await.unwrap(), 0);
        drop(near);
        broker.shutdown();
        futures_lite::future::pending().await
    };
    futures_lite::future::or(driver, body).await;
}

async fn tcp(address: SocketAddr) -> smol::net::TcpStream {
    smol::net::TcpStream::connect(address).await.unwrap()
}

#[test]
fn on_smol() {
    guard(async {
        let (broker, driver) = Broker::new(BrokerConfig::default());
        let driver = smol::spawn(driver);
        let address = broker.listen("127.0.0.1:0").unwrap();
        assert_ne!(address.port(), 0);
        exercise(&broker, async || tcp(address).await).await;
        broker.shutdown();
        driver.await;
        assert!(matches!(broker.listen("127.0.0.1:0"), Err(ListenError::Stopped)));
        deadlines(AsyncIoTimer::new()).await;
    });
}

fn on_tokio(runtime: &tokio::runtime::Runtime, body: impl Future<Output = ()>) {
    runtime.block_on(guarded(body));
}

async fn tokio_only() {
    let (broker, driver) = Broker::with_timer(BrokerConfig::default(), TokioTimer::new());
    let driver = tokio::spawn(driver);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepting = broker.clone();
    let accept = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            accepting.attach(TokioIo::new(stream));
        }
    });
    let connect = async || TokioIo::new(tokio::net::TcpStream::connect(address).await.unwrap());
    exercise(&broker, connect).await;
    broker.shutdown();
    driver.await.unwrap();
    accept.abort();
    deadlines(TokioTimer::new()).await;
}

#[test]
fn on_tokio_with_many_threads() {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    on_tokio(&builder.worker_threads(2).enable_all().build().unwrap(), tokio_only());
}

#[test]
fn on_tokio_with_one_thread() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    on_tokio(&runtime, tokio_only());
}

#[test]
fn on_tokio_with_the_sockets_of_async_io() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    on_tokio(&runtime, async {
        let (broker, driver) = Broker::new(BrokerConfig::default());
        let driver = tokio::spawn(driver);
        let address = broker.listen("127.0.0.1:0").unwrap();
        exercise(&broker, async || tcp(address).await).await;
        broker.shutdown();
        driver.await.unwrap();
    });
}

#[test]
fn published_from_other_threads() {
    guard(async {
        let (broker, driver) = Broker::new(BrokerConfig::default());
        let _driver = smol::spawn(driver);
        let address = broker.listen("127.0.0.1:0").unwrap();
        let mut client = Peer::connect(config(Version::V5, "client"), tcp(address).await).await;
        client.subscribe("#", mqtt_proto::QoS::AtLeastOnce).await;
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let broker = broker.clone();
                std::thread::spawn(move || {
                    for number in 0..500 {
                        let message = message(&thread.to_string(), &number.to_string());
                        broker.publish(&message.qos(mqtt_proto::QoS::AtLeastOnce));
                    }
                })
            })
            .collect();
        let mut next = [0; 4];
        for _ in 0..2000 {
            let got = client.message().await;
            let thread: usize = got.topic.parse().unwrap();
            assert_eq!(got.payload, next[thread].to_string(), "in the order of its thread");
            next[thread] += 1;
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(broker.stats().dropped_full, 0);
    });
}

// class: 44, class: 45
// covers: v5 X5-4.13.1-b
#[test]
fn the_last_words_arrive_although_the_client_goes_on_writing() {
    guard(async {
        let (broker, driver) = Broker::new(BrokerConfig::default());
        let _driver = smol::spawn(Watched(driver));
        let address = broker.listen("127.0.0.1:0").unwrap();
        for _ in 0..20 {
            let mut client = Peer::connect(config(Version::V5, "client"), tcp(address).await).await;
            // Reserved bits, and then more than the broker reads at once: closing a socket with
            // unread bytes would make the kernel throw the DISCONNECT away.
            let mut bytes = vec![0; 200_000];
            bytes[..2].copy_from_slice(&[0xC1, 0x00]);
            futures_lite::AsyncWriteExt::write_all(&mut client.stream, &bytes).await.unwrap();
            // The broker reads it all away, up to its end, before it closes: now it has closed.
            client.stream.shutdown(std::net::Shutdown::Write).unwrap();
            until(&broker, |stats| stats.connections == 0).await;
            assert_eq!(client.disconnected().await, Some(ReasonCode::MALFORMED_PACKET));
        }
    });
}

#[test]
fn bad_addresses() {
    let (broker, _driver) = Broker::new(BrokerConfig::default());
    let address = broker.listen("127.0.0.1:0").unwrap();
    for bad in [address.to_string(), "256.0.0.1:0".to_owned(), "no port".to_owned()] {
        let error = broker.listen(&*bad).unwrap_err();
        assert!(matches!(error, ListenError::Bind(_)), "{bad}: {error}");
        assert!(std::error::Error::source(&error).is_some());
    }
}

#[test]
fn what_is_public_can_be_shared() {
    fn check<T: Send + Sync + 'static>() {}
    check::<Broker>();
    check::<BrokerConfig>();
    check::<ListenError>();
    fn send<T: Send + 'static>() {}
    send::<mqtt_broker::Driver>();
}

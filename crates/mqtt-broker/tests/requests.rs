//! Requests and responses of `mqtt-async` through this broker: each pair of versions, on smol and tokio.
#![cfg(feature = "async-io")]

mod support;

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use futures_lite::future;
use mqtt_async::{
    Client, Config, Publish, QoS, Request, RequestError, Tcp, TokioTcp, TokioTimer, TopicName,
    blocking,
};
use mqtt_broker::{Broker, BrokerConfig};
use mqtt_proto::Version;
use support::guarded;

/// Longer than anything takes here; what is to run out is short.
const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(50);

fn config(version: Version, id: &str) -> Config {
    Config::new(version).client_id(id).unwrap()
}

async fn exercise(start: impl Fn(Config) -> Client) {
    for (ours, in_topic, theirs, works) in [
        (Version::V5, false, Version::V5, true),
        (Version::V5, true, Version::V5, true),
        (Version::V311, false, Version::V311, true),
        (Version::V311, false, Version::V5, true),
        (Version::V5, true, Version::V311, true),
        // The broker takes the properties away.
        (Version::V5, false, Version::V311, false),
    ] {
        let mut asking = config(ours, "asking");
        asking.requests.in_topic = in_topic;
        // The session outlives the client.
        asking.session.connect.clean_start = false;
        asking.session.connect.session_expiry_interval = ours.is_v5().then_some(3600);
        let (asking, answering) = (start(asking), start(config(theirs, "answering")));
        if ours == Version::V5 {
            // Nobody is there yet.
            let error = asking.request("plant/7/read", "?", LONG).await.unwrap_err();
            assert!(matches!(error, RequestError::NoMatchingSubscribers), "{error}");
        }
        let handler = |request: Request| async move {
            assert_eq!(request.topic(), "plant/7/read");
            [request.payload_bytes(), b" C"].concat()
        };
        let responder = answering.respond("plant/+/read", handler).unwrap().concurrency(4);
        responder.subscribed().await.unwrap();
        let body = async {
            if !works {
                let error = asking.request("plant/7/read", "21", SHORT).await.unwrap_err();
                assert!(matches!(error, RequestError::TimedOut), "{error}");
                assert_eq!(answering.stats().calls.unanswerable, 1);
                return;
            }
            for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
                let ask = |number: usize| {
                    let topic = TopicName::new("plant/7/read").unwrap();
                    asking.request_with(Publish::new(topic, number.to_string()).qos(qos), LONG)
                };
                let all: Vec<_> = (0..100).map(|number| (number, ask(number))).collect();
                for (number, request) in all {
                    let response = request.await.unwrap();
                    assert_eq!(response.payload(), format!("{number} C"), "{ours} {theirs} {qos}");
                }
            }
            let (ours, theirs) = (asking.stats().calls, answering.stats().calls);
            assert_eq!((ours.responses, ours.awaited, theirs.answered), (300, 0, 300));
            assert_eq!(ours.late + ours.duplicates + ours.strays + theirs.unsent, 0);
        };
        future::or(async { responder.await.unwrap() }, body).await;
        asking.disconnect().await.unwrap();
        answering.disconnect().await.unwrap();
    }
}

async fn with_broker<F: Future<Output = ()>>(test: impl FnOnce(SocketAddr) -> F) {
    let (broker, driver) = Broker::new(BrokerConfig::default());
    let address = broker.listen("127.0.0.1:0").unwrap();
    let body = async {
        test(address).await;
        assert_eq!(broker.stats().subscriptions, 0, "response topics are unsubscribed from");
        broker.shutdown();
        future::pending().await
    };
    guarded(future::or(driver, body)).await;
}

#[test]
fn on_smol() {
    smol::block_on(with_broker(async |address| {
        exercise(|config| {
            let (client, driver) = Client::new(config, Tcp::new("127.0.0.1", address.port()));
            smol::spawn(driver).detach();
            client
        })
        .await;
    }));
}

fn on_tokio(runtime: &tokio::runtime::Runtime) {
    runtime.block_on(with_broker(async |address| {
        exercise(|config| {
            let connector = TokioTcp::new("127.0.0.1", address.port());
            let (client, driver) = Client::with_timer(config, connector, TokioTimer::new());
            tokio::spawn(driver);
            client
        })
        .await;
    }));
}

#[test]
fn on_tokio_with_many_threads() {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    on_tokio(&builder.worker_threads(2).enable_all().build().unwrap());
}

#[test]
fn on_tokio_with_one_thread() {
    on_tokio(&tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap());
}

#[test]
fn without_an_executor() {
    let (broker, driver) = Broker::new(BrokerConfig::default());
    let address = broker.listen("127.0.0.1:0").unwrap();
    let broker_thread = std::thread::spawn(|| smol::block_on(driver));
    for (ours, theirs) in [(Version::V5, Version::V5), (Version::V311, Version::V311)] {
        let start = |config| blocking::Client::new(config, Tcp::new("127.0.0.1", address.port()));
        let answering = start(config(theirs, "answering")).unwrap();
        let responder = answering
            .respond("double", |request| {
                let number = String::from_utf8_lossy(request.payload_bytes()).parse::<u32>();
                (2 * number.unwrap()).to_string()
            })
            .unwrap();
        responder.subscribed().wait().unwrap();
        let serving = std::thread::spawn(|| responder.wait());
        let asking = start(config(ours, "asking")).unwrap();
        for number in 0..20 {
            let request = asking.request("double", number.to_string(), LONG);
            assert_eq!(request.wait().unwrap().payload(), (2 * number).to_string());
        }
        assert_eq!(asking.shutdown(LONG).unacked, 0);
        answering.drain().wait().unwrap();
        serving.join().unwrap().unwrap();
    }
    broker.shutdown();
    broker_thread.join().unwrap();
}

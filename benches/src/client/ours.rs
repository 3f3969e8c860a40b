//! Our client, as its documentation says to use it, on three runtimes.

use std::time::Instant;

use bytes::Bytes;
use mqtt_async::{
    Client, Config, Connector, Driver, PublishError, QoS, Tcp, Timer, TokioTcp, TokioTimer,
    TopicName, Version,
};
use tokio::runtime::Builder;

use crate::load::{Load, Measured, Meter, Mode, TOPIC};
use crate::sink::serve;

pub fn smol(version: Version, load: Load) -> Measured {
    let (client, driver) = Client::new(config(version, &load), Tcp::new("127.0.0.1", load.port));
    let executor = async_executor::LocalExecutor::new();
    let driver = executor.spawn(driver);
    // In a task, as the driver is: this executor runs 200 of its tasks before it looks at the future that it
    // was called with.
    let work = executor.spawn(work(client, load));
    let measured = async_io::block_on(executor.run(work));
    drop(driver);
    measured
}

pub fn tokio_current_thread(version: Version, load: Load) -> Measured {
    tokio(Builder::new_current_thread(), config(version, &load), load)
}

/// Messages are handed over as slices of the block that was read, however small: a message that is kept keeps all
/// of the block.
pub fn tokio_slices(version: Version, load: Load) -> Measured {
    let mut config = config(version, &load);
    config.copy_up_to = 0;
    tokio(Builder::new_current_thread(), config, load)
}

pub fn tokio_multi_thread(version: Version, load: Load) -> Measured {
    tokio(Builder::new_multi_thread(), config(version, &load), load)
}

fn tokio(mut builder: Builder, config: Config, load: Load) -> Measured {
    let runtime = builder.enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let connector = TokioTcp::new("127.0.0.1", load.port);
        let (client, driver) = Client::with_timer(config, connector, TokioTimer::new());
        tokio::spawn(run(driver));
        // In a task, as the driver is: the thread of `block_on` is none of the runtime's.
        tokio::spawn(work(client, load)).await.expect("no panic")
    })
}

async fn run<C: Connector, T: Timer>(driver: Driver<C, T>) {
    driver.await.expect("an orderly end");
}

fn config(version: Version, load: &Load) -> Config {
    let mut config = Config::new(version);
    config.session.max_in_flight = load.window;
    // What is more than that would only wait in a longer line.
    config.session.bounds.messages = 10 * usize::from(load.window);
    config
}

async fn work(client: Client, load: Load) -> Measured {
    client.connected().await.expect("a connection");
    match load.mode {
        Mode::Publish(0) => at_most_once(client, load).await,
        Mode::Publish(1) => acknowledged(client, load, QoS::AtLeastOnce).await,
        Mode::Publish(_) => acknowledged(client, load, QoS::ExactlyOnce).await,
        Mode::Receive(qos) => receive(client, load, qos).await,
        Mode::RoundTrip => round_trips(client, load).await,
    }
}

fn message(load: &Load) -> (TopicName, Bytes) {
    (TopicName::new(TOPIC).expect("a topic"), Bytes::from(vec![b'x'; load.size]))
}

async fn at_most_once(client: Client, load: Load) -> Measured {
    let (topic, payload) = message(&load);
    let meter = Meter::new();
    for _ in 0..load.messages {
        publish(&client, &topic, &payload, QoS::AtMostOnce).await;
    }
    publish(&client, &topic, &payload, QoS::AtLeastOnce).await;
    client.drain().await.expect("an orderly end");
    meter.stop()
}

async fn acknowledged(client: Client, load: Load, qos: QoS) -> Measured {
    let (topic, payload) = message(&load);
    let meter = Meter::new();
    for _ in 0..load.messages {
        publish(&client, &topic, &payload, qos).await;
    }
    client.drain().await.expect("an orderly end");
    meter.stop()
}

/// Publishes as soon as there is room; the bounds of the client hold the loop back.
async fn publish(client: &Client, topic: &TopicName, payload: &Bytes, qos: QoS) {
    while let Err(error) = client.publish(topic, payload.clone(), qos) {
        assert!(matches!(error, PublishError::Full(_)), "{error}");
        client.ready().await.expect("room");
    }
}

async fn receive(client: Client, load: Load, qos: u8) -> Measured {
    let qos = if qos == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce };
    let mut messages = client.messages();
    let filter = serve(qos as u8, load.messages, load.size);
    client.subscribe(filter, qos).expect("room").await.expect("a subscription");
    load.subscribed();
    let mut bytes = messages.next().await.expect("a message").payload_bytes().len();
    let meter = Meter::new();
    for _ in 1..load.messages {
        bytes += messages.next().await.expect("a message").payload_bytes().len();
    }
    let measured = meter.stop();
    assert_eq!(bytes, load.messages * load.size);
    measured
}

async fn round_trips(client: Client, load: Load) -> Measured {
    let (topic, payload) = message(&load);
    let mut messages = client.messages();
    client.subscribe(TOPIC, QoS::AtLeastOnce).expect("room").await.expect("a subscription");
    let mut meter = Meter::new();
    for _ in 0..load.messages {
        let start = Instant::now();
        drop(client.publish(&topic, payload.clone(), QoS::AtLeastOnce).expect("room"));
        messages.next().await.expect("a message");
        meter.round_trip(start);
    }
    meter.stop()
}

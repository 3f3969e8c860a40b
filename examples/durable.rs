//! A program that stops in the middle, and goes on from its store when it is started again: each message
//! of QoS 2 arrives once.
//!
//! ```sh
//! cargo run --release --example durable
//! cargo run --release --example durable -- --url mqtt://localhost:1883
//! ```

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use mqtt_async::{Client, Config, FileStore, Messages, QoS, Tcp, Version};

mod server;

/// How many messages each run publishes, and after how many of them the first one stops.
const MESSAGES: usize = 100;
const STOP_AFTER: usize = 30;

fn main() -> ExitCode {
    server::report(run())
}

fn run() -> Result<(), Box<dyn Error>> {
    let server = server::Server::from_args()?;
    // A real program has a place of its own, the same one each time.
    let file = std::env::temp_dir().join(format!("mqtt-durable-{}.redb", std::process::id()));
    let result = smol::block_on(two_runs(&server, &file));
    std::fs::remove_file(&file)?;
    server.stop();
    result
}

async fn two_runs(server: &server::Server, file: &Path) -> Result<(), Box<dyn Error>> {
    // On a server that others use, too, nobody else has this name.
    let name = format!("durable-{}", std::process::id());
    let mut config = Config::new(Version::V5).client_id(format!("{name}-subscriber"))?;
    config.reconnect = None;
    let (subscriber, driver) = Client::new(config, Tcp::new(&*server.host, server.port));
    let subscribing = smol::spawn(driver);
    subscriber.subscribe(&name, QoS::ExactlyOnce)?.await?;
    let mut messages = subscriber.messages();

    first_run(server, file, &name, &mut messages).await?;
    second_run(server, file, &name).await?;

    let mut arrived = STOP_AFTER;
    while arrived < 2 * MESSAGES {
        expect(&mut messages, arrived).await?;
        arrived += 1;
    }
    subscriber.disconnect().await?;
    subscribing.await?;
    // Had one come twice, it would have stood behind the others.
    if messages.next().await.is_some() {
        return Err("a message came twice".into());
    }
    println!("all {arrived} messages have arrived, each once and in their order");
    Ok(())
}

/// What makes a session durable: a name, a server that keeps it for a while, and a store.
fn config(name: &str) -> Result<Config, Box<dyn Error>> {
    let mut config = Config::new(Version::V5).client_id(name)?;
    config.session.connect.session_expiry_interval = Some(3600);
    Ok(config)
}

/// Publishes, and stops without a word while most of it is under way.
async fn first_run(
    server: &server::Server,
    file: &Path,
    name: &str,
    messages: &mut Messages,
) -> Result<(), Box<dyn Error>> {
    let connector = Tcp::new(&*server.host, server.port);
    let made = Client::durable(config(name)?, connector, FileStore::new(file)).await?;
    let (client, driver, _) = made;
    let driver = smol::spawn(driver);
    for number in 0..MESSAGES {
        client.publish(name, number.to_string(), QoS::ExactlyOnce)?;
    }
    client.stored()?.await?;
    println!("first run: {MESSAGES} messages are in the store");
    for number in 0..STOP_AFTER {
        expect(messages, number).await?;
    }
    // As if the power had failed.
    drop(driver);
    println!("first run: stopped after {STOP_AFTER} messages have arrived");
    Ok(())
}

/// Goes on with what the first run has left, and with messages of its own.
async fn second_run(
    server: &server::Server,
    file: &Path,
    name: &str,
) -> Result<(), Box<dyn Error>> {
    let connector = Tcp::new(&*server.host, server.port);
    let made = Client::durable(config(name)?, connector, FileStore::new(file)).await?;
    let (client, driver, recovered) = made;
    let driver = smol::spawn(driver);
    println!("second run: {} messages of the first have no answer yet", recovered.len());
    for number in MESSAGES..2 * MESSAGES {
        client.publish(name, number.to_string(), QoS::ExactlyOnce)?;
    }
    for message in recovered {
        message.publishing.await?;
    }
    // Its own are not awaited one by one: this waits for all.
    client.drain().await?;
    Ok(driver.await?)
}

/// Takes the message that has to come next.
async fn expect(messages: &mut Messages, number: usize) -> Result<(), Box<dyn Error>> {
    let message = messages.next().await.ok_or("the subscriber has ended")?;
    let payload = String::from_utf8_lossy(message.payload_bytes()).into_owned();
    if payload != number.to_string() {
        return Err(format!("message {number} was expected, and {payload} has come").into());
    }
    Ok(())
}

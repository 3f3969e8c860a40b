//! Two clients, three messages: at QoS 0, 1 and 2, on smol.
//!
//! ```sh
//! cargo run --release --example hello
//! cargo run --release --example hello -- --url mqtt://localhost:1883
//! ```

use std::error::Error;
use std::process::ExitCode;

use mqtt_async::{Client, Config, QoS, Tcp, Version};

mod server;

fn main() -> ExitCode {
    server::report(run())
}

fn run() -> Result<(), Box<dyn Error>> {
    let server = server::Server::from_args()?;
    smol::block_on(hello(&server.host, server.port))?;
    server.stop();
    Ok(())
}

async fn hello(host: &str, port: u16) -> Result<(), Box<dyn Error>> {
    // On a server that others use, too, nobody else has this name.
    let name = format!("hello-{}", std::process::id());

    // A client is a handle and a driver: the handle gives commands, the driver does the work.
    let mut config = Config::new(Version::V5).client_id(format!("{name}-subscriber"))?;
    // A program that lives longer leaves the default: connect again, with backoff.
    config.reconnect = None;
    let (subscriber, driver) = Client::new(config, Tcp::new(host, port));
    let subscribing = smol::spawn(driver);
    let mut config = Config::new(Version::V5).client_id(format!("{name}-publisher"))?;
    config.reconnect = None;
    let (publisher, driver) = Client::new(config, Tcp::new(host, port));
    let publishing = smol::spawn(driver);

    subscriber.connected().await?;
    publisher.connected().await?;
    println!("connected");

    // Every command returns at once, with a token that resolves to what the server said.
    let granted = subscriber.subscribe(format!("{name}/#"), QoS::ExactlyOnce)?.await?;
    println!("subscribed to {name}/#: {}", granted.reasons[0]);

    let mut messages = subscriber.messages();
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let topic = format!("{name}/{}", qos as u8);
        let token = publisher.publish(topic.as_str(), format!("hello at {qos}"), qos)?;
        println!("published to {topic}: {}", token.await?.reason);
        let message = messages.next().await.ok_or("the subscriber has ended")?;
        let text = String::from_utf8_lossy(message.payload_bytes()).into_owned();
        println!("received from {}: {text} ({})", message.topic(), message.qos());
    }

    // Both sides leave in order: what was accepted is sent, then DISCONNECT.
    publisher.disconnect().await?;
    subscriber.disconnect().await?;
    publishing.await?;
    subscribing.await?;
    println!("disconnected");
    Ok(())
}

//! A consumer that is slower than its publisher, with each policy for what comes faster than it is taken.
//!
//! ```sh
//! cargo run --release --example slow_consumer
//! cargo run --release --example slow_consumer -- --url mqtt://localhost:1883
//! ```

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use mqtt_async::{
    Client, Config, Inbound, Overflow, QoS, Subscribe, Subscription, Tcp, TopicFilter, Version,
};
use smol::Timer;

mod server;

/// How many messages each consumer is sent, on how many topics, and how many may wait.
const MESSAGES: usize = 60;
const TOPICS: usize = 3;
const BOUND: usize = 10;

fn main() -> ExitCode {
    server::report(run())
}

fn run() -> Result<(), Box<dyn Error>> {
    let server = server::Server::from_args()?;
    smol::block_on(compare(&server.host, server.port))?;
    server.stop();
    Ok(())
}

async fn compare(host: &str, port: u16) -> Result<(), Box<dyn Error>> {
    // On a server that others use, too, nobody else has this name.
    let name = format!("slow-{}", std::process::id());
    let mut config = Config::new(Version::V5).client_id(name.as_str())?;
    config.reconnect = None;
    let (client, driver) = Client::new(config, Tcp::new(host, port));
    let driver = smol::spawn(driver);

    for overflow in
        [Overflow::Block, Overflow::DropOldest, Overflow::DropNewest, Overflow::LatestPerTopic]
    {
        let mut bounds = Inbound::default();
        bounds.messages = BOUND;
        bounds.overflow = overflow;
        let filter = TopicFilter::new(format!("{name}/+"))?;
        let subscribe = Subscribe::new(filter, QoS::AtLeastOnce);
        let mut stream = client.listen_with(subscribe, bounds)?;
        stream.subscribed().await?;

        // A token that nobody awaits costs nothing: the message is delivered all the same.
        for number in 0..MESSAGES {
            let topic = format!("{name}/{}", number % TOPICS);
            client.publish(topic, number.to_string(), QoS::AtLeastOnce)?;
        }
        let taken = consume(&mut stream).await;
        let lagged = stream.lagged();
        println!("{overflow:?}: {} taken, {lagged} dropped", taken.len());
        println!("  {}", taken.join(" "));
        // Here the stream is dropped, which unsubscribes.
    }

    client.disconnect().await?;
    driver.await?;
    Ok(())
}

/// Takes messages until none has come for a while, slowly.
async fn consume(stream: &mut Subscription) -> Vec<String> {
    let mut taken = Vec::new();
    loop {
        // Time for what comes meanwhile to pile up.
        Timer::after(Duration::from_millis(if taken.is_empty() { 100 } else { 2 })).await;
        let none = async {
            Timer::after(Duration::from_millis(300)).await;
            None
        };
        // `next` may be dropped while it waits: a message is taken only when it resolves.
        match smol::future::or(stream.next(), none).await {
            Some(message) => taken.push(String::from_utf8_lossy(message.payload_bytes()).into()),
            None => return taken,
        }
    }
}

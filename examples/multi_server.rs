//! Two servers: when the first one dies, the client goes on with the second.
//!
//! ```sh
//! cargo run --release --example multi_server
//! ```

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use mqtt_async::{Client, Config, Event, Events, QoS, Servers, Tcp, Version};

// It starts its servers itself.
#[allow(dead_code, reason = "a server from the command line")]
mod server;

fn main() -> ExitCode {
    server::report(run())
}

fn run() -> Result<(), Box<dyn Error>> {
    let (first, second) = (server::Server::embedded()?, server::Server::embedded()?);
    smol::block_on(go_on(first, second))
}

async fn go_on(first: server::Server, second: server::Server) -> Result<(), Box<dyn Error>> {
    // Each attempt goes to the next one in the list, around and around.
    let servers = Servers::new("first", Tcp::new(first.host.as_str(), first.port))
        .and("second", Tcp::new(second.host.as_str(), second.port));
    let mut config = Config::new(Version::V5).client_id("multi-server")?;
    // How long to wait before an attempt: here for the sake of a demonstration.
    let mut backoff = mqtt_async::Backoff::default();
    backoff.first = Duration::from_millis(100);
    config.reconnect = Some(backoff);
    let (client, driver) = Client::new(config, servers);
    let mut events = client.events();
    let driver = smol::spawn(driver);

    let mut news = client.listen("news", QoS::AtLeastOnce)?;
    client.publish("news", "from the first", QoS::AtLeastOnce)?.await?;
    println!("received: {:?}", news.next().await.ok_or("the client has ended")?.payload());
    tell(&mut events);

    first.stop();
    loop {
        let event = events.next().await.ok_or("the client has ended")?;
        println!("{}", describe(&event));
        if matches!(event, Event::Disconnected { .. }) {
            break;
        }
    }

    // What is published meanwhile waits. The second server does not know this client: the client subscribes
    // anew, before it sends what waits.
    let token = client.publish("news", "from the second", QoS::AtLeastOnce)?;
    println!("published while there was no connection: {}", token.await?.reason);
    println!("received: {:?}", news.next().await.ok_or("the client has ended")?.payload());
    tell(&mut events);
    let status = client.status();
    println!("{} connections", status.connections);
    if !status.not_resubscribed.is_empty() {
        return Err(format!("not subscribed any more: {:?}", status.not_resubscribed).into());
    }

    client.disconnect().await?;
    driver.await?;
    second.stop();
    Ok(())
}

/// Says what has happened to the connection meanwhile.
fn tell(events: &mut Events) {
    while let Some(happened) = events.try_next() {
        println!("{}", describe(&happened));
    }
}

fn describe(event: &Event) -> String {
    match event {
        Event::Connected(connected) => format!("connected, resumed: {}", connected.resumed),
        Event::Disconnected { error, retry_in } => format!("lost: {error}; next in {retry_in:?}"),
        Event::AttemptFailed { error, retry_in, .. } => {
            format!("no connection: {error}; next in {retry_in:?}")
        }
        Event::Resubscribed { results } => format!("subscribed anew: {results:?}"),
        other => format!("{other:?}"),
    }
}

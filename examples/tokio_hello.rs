//! The same as `hello`, on tokio: its TCP, its timer, its tasks.
//!
//! ```sh
//! cargo run --release --example tokio_hello
//! cargo run --release --example tokio_hello -- --url mqtt://localhost:1883
//! ```

use std::error::Error;
use std::process::ExitCode;

use mqtt_async::{Client, Config, QoS, TokioTcp, TokioTimer, Version};

mod server;

#[tokio::main]
async fn main() -> ExitCode {
    server::report(run().await)
}

async fn run() -> Result<(), Box<dyn Error>> {
    let server = server::Server::from_args()?;
    let name = format!("tokio-hello-{}", std::process::id());

    let mut config = Config::new(Version::V5).client_id(name.as_str())?;
    // A program that lives longer leaves the default: connect again, with backoff.
    config.reconnect = None;
    let connector = TokioTcp::new(server.host.as_str(), server.port);
    let (client, driver) = Client::with_timer(config, connector, TokioTimer::new());
    let driver = tokio::spawn(driver);

    let granted = client.subscribe(format!("{name}/#"), QoS::ExactlyOnce)?.await?;
    println!("subscribed to {name}/#: {}", granted.reasons[0]);

    // Commands are not coroutines: publish from wherever you are, and await the token or not.
    let mut messages = client.messages();
    let publisher = client.clone();
    let topics = format!("{name}/");
    let publishing = tokio::spawn(async move {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let topic = format!("{topics}{}", qos as u8);
            let token = publisher.publish(topic.as_str(), format!("hello at {qos}"), qos)?;
            println!("published to {topic}: {}", token.await?.reason);
        }
        Ok::<(), Box<dyn Error + Send + Sync>>(())
    });
    for _ in 0..3 {
        let message = messages.next().await.ok_or("the client has ended")?;
        let text = String::from_utf8_lossy(message.payload_bytes()).into_owned();
        println!("received from {}: {text} ({})", message.topic(), message.qos());
    }
    publishing.await?.map_err(|error| error.to_string())?;

    client.disconnect().await?;
    driver.await??;
    println!("disconnected");
    server.stop();
    Ok(())
}

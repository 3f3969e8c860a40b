//! A worker that acknowledges a job when it has done it, and loses none when it crashes.
//!
//! ```sh
//! cargo run --release --example manual_ack
//! cargo run --release --example manual_ack -- --url mqtt://localhost:1883
//! ```

use std::error::Error;
use std::process::ExitCode;

use mqtt_async::{Client, Config, Message, QoS, ReasonCode, Subscription, Tcp, Version};
use smol::Task;

mod server;

type Driver = Task<Result<(), mqtt_async::Error>>;

fn main() -> ExitCode {
    server::report(run())
}

fn run() -> Result<(), Box<dyn Error>> {
    let server = server::Server::from_args()?;
    smol::block_on(work(&server))?;
    server.stop();
    Ok(())
}

async fn work(server: &server::Server) -> Result<(), Box<dyn Error>> {
    // On a server that others use, too, nobody else has this name.
    let name = format!("manual-ack-{}", std::process::id());
    let topic = format!("{name}/jobs");

    let (worker, driver, mut jobs) = start(server, &name, &topic)?;
    jobs.subscribed().await?;
    for job in ["paint", "nonsense", "sand", "drill", "saw"] {
        worker.publish(topic.as_str(), job, QoS::AtLeastOnce)?;
    }

    let mut done = Vec::new();
    for _ in 0..3 {
        let job = jobs.next().await.ok_or("the client has ended")?;
        handle(job, &mut done);
    }
    // The server has these acknowledgements when it answers what is sent behind them.
    worker.publish(format!("{name}/log"), "three jobs", QoS::AtLeastOnce)?.await?;

    // This one is taken and not acknowledged, and then the worker crashes: no DISCONNECT, no PUBACK.
    let job = jobs.next().await.ok_or("the client has ended")?;
    println!("crashes while it does {:?}", text(&job));
    worker.abort().await?;
    driver.await?;
    drop((jobs, job));

    // The session is still there: what has no acknowledgement comes again.
    let (worker, driver, mut jobs) = start(server, &name, &topic)?;
    while done.len() < 4 {
        let job = jobs.next().await.ok_or("the client has ended")?;
        if job.dup() {
            println!("comes again: {:?}", text(&job));
        }
        handle(job, &mut done);
    }
    if done != ["paint", "sand", "drill", "saw"] {
        return Err(format!("something is missing: {done:?}").into());
    }
    worker.drain().await?;
    driver.await?;
    end_session(server, &name).await
}

/// Connects to the session of that name.
fn start(
    server: &server::Server,
    name: &str,
    topic: &str,
) -> Result<(Client, Driver, Subscription), Box<dyn Error>> {
    let mut config = Config::new(Version::V5).client_id(name)?;
    config.manual_ack = true;
    // The server keeps what was not acknowledged for so long, while nobody is there.
    config.session.connect.clean_start = false;
    config.session.connect.session_expiry_interval = Some(60);
    let (client, driver) = Client::new(config, Tcp::new(server.host.as_str(), server.port));
    // Before the driver is polled, so that what the server has already goes to this stream.
    let jobs = client.listen(topic, QoS::AtLeastOnce)?;
    Ok((client, smol::spawn(driver), jobs))
}

fn handle(job: Message, done: &mut Vec<String>) {
    let text = text(&job);
    if text == "nonsense" {
        // The server learns that nobody can do this, and does not send it again.
        println!("rejects {text:?}");
        job.reject(ReasonCode::PAYLOAD_FORMAT_INVALID);
        return;
    }
    done.push(text);
    println!("done: {done:?}");
    // Only now. Acknowledgements leave in the order of the messages, whatever the order of these calls.
    job.ack();
}

/// Leaves no session behind.
async fn end_session(server: &server::Server, name: &str) -> Result<(), Box<dyn Error>> {
    let config = Config::new(Version::V5).client_id(name)?;
    let (client, driver) = Client::new(config, Tcp::new(server.host.as_str(), server.port));
    let driver = smol::spawn(driver);
    client.connected().await?;
    client.disconnect().await?;
    driver.await?;
    Ok(())
}

fn text(message: &Message) -> String {
    String::from_utf8_lossy(message.payload_bytes()).into_owned()
}

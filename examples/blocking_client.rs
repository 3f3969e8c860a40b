//! No async: the client in a program of plain threads.
//!
//! ```sh
//! cargo run --release --example blocking_client
//! cargo run --release --example blocking_client -- --url mqtt://localhost:1883
//! ```

use std::error::Error;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use mqtt_async::blocking::{Client, RecvError};
use mqtt_async::{Config, QoS, Tcp, Version};

mod server;

fn main() -> ExitCode {
    server::report(run())
}

fn run() -> Result<(), Box<dyn Error>> {
    let server = server::Server::from_args()?;
    // On a server that others use, too, nobody else has this name.
    let name = format!("blocking-client-{}", std::process::id());
    let mut config = Config::new(Version::V5).client_id(name.as_str())?;
    // A program that lives longer leaves the default: connect again, with backoff.
    config.reconnect = None;
    // The driver has a thread of its own; there is no runtime.
    let client = Client::new(config, Tcp::new(server.host.as_str(), server.port))?;

    let mut readings = client.listen(format!("{name}/+/temperature"), QoS::AtLeastOnce)?;
    println!("subscribed: {}", readings.subscribed().wait()?.reasons[0]);

    // Any thread may have a handle.
    let sensors: Vec<_> = (1..=3)
        .map(|sensor| {
            let (client, topic) = (client.clone(), format!("{name}/{sensor}/temperature"));
            thread::spawn(move || {
                for tenths in 0..4 {
                    let reading = format!("2{sensor}.{tenths}");
                    let token = client.publish(topic.as_str(), reading, QoS::AtLeastOnce);
                    // A token may be dropped; whoever wants to know waits.
                    token
                        .map_err(|error| error.to_string())?
                        .wait()
                        .map_err(|it| it.to_string())?;
                }
                Ok::<(), String>(())
            })
        })
        .collect();
    for message in readings.iter().take(12) {
        println!("{}: {}", message.topic(), String::from_utf8_lossy(message.payload_bytes()));
    }
    for sensor in sensors {
        sensor.join().map_err(|_| "a sensor has panicked")??;
    }
    match readings.recv_timeout(Duration::from_millis(50)) {
        Err(RecvError::Empty) => println!("and no more"),
        other => return Err(format!("there is more: {other:?}").into()),
    }

    // A service in a thread, and requests to it.
    let topic = format!("{name}/length");
    let responder =
        client.respond(topic.as_str(), |request| request.payload_bytes().len().to_string())?;
    responder.subscribed().wait()?;
    let service = thread::spawn(|| responder.wait());
    let response = client.request(topic, "how long is this?", Duration::from_secs(10)).wait()?;
    println!("it has {} bytes", String::from_utf8_lossy(response.payload_bytes()));

    // What was accepted gets its answer, if that comes in time; then DISCONNECT. The service ends with it.
    let report = client.shutdown(Duration::from_secs(5));
    println!("left: {} unsent, {} unacknowledged", report.unsent.len(), report.unacked);
    report.result?;
    service.join().map_err(|_| "the service has panicked")??;
    client.join()?;
    server.stop();
    Ok(())
}

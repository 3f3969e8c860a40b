//! Requests and responses: a service, and clients of MQTT 5.0 and 3.1.1 that ask it.
//!
//! ```sh
//! cargo run --release --example request_response
//! cargo run --release --example request_response -- --url mqtt://localhost:1883
//! ```

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use mqtt_async::{Client, Config, Request, RequestError, Response, Tcp, Version};
use smol::{Task, Timer};

mod server;

type Driver = Task<Result<(), mqtt_async::Error>>;

fn main() -> ExitCode {
    server::report(run())
}

fn run() -> Result<(), Box<dyn Error>> {
    let server = server::Server::from_args()?;
    smol::block_on(ask(&server))?;
    server.stop();
    Ok(())
}

async fn ask(server: &server::Server) -> Result<(), Box<dyn Error>> {
    // On a server that others use, too, nobody else has this name.
    let name = format!("request-response-{}", std::process::id());
    let topic = format!("{name}/square");

    // Whoever answers: the handler sees one request after the other, or several at a time.
    let (service, serving) = connect(server, Version::V5, format!("{name}-service"))?;
    let responder = service.respond(topic.as_str(), square)?.concurrency(4);
    responder.subscribed().await?;
    let responder = smol::spawn(responder);

    // Whoever asks: a request is a future of its response. It is made at the call.
    for version in [Version::V5, Version::V311] {
        let (client, driver) = connect(server, version, format!("{name}-client"))?;
        let timeout = Duration::from_secs(10);
        let response = client.request(topic.as_str(), "7", timeout).await?;
        println!("{version}: 7 squared is {}", text(&response.payload()));
        let requests: Vec<_> = (1..=5)
            .map(|number: u32| client.request(topic.as_str(), number.to_string(), timeout))
            .collect();
        for request in requests {
            print!("{} ", text(&request.await?.payload()));
        }
        println!("came back together");

        // Nobody answers here. In MQTT 5.0 the server may know that, else the time runs out.
        let nobody = client.request(format!("{name}/cube"), "7", Duration::from_millis(200)).await;
        match nobody {
            Err(RequestError::NoMatchingSubscribers) => println!("nobody knows cubes"),
            Err(RequestError::TimedOut) => println!("no answer about cubes"),
            other => return Err(format!("an odd answer: {other:?}").into()),
        }
        client.disconnect().await?;
        driver.await?;
    }

    // Whoever does not wait long enough misses the response; it is counted.
    let (client, driver) = connect(server, Version::V5, format!("{name}-hasty"))?;
    let hasty = client.request(topic.as_str(), "slow", Duration::from_millis(100)).await;
    println!("in a hurry: {}", hasty.err().ok_or("it cannot have been that fast")?);
    while client.stats().calls.late == 0 {
        Timer::after(Duration::from_millis(10)).await;
    }
    println!("and then it came: {:?}", client.stats().calls);
    client.disconnect().await?;
    driver.await?;

    println!("the service has answered {} requests", service.stats().calls.answered);
    service.disconnect().await?;
    responder.await?;
    serving.await?;
    Ok(())
}

async fn square(request: Request) -> Response {
    let text = text(request.payload_bytes());
    if text == "slow" {
        Timer::after(Duration::from_millis(500)).await;
    }
    match text.parse::<u64>() {
        Ok(number) => (number * number).to_string().into(),
        Err(error) => format!("{text:?} is no number: {error}").into(),
    }
}

fn connect(
    server: &server::Server,
    version: Version,
    client_id: String,
) -> Result<(Client, Driver), Box<dyn Error>> {
    let mut config = Config::new(version).client_id(client_id)?;
    // A program that lives longer leaves the default: connect again, with backoff.
    config.reconnect = None;
    let (client, driver) = Client::new(config, Tcp::new(server.host.as_str(), server.port));
    Ok((client, smol::spawn(driver)))
}

fn text(payload: &[u8]) -> String {
    String::from_utf8_lossy(payload).into_owned()
}

//! A web service that publishes: one client shared by all HTTP handlers, on tokio, without a framework.
//!
//! It asks itself a few things over loopback and ends. What a handler does here, it does in any framework: the
//! client is cloned into it, as any other state.
//!
//! ```sh
//! cargo run --release --example tokio_http
//! cargo run --release --example tokio_http -- --url mqtt://localhost:1883
//! ```

use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use mqtt_async::{
    Client, Config, PublishError, QoS, RequestError, TokenError, TokioTcp, TokioTimer, Version,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

mod server;

/// How long a client of HTTP waits for the MQTT server.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a request of HTTP may take: bytes, time, and how many at once.
const HEAD: usize = 8 * 1024;
const BODY: usize = 64 * 1024;
const READING: Duration = Duration::from_secs(10);
const LINGER: Duration = Duration::from_secs(1);
const CONNECTIONS: usize = 100;

#[tokio::main]
async fn main() -> ExitCode {
    server::report(run().await)
}

async fn run() -> Result<(), Box<dyn Error>> {
    let server = server::Server::from_args()?;
    // On a server that others use, too, nobody else has this name.
    let name = format!("tokio-http-{}", std::process::id());
    let config = Config::new(Version::V5).client_id(name.as_str())?;
    let connector = TokioTcp::new(server.host.as_str(), server.port);
    let (client, driver) = Client::with_timer(config, connector, TokioTimer::new());
    let driver = tokio::spawn(driver);

    // Somebody who answers, so that there is something to ask.
    let responder = client.respond(format!("{name}/upper"), |request| async move {
        String::from_utf8_lossy(request.payload_bytes()).to_uppercase()
    })?;
    responder.subscribed().await?;
    let responder = tokio::spawn(responder);

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    println!("http://{address}/publish/TOPIC, /request/TOPIC, /status");
    let (stop, stopped) = oneshot::channel::<()>();
    let web = tokio::spawn(serve(listener, client.clone(), stopped));

    let result = drive(address, &name).await;

    // The order of a graceful end: no new HTTP, what is under way is answered, then the client has so long to
    // get rid of what it accepted.
    drop(stop);
    web.await?;
    let report = client.shutdown(Duration::from_secs(5)).await;
    println!("left: {} unsent, {} unacknowledged", report.unsent.len(), report.unacked);
    responder.await??;
    driver.await??;
    server.stop();
    result
}

/// Accepts connections until it is told to stop, and then finishes those that there are.
async fn serve(listener: TcpListener, client: Client, mut stopped: oneshot::Receiver<()>) {
    let mut handlers = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if handlers.len() < CONNECTIONS => {
                if let Ok((stream, _)) = accepted {
                    handlers.spawn(handle(stream, client.clone()));
                }
            }
            Some(_) = handlers.join_next() => {}
            _ = &mut stopped => break,
        }
    }
    drop(listener);
    handlers.join_all().await;
}

/// One request of HTTP, one answer.
async fn handle(mut stream: TcpStream, client: Client) {
    let answer = match timeout(READING, read(&mut stream)).await {
        Ok(Ok(request)) => route(&client, request).await,
        Ok(Err(answer)) => answer,
        Err(_) => Answer::new(408, "that takes too long"),
    };
    let Answer { status, body } = answer;
    let phrase = if status < 400 { "OK" } else { "Failed" };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} {phrase}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    // Whoever has gone away gets no answer.
    let _ = stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await;
    let _ = stream.shutdown().await;
    // Closing with unread bytes would make the kernel send RST, which can destroy the answer on its way.
    let _ = timeout(LINGER, tokio::io::copy(&mut stream, &mut tokio::io::sink())).await;
}

async fn route(client: &Client, request: Request) -> Answer {
    let Request { method, path, body } = request;
    match (method.as_str(), path.split_once('/')) {
        ("POST", Some(("publish", topic))) => publish(client, topic, body).await,
        ("POST", Some(("request", topic))) => ask(client, topic, body).await,
        ("GET", None) if path == "status" => {
            let (status, stats) = (client.status(), client.stats());
            Answer::new(200, format!("{:?}, {} taken", status.phase, stats.acked))
        }
        _ => Answer::new(404, "there is no such thing"),
    }
}

/// Publishes, and says what the server says.
async fn publish(client: &Client, topic: &str, body: Vec<u8>) -> Answer {
    let token = match client.publish(topic, body, QoS::AtLeastOnce) {
        Ok(token) => token,
        Err(error) => return Answer::new(not_accepted(&error), error.to_string()),
    };
    match timeout(PATIENCE, token).await {
        Ok(Ok(published)) => Answer::new(200, published.reason.to_string()),
        Ok(Err(error)) => Answer::new(not_delivered(&error), error.to_string()),
        // The token is dropped, which takes nothing back: the message goes on.
        Err(_) => Answer::new(202, "accepted; the server has not answered yet"),
    }
}

/// Makes a request of MQTT, and passes the response on.
async fn ask(client: &Client, topic: &str, body: Vec<u8>) -> Answer {
    match client.request(topic, body, PATIENCE).await {
        Ok(response) => Answer::new(200, String::from_utf8_lossy(response.payload_bytes())),
        Err(error) => {
            let status = match &error {
                RequestError::TimedOut => 504,
                RequestError::NoMatchingSubscribers => 404,
                RequestError::NotAccepted(error) => not_accepted(error),
                RequestError::NotDelivered(error) => not_delivered(error),
                RequestError::Unexpected(_) => 400,
                // Too many at a time, no response topic, or the client ends.
                _ => 503,
            };
            Answer::new(status, error.to_string())
        }
    }
}

/// Whose fault is it that the client did not take a message?
fn not_accepted(error: &PublishError) -> u16 {
    match error {
        PublishError::Topic(_) => 400,
        PublishError::TooLarge { .. } => 413,
        // The queue is full, or the client ends: another time, or another instance.
        PublishError::Full(_) | PublishError::Closed(_) => 503,
        _ => 500,
    }
}

/// Why did a message that was taken come to nothing?
fn not_delivered(error: &TokenError) -> u16 {
    match error {
        error if error.is_auth() => 403,
        error if error.is_retryable() => 503,
        TokenError::Rejected(_) => 502,
        _ => 500,
    }
}

struct Answer {
    status: u16,
    body: String,
}

impl Answer {
    fn new(status: u16, body: impl Into<String>) -> Answer {
        Answer { status, body: body.into() }
    }
}

struct Request {
    method: String,
    /// Without the slash in front.
    path: String,
    body: Vec<u8>,
}

/// Reads a request of HTTP/1.1: enough for a demonstration.
async fn read(stream: &mut TcpStream) -> Result<Request, Answer> {
    let gone = |_| Answer::new(400, "the connection broke");
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if bytes.len() > HEAD {
            return Err(Answer::new(431, "the head is too long"));
        }
        if stream.read_buf(&mut bytes).await.map_err(gone)? == 0 {
            return Err(Answer::new(400, "there is no end of the head"));
        }
    };
    let mut body = bytes.split_off(end + 4);
    let head = String::from_utf8_lossy(&bytes);
    let mut lines = head.lines();
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let length = lines.filter_map(|line| line.split_once(':')).find_map(|(name, value)| {
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>())
    });
    let length = match length.unwrap_or(Ok(0)) {
        Ok(length) if length <= BODY => length,
        Ok(_) => return Err(Answer::new(413, "the body is too long")),
        Err(_) => return Err(Answer::new(400, "the length of the body is no number")),
    };
    while body.len() < length {
        if stream.read_buf(&mut body).await.map_err(gone)? == 0 {
            return Err(Answer::new(400, "the body is not complete"));
        }
    }
    body.truncate(length);
    let path = path.strip_prefix('/').unwrap_or(path);
    Ok(Request { method: method.to_owned(), path: path.to_owned(), body })
}

/// Asks the web service a few things, and says what came back.
async fn drive(address: SocketAddr, name: &str) -> Result<(), Box<dyn Error>> {
    let large = "x".repeat(BODY + 1);
    for (method, path, body, expected) in [
        ("POST", format!("publish/{name}/news"), "hello", 200),
        ("POST", format!("request/{name}/upper"), "hello", 200),
        ("POST", format!("publish/{name}/+"), "a wildcard", 400),
        ("POST", format!("publish/{name}/news"), large.as_str(), 413),
        ("GET", "nothing".to_owned(), "", 404),
        ("GET", "status".to_owned(), "", 200),
    ] {
        let (status, answer) = fetch(address, method, &path, body).await?;
        println!("{method} /{path}: {status} {answer}");
        if status != expected {
            return Err(format!("expected {expected}").into());
        }
    }
    // Many at once, over the one connection to the MQTT server.
    let mut all = JoinSet::new();
    for number in 0..50 {
        let (path, body) = (format!("publish/{name}/{number}"), number.to_string());
        all.spawn(async move {
            fetch(address, "POST", &path, &body).await.is_ok_and(|(status, _)| status == 200)
        });
    }
    let good = all.join_all().await.into_iter().filter(|good| *good).count();
    println!("50 at once: {good} good");
    if good == 50 { Ok(()) } else { Err("not all of them".into()) }
}

async fn fetch(
    address: SocketAddr,
    method: &str,
    path: &str,
    body: &str,
) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address).await?;
    let length = body.len();
    let head =
        format!("{method} /{path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let text = answer.split_once("\r\n\r\n").map(|(_, text)| text).unwrap_or_default();
    Ok((status, text.to_owned()))
}

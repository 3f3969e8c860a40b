//! A thousand clients on one thread that have nothing to do: what each costs in memory, and how often it wakes up.
//!
//! ```sh
//! cargo run --release --example many_clients
//! cargo run --release --example many_clients -- --clients 5000 --periods 3
//! ```
//!
//! The broker is a process of its own, so that its memory is not counted. Each client needs a file descriptor in
//! both: see `ulimit -n`. Memory is what the system says that the process has in use, which is known on Linux only.

use std::error::Error;
use std::future::Future;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::pin::Pin;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use mqtt_async::{Client, Config, QoS, Tcp, Version};
use smol::{LocalExecutor, Timer};

// It starts its server itself.
#[allow(dead_code, reason = "a server from the command line")]
mod server;

/// The keep-alive period, in seconds: the shortest, so that several pass while one looks on.
const KEEP_ALIVE: u16 = 1;

fn main() -> ExitCode {
    server::report(run())
}

fn run() -> Result<(), Box<dyn Error>> {
    if std::env::args().any(|argument| argument == "--serve") {
        return serve();
    }
    let (clients, periods) = (option("--clients", 1000)?.max(1), option("--periods", 5)?.max(1));
    let mut broker = Command::new(std::env::current_exe()?)
        .arg("--serve")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(broker.stdout.take().ok_or("no output")?).read_line(&mut line)?;
    let (_, address) = line.trim().rsplit_once('/').ok_or("the broker does not say where it is")?;
    let result = match address.parse() {
        Ok(address) => smol::block_on(look_on(address, clients, u32::try_from(periods)?)),
        Err(error) => Err(error.into()),
    };
    // It ends when its input does.
    drop(broker.stdin.take());
    broker.wait()?;
    result
}

/// Is the broker until nobody needs it any more.
fn serve() -> Result<(), Box<dyn Error>> {
    let server = server::Server::embedded()?;
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    server.stop();
    Ok(())
}

async fn look_on(address: SocketAddr, count: u64, periods: u32) -> Result<(), Box<dyn Error>> {
    let executor = LocalExecutor::new();
    let polls = Arc::new(AtomicU64::new(0));
    executor
        .run(async {
            // What the first client brings into the process is not of the others.
            let mut clients = vec![connect(&executor, address, &polls).await?];
            let before = memory();
            while (clients.len() as u64) <= count {
                clients.push(connect(&executor, address, &polls).await?);
            }
            println!("{count} clients, connected: {}", each(before, count));
            for client in &clients {
                client.subscribe("news", QoS::AtMostOnce)?.await?;
            }
            println!("subscribed to something: {}", each(before, count));

            let before = polls.load(Ordering::Relaxed);
            Timer::after(Duration::from_secs(KEEP_ALIVE.into()) * periods).await;
            let woken = polls.load(Ordering::Relaxed) - before;
            let each = woken as f64 / clients.len() as f64 / f64::from(periods);
            println!("{each:.2} wake-ups for each in a keep-alive period of {KEEP_ALIVE} s");
            Ok(())
        })
        .await
}

/// A driver, and how often it is polled.
struct Counted<D> {
    driver: D,
    polls: Arc<AtomicU64>,
}

impl<D: Future + Unpin> Future for Counted<D> {
    type Output = D::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<D::Output> {
        self.polls.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.driver).poll(cx)
    }
}

/// Connects a client.
async fn connect(
    executor: &LocalExecutor<'_>,
    address: SocketAddr,
    polls: &Arc<AtomicU64>,
) -> Result<Client, Box<dyn Error>> {
    let mut config = Config::new(Version::V5);
    config.session.connect.keep_alive = KEEP_ALIVE;
    let connector = Tcp::new(address.ip().to_string(), address.port());
    let (client, driver) = Client::new(config, connector);
    executor.spawn(Counted { driver, polls: Arc::clone(polls) }).detach();
    client.connected().await?;
    Ok(client)
}

/// Says how much memory one of many takes that have come since then.
fn each(before: Option<u64>, count: u64) -> String {
    match (before, memory()) {
        (Some(before), Some(now)) => format!("{} bytes each", now.saturating_sub(before) / count),
        _ => "this system does not say how much memory is in use".into(),
    }
}

/// Returns how many bytes of memory the process has in use.
fn memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes * 1024)
}

fn option(name: &str, default: u64) -> Result<u64, Box<dyn Error>> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    match (arguments.next(), arguments.next()) {
        (None, _) => Ok(default),
        (Some(_), Some(value)) => Ok(value.parse()?),
        (Some(_), None) => Err(format!("{name} needs a number").into()),
    }
}

//! The servers: a sink of our own, and mosquitto. They keep to core 0.

use std::io::{self, BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Instant;
use std::{env, fs, thread};

use rustix::thread::Pid;

use super::process::{PATIENCE, Running, SIZE, pin};
use crate::load::Mode;
use crate::sink::{self, RECEIVE_MAXIMUM};

/// The server side of a measurement.
pub struct Server {
    _process: Running,
    pub port: u16,
    /// Whether somebody else has to publish what a client is to receive.
    pub is_broker: bool,
}

impl Server {
    /// Starts to publish what a client has just subscribed to, from a process of its own.
    pub fn feed(&self, mode: Mode, messages: usize) -> io::Result<Option<Running>> {
        let Mode::Receive(qos) = mode else { return Ok(None) };
        if !self.is_broker {
            return Ok(None);
        }
        let numbers = [self.port.into(), qos.into(), messages, SIZE].map(|it| it.to_string());
        let mut command = Command::new(env::current_exe()?);
        let feeder = command.arg("feed").args(numbers).stderr(Stdio::null()).spawn()?;
        Ok(Some(Running(feeder)))
    }
}

/// `benches sink`: serves until it is killed, and says on which port.
pub fn serve() -> io::Result<()> {
    pin(0, None);
    println!("{}", sink::listen()?);
    loop {
        thread::park();
    }
}

/// `benches feed PORT QOS MESSAGES SIZE`: publishes them on the server's core.
pub fn feed(args: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    let [port, qos, messages, size] = args else { return Err("four arguments".into()) };
    pin(0, None);
    Ok(sink::feed(port.parse()?, qos.parse()?, messages.parse()?, size.parse()?)?)
}

/// Starts the sink.
pub fn sink() -> io::Result<Server> {
    let mut command = Command::new(env::current_exe()?);
    let mut process = Running(command.arg("sink").stdout(Stdio::piped()).spawn()?);
    let mut line = String::new();
    if let Some(stdout) = process.0.stdout.take() {
        BufReader::new(stdout).read_line(&mut line)?;
    }
    let port = line.trim().parse().map_err(io::Error::other)?;
    Ok(Server { _process: process, port, is_broker: false })
}

/// Starts mosquitto, if it is there.
pub fn mosquitto() -> io::Result<Option<Server>> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let config = env::temp_dir().join(format!("mqtt-benches-{}.conf", std::process::id()));
    let text = format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n\
         max_inflight_messages {RECEIVE_MAXIMUM}\nset_tcp_nodelay true\npersistence false\nlog_type none\n"
    );
    fs::write(&config, text)?;
    let mut command = Command::new("mosquitto");
    let Ok(child) = command.arg("-c").arg(&config).stderr(Stdio::null()).spawn() else {
        return Ok(None);
    };
    pin(0, Some(Pid::from_child(&child)));
    let server = Server { _process: Running(child), port, is_broker: true };
    let start = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if start.elapsed() > PATIENCE {
            return Ok(None);
        }
        thread::yield_now();
    }
    let _ = fs::remove_file(&config);
    Ok(Some(server))
}

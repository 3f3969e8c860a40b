//! The servers: a sink of our own, and mosquitto.

use std::io::{self, BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use std::{env, fs, thread};

use super::PATIENCE;
use super::process::pin;
use crate::sink;

/// The server side of a measurement: it is killed when this is dropped.
pub struct Server {
    child: Child,
    pub port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `benches sink`: serves on core 0 until it is killed, and says on which port.
pub fn serve() -> io::Result<()> {
    pin(0);
    println!("{}", sink::listen()?);
    loop {
        thread::park();
    }
}

pub fn sink() -> io::Result<Server> {
    let mut command = Command::new(env::current_exe()?);
    let mut child = command.arg("sink").stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut line)?;
    }
    let port = line.trim().parse().map_err(io::Error::other)?;
    Ok(Server { child, port })
}

/// Starts mosquitto, if it is there.
pub fn mosquitto() -> io::Result<Option<Server>> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let config = env::temp_dir().join(format!("mqtt-benches-{}.conf", std::process::id()));
    let text = format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n\
         max_inflight_messages 0\nset_tcp_nodelay true\npersistence false\nlog_type none\n"
    );
    fs::write(&config, text)?;
    let mut command = Command::new("mosquitto");
    let Ok(child) = command.arg("-c").arg(&config).stderr(Stdio::null()).spawn() else {
        return Ok(None);
    };
    let server = Server { child, port };
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

//! mosquitto's programs as child processes, on loopback ports that the system chose.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;
use std::{env, fs, thread};

use crate::GUARD;

/// `stdbuf` makes mosquitto_sub print what it has at once, although nobody watches a terminal.
const PROGRAMS: [&str; 5] =
    ["mosquitto", "mosquitto_sub", "mosquitto_pub", "mosquitto_rr", "stdbuf"];

/// Returns where a program is; Debian puts servers where a user's search path does not look.
fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders =
        env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Tells whether mosquitto is there; says so loudly if not, and fails in CI.
pub(crate) fn installed() -> bool {
    static SAY: Once = Once::new();
    are_there(&PROGRAMS, &SAY)
}

/// The same of the proxies.
pub(crate) fn proxies_installed() -> bool {
    static SAY: Once = Once::new();
    installed() && are_there(&["tinyproxy", "microsocks"], &SAY)
}

fn are_there(programs: &[&str], say: &Once) -> bool {
    let missing: Vec<&str> =
        programs.iter().copied().filter(|program| find(program).is_none()).collect();
    if missing.is_empty() {
        return true;
    }
    assert!(
        env::var("CI").as_deref() != Ok("true"),
        "in CI these have to be installed: {missing:?}"
    );
    say.call_once(|| {
        // Past the test harness, which would swallow it.
        let line = format!("\nNOT RUN: interoperability with mosquitto; missing: {missing:?}\n");
        let _ = std::io::stderr().write_all(line.as_bytes());
    });
    false
}

/// A child process, and the lines that it prints. It is killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Process {
    fn spawn(command: &mut Command, stderr: bool) -> Process {
        command.stdin(Stdio::null());
        if stderr {
            command.stdout(Stdio::null()).stderr(Stdio::piped());
        } else {
            command.stdout(Stdio::piped()).stderr(Stdio::null());
        }
        let mut child = command.spawn().expect("the program starts");
        let (sender, lines) = mpsc::channel();
        let out: Box<dyn std::io::Read + Send> = match stderr {
            true => Box::new(child.stderr.take().unwrap()),
            false => Box::new(child.stdout.take().unwrap()),
        };
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Process { child, lines, seen: Vec::new() }
    }

    /// Waits for a line that has this text, and returns it; `None` if the program ends before. Lines
    /// that it passes over are kept for later calls.
    fn wait_for(&mut self, text: &str) -> Option<String> {
        if let Some(at) = self.seen.iter().position(|line| line.contains(text)) {
            return Some(self.seen.remove(at));
        }
        loop {
            match self.lines.recv_timeout(GUARD) {
                Ok(line) if line.contains(text) => return Some(line),
                Ok(line) => self.seen.push(line),
                Err(mpsc::RecvTimeoutError::Disconnected) => return None,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    panic!("no line with {text:?} came: {:?}", self.seen)
                }
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// mosquitto itself, with persistence in a folder of its own.
pub(crate) struct Mosquitto {
    process: Process,
    pub(crate) folder: PathBuf,
    pub(crate) port: u16,
    /// More ports, for those who configure more listeners.
    pub(crate) ports: [u16; 4],
}

impl Mosquitto {
    pub(crate) fn start() -> Mosquitto {
        Mosquitto::with(|_, _| String::new())
    }

    /// Starts it with more in its configuration, which is told its folder and the ports.
    pub(crate) fn with(more: impl Fn(&Path, [u16; 4]) -> String) -> Mosquitto {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("mosquitto-{}-{number}", std::process::id());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&folder).unwrap();
        // Somebody else may take a port before mosquitto does.
        for _ in 0..20 {
            let free = [(); 5].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
            let [port, ports @ ..] = free.each_ref().map(|it| it.local_addr().unwrap().port());
            drop(free);
            if let Some(process) = launch(&folder, port, &more(&folder, ports)) {
                return Mosquitto { process, folder, port, ports };
            }
        }
        panic!("mosquitto does not start");
    }

    /// Ends it as an administrator would, so that it saves its sessions, and starts it again.
    pub(crate) fn restart(&mut self) {
        let id = self.process.child.id().to_string();
        let killed = Command::new("kill").args(["-TERM", &id]).status().unwrap();
        assert!(killed.success());
        self.process.child.wait().unwrap();
        self.process = relaunch(&self.folder).expect("mosquitto starts again");
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.process.child.kill();
        let _ = self.process.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn launch(folder: &Path, port: u16, more: &str) -> Option<Process> {
    let config = folder.join("mosquitto.conf");
    let user = if cfg!(unix) { "user root\n" } else { "" };
    let text = format!(
        "{user}persistence true\npersistence_location {}/\nlog_dest stderr\nlog_type all\n\
         listener {port} 127.0.0.1\nallow_anonymous true\n{more}",
        folder.display()
    );
    fs::write(&config, text).unwrap();
    relaunch(folder)
}

fn relaunch(folder: &Path) -> Option<Process> {
    let config = folder.join("mosquitto.conf");
    let mut command = Command::new(find("mosquitto").unwrap());
    let mut process = Process::spawn(command.arg("-c").arg(config), true);
    process.wait_for(" running").map(|_| process)
}

/// A proxy on loopback that wants the user name `user` and the password `password`.
pub(crate) struct ProxyServer {
    process: Process,
    pub(crate) port: u16,
}

impl ProxyServer {
    /// tinyproxy, for HTTP.
    pub(crate) fn tinyproxy() -> ProxyServer {
        let config =
            |port| Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tinyproxy-{port}.conf"));
        let server = ProxyServer::start(|port| {
            let text = format!(
                "Port {port}\nListen 127.0.0.1\nTimeout 600\nLogLevel Info\n\
                 BasicAuth user password\n"
            );
            fs::write(config(port), text).unwrap();
            let mut command = Command::new(find("tinyproxy").unwrap());
            command.arg("-d").arg("-c").arg(config(port));
            Process::spawn(&mut command, false)
        });
        // It was read before the program began to listen.
        let _ = fs::remove_file(config(server.port));
        server
    }

    /// microsocks, for SOCKS 5.
    pub(crate) fn microsocks() -> ProxyServer {
        ProxyServer::start(|port| {
            let mut command = Command::new(find("microsocks").unwrap());
            command.args(["-i", "127.0.0.1", "-p", &port.to_string()]);
            command.args(["-u", "user", "-P", "password"]);
            Process::spawn(&mut command, true)
        })
    }

    /// Starts a program at a port that is free, and waits until it listens there.
    fn start(launch: impl Fn(u16) -> Process) -> ProxyServer {
        // Somebody else may take the port before it does; then it ends.
        for _ in 0..20 {
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let port = free.local_addr().unwrap().port();
            drop(free);
            let mut process = launch(port);
            while process.child.try_wait().unwrap().is_none() {
                if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                    return ProxyServer { process, port };
                }
                thread::sleep(Duration::from_millis(5));
            }
        }
        panic!("the proxy does not start");
    }

    /// Waits for a line of its log.
    pub(crate) fn logs(&mut self, text: &str) {
        let line = self.process.wait_for(text);
        line.unwrap_or_else(|| panic!("the proxy ended before it said {text:?}"));
    }
}

/// mosquitto_sub, which prints what it receives.
pub(crate) struct Subscriber(Process);

/// What mosquitto_sub received.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) topic: String,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    /// User Properties, as `name:value`.
    pub(crate) properties: String,
    pub(crate) payload: String,
}

impl Subscriber {
    /// Starts it and waits until it is subscribed.
    pub(crate) fn start(port: u16, version: &str, filter: &str, more: &[&str]) -> Subscriber {
        let mut command = Command::new(find("stdbuf").unwrap());
        command.arg("-oL").arg(find("mosquitto_sub").unwrap());
        command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-V", version, "-q", "2"]);
        // `-d` tells when the subscription stands.
        command.args(["-d", "-F", "RECEIVED %t|%q|%r|%P|%p", "-t", filter]).args(more);
        let mut process = Process::spawn(&mut command, false);
        process.wait_for("Subscribed").expect("mosquitto_sub subscribes");
        Subscriber(process)
    }

    /// Waits for a line of `-d`.
    pub(crate) fn told(&mut self, text: &str) {
        self.0.wait_for(text).unwrap_or_else(|| panic!("mosquitto_sub does not tell {text:?}"));
    }

    pub(crate) fn next(&mut self) -> Received {
        let line = self.0.wait_for("RECEIVED ").expect("mosquitto_sub goes on");
        let text = line.split_once("RECEIVED ").unwrap().1;
        let [topic, qos, retain, properties, payload]: [&str; 5] =
            text.splitn(5, '|').collect::<Vec<_>>().try_into().unwrap();
        Received {
            topic: topic.to_owned(),
            qos: qos.parse().unwrap(),
            retain: retain == "1",
            properties: properties.to_owned(),
            payload: payload.to_owned(),
        }
    }
}

/// Publishes with mosquitto_pub, and waits until it is done.
pub(crate) fn publish(
    port: u16,
    version: &str,
    topic: &str,
    payload: &str,
    qos: u8,
    more: &[&str],
) {
    let qos = qos.to_string();
    let args = ["-q", &qos, "-t", topic, "-m", payload];
    run("mosquitto_pub", port, version, &[&args, more].concat());
}

/// Runs a program of mosquitto to its end, insists that all is well, and returns what it has printed.
pub(crate) fn run(program: &str, port: u16, version: &str, more: &[&str]) -> String {
    let mut command = Command::new(find(program).unwrap());
    command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-V", version]).args(more);
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

//! What the tests of the command have in common: processes, their streams and their ends.
#![allow(dead_code, reason = "not every test file uses all of it")]

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::Duration;

/// A test that takes longer hangs.
pub(crate) const GUARD: Duration = Duration::from_secs(20);

pub(crate) fn mqtt(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mqtt"));
    command.args(args).stdin(Stdio::null());
    for name in ["MQTT_HOST", "MQTT_PORT", "MQTT_USERNAME", "MQTT_PASSWORD"] {
        command.env_remove(name);
    }
    command
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Waits for the end; returns the exit code and what was printed.
pub(crate) fn end(child: Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

pub(crate) fn interrupt(child: &Child) {
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
}

/// `mqtt broker`, which has told where it listens. It is killed when it is dropped.
pub(crate) struct Running {
    child: Child,
    stderr: BufReader<ChildStderr>,
    /// The URLs, in the order in which it told them.
    urls: Vec<String>,
}

impl Running {
    /// Starts it, and waits until it listens on so many.
    pub(crate) fn start(args: &[&str], listeners: usize) -> Running {
        let mut child = mqtt(&["broker"]).args(args).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut urls = Vec::new();
        while urls.len() < listeners {
            let mut line = String::new();
            stderr.read_line(&mut line).unwrap();
            let url = line.trim_end().strip_prefix("listening on ");
            urls.push(url.unwrap_or_else(|| panic!("it says {line:?}")).to_owned());
        }
        Running { child, stderr, urls }
    }

    pub(crate) fn urls(&self) -> &[String] {
        &self.urls
    }

    /// Returns the port of the first listener with that scheme.
    pub(crate) fn port(&self, scheme: &str) -> String {
        let found = self.urls.iter().find(|url| url.split(':').next() == Some(scheme));
        found.unwrap().rsplit_once(':').unwrap().1.to_owned()
    }

    /// Ends it politely, and returns what else it has said.
    pub(crate) fn stop(mut self) -> String {
        let mut said = String::new();
        if cfg!(unix) {
            interrupt(&self.child);
            self.stderr.read_to_string(&mut said).unwrap();
            assert!(self.child.wait().unwrap().success());
        }
        said
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! With what and where something was measured: each table says so.

use std::process::Command;
use std::{env, fs, thread};

/// The packages whose versions matter.
const PACKAGES: &[&str] = &[
    "mqtt-proto",
    "mqtt-async",
    "rumqttc",
    "mqttbytes",
    "ntex-mqtt",
    "mqtt-protocol-core",
    "mqtt-endpoint-tokio",
    "mqtt5",
    "mqtt5-protocol",
    "mqttrs",
    "tokio",
];

/// Returns versions, toolchain, profile and machine, in one line.
pub fn about() -> String {
    let packages = PACKAGES.iter().filter_map(|name| Some(format!("{name} {}", version(name)?)));
    let packages = packages.collect::<Vec<_>>().join(", ");
    let toolchain = said("rustc", "--version").unwrap_or_else(|| "an unknown toolchain".into());
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let mosquitto = said("mosquitto", "-h").unwrap_or_else(|| "no mosquitto".into());
    format!(
        "{packages}; {mosquitto}; {toolchain}, profile {}; {cores} cores of {}, {}.",
        profile().unwrap_or_default(),
        processor().unwrap_or_default(),
        said("uname", "-sr").unwrap_or_default(),
    )
}

/// Returns the version that was built, as the lock file has it.
fn version(name: &str) -> Option<&'static str> {
    let lock = include_str!("../Cargo.lock");
    let (_, after) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
    Some(after.split_once('"')?.0)
}

/// Returns the first line that a program says.
fn said(program: &str, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).lines().next()?.to_owned())
}

/// Programs lie in a folder that has the name of their profile.
fn profile() -> Option<String> {
    let program = env::current_exe().ok()?;
    Some(program.parent()?.file_name()?.to_string_lossy().into_owned())
}

fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(": ")?.1.to_owned())
}

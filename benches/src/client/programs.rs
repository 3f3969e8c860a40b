//! Who takes part.

use mqtt_proto::Version;

use super::{endpoint, limit, mqtt5, ntex, ours, rumqttc};
use crate::load::{Load, Measured, Mode};

/// One client, or one way to use it.
pub struct Program {
    pub version: &'static str,
    pub name: &'static str,
    pub run: fn(Load) -> Measured,
    /// Where it takes part.
    part: Part,
    /// What it is known not to do, and why.
    pub fails: Option<(Mode, &'static str)>,
}

enum Part {
    Everywhere,
    /// Another way to use a client that is there already: behind a broker, which is the bottleneck, one is enough.
    AtSink,
    /// The same, and it differs only in how messages come in.
    ReceivingAtSink,
}

impl Program {
    /// Returns those that take part.
    pub fn all(
        version: &str,
        mode: Mode,
        is_broker: bool,
    ) -> impl Iterator<Item = &'static Program> {
        let receives = matches!(mode, Mode::Receive(_));
        PROGRAMS.iter().filter(move |program| {
            let takes_part = match program.part {
                Part::Everywhere => true,
                Part::AtSink => !is_broker,
                Part::ReceivingAtSink => !is_broker && receives,
            };
            program.version == version && takes_part
        })
    }

    pub fn is_ours(&self) -> bool {
        self.name.starts_with("mqtt-async")
    }
}

const fn program(version: &'static str, name: &'static str, run: fn(Load) -> Measured) -> Program {
    Program { version, name, run, part: Part::Everywhere, fails: None }
}

/// No client: what it takes, none can do without.
const LIMIT: &str = "limit";

const NTEX_FAILS: &str = "it ends with UnexpectedRelease when several are released at once";

/// For each version, ours stands first.
pub const PROGRAMS: &[Program] = &[
    program("v311", "mqtt-async (smol)", |load| ours::smol(Version::V311, load)),
    program("v311", "mqtt-async (tokio)", |load| ours::tokio_current_thread(Version::V311, load)),
    Program {
        part: Part::ReceivingAtSink,
        ..program("v311", "mqtt-async (tokio, copy_up_to = 0)", |load| {
            ours::tokio_slices(Version::V311, load)
        })
    },
    Program {
        part: Part::AtSink,
        ..program("v311", "mqtt-async (tokio, multi-thread)", |load| {
            ours::tokio_multi_thread(Version::V311, load)
        })
    },
    program("v311", "rumqttc", |load| rumqttc::v311::run(load, true)),
    Program {
        part: Part::AtSink,
        ..program("v311", "rumqttc (with Nagle)", |load| rumqttc::v311::run(load, false))
    },
    Program {
        fails: Some((Mode::Publish(2), NTEX_FAILS)),
        ..program("v311", "ntex-mqtt", ntex::v311)
    },
    program("v311", "mqtt-endpoint-tokio", endpoint::v311::run),
    program("v311", LIMIT, |load| limit::run(Version::V311, load)),
    program("v5", "mqtt-async (smol)", |load| ours::smol(Version::V5, load)),
    program("v5", "mqtt-async (tokio)", |load| ours::tokio_current_thread(Version::V5, load)),
    Program {
        part: Part::ReceivingAtSink,
        ..program("v5", "mqtt-async (tokio, copy_up_to = 0)", |load| {
            ours::tokio_slices(Version::V5, load)
        })
    },
    Program {
        part: Part::AtSink,
        ..program("v5", "mqtt-async (tokio, multi-thread)", |load| {
            ours::tokio_multi_thread(Version::V5, load)
        })
    },
    program("v5", "rumqttc", |load| rumqttc::v5::run(load, true)),
    Program {
        part: Part::AtSink,
        ..program("v5", "rumqttc (with Nagle)", |load| rumqttc::v5::run(load, false))
    },
    Program { fails: Some((Mode::Publish(2), NTEX_FAILS)), ..program("v5", "ntex-mqtt", ntex::v5) },
    program("v5", "mqtt-endpoint-tokio", endpoint::v5::run),
    program("v5", "mqtt5", mqtt5::v5),
    program("v5", LIMIT, |load| limit::run(Version::V5, load)),
];

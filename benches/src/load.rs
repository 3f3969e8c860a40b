//! What one client does in a process of its own, and what it tells.

use std::str::FromStr;
use std::time::{Duration, Instant};

use cpu_time::ProcessTime;

/// The topic of all messages that are not asked for by their number: 24 bytes.
pub const TOPIC: &str = "sensors/plant7/node-0001";

/// What a process says when its subscription stands.
pub const SUBSCRIBED: &str = "subscribed";

/// The work of one process.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub mode: Mode,
    pub messages: usize,
    /// How long a payload is.
    pub size: usize,
    /// How many messages wait for their answer at most.
    pub window: u16,
    /// Where the server listens, on 127.0.0.1.
    pub port: u16,
}

impl Load {
    /// Says that the subscription stands: who publishes through a broker waits for this.
    pub fn subscribed(&self) {
        println!("{SUBSCRIBED}");
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// To publish at that QoS. At QoS 0, one message of QoS 1 is the last word.
    Publish(u8),
    /// To subscribe at that QoS, and to take what comes.
    Receive(u8),
    /// To publish at QoS 1 what is subscribed to at QoS 1, one at a time.
    RoundTrip,
}

impl Mode {
    pub const ALL: [(&str, Mode); 6] = [
        ("publish-qos0", Mode::Publish(0)),
        ("publish-qos1", Mode::Publish(1)),
        ("publish-qos2", Mode::Publish(2)),
        ("receive-qos0", Mode::Receive(0)),
        ("receive-qos1", Mode::Receive(1)),
        ("round-trip", Mode::RoundTrip),
    ];

    pub fn name(self) -> &'static str {
        Mode::ALL.iter().find(|(_, mode)| *mode == self).map_or("", |(name, _)| name)
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Mode, String> {
        let found = Mode::ALL.iter().find(|(name, _)| *name == text);
        found.map(|(_, mode)| *mode).ok_or_else(|| format!("no mode {text}"))
    }
}

/// Measures from the first message to the last.
pub struct Meter {
    start: Instant,
    processor: ProcessTime,
    /// How long each round trip took.
    round_trips: Vec<Duration>,
}

/// What a process has measured.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    pub seconds: f64,
    pub processor_seconds: f64,
    /// Percentiles of the round trips, in microseconds.
    pub p50: f64,
    pub p99: f64,
}

impl Meter {
    #[expect(clippy::new_without_default, reason = "it begins to count at once")]
    pub fn new() -> Meter {
        Meter { start: Instant::now(), processor: ProcessTime::now(), round_trips: Vec::new() }
    }

    /// Notes a round trip that began then.
    pub fn round_trip(&mut self, since: Instant) {
        self.round_trips.push(since.elapsed());
    }

    pub fn stop(mut self) -> Measured {
        let (took, processor) = (self.start.elapsed(), self.processor.elapsed());
        self.round_trips.sort();
        let micros = |percent: usize| {
            let index = self.round_trips.len().saturating_sub(1) * percent / 100;
            self.round_trips.get(index).map_or(0.0, |took| took.as_secs_f64() * 1e6)
        };
        Measured {
            seconds: took.as_secs_f64(),
            processor_seconds: processor.as_secs_f64(),
            p50: micros(50),
            p99: micros(99),
        }
    }
}

impl Measured {
    /// One line for the process that asked.
    pub fn line(&self) -> String {
        let Measured { seconds, processor_seconds, p50, p99 } = self;
        format!("measured {seconds} {processor_seconds} {p50} {p99}")
    }

    pub fn parse(line: &str) -> Option<Measured> {
        let mut numbers = line.strip_prefix("measured ")?.split(' ').flat_map(str::parse);
        let mut next = || numbers.next();
        Some(Measured { seconds: next()?, processor_seconds: next()?, p50: next()?, p99: next()? })
    }
}

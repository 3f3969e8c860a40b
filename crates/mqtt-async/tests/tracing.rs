//! What the log of the program is told: what happens to the connection, and never a secret.
#![cfg(feature = "tracing")]

mod common;

use std::cell::RefCell;
use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use common::bench::{Bench, config, lasting};
use common::pipe::Shape;
use common::runtime::guarded;
use common::server::Greeting;
use common::streams::{bounds, listen_with, push};
use mqtt_async::{
    Client, Config, Error, Overflow, QoS, ReasonCode, Text, TopicName, Version, Will,
};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Subscriber};

/// Keeps every event as a line: its level, the span that it happened in, and what it says.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    lines: Vec<String>,
    spans: Vec<String>,
    entered: Vec<usize>,
    /// A client to ask for its status at each event.
    client: Option<Client>,
}

/// Writes fields down: `message` first, as it always comes.
struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = match field.name() {
            "message" => write!(self.0, " {value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}

impl Lines {
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut inner = self.0.lock().unwrap();
        let mut text = span.metadata().name().to_owned();
        span.record(&mut Fields(&mut text));
        inner.spans.push(text);
        Id::from_u64(inner.spans.len() as u64)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let mut inner = self.0.lock().unwrap();
        values.record(&mut Fields(&mut inner.spans[span.into_u64() as usize - 1]));
    }

    fn event(&self, event: &tracing::Event<'_>) {
        let mut inner = self.0.lock().unwrap();
        let span = inner.entered.last().map_or(String::new(), |at| inner.spans[*at].clone());
        let mut line = format!("{} [{span}]", event.metadata().level());
        event.record(&mut Fields(&mut line));
        inner.lines.push(line);
        let client = inner.client.clone();
        drop(inner);
        drop(client.map(|client| client.status()));
    }

    fn enter(&self, span: &Id) {
        self.0.lock().unwrap().entered.push(span.into_u64() as usize - 1);
    }

    fn exit(&self) {
        self.0.lock().unwrap().entered.pop();
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().lines)
    }
}

thread_local! {
    /// The log of the test that runs on this thread.
    static LINES: RefCell<Option<Lines>> = const { RefCell::new(None) };
}

/// The subscriber of the whole program: hands on to the log of the thread.
///
/// A subscriber for each thread would not do: `tracing` keeps for each place in the code whether anybody listens,
/// and a test that nobody listens to can be the first to come there.
struct ByThread;

impl ByThread {
    fn lines(&self) -> Option<Lines> {
        LINES.with_borrow(Clone::clone)
    }
}

impl Subscriber for ByThread {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("mqtt_async")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.lines().map_or(Id::from_u64(1), |lines| lines.new_span(span))
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        self.lines().into_iter().for_each(|lines| lines.record(span, values));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        self.lines().into_iter().for_each(|lines| lines.event(event));
    }

    fn enter(&self, span: &Id) {
        self.lines().into_iter().for_each(|lines| lines.enter(span));
    }

    fn exit(&self, _: &Id) {
        self.lines().into_iter().for_each(|lines| lines.exit());
    }
}

/// Runs a test with a log of its own.
fn logged(test: impl FnOnce(&Lines)) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing::subscriber::set_global_default(ByThread).unwrap());
    let lines = Lines::default();
    LINES.set(Some(lines.clone()));
    test(&lines);
    LINES.set(None);
    assert!(lines.0.lock().unwrap().entered.is_empty(), "a span was entered and not left");
}

#[track_caller]
fn assert_lines(lines: &Lines, expected: &[&str]) {
    let taken = lines.take();
    let fits = |(line, expected): (&String, &&str)| line.starts_with(*expected);
    assert!(
        taken.len() == expected.len() && taken.iter().zip(expected).all(fits),
        "{taken:#?}, and not {expected:#?}"
    );
}

#[test]
fn the_life_of_a_client_is_told() {
    logged(|lines| {
        let mut config = lasting(Version::V5);
        config.reconnect.as_mut().unwrap().first = Duration::ZERO;
        let mut bench = Bench::new(config, Shape::default());
        assert_lines(lines, &[]);
        bench.settle();
        let client = bench.client().clone();
        assert_lines(
            lines,
            &[
                "DEBUG [mqtt client_id=\"bench\"] connecting version=",
                "INFO [mqtt client_id=\"bench\"] connected resumed=false",
            ],
        );
        for filter in ["a", "b"] {
            bench.done(client.subscribe(filter, QoS::AtLeastOnce).unwrap()).unwrap();
        }
        bench.done(client.publish("a", "x", QoS::AtLeastOnce).unwrap()).unwrap();
        assert_lines(lines, &[]);

        // The server goes away, comes back without the session, and refuses a filter.
        bench.server.script(|script| {
            script.forget = true;
            script.reject_filters = Some(ReasonCode::NOT_AUTHORIZED);
        });
        bench.server.cut();
        bench.settle();
        assert_lines(
            lines,
            &[
                "WARN [mqtt client_id=\"bench\"] connection lost error=",
                "DEBUG [mqtt client_id=\"bench\"] connecting",
                "INFO [mqtt client_id=\"bench\"] connected resumed=false",
                "WARN [mqtt client_id=\"bench\"] cannot subscribe anew filter=\"a\" reason=",
                "WARN [mqtt client_id=\"bench\"] cannot subscribe anew filter=\"b\" reason=",
            ],
        );
        bench.server.script(|script| script.reject_filters = None);
        bench.server.cut();
        bench.settle();
        let again = lines.take();
        assert!(
            again[4].starts_with("DEBUG [mqtt client_id=\"bench\"] subscribed anew"),
            "{again:?}"
        );

        drop(client.disconnect());
        bench.end().unwrap();
        assert_lines(lines, &["INFO [mqtt client_id=\"bench\"] ended"]);
    });
}

// It is code of the user: with the client's lock held, this would wait for ever.
#[test]
fn a_log_may_use_the_client() {
    guarded(|| {
        logged(|lines| {
            let mut bench = Bench::new(lasting(Version::V5), Shape::default());
            lines.0.lock().unwrap().client = bench.client.clone();
            bench.settle();
            let stream = listen_with(&mut bench, "a", bounds(1, Overflow::DropOldest));
            (0..3).for_each(|number| push(&bench, "a", number, QoS::AtMostOnce));
            bench.settle();
            bench.server.script(|script| script.forget = true);
            bench.server.cut();
            bench.settle();
            bench.advance(Duration::from_secs(60));
            drop(bench.client().disconnect());
            bench.end().unwrap();
            let told = lines.take();
            for what in ["connecting", "connected", "dropped", "lost", "subscribed", "ended"] {
                assert!(told.iter().any(|line| line.contains(what)), "{what}: {told:#?}");
            }
            drop(stream);
            lines.0.lock().unwrap().client = None;
        });
    });
}

#[test]
fn failures_are_told_with_their_level() {
    logged(|lines| {
        let mut config = config(Version::V5);
        config.reconnect.as_mut().unwrap().first = Duration::from_secs(5);
        config.reconnect.as_mut().unwrap().attempts = Some(1);
        let mut bench = Bench::new(config, Shape::default());
        bench.server.script(|script| script.greeting = Greeting::Refuse(ReasonCode::SERVER_BUSY));
        assert!(matches!(bench.end(), Err(Error::Refused(_))));
        let told = lines.take();
        let span = "[mqtt client_id=\"bench\"]";
        assert_eq!(told.len(), 5, "{told:#?}");
        let first = format!("WARN {span} cannot connect error=the server refused");
        assert!(told[1].starts_with(&first) && told[1].contains("failed=1 retry_in="), "{told:#?}");
        assert!(told[3].ends_with("failed=2"), "there is no other attempt: {told:#?}");
        assert!(told[4].starts_with(&format!("ERROR {span} ended error=the server refused")));

        let bench = Bench::connected(self::config(Version::V311));
        drop(lines.take());
        drop(bench);
        assert_lines(lines, &["INFO [mqtt client_id=\"bench\"] the driver was dropped"]);
    });
}

#[test]
fn an_assigned_client_identifier_is_part_of_the_span() {
    logged(|lines| {
        let mut config = Config::new(Version::V5);
        config.session.connect.clean_start = true;
        let mut bench = Bench::new(config, Shape::default());
        bench.server.script(|script| {
            script.connack.assigned_client_identifier = Some(Text::new("assigned").unwrap());
        });
        bench.settle();
        assert_lines(
            lines,
            &["DEBUG [mqtt] connecting", "INFO [mqtt client_id=\"assigned\"] connected"],
        );
    });
}

#[test]
fn dropped_messages_are_told_once_for_many() {
    logged(|lines| {
        let mut bench = Bench::connected(config(Version::V5));
        let mut stream = listen_with(&mut bench, "a", bounds(2, Overflow::DropOldest));
        drop(lines.take());
        for number in 0..10 {
            push(&bench, "a", number, QoS::AtMostOnce);
        }
        bench.settle();
        assert_lines(
            lines,
            &["DEBUG [mqtt client_id=\"bench\"] messages dropped by policy messages=8 total=8"],
        );
        for number in 0..3 {
            push(&bench, "a", number, QoS::AtMostOnce);
        }
        bench.settle();
        assert_lines(
            lines,
            &["DEBUG [mqtt client_id=\"bench\"] messages dropped by policy messages=3 total=11"],
        );
        assert!(stream.try_next().is_some());
    });
}

/// Everything that a client holds, with secrets that can be told from everything else.
fn secretive(version: Version) -> Config {
    let mut config = lasting(version).credentials("the-user", "the-password").unwrap();
    let topic = TopicName::new("will").unwrap();
    config.session.connect.will = Some(Will::new(topic, "the-will"));
    config
}

#[test]
fn no_secret_is_ever_told() {
    logged(|lines| {
        for version in [Version::V311, Version::V5] {
            let mut bench = Bench::new(secretive(version), Shape::default());
            let client = bench.client().clone();
            let greetings = [
                Greeting::Refuse(ReasonCode::SERVER_UNAVAILABLE),
                Greeting::Nothing,
                Greeting::Http,
                Greeting::Mqtt,
            ];
            for greeting in greetings {
                bench.server.script(|script| script.greeting = greeting);
                bench.server.cut();
                bench.settle();
                bench.advance(Duration::from_secs(60));
                for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
                    drop(client.publish("secret", "the-payload", qos).unwrap());
                    push(&bench, "secret", "the-payload", qos);
                }
                bench.settle();
            }
            assert!(client.status().connected.is_some(), "{:?}", client.status());
            bench.server.script(|script| {
                script.greeting = Greeting::Refuse(ReasonCode::BAD_USER_NAME_OR_PASSWORD);
            });
            bench.server.cut();
            assert!(bench.end().unwrap_err().is_auth());
        }
        let told = lines.take();
        assert!(told.len() > 12, "{told:#?}");
        for secret in ["the-user", "the-password", "the-will", "the-payload"] {
            assert!(told.iter().all(|line| !line.contains(secret)), "{secret}: {told:#?}");
        }
    });
}

// Those who log what they hold print it with `Debug`.
#[test]
fn no_password_is_printed_with_what_holds_it() {
    let reveals = |printed: &dyn Debug| {
        let texts = [format!("{printed:?}"), format!("{printed:#?}")];
        let numbers = format!("{:?}", b"the-password");
        let numbers = numbers.trim_matches(['[', ']']);
        texts.iter().any(|text| text.contains("the-password") || text.contains(numbers))
    };
    assert!(reveals(&"the-password") && reveals(&b"the-password"));
    for version in [Version::V311, Version::V5] {
        let config = secretive(version);
        assert!(!reveals(&config) && !reveals(&config.session.connect), "{version}");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let attempts = Arc::clone(&seen);
        let mut bench = Bench::hooked(config, Shape::default(), |driver| {
            driver.before_connect(move |attempt| {
                attempts.lock().unwrap().push(attempt.clone());
                async move { Ok(attempt) }
            })
        });
        let client = bench.client().clone();
        let refuse = Greeting::Refuse(ReasonCode::BAD_USER_NAME_OR_PASSWORD);
        bench.server.script(|script| script.greeting = refuse);
        let error = bench.end().unwrap_err();
        let attempts = seen.lock().unwrap();
        assert!(attempts.len() == 1 && attempts[0].connect.password.is_some());
        assert!(!reveals(&attempts[0]), "{version}");
        assert!(!reveals(&error) && !error.to_string().contains("the-password"), "{version}");
        assert!(!reveals(&client) && !reveals(&client.status()), "{version}");
    }
}

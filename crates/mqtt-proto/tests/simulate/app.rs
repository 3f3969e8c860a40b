//! The applications on both sides: what they configure, what they publish, and when they answer.

use std::time::Duration;

use mqtt_proto::{
    AckId, Bounds, ClientConfig, ConnAck, PacketId, Publish, QoS, ReasonCode, ServerConfig, Text,
    TopicAliases, TopicName, Version,
};

use crate::oracle::payload;
use crate::random::Random;

/// A message that waits for its application's answer.
#[derive(Clone, Copy)]
pub struct Todo {
    pub ack: AckId,
    pub refuse: bool,
}

/// What one side's application is like.
pub struct Habits {
    /// Of a hundred messages: how many are answered at once, and how many are refused.
    prompt: u64,
    refuses: u64,
    topics: u64,
    qos: &'static [QoS],
    /// Sizes of payloads.
    sizes: &'static [usize],
    expires: u64,
    retained: u64,
    /// Of a hundred messages: how many have a property that only MQTT 5.0 has.
    typed: u64,
}

const ALL: &[QoS] = &[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

impl Habits {
    pub fn new(random: &mut Random) -> Habits {
        Habits {
            prompt: random.pick(&[0, 20, 60, 100]),
            refuses: random.pick(&[0, 0, 10, 40]),
            topics: random.range(1, 5),
            qos: random.pick(&[ALL, ALL, &ALL[1..], &ALL[2..], &ALL[1..2]]),
            sizes: random.pick(&[&[8, 9, 20][..], &[8, 60, 200], &[8, 130, 3000]]),
            expires: random.pick(&[0, 0, 20]),
            retained: random.pick(&[0, 0, 20]),
            typed: 0,
        }
    }

    /// Lets messages have properties of MQTT 5.0.
    pub fn typed(mut self, random: &mut Random) -> Habits {
        self.typed = random.pick(&[0, 20]);
        self
    }

    pub fn is_prompt(&self, random: &mut Random) -> bool {
        random.chance(self.prompt)
    }

    pub fn todo(&self, ack: AckId, random: &mut Random) -> Todo {
        Todo { ack, refuse: random.chance(self.refuses) }
    }

    pub fn message(&self, number: u64, random: &mut Random) -> Publish {
        let topic = match random.below(self.topics) {
            0 => "s".to_owned(),
            other => format!("long/enough/for/an/alias/{other}"),
        };
        let topic = TopicName::new(topic).expect("a topic");
        let content = payload(number, random.pick(self.sizes));
        let mut publish = Publish::new(topic, content).qos(random.pick(self.qos));
        publish.retain = random.chance(self.retained);
        if random.chance(self.typed) {
            publish.properties.edit().content_type = Some(Text::new("t").expect("a text"));
        }
        if random.chance(self.expires) {
            publish.properties.edit().message_expiry_interval = Some(random.range(1, 20) as u32);
        }
        publish
    }
}

fn bounds(random: &mut Random) -> Bounds {
    Bounds {
        messages: random.pick(&[1, 2, 5, 64]),
        bytes: random.pick(&[1, 100, 1000, 100_000]),
        requests: random.pick(&[1, 2, 8]),
    }
}

fn aliases(random: &mut Random) -> TopicAliases {
    match random.below(3) {
        0 => TopicAliases::Manual,
        _ => TopicAliases::Automatic { maximum: random.range(1, 4) as u16 },
    }
}

/// A Receive Maximum: one, a few, or no matter.
fn receive_maximum(random: &mut Random) -> u16 {
    random.pick(&[1, 1, 2, 3, 8, 100])
}

fn packet_size(random: &mut Random) -> u32 {
    random.pick(&[150, 250, 1000, 1_000_000, 1_000_000])
}

/// What a client is like for as long as it lives.
pub fn client(name: usize, random: &mut Random) -> ClientConfig {
    let version =
        random.pick(&[Version::V31, Version::V311, Version::V5, Version::V5, Version::V5]);
    let mut config = ClientConfig::new(version);
    config.connect.client_id = Text::new(format!("client-{name}")).expect("a text");
    config.connect.clean_start = random.chance(15);
    config.connect_timeout = Duration::from_secs(random.pick(&[1, 10]));
    config.ping_timeout = Duration::from_secs(random.pick(&[1, 10]));
    config.write_timeout = Duration::from_secs(random.pick(&[1, 30]));
    config.journal = random.chance(50);
    config.bounds = bounds(random);
    config.resend_lost_qos2 = random.chance(25);
    config.max_in_flight = random.pick(&[1, 2, 5, u16::MAX]);
    config.topic_aliases = aliases(random);
    config.first_packet_id =
        PacketId::new(random.pick(&[1, 2, 65_530, 65_534, 65_535])).expect("not zero");
    vary_client(&mut config, random);
    config
}

/// The Session Expiry Interval of a client's 5.0 connections.
pub fn session_expiry(random: &mut Random) -> Option<u32> {
    let expiry = random.pick(&[0, 5, 3600, 3600, u32::MAX, u32::MAX]);
    random.chance(90).then_some(expiry)
}

/// The next connection is of that version.
pub fn speak(config: &mut ClientConfig, version: Version, session_expiry: Option<u32>) {
    config.version = version;
    let connect = &mut config.connect;
    connect.session_expiry_interval = session_expiry.filter(|_| version.is_v5());
    if !version.is_v5() {
        connect.receive_maximum = None;
        connect.topic_alias_maximum = None;
        connect.maximum_packet_size = None;
    }
}

/// What a client may change from one connection to the next.
pub fn vary_client(config: &mut ClientConfig, random: &mut Random) {
    config.connect.keep_alive = random.pick(&[0, 1, 5, 60]);
    if !config.version.is_v5() {
        return;
    }
    let announced = |random: &mut Random, value: u16| random.chance(80).then_some(value);
    let maximum = receive_maximum(random);
    config.connect.receive_maximum = announced(random, maximum);
    let aliases = random.range(0, 3) as u16;
    config.connect.topic_alias_maximum = announced(random, aliases);
    config.topic_aliases = self::aliases(random);
    config.connect.maximum_packet_size = Some(packet_size(random));
}

/// What the server is like for that client.
pub fn server(random: &mut Random) -> ServerConfig {
    ServerConfig {
        connect_timeout: Duration::from_secs(random.pick(&[1, 10])),
        write_timeout: Duration::from_secs(random.pick(&[1, 30])),
        max_in_flight: random.pick(&[1, 2, 5, u16::MAX]),
        topic_aliases: aliases(random),
        topic_alias_maximum: random.range(0, 3) as u16,
        journal: random.chance(40),
        bounds: bounds(random),
        ..ServerConfig::default()
    }
}

/// What the server says to one connection.
pub fn connack(version: Version, random: &mut Random) -> ConnAck {
    let mut connack = ConnAck::default();
    if version.is_v5() {
        connack.receive_maximum = Some(receive_maximum(random));
        connack.topic_alias_maximum = Some(random.range(0, 3) as u16);
        connack.server_keep_alive = random.chance(20).then(|| random.pick(&[1, 5]));
        connack.session_expiry_interval = random.chance(3).then(|| random.pick(&[0, 5, 3600]));
        connack.maximum_packet_size = Some(packet_size(random));
        connack.maximum_qos = random.chance(5).then(|| random.pick(&ALL[..2]));
        connack.retain_available = random.chance(5).then_some(false);
    }
    connack
}

pub fn refusal(random: &mut Random) -> ReasonCode {
    random.pick(&[ReasonCode::QUOTA_EXCEEDED, ReasonCode::UNSPECIFIED_ERROR])
}

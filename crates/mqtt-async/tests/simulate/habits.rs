//! What an application configures, publishes and subscribes to, by chance.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use mqtt_async::{
    Backoff, Config, Inbound, Offline, OutboundOverflow, Overflow, PacketId, Publish, QoS,
    Redirects, Resubscribe, TopicName, Version,
};

use crate::oracle::payload;
use crate::random::Random;

const TOPICS: [&str; 5] = ["a/1", "a/2", "b/1", "b/1/x", "c"];
pub const FILTERS: [&str; 7] = ["a/+", "a/1", "#", "b/#", "+/1", "c", "$share/g/a/1"];
/// Where a server may send the client, and where servers send it.
pub const PERMITTED: [&str; 3] = ["here", "there", "nowhere"];
pub const REFERENCES: [&str; 6] =
    ["here", "there:1", "elsewhere", "elsewhere there here", "nowhere there", "nowhere"];
const OVERFLOWS: [Overflow; 4] =
    [Overflow::Block, Overflow::DropOldest, Overflow::DropNewest, Overflow::LatestPerTopic];

/// Payloads that are alive: who keeps one for too long shows.
#[derive(Clone, Default)]
pub struct Payloads(Arc<AtomicUsize>);

struct Payload(Bytes, Payloads);

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        self.1.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Payloads {
    fn make(&self, bytes: Bytes) -> Bytes {
        self.0.fetch_add(1, Ordering::Relaxed);
        Bytes::from_owner(Payload(bytes, self.clone()))
    }

    pub fn alive(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

pub fn config(version: Version, random: &mut Random) -> Config {
    let mut config = Config::new(version).client_id("simulated").expect("a text");
    let session = &mut config.session;
    session.connect.clean_start = random.chance(15);
    session.connect.keep_alive = random.pick(&[0, 1, 5, 60]);
    session.connect_timeout = Duration::from_secs(random.pick(&[1, 10]));
    session.ping_timeout = Duration::from_secs(random.pick(&[1, 10]));
    session.write_timeout = Duration::from_secs(random.pick(&[1, 30]));
    session.bounds = mqtt_proto::Bounds {
        messages: random.pick(&[1, 2, 64, 64, 64]),
        bytes: random.pick(&[1, 1000, 100_000, 100_000, 100_000]),
        requests: random.pick(&[1, 2, 8]),
    };
    session.max_in_flight = random.pick(&[1, 2, 5, u16::MAX]);
    session.resend_lost_qos2 = random.chance(20);
    session.first_packet_id =
        PacketId::new(random.pick(&[1, 2, 65_530, 65_534, 65_535])).expect("not zero");
    if version.is_v5() && random.chance(90) {
        let expiry = random.pick(&[0, 5, 3600, 3600, u32::MAX]);
        session.connect.session_expiry_interval = Some(expiry);
    }
    if version.is_v5() && random.chance(60) {
        config.redirects = Some(Redirects::to_hosts(PERMITTED));
    }
    config.outbound.overflow = random.pick(&[
        OutboundOverflow::Reject,
        OutboundOverflow::Reject,
        OutboundOverflow::DropOldest,
        OutboundOverflow::DropNewest,
        OutboundOverflow::LatestPerTopic,
    ]);
    config.outbound.offline = random.pick(&[
        Offline::All,
        Offline::All,
        Offline::All,
        Offline::Acknowledged,
        Offline::None,
    ]);
    config.requests.outstanding = random.pick(&[1, 5, 1024, 1024]);
    config.requests.in_topic = random.chance(30);
    config.inbound = inbound(random);
    config.manual_ack = random.chance(40);
    config.copy_up_to = random.pick(&[0, 100, 1024]);
    config.resubscribe = random.pick(&[
        Resubscribe::OnNewSession,
        Resubscribe::OnNewSession,
        Resubscribe::Always,
        Resubscribe::Never,
    ]);
    // Chance decides within a tick, so that a run is the same each time.
    let tick = Duration::from_millis(1);
    let mut backoff = Backoff::default();
    (backoff.first, backoff.max) = (tick, tick);
    config.reconnect = Some(backoff);
    config
}

pub fn inbound(random: &mut Random) -> Inbound {
    let mut inbound = Inbound::default();
    inbound.messages = random.pick(&[1, 1, 2, 5, 50]);
    inbound.bytes = random.pick(&[1, 200, 5000, 1 << 20, 1 << 20]);
    inbound.overflow = match random.chance(60) {
        true => Overflow::Block,
        false => random.pick(&OVERFLOWS),
    };
    inbound
}

pub fn publish(number: u64, random: &mut Random, payloads: Option<&Payloads>) -> Publish {
    let topic = TopicName::new(random.pick(&TOPICS)).expect("a topic");
    let bytes = payload(number, random.pick(&[8, 9, 60, 150, 150, 3000]));
    let bytes = payloads.map_or(bytes.clone(), |payloads| payloads.make(bytes));
    let all = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
    let mut publish = Publish::new(topic, bytes).qos(random.pick(&all));
    if payloads.is_some() && random.chance(5) {
        publish.properties.edit().message_expiry_interval = Some(random.range(1, 20) as u32);
    }
    publish
}

//! What a pair of sessions is made from: small limits, so that a few operations reach them.

use std::time::Duration;

use arbitrary::{Arbitrary, Result, Unstructured};
use mqtt_proto::{Bounds, ClientConfig, PacketId, ServerConfig, Text, TopicAliases, Version};

#[derive(Clone, Debug)]
pub struct Setup {
    pub client: ClientConfig,
    pub server: ServerConfig,
    /// The size from which an output buffer is full.
    pub full_from: usize,
    /// Whether the server's application accepts at once.
    pub accepts: bool,
    /// Whether the applications acknowledge and grant at once.
    pub acks: bool,
}

impl<'a> Arbitrary<'a> for Setup {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Setup> {
        let bytes: [u8; 8] = u.arbitrary()?;
        let [version, session, quota, bounds, aliases, size, timers, more] = bytes;
        Ok(setup(version, session, quota, bounds, aliases, size, timers, more))
    }
}

/// Takes each byte apart, so that one mutation changes one thing.
#[allow(clippy::too_many_arguments, reason = "a byte for each group of settings")]
fn setup(
    version: u8,
    session: u8,
    quota: u8,
    bounds: u8,
    aliases: u8,
    size: u8,
    timers: u8,
    more: u8,
) -> Setup {
    let version = [Version::V5, Version::V311, Version::V5, Version::V31][usize::from(version % 4)];
    let mut client = ClientConfig::new(version);
    let mut server = ServerConfig::default();
    let has = |byte: u8, bit: u8| byte & 1 << bit != 0;

    client.connect.client_id = Text::new("pair").expect("a text");
    client.connect.clean_start = has(session, 0);
    client.journal = has(session, 1);
    server.journal = has(session, 2);
    client.resend_lost_qos2 = has(session, 3);
    client.adopt_session = !has(session, 4);
    if has(session, 5) {
        // The counter wraps while messages are held.
        client.first_packet_id = PacketId::new(u16::MAX).expect("not zero");
    }

    client.max_in_flight = u16::from(quota & 3) + 1;
    server.max_in_flight = u16::from(quota >> 2 & 3) + 1;
    server.receive_maximum = u16::from(quota >> 4 & 3) + 1;

    client.bounds = small(bounds);
    server.bounds = small(bounds >> 3);

    server.topic_alias_maximum = u16::from(aliases % 3);
    let automatic = |byte: u8| match byte & 3 {
        0 | 1 => TopicAliases::Manual,
        maximum => TopicAliases::Automatic { maximum: u16::from(maximum) - 1 },
    };
    client.topic_aliases = automatic(aliases >> 2);
    server.topic_aliases = automatic(aliases >> 4);

    client.connect.keep_alive = u16::from(timers & 3);
    if version.is_v5() {
        server.maximum_packet_size = packet_size(size >> 2);
        client.connect.session_expiry_interval = Some(3600).filter(|_| has(session, 6));
        client.connect.receive_maximum = Some(u16::from(quota >> 6) + 1);
        client.connect.topic_alias_maximum = Some(u16::from(aliases >> 6));
        client.connect.maximum_packet_size = Some(packet_size(size));
    }
    let seconds = |byte: u8| Duration::from_secs(u64::from(byte & 3) + 1);
    client.ping_timeout = seconds(timers >> 2);
    client.write_timeout = seconds(timers >> 4);
    server.write_timeout = seconds(timers >> 6);

    let full_from = [1, 7, 64, 64 * 1024][usize::from(more & 3)];
    Setup { client, server, full_from, accepts: !has(more, 2), acks: !has(more, 3) }
}

/// Only MQTT 5.0 tells it. CONNACK has to fit, and not every message.
pub fn packet_size(byte: u8) -> u32 {
    if byte & 3 == 0 { 1 << 20 } else { 30 + 20 * u32::from(byte & 3) }
}

fn small(byte: u8) -> Bounds {
    let messages = usize::from(byte & 3) + 1;
    let bytes = if byte & 4 == 0 { 1 << 20 } else { 64 };
    Bounds { messages, bytes, requests: messages.div_ceil(2) }
}

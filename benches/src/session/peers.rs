//! The same with mqtt-protocol-core, as its documentation says: packets come from builders, what it wants to send goes
//! to a buffer, what is received to a cursor, and it acknowledges by itself.

use std::sync::Arc;

use mqtt_proto::{QoS, Version};
use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::Event;
use mqtt_protocol_core::mqtt::packet::{GenericPacketTrait as _, PacketType, Qos};
use mqtt_protocol_core::mqtt::result_code::{ConnectReasonCode, ConnectReturnCode};
use mqtt_protocol_core::mqtt::{Connection, Version as ProtocolVersion, packet, role};

use super::{SIZE, exchange, topics};
use crate::measure::{Case, Contender, Run};

/// How many messages one run sends.
const MESSAGES: usize = 4096;

/// How many messages wait for their answer at most.
const WINDOW: usize = 100;

/// What is measured: all of a message's way, on both sides.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let versions: [(_, _, fn(_, _, _, _) -> _); 2] =
        [(Version::V311, "v311", v311::exchange), (Version::V5, "v5", v5::exchange)];
    for (version, number, peer) in versions {
        for (qos, name) in
            [(QoS::AtMostOnce, "qos0"), (QoS::AtLeastOnce, "qos1"), (QoS::ExactlyOnce, "qos2")]
        {
            let run = exchange(version, qos, WINDOW, MESSAGES);
            let mut contenders = vec![Contender { name: "mqtt-proto", run }];
            let run = peer(qos, WINDOW, MESSAGES, true);
            contenders.push(Contender { name: "mqtt-protocol-core", run });
            if qos != QoS::AtMostOnce {
                let run = peer(qos, WINDOW, MESSAGES, false);
                contenders.push(Contender { name: "mqtt-protocol-core, keeping nothing", run });
            }
            cases.push(Case { name: format!("{number}/{name}"), units: MESSAGES, contenders });
        }
    }
    cases
}

/// The two versions have the same names in different modules, but for a few.
macro_rules! peer {
    (
        $name:ident, $version:expr, $module:ident,
        |$connect:ident, $keeps:ident| $open:expr, $accepted:ident($code:expr)
    ) => {
        pub mod $name {
            use packet::$module as packets;

            use super::*;

            /// Sends so many messages, in groups as large as the window, and answers them.
            ///
            /// If it `keeps` a session, then also each message until it has been answered, as ours does.
            pub fn exchange(qos: QoS, window: usize, messages: usize, keeps: bool) -> Run {
                let mut pair = connected(keeps);
                let topics: Vec<String> = topics().collect();
                let payload: Arc<[u8]> = vec![b'x'; SIZE].into();
                let qos = Qos::try_from(qos as u8).expect("a QoS");
                Box::new(move || {
                    let mut left = messages;
                    while left > 0 {
                        let group = left.min(window);
                        for topic in topics.iter().cycle().take(group) {
                            let topic = topic.as_str();
                            let publish = packets::Publish::builder().topic_name(topic);
                            let publish = publish.expect("a topic").payload(Arc::clone(&payload));
                            let mut publish = publish.qos(qos);
                            match qos {
                                // Nothing answers it.
                                Qos::AtMostOnce => pair.done += 1,
                                _ => {
                                    let id = pair.client.acquire_packet_id().expect("room");
                                    publish = publish.packet_id(id);
                                }
                            }
                            let publish = publish.build().expect("a packet");
                            handle(pair.client.checked_send(publish), &mut pair.to_server);
                        }
                        left -= group;
                        while pair.step() {}
                    }
                    std::mem::take(&mut pair.done)
                })
            }

            fn connected(keeps: bool) -> Pair {
                let mut pair = Pair::new($version);
                let $connect = packets::Connect::builder().client_id("client");
                let ($connect, $keeps) = ($connect.expect("an identifier").keep_alive(60), keeps);
                let connect = $open.build().expect("a packet");
                handle(pair.client.checked_send(connect), &mut pair.to_server);
                read(&mut pair.server, &mut pair.to_server, &mut pair.to_client);
                let accept = packets::Connack::builder().session_present(false).$accepted($code);
                let accept = accept.build().expect("a packet");
                handle(pair.server.checked_send(accept), &mut pair.to_client);
                while pair.step() {}
                pair
            }
        }
    };
}

peer!(
    v311,
    ProtocolVersion::V3_1_1,
    v3_1_1,
    |connect, keeps| connect.clean_session(!keeps),
    return_code(ConnectReturnCode::Accepted)
);
peer!(
    v5,
    ProtocolVersion::V5_0,
    v5_0,
    |connect, keeps| {
        let expiry = packet::SessionExpiryInterval::new(3600 * u32::from(keeps)).expect("seconds");
        connect.props(vec![expiry.into()])
    },
    reason_code(ConnectReasonCode::Success)
);

struct Pair {
    client: Connection<role::Client>,
    server: Connection<role::Server>,
    /// What has been written, and not yet read.
    to_server: Vec<u8>,
    to_client: Vec<u8>,
    /// How many messages have come, and how many have their final answer.
    done: u64,
}

impl Pair {
    fn new(version: ProtocolVersion) -> Pair {
        let (mut client, mut server) = (Connection::new(version), Connection::new(version));
        client.set_auto_pub_response(true);
        server.set_auto_pub_response(true);
        Pair { client, server, to_server: Vec::new(), to_client: Vec::new(), done: 0 }
    }

    /// Lets both read what has come and say what they have to say; tells whether anything had come.
    fn step(&mut self) -> bool {
        let Pair { client, server, to_server, to_client, done } = self;
        let anything = !to_server.is_empty() || !to_client.is_empty();
        *done += read(server, to_server, to_client);
        *done += read(client, to_client, to_server);
        anything
    }
}

/// Reads all that has come; returns how many messages or final answers that were.
fn read<R: role::RoleType>(
    side: &mut Connection<R>,
    input: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> u64 {
    let (mut came, mut cursor) = (0, Cursor::new(input.as_slice()));
    while cursor.position() < input.len() as u64 {
        came += handle(side.recv(&mut cursor), out);
    }
    input.clear();
    came
}

/// Does what a state machine asks for. Time stands still: no timer is any of our business.
fn handle(events: Vec<Event>, out: &mut Vec<u8>) -> u64 {
    let mut came = 0;
    for event in events {
        match event {
            Event::RequestSendPacket { packet, .. } => {
                packet.to_buffers().iter().for_each(|part| out.extend_from_slice(part));
            }
            Event::NotifyPacketReceived(packet) => {
                let kind = packet.packet_type();
                let ends =
                    matches!(kind, PacketType::Publish | PacketType::Puback | PacketType::Pubcomp);
                came += u64::from(ends);
            }
            Event::NotifyError(error) => panic!("{error:?}"),
            _ => {}
        }
    }
    came
}

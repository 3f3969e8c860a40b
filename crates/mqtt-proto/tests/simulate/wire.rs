//! What stands on one direction of one connection: every packet is decoded when it is encoded and again
//! looked at when it has arrived.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::BytesMut;
use mqtt_proto::{
    Ack, AckId, ConnAck, Connect, Packet, PacketId, Property, PublishPacket, QoS, Version, codec,
};

use crate::disk::Disk;
use crate::oracle::{Check, End, Fault, Flow, Held, Owner, Permits, ensure, number_of};

/// A QoS 1 message that has arrived on this connection.
struct Awaiting {
    id: PacketId,
    number: u64,
    ack: Option<AckId>,
    answer: Option<bool>,
}

pub struct Watch {
    version: Version,
    from_client: bool,
    partial: BytesMut,
    /// Packets on the way, each with where it ends.
    frames: VecDeque<(u64, Packet)>,
    encoded: u64,
    arrived: u64,
    fresh: VecDeque<(Packet, usize)>,
    begun: bool,
    /// CONNACK has been encoded (server) or has arrived (client).
    pub established: bool,
    ended: bool,
    // What the receiver has announced.
    receive_maximum: u16,
    packet_size: u32,
    alias_maximum: u16,
    permits: Permits,
    /// PUBLISH packets whose answer has not arrived.
    open: BTreeSet<PacketId>,
    last_number: u64,
    last_pubrel: Option<u64>,
    aliases: BTreeMap<u16, String>,
    // The receiver's side: what it owes, in the order in which it came.
    puback: VecDeque<Awaiting>,
    pubrec: VecDeque<PacketId>,
    pubcomp: VecDeque<PacketId>,
}

/// One direction: the ledger and this connection.
pub struct Part<'a> {
    pub flow: &'a mut Flow,
    pub watch: &'a mut Watch,
    /// The disk of the sender.
    pub disk: Option<&'a Disk>,
    /// What the sender itself has in flight at most.
    pub max_in_flight: u16,
}

impl Watch {
    pub fn new(version: Version, from_client: bool) -> Watch {
        Watch {
            version,
            from_client,
            partial: BytesMut::new(),
            frames: VecDeque::new(),
            encoded: 0,
            arrived: 0,
            fresh: VecDeque::new(),
            begun: false,
            established: false,
            ended: false,
            receive_maximum: u16::MAX,
            packet_size: u32::MAX,
            alias_maximum: 0,
            permits: Permits::default(),
            open: BTreeSet::new(),
            last_number: 0,
            last_pubrel: None,
            aliases: BTreeMap::new(),
            puback: VecDeque::new(),
            pubrec: VecDeque::new(),
            pubcomp: VecDeque::new(),
        }
    }

    /// Takes what a session has encoded.
    pub fn encoded(&mut self, bytes: &[u8]) {
        self.partial.extend_from_slice(bytes);
        while let Ok(Some(frame)) = codec::frame(&mut self.partial, u32::MAX) {
            let len = frame.len();
            self.encoded += len as u64;
            let packet = codec::decode(&frame, self.version).expect("a session encodes packets");
            self.frames.push_back((self.encoded, packet.clone()));
            self.fresh.push_back((packet, len));
        }
    }

    /// Returns the next packet that was encoded and not looked at, with its size.
    pub fn next(&mut self) -> Option<(Packet, usize)> {
        self.fresh.pop_front()
    }

    /// So many bytes have arrived; returns the packets that are complete with them.
    pub fn delivered(&mut self, count: usize) -> Vec<Packet> {
        self.arrived += count as u64;
        let mut packets = Vec::new();
        while self.frames.front().is_some_and(|(end, _)| *end <= self.arrived) {
            packets.extend(self.frames.pop_front().map(|(_, packet)| packet));
        }
        packets
    }

    /// The newest arrival of that QoS 1 message that the application has not got yet.
    pub fn awaiting(&mut self, number: u64) -> Option<&mut Option<AckId>> {
        let found = |one: &&mut Awaiting| one.number == number && one.ack.is_none();
        self.puback.iter_mut().find(found).map(|one| &mut one.ack)
    }

    /// How many QoS 1 messages have arrived whose PUBACK has not left.
    pub fn unacknowledged(&self) -> usize {
        self.puback.len()
    }

    pub fn awaiting_ack(&mut self, ack: AckId) -> Option<(u64, &mut Option<bool>)> {
        let found = self.puback.iter_mut().find(|one| one.ack == Some(ack))?;
        Some((found.number, &mut found.answer))
    }

    fn told_by_client(&mut self, connect: &Connect) {
        self.receive_maximum = connect.receive_maximum.unwrap_or(u16::MAX);
        self.packet_size = connect.maximum_packet_size.unwrap_or(u32::MAX);
        self.alias_maximum = connect.topic_alias_maximum.unwrap_or(0);
    }

    fn told_by_server(&mut self, connack: &ConnAck) {
        self.receive_maximum = connack.receive_maximum.unwrap_or(u16::MAX);
        self.packet_size = connack.maximum_packet_size.unwrap_or(u32::MAX);
        self.alias_maximum = connack.topic_alias_maximum.unwrap_or(0);
        self.permits = permits(connack, self.version);
        self.established = true;
    }
}

fn permits(connack: &ConnAck, version: Version) -> Permits {
    Permits {
        qos: connack.maximum_qos.unwrap_or(QoS::ExactlyOnce),
        retain: connack.retain_available.unwrap_or(true),
        properties: version.is_v5(),
    }
}

/// A packet in a few words, with the number of a message.
pub fn brief(packet: &Packet) -> String {
    let name = packet.packet_type();
    match packet {
        Packet::Publish(publish) => {
            let number = number_of(publish.payload_bytes()).unwrap_or(0);
            let (qos, dup) = (publish.qos(), publish.dup());
            let id = publish.packet_id().map_or(0, PacketId::get);
            format!("{name} {id} of message {number}, {qos}, dup {dup}, {:?}", publish.topic())
        }
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
            format!("{name} {} {}", ack.packet_id, ack.reason)
        }
        Packet::Connect(connect) => format!(
            "{name} clean {} expiry {:?} receive maximum {:?}",
            connect.clean_start, connect.session_expiry_interval, connect.receive_maximum
        ),
        Packet::ConnAck(connack) => format!(
            "{name} present {} {} receive maximum {:?}",
            connack.session_present, connack.reason, connack.receive_maximum
        ),
        Packet::Subscribe(id, _) | Packet::Unsubscribe(id, _) => format!("{name} {id}"),
        _ => format!("{name}"),
    }
}

/// A packet was encoded on `own`; `other` is the way back.
pub fn sent(packet: &Packet, len: usize, own: &mut Part<'_>, other: &mut Part<'_>) -> Check {
    handshake_comes_first(packet, own.watch)?;
    let watch = &mut *own.watch;
    ensure!(
        len <= watch.packet_size as usize,
        "packet_size",
        "{len} {}: {packet:?}",
        watch.packet_size
    );
    ensure!(!watch.ended, "nothing_follows_disconnect", "{packet:?}");
    match packet {
        Packet::Connect(connect) => other.watch.told_by_client(connect),
        Packet::ConnAck(connack) => {
            other.watch.told_by_server(connack);
            watch.established = true;
        }
        Packet::Disconnect(_) => watch.ended = true,
        Packet::Publish(publish) => publish_sent(publish, own)?,
        Packet::PubRel(ack) => pubrel_sent(ack, own)?,
        Packet::Subscribe(id, _) | Packet::Unsubscribe(id, _) => {
            own.flow.takes(*id, Owner::Request)?;
        }
        Packet::PubAck(ack) => puback_sent(ack, other)?,
        Packet::PubRec(ack) => pubrec_sent(ack, other, own.disk)?,
        Packet::PubComp(ack) => pubcomp_sent(ack, other, own.disk)?,
        _ => {}
    }
    Ok(())
}

/// Nothing but CONNECT, CONNACK and AUTH before CONNACK.
fn handshake_comes_first(packet: &Packet, watch: &mut Watch) -> Check {
    let rule = "handshake_comes_first";
    let first = !std::mem::replace(&mut watch.begun, true);
    let opens = match packet {
        Packet::Connect(_) => watch.from_client && first,
        Packet::ConnAck(_) => !watch.from_client && !watch.established,
        Packet::Auth(_) => true,
        // A client gives up, with a reason.
        Packet::Disconnect(_) => watch.established || (watch.from_client && !first),
        _ => watch.established,
    };
    ensure!(opens, rule, "{packet:?}");
    Ok(())
}

fn publish_sent(publish: &PublishPacket, own: &mut Part<'_>) -> Check {
    let Part { flow, watch, disk, max_in_flight } = own;
    let number = number_of(publish.payload_bytes())?;
    let Some(entry) = flow.entries.get_mut(&number) else {
        return Err(Fault { rule: "content_is_kept", detail: format!("nobody sent {number}") });
    };
    ensure!(entry.end == End::Open, "nothing_is_sent_after_its_end", "{number} {entry:?}");
    ensure!(entry.received.is_none(), "no_publish_after_pubrec", "{number} {entry:?}");
    let permits = watch.permits;
    let permitted = permits.takes(publish.qos(), publish.retain(), has_type(publish));
    ensure!(permitted, "only_what_is_permitted_is_sent", "{number} {permits:?}");
    // Acceptance order holds over reconnects, so on one connection the numbers ascend; that leaves no
    // place for a second copy either.
    let last = watch.last_number;
    ensure!(number != last, "no_second_copy_on_a_live_connection", "{number}");
    ensure!(number > last, "messages_leave_in_order", "{number} after {last}");
    watch.last_number = number;
    alias_is_known(publish, watch, number)?;
    let Some(id) = publish.packet_id() else {
        entry.sent = true;
        entry.plain |= !watch.version.is_v5();
        ensure!(!publish.dup(), "dup_is_exact", "{number} at QoS 0");
        return Ok(());
    };
    ensure!(publish.dup() == entry.sent, "dup_is_exact", "{number} {publish:?} {entry:?}");
    entry.sent = true;
    // A server passes a message on without what the version does not have.
    entry.plain |= !watch.version.is_v5();
    let same = entry.id.is_none_or(|before| before == id);
    ensure!(same, "a_message_keeps_its_identifier", "{number} {id} {entry:?}");
    entry.id = Some(id);
    flow.takes(id, Owner::Message(number))?;
    watch.open.insert(id);
    let quota = watch.receive_maximum.min(*max_in_flight);
    let open = watch.open.len();
    ensure!(open <= usize::from(quota), "quota", "{open} {quota} {:?}", watch.open);
    if let Some(disk) = disk {
        let entry = &flow.entries[&number];
        let stored = disk.outbound(entry.token) == Some(3);
        ensure!(stored, "nothing_leaves_before_its_record", "PUBLISH {number} {entry:?}");
    }
    Ok(())
}

pub fn has_type(publish: &PublishPacket) -> bool {
    publish.properties().any(|property| matches!(property, Property::ContentType(_)))
}

/// An alias is not above the maximum, and is used only after it was set on this connection.
fn alias_is_known(publish: &PublishPacket, watch: &mut Watch, number: u64) -> Check {
    let Some(alias) = publish.topic_alias() else { return Ok(()) };
    let most = watch.alias_maximum;
    ensure!(alias > 0 && alias <= most, "alias_is_known", "{number}: {alias} above {most}");
    ensure!(!publish.dup(), "alias_is_known", "{number}: sent again with {alias}");
    if publish.topic().is_empty() {
        let known = watch.aliases.contains_key(&alias);
        ensure!(known, "alias_is_known", "{number}: {alias} was never set");
    } else {
        watch.aliases.insert(alias, publish.topic().to_owned());
    }
    Ok(())
}

fn pubrel_sent(ack: &Ack, own: &mut Part<'_>) -> Check {
    if ack.reason.is_error() {
        // The identifier is not known any more.
        return Ok(());
    }
    let Part { flow, watch, disk, .. } = own;
    let owner = flow.ids.get(&ack.packet_id).copied();
    let Some(number) = owner.and_then(Owner::message) else {
        let detail = format!("{ack:?} for nothing");
        return Err(Fault { rule: "pubrel_answers_pubrec", detail });
    };
    let entry = &flow.entries[&number];
    let Some(order) = entry.received else {
        let detail = format!("{number} {entry:?}");
        return Err(Fault { rule: "pubrel_answers_pubrec", detail });
    };
    let last = watch.last_pubrel.replace(order);
    ensure!(last.is_none_or(|last| last < order), "pubrels_leave_in_order", "{number} {ack:?}");
    if let Some(disk) = disk {
        let stored = disk.outbound(entry.token) == Some(6);
        ensure!(stored, "nothing_leaves_before_its_record", "PUBREL {number} {entry:?}");
    }
    Ok(())
}

/// The receiver of `other` answers a QoS 1 message.
fn puback_sent(ack: &Ack, other: &mut Part<'_>) -> Check {
    let Some(first) = other.watch.puback.pop_front() else {
        return Err(Fault { rule: "acks_leave_in_arrival_order", detail: format!("{ack:?}") });
    };
    let (id, number) = (first.id, first.number);
    ensure!(id == ack.packet_id, "acks_leave_in_arrival_order", "{ack:?} before {id} ({number})");
    ensure!(first.answer.is_some(), "no_ack_before_the_application", "{number} {ack:?}");
    Ok(())
}

fn pubrec_sent(ack: &Ack, other: &mut Part<'_>, disk: Option<&Disk>) -> Check {
    let id = ack.packet_id;
    let first = other.watch.pubrec.pop_front();
    ensure!(first == Some(id), "acks_leave_in_arrival_order", "{ack:?} before {first:?}");
    let Some(held) = other.flow.held.get(&id) else {
        return Err(Fault { rule: "pubrec_answers_publish", detail: format!("{ack:?}") });
    };
    let number = held.number;
    ensure!(held.answer.is_some(), "no_ack_before_the_application", "{number} {ack:?}");
    let entry = other.flow.entries.get_mut(&number).expect("it came in");
    if ack.reason.is_error() {
        other.flow.held.remove(&id);
    } else {
        entry.settled = true;
        if let Some(disk) = disk {
            let stored = disk.inbound(id);
            ensure!(stored, "nothing_leaves_before_its_record", "PUBREC {number} {entry:?}");
        }
    }
    Ok(())
}

fn pubcomp_sent(ack: &Ack, other: &mut Part<'_>, disk: Option<&Disk>) -> Check {
    let id = ack.packet_id;
    let first = other.watch.pubcomp.pop_front();
    ensure!(first == Some(id), "pubcomps_leave_in_arrival_order", "{ack:?} before {first:?}");
    if let Some(disk) = disk {
        ensure!(!disk.inbound(id), "nothing_leaves_before_its_record", "PUBCOMP {id}");
    }
    Ok(())
}

/// A packet has arrived on `own`; `other` is the way back.
pub fn arrived(packet: &Packet, own: &mut Part<'_>, other: &mut Part<'_>) -> Check {
    match packet {
        Packet::ConnAck(connack) => {
            other.flow.permits = permits(connack, own.watch.version);
            Ok(())
        }
        Packet::Publish(publish) => publish_arrived(publish, own),
        Packet::PubRel(ack) => {
            own.watch.pubcomp.push_back(ack.packet_id);
            if own.flow.held.remove(&ack.packet_id).is_some() {
                own.watch.pubrec.retain(|id| *id != ack.packet_id);
            }
            Ok(())
        }
        Packet::PubAck(ack) => {
            answered(ack, other);
            Ok(())
        }
        Packet::PubComp(ack) => {
            answered(ack, other);
            Ok(())
        }
        Packet::PubRec(ack) if ack.reason.is_error() => {
            answered(ack, other);
            Ok(())
        }
        Packet::PubRec(ack) => {
            let owner = other.flow.ids.get(&ack.packet_id).copied();
            if let Some(number) = owner.and_then(Owner::message)
                && let Some(entry) = other.flow.entries.get_mut(&number)
                && entry.received.is_none()
            {
                entry.received = Some(other.flow.received);
                other.flow.received += 1;
            }
            Ok(())
        }
        Packet::SubAck(ack) => {
            other.flow.ids.remove(&ack.packet_id);
            Ok(())
        }
        Packet::UnsubAck(ack) => {
            other.flow.ids.remove(&ack.packet_id);
            Ok(())
        }
        _ => Ok(()),
    }
}

fn publish_arrived(publish: &PublishPacket, own: &mut Part<'_>) -> Check {
    let Some(id) = publish.packet_id() else { return Ok(()) };
    let number = number_of(publish.payload_bytes())?;
    if publish.qos() == QoS::AtLeastOnce {
        own.watch.puback.push_back(Awaiting { id, number, ack: None, answer: None });
        return Ok(());
    }
    own.watch.pubrec.push_back(id);
    own.flow.last_held.insert(id, number);
    let held = own.flow.held.entry(id).or_insert(Held { number, ack: None, answer: None });
    // Here the identifier stands for another message: it would be taken for a repeated one and lost.
    ensure!(held.number == number, "no_live_identifier_is_reused", "{id}: {number} {held:?}");
    Ok(())
}

/// The answer that ends an exchange has arrived at the sender of `other`.
fn answered(ack: &Ack, other: &mut Part<'_>) {
    other.watch.open.remove(&ack.packet_id);
    other.flow.ids.remove(&ack.packet_id);
}

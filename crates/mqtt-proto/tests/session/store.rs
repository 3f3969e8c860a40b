//! The journal: restarts from what was durable, with a crash between any two steps.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use mqtt_proto::{
    Client, ClientConfig, Packet, QoS, RecordError, Session, SessionState, StoreKey, StoreOp,
    StoreSeq, Version,
};

use crate::pair::{Pair, VERSIONS, durable, ends, message, subscribe};

/// A store that a crash brings back to what was synced.
#[derive(Default)]
pub struct Disk {
    pub durable: BTreeMap<[u8; 9], Bytes>,
    written: Vec<StoreOp>,
}

impl Disk {
    /// Takes what the session hands out; a crash now would lose it.
    pub fn write(&mut self, session: &mut Session<Client>) -> bool {
        let before = self.written.len();
        self.written.extend(std::iter::from_fn(|| session.poll_store()));
        self.written.len() > before
    }

    /// Makes the oldest write durable.
    pub fn sync_one(&mut self) -> Option<StoreSeq> {
        if self.written.is_empty() {
            return None;
        }
        Some(match self.written.remove(0) {
            StoreOp::Put { seq, key, record } => {
                self.durable.insert(key.to_bytes(), record);
                seq
            }
            StoreOp::Delete { seq, key } => {
                self.durable.remove(&key.to_bytes());
                seq
            }
        })
    }

    pub fn crash(&mut self) -> SessionState {
        self.written.clear();
        let records = self.durable.iter();
        let records = records
            .map(|(key, record)| (StoreKey::from_bytes(*key).expect("a key"), record.clone()));
        SessionState::from_records(records).expect("records of a session")
    }
}

fn config(version: Version) -> ClientConfig {
    ClientConfig { journal: true, ..durable(version) }
}

/// One small step of the pair or of the disk; false when nothing is left to do.
fn step(pair: &mut Pair, disk: &mut Disk, turn: usize) -> bool {
    // The disk is slower than the wire, so that what waits for it really waits.
    let wrote = disk.write(&mut pair.client);
    if turn % 3 == 2
        && let Some(seq) = disk.sync_one()
    {
        pair.client.handle_stored(seq);
        return true;
    }
    pair.step() | wrote | !disk.written.is_empty()
}

/// Publishes in both directions and crashes the client after so many steps; then goes on from the disk.
/// Returns how many steps the whole took.
fn exchange(version: Version, crash: Option<usize>) -> usize {
    let mut pair = Pair::new(config(version));
    pair.chunk = 5;
    let mut disk = Disk::default();
    pair.open();
    pair.settle();
    for index in 0..3 {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let text = format!("{} {index}", qos as u8);
            pair.client.publish(message("up", &text, qos), pair.now).unwrap();
            pair.server.publish(message("down", &text, qos), pair.now).unwrap();
        }
    }
    let mut steps = 0;
    // What was never synced was never accepted, as far as anybody can know.
    let mut accepted = 6;
    while step(&mut pair, &mut disk, steps) {
        steps += 1;
        if crash == Some(steps) {
            let state = disk.crash();
            let ended = pair.client_events.iter().filter_map(ends);
            accepted = ended.chain(state.tokens()).collect::<BTreeSet<_>>().len();
            pair.cut();
            let old =
                std::mem::replace(&mut pair.client, Session::with_state(config(version), state));
            drop(old);
            pair.open();
        }
        assert!(steps < 10_000, "it does not come to rest");
    }
    let received = Pair::payloads(&pair.server_messages);
    let count = |text: &str| received.iter().filter(|got| *got == text).count();
    for index in 0..3 {
        let qos2 = count(&format!("2 {index}"));
        assert!(qos2 <= 1, "twice: crash {crash:?} {received:?}");
    }
    let distinct = received.iter().collect::<BTreeSet<_>>().len();
    assert!(distinct >= accepted, "lost: crash {crash:?}, {accepted} accepted, {received:?}");
    let taken = Pair::payloads(&pair.client_messages);
    for index in 0..3 {
        // A crash between taking a message and the record of that brings it back; nothing else does.
        let qos2 = taken.iter().filter(|got| **got == format!("2 {index}")).count();
        assert!((1..=2).contains(&qos2), "crash {crash:?}: {taken:?}");
        assert!(crash.is_some() || qos2 == 1);
        assert!(taken.contains(&format!("1 {index}")), "crash {crash:?}: {taken:?}");
    }
    assert!(disk.durable.is_empty(), "nothing is left on disk: crash {crash:?}");
    assert!(pair.client.is_idle() && pair.server.is_idle());
    steps
}

#[test]
fn a_crash_between_any_two_steps_loses_and_doubles_nothing() {
    for version in VERSIONS {
        let total = exchange(version, None);
        assert!(total > 50);
        for crash in 1..total {
            exchange(version, Some(crash));
        }
    }
}

#[test]
fn nothing_leaves_before_its_record_is_durable() {
    for version in VERSIONS {
        let mut pair = Pair::new(config(version));
        pair.open();
        pair.settle();
        pair.sent_by_client();
        pair.client.publish(message("a", "x", QoS::ExactlyOnce), pair.now).unwrap();
        pair.server.publish(message("b", "y", QoS::ExactlyOnce), pair.now).unwrap();
        pair.settle();
        assert_eq!(pair.sent_by_client(), [], "neither PUBLISH nor PUBREC");
        let mut sent = Vec::new();
        while let Some(op) = pair.client.poll_store() {
            let (StoreOp::Put { seq, .. } | StoreOp::Delete { seq, .. }) = op;
            pair.client.handle_stored(seq);
            pair.settle();
            sent.push(pair.sent_by_client().len());
        }
        // PUBLISH; PUBREC; PUBREL; nothing for PUBCOMP; PUBCOMP.
        assert_eq!(sent.iter().sum::<usize>(), 4, "{sent:?}");
        assert!(sent.iter().all(|count| *count <= 1), "one at a time: {sent:?}");
        assert!(pair.client.is_idle());
    }
}

#[test]
fn without_a_journal_there_is_nothing_to_store() {
    let mut pair = Pair::connected(Version::V5, 64 * 1024);
    pair.client.publish(message("a", "x", QoS::ExactlyOnce), pair.now).unwrap();
    pair.settle();
    assert_eq!(pair.client.poll_store(), None);
}

#[test]
fn qos0_and_requests_have_no_records() {
    let mut pair = Pair::new(config(Version::V5));
    pair.open();
    pair.client.publish(message("a", "x", QoS::AtMostOnce), pair.now).unwrap();
    pair.client.subscribe(subscribe("a", QoS::AtMostOnce)).unwrap();
    pair.settle();
    assert_eq!(pair.client.poll_store(), None);
    assert!(pair.client.is_idle());
}

#[test]
fn a_message_taken_back_leaves_no_record() {
    let mut session = Session::<Client>::new(config(Version::V5));
    let now = mqtt_proto::Instant::EPOCH;
    let token = session.publish(message("a", "x", QoS::AtLeastOnce), now).unwrap();
    assert!(session.cancel(token).is_some());
    let mut disk = Disk::default();
    disk.write(&mut session);
    while disk.sync_one().is_some() {}
    assert!(disk.durable.is_empty());
    assert_eq!(session.stats(), Default::default());
}

#[test]
fn a_lost_session_clears_the_records_of_what_fails() {
    let mut pair = Pair::new(config(Version::V5));
    let mut disk = Disk::default();
    pair.open();
    pair.settle();
    pair.server_acks = false;
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        pair.client.publish(message("a", "x", qos), pair.now).unwrap();
    }
    let settle = |pair: &mut Pair, disk: &mut Disk| {
        for turn in 0..500 {
            step(pair, disk, turn);
        }
    };
    settle(&mut pair, &mut disk);
    assert_eq!(disk.durable.len(), 2);
    pair.forgetful = true;
    pair.server_acks = true;
    pair.cut();
    pair.open();
    settle(&mut pair, &mut disk);
    assert!(disk.durable.is_empty(), "QoS 1 was sent as new, QoS 2 has failed");
    assert!(pair.client.is_idle());
    assert_eq!(pair.server_messages.len(), 3);
}

#[test]
fn records_that_are_none_are_refused() {
    let mut session = Session::<Client>::new(config(Version::V5));
    let now = mqtt_proto::Instant::EPOCH;
    session.publish(message("a", "x", QoS::AtLeastOnce), now).unwrap();
    let Some(StoreOp::Put { key, record, .. }) = session.poll_store() else { panic!() };
    let inbound = StoreKey::from_bytes([1, 0, 0, 0, 0, 0, 0, 0, 9]).unwrap();
    let other = StoreKey::from_bytes([0, 0, 0, 0, 0, 0, 0, 0, 9]).unwrap();
    let cut = record.slice(..record.len() - 1);
    type Case = (Vec<(StoreKey, Bytes)>, fn(&RecordError) -> bool);
    let cases: [Case; 4] = [
        (vec![(key, cut)], |error| matches!(error, RecordError::Damaged(..))),
        (vec![(key, Bytes::new())], |error| matches!(error, RecordError::Damaged(..))),
        (vec![(inbound, record.clone())], |error| matches!(error, RecordError::Misplaced(_))),
        (vec![(key, record.clone()), (other, record)], |error| {
            matches!(error, RecordError::Duplicate(_))
        }),
    ];
    for (records, expected) in cases {
        let error = SessionState::from_records(records).unwrap_err();
        assert!(expected(&error), "{error}");
    }
    assert_eq!(StoreKey::from_bytes([2; 9]), None);
}

#[test]
fn a_state_tells_its_messages_and_what_is_durable() {
    let mut pair = Pair::new(config(Version::V5));
    let mut disk = Disk::default();
    pair.open();
    pair.settle();
    assert!(pair.client.is_stored(pair.client.last_store()), "there is nothing to store");
    let now = pair.now;
    let tokens: Vec<_> = ["sent", "waits"]
        .iter()
        .map(|text| pair.client.publish(message("a", text, QoS::ExactlyOnce), now).unwrap())
        .collect();
    let last = pair.client.last_store();
    assert!(!pair.client.is_stored(last));
    store(&mut pair, &mut disk, 1);
    assert!(!pair.client.is_stored(last), "one of two");
    // The first goes on up to PUBREC, whose record is durable; its end is not.
    pair.settle();
    store(&mut pair, &mut disk, 2);
    assert!(pair.client.is_stored(last));
    let state = disk.crash();
    assert_eq!(state.tokens(), tokens);
    let messages: Vec<_> =
        state.messages().map(|(_, publish)| publish.map(|it| it.payload.clone())).collect();
    assert_eq!(messages, [None, Some(Bytes::from_static(b"waits"))]);
}

// class: 17
#[test]
fn what_was_taken_is_stored_while_its_answer_still_waits() {
    for version in VERSIONS {
        for offline in [false, true] {
            let mut pair = Pair::new(config(version));
            let mut disk = Disk::default();
            pair.client_acks = false;
            pair.open();
            pair.settle();
            for text in ["first", "second"] {
                pair.server.publish(message("down", text, QoS::ExactlyOnce), pair.now).unwrap();
            }
            pair.settle();
            if offline {
                pair.cut();
            }
            // PUBREC for it waits for that of the first, and for the connection.
            let second = pair.client_acks_of()[1];
            pair.client.ack(second, mqtt_proto::ReasonCode::SUCCESS);
            store(&mut pair, &mut disk, 9);
            assert_eq!(disk.durable.len(), 1);

            let state = disk.crash();
            pair.cut();
            pair.client = Session::with_state(config(version), state);
            pair.client_messages.clear();
            pair.client_acks = true;
            pair.open();
            for turn in 0..200 {
                step(&mut pair, &mut disk, turn);
            }
            let taken = Pair::payloads(&pair.client_messages);
            assert_eq!(taken, ["first"], "{version}, offline: {offline}");
            assert!(disk.durable.is_empty() && pair.client.is_idle() && pair.server.is_idle());
        }
    }
}

#[test]
fn what_was_stored_before_the_first_connection_is_not_in_doubt() {
    for version in VERSIONS {
        let mut session = Session::<Client>::new(config(version));
        let mut disk = Disk::default();
        for (text, qos) in [("1", QoS::AtLeastOnce), ("2", QoS::ExactlyOnce)] {
            session.publish(message("up", text, qos), mqtt_proto::Instant::EPOCH).unwrap();
        }
        disk.write(&mut session);
        while disk.sync_one().is_some() {}
        let records = || {
            let key = |key: &[u8; 9]| StoreKey::from_bytes(*key).unwrap();
            disk.durable.iter().map(move |(bytes, record)| (key(bytes), record.clone()))
        };
        let state = SessionState::from_records(records()).unwrap().never_connected();
        let tokens = state.tokens();
        assert_eq!(tokens.len(), 2);
        let mut pair = Pair::new(config(version));
        pair.client = Session::with_state(config(version), state);
        assert_eq!((pair.client.stats().queued, pair.client.stats().in_flight), (2, 0));
        pair.open();
        pair.settle();
        // The server has no session, and yet nothing fails.
        let sent = pair.sent_by_client();
        let dups: Vec<bool> = sent
            .iter()
            .filter_map(|packet| match packet {
                Packet::Publish(publish) => Some(publish.dup()),
                _ => None,
            })
            .collect();
        assert_eq!(dups, [false, false], "{version}: {sent:?}");
        assert_eq!(Pair::payloads(&pair.server_messages), ["1", "2"]);
        let mut later = Disk { durable: disk.durable.clone(), ..Disk::default() };
        for turn in 0..200 {
            step(&mut pair, &mut later, turn);
        }
        assert!(later.durable.is_empty() && pair.client.is_idle());

        // Without that it is not known what the server has.
        let state = SessionState::from_records(records()).unwrap();
        assert_eq!(Session::<Client>::with_state(config(version), state).stats().in_flight, 2);
    }
}

#[test]
fn identifiers_begin_where_the_configuration_says_after_a_restart() {
    let first = |state: SessionState| {
        let first_packet_id = mqtt_proto::PacketId::new(700).unwrap();
        let config = ClientConfig { first_packet_id, ..config(Version::V5) };
        let mut session = Session::<Client>::with_state(config, state);
        let now = mqtt_proto::Instant::EPOCH;
        session.publish(message("a", "x", QoS::AtLeastOnce), now).unwrap();
        let Some(StoreOp::Put { record, .. }) = session.poll_store() else { panic!() };
        let packet = mqtt_proto::codec::decode(&record, Version::V5).unwrap();
        let Packet::Publish(publish) = packet else { panic!("{packet:?}") };
        (publish.packet_id().unwrap().get(), session.into_state())
    };
    let (id, state) = first(SessionState::from_records([]).unwrap());
    assert_eq!(id, 700);
    // A state that has given some out goes on counting.
    assert_eq!(first(state).0, 701);
}

/// Stores what the client hands out; so many of the oldest operations become durable and are told.
fn store(pair: &mut Pair, disk: &mut Disk, count: usize) {
    disk.write(&mut pair.client);
    for _ in 0..count {
        let Some(seq) = disk.sync_one() else { return };
        pair.client.handle_stored(seq);
    }
}

// Found by the simulator: the answer came at once, and a crash then brought the identifier back, under
// which the peer had a new message by now.
#[test]
fn pubcomp_for_what_was_just_forgotten_waits_for_the_record() {
    for version in VERSIONS {
        let mut pair = Pair::new(config(version));
        let mut disk = Disk::default();
        pair.open();
        pair.settle();
        pair.server.publish(message("down", "x", QoS::ExactlyOnce), pair.now).unwrap();
        pair.settle();
        store(&mut pair, &mut disk, 1);
        pair.settle();
        // PUBREL has come and the exchange is forgotten, but not on disk; then the connection breaks.
        disk.write(&mut pair.client);
        pair.sent_by_client();
        pair.reconnect();
        let sent = pair.sent_by_client();
        let comps = |sent: &[Packet]| {
            sent.iter().filter(|packet| matches!(packet, Packet::PubComp(_))).count()
        };
        assert_eq!(comps(&sent), 0, "{sent:?}");
        store(&mut pair, &mut disk, 1);
        pair.settle();
        assert!(disk.durable.is_empty());
        assert_eq!(comps(&pair.sent_by_client()), 1);
        assert!(pair.client.is_idle() && pair.server.is_idle());
    }
}

// Found by the simulator: the client went on in the new session, crashed, and its disk brought the message
// back that it had told to have failed.
#[test]
fn nothing_leaves_in_a_new_session_before_the_old_one_is_forgotten_on_disk() {
    let mut pair = Pair::new(config(Version::V5));
    let mut disk = Disk::default();
    pair.open();
    pair.settle();
    pair.server_acks = false;
    pair.client.publish(message("a", "x", QoS::ExactlyOnce), pair.now).unwrap();
    store(&mut pair, &mut disk, 1);
    pair.settle();
    assert_eq!(pair.server_messages.len(), 1);
    pair.forgetful = true;
    pair.client.publish(message("a", "y", QoS::AtMostOnce), pair.now).unwrap();
    pair.cut();
    pair.client.publish(message("a", "z", QoS::AtMostOnce), pair.now).unwrap();
    pair.sent_by_client();
    pair.open();
    pair.settle();
    assert_eq!(pair.sent_by_client().len(), 1, "CONNECT");
    store(&mut pair, &mut disk, 1);
    assert!(disk.durable.is_empty());
    pair.settle();
    assert!(!pair.sent_by_client().is_empty());
    assert!(pair.client.is_idle());
}

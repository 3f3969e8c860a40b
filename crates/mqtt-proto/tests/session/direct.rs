//! QoS 0 that goes straight into the output buffer, and a buffer that is written elsewhere.

use std::time::Duration;

use bytes::Buf;
use mqtt_proto::{
    Client, ClientConfig, CloseReason, ConnAck, Disconnect, Event, Instant, Packet, Publish, QoS,
    Session, Timeout, Token, TopicAliases, TxBuf, Version, codec,
};

use crate::pair::{VERSIONS, durable, message, subscribe, wire};

const START: Instant = Instant::EPOCH;

fn open(session: &mut Session<Client>, out: &mut TxBuf, version: Version, connack: ConnAck) {
    session.handle_open(START);
    session.poll_transmit(out, START);
    out.advance(out.len());
    let connack = Packet::ConnAck(Box::new(connack));
    session.handle_input(&mut wire(&connack, version)[..].into(), START);
}

/// A client that is connected, and its output buffer, which is empty.
fn connected(config: ClientConfig, connack: ConnAck) -> (Session<Client>, TxBuf) {
    let (version, mut out) = (config.version, TxBuf::new());
    let mut session = Session::<Client>::new(config);
    open(&mut session, &mut out, version, connack);
    while session.poll_event().is_some() {}
    (session, out)
}

fn publish() -> Publish {
    message("a/b", "x", QoS::AtMostOnce)
}

fn published(session: &mut Session<Client>) -> Vec<Token> {
    let token = |event| match event {
        Event::Published { token, .. } => Some(token),
        _ => None,
    };
    std::iter::from_fn(|| session.poll_event()).filter_map(token).collect()
}

/// The topics and payloads of the packets in a buffer.
fn sent(out: &mut TxBuf, version: Version) -> Vec<(String, String)> {
    let mut bytes = bytes::BytesMut::from(&out.copy_to_bytes(out.remaining())[..]);
    let mut sent = Vec::new();
    while let Some(frame) = codec::frame(&mut bytes, u32::MAX).unwrap() {
        if let Packet::Publish(publish) = codec::decode(&frame, version).unwrap() {
            assert!(!publish.dup());
            let payload = String::from_utf8_lossy(publish.payload_bytes()).into_owned();
            sent.push((publish.topic().to_owned(), payload));
        }
    }
    sent
}

#[test]
fn it_is_in_the_buffer_at_once_and_published_when_written() {
    for version in VERSIONS {
        let (mut session, mut out) = connected(ClientConfig::new(version), ConnAck::default());
        let tokens = [(); 2].map(|()| session.send_now(&publish(), &mut out).unwrap());
        assert_ne!(tokens[0], tokens[1]);
        assert_eq!(session.stats().queued, 0);
        session.poll_transmit(&mut out, START);
        assert_eq!(published(&mut session), []);
        assert_eq!(sent(&mut out, version), vec![("a/b".into(), "x".into()); 2]);
        session.poll_transmit(&mut out, START);
        assert_eq!(published(&mut session), tokens);
    }
}

// covers: v5 MQTT-3.2.2-14, v5 MQTT-3.2.2-15
#[test]
fn what_may_not_leave_at_once_takes_the_long_way() {
    let mut connack = ConnAck { retain_available: Some(false), ..ConnAck::default() };
    connack.maximum_packet_size = Some(20);
    let config = || ClientConfig::new(Version::V5);
    let check = |prepare: fn(&mut Session<Client>, &mut Publish, &mut TxBuf)| {
        let (mut session, mut out) = connected(config(), connack.clone());
        let mut publish = publish();
        prepare(&mut session, &mut publish, &mut out);
        let before = out.len();
        assert_eq!(session.send_now(&publish, &mut out), None);
        assert_eq!(out.len(), before);
    };
    check(|_, publish, _| publish.qos = QoS::AtLeastOnce);
    check(|_, publish, _| publish.retain = true);
    check(|_, publish, _| publish.payload = vec![0; 20].into());
    check(|_, publish, _| publish.properties.edit().message_expiry_interval = Some(1));
    check(|_, publish, _| publish.properties.edit().topic_alias = Some(1));
    check(|_, publish, _| publish.properties.edit().subscription_identifiers.push(1));
    check(|_, _, out| *out = TxBuf::with_limit(0));
    check(|session, publish, _| {
        session.publish(publish.clone(), START).unwrap();
    });
    check(|session, _, _| {
        session.subscribe(subscribe("a", QoS::AtMostOnce)).unwrap();
    });
    check(|session, _, _| session.disconnect(Disconnect::default(), START).unwrap());
    check(|session, _, _| session.handle_eof(START));
    check(|session, _, out| {
        session.handle_open(START);
        session.poll_transmit(out, START);
    });
    // In MQTT 3.x there are no properties.
    let (mut session, mut out) = connected(ClientConfig::new(Version::V311), ConnAck::default());
    let mut publish = publish();
    publish.properties.edit().payload_format_indicator = Some(true);
    assert_eq!(session.send_now(&publish, &mut out), None);
}

// class: 25
#[test]
fn it_does_not_overtake_what_is_sent_again() {
    for version in VERSIONS {
        let (mut session, mut out) = connected(durable(version), ConnAck::default());
        session.publish(message("a/b", "first", QoS::AtLeastOnce), START).unwrap();
        session.poll_transmit(&mut out, START);
        out.advance(out.len());
        session.handle_eof(START);
        let connack = ConnAck { session_present: true, ..ConnAck::default() };
        open(&mut session, &mut out, version, connack);
        assert_eq!(session.send_now(&publish(), &mut out), None, "the first is to be sent again");
        session.poll_transmit(&mut out, START);
        assert!(session.send_now(&publish(), &mut out).is_some());
    }
}

#[test]
fn properties_and_aliases_go_along() {
    let mut config = ClientConfig::new(Version::V5);
    config.topic_aliases = TopicAliases::Automatic { maximum: 8 };
    let connack = ConnAck { topic_alias_maximum: Some(8), ..ConnAck::default() };
    let (mut session, mut out) = connected(config, connack);
    let mut publish = message("a/long/topic", "x", QoS::AtMostOnce);
    publish.properties.edit().payload_format_indicator = Some(true);
    for _ in 0..2 {
        session.send_now(&publish, &mut out).unwrap();
    }
    let topics: Vec<_> = sent(&mut out, Version::V5).into_iter().map(|(topic, _)| topic).collect();
    assert_eq!(topics, ["a/long/topic", ""]);
}

// class: 36
#[test]
fn the_keep_alive_begins_anew_with_the_next_look() {
    for version in VERSIONS {
        let mut config = ClientConfig::new(version);
        config.connect.keep_alive = 10;
        let (mut session, mut out) = connected(config, ConnAck::default());
        let at = |seconds| START + Duration::from_secs(seconds);
        session.send_now(&publish(), &mut out).unwrap();
        session.poll_transmit(&mut out, at(9));
        out.advance(out.len());
        // The server is alive as well.
        let message = crate::solo::publish_bytes(version, &publish(), 0, false);
        session.handle_input(&mut message[..].into(), at(9));
        for (seconds, pings) in [(18, 0), (19, 1)] {
            session.handle_timeout(at(seconds));
            session.poll_transmit(&mut out, at(seconds));
            assert_eq!(out.len(), 2 * pings, "{version} {seconds}");
        }
    }
}

#[test]
fn a_buffer_may_be_written_elsewhere() {
    for version in VERSIONS {
        let (mut session, mut out) = connected(ClientConfig::new(version), ConnAck::default());
        let mut link = TxBuf::new();
        let first = session.send_now(&publish(), &mut out).unwrap();
        let size = out.len();
        out.hand_over(&mut link);
        assert_eq!((out.len(), link.len()), (0, size));
        let second = session.send_now(&publish(), &mut out).unwrap();
        // The other one is not empty: nothing moves.
        out.hand_over(&mut link);
        assert_eq!((out.len(), link.len()), (size, size));
        for taken in 1..=size {
            session.poll_transmit(&mut out, START);
            assert_eq!(published(&mut session), [], "{taken}");
            link.advance(1);
            out.written(1);
        }
        session.poll_transmit(&mut out, START);
        assert_eq!(published(&mut session), [first]);
        out.hand_over(&mut link);
        session.handle_written(&out);
        session.handle_eof(START);
        let failed = std::iter::from_fn(|| session.poll_event())
            .any(|event| matches!(event, Event::Failed { token, .. } if token == second));
        assert!(failed);
    }
}

// class: 35
#[test]
fn writing_elsewhere_is_watched_too() {
    let mut config = ClientConfig::new(Version::V5);
    config.write_timeout = Duration::from_secs(5);
    let (mut session, mut out) = connected(config, ConnAck::default());
    let mut link = TxBuf::new();
    session.send_now(&publish(), &mut out).unwrap();
    session.poll_transmit(&mut out, START);
    out.hand_over(&mut link);
    for seconds in [4, 8] {
        let now = START + Duration::from_secs(seconds);
        link.advance(1);
        out.written(1);
        session.handle_timeout(now);
        session.poll_transmit(&mut out, now);
        assert_eq!(session.poll_event(), None);
    }
    let now = START + Duration::from_secs(13);
    session.handle_timeout(now);
    session.poll_transmit(&mut out, now);
    let closed = CloseReason::Timeout(Timeout::Write);
    assert!(matches!(session.poll_event(), Some(Event::Closed { reason, .. }) if reason == closed));
}

#[test]
fn a_full_buffer_counts_what_is_written_elsewhere() {
    let (mut session, _) = connected(ClientConfig::new(Version::V5), ConnAck::default());
    let (mut out, mut link) = (TxBuf::with_limit(20), TxBuf::new());
    let mut sent = 0;
    while session.send_now(&publish(), &mut out).is_some() {
        out.hand_over(&mut link);
        sent += 1;
        assert!(sent < 20);
    }
    assert!(out.is_full());
    out.written(usize::MAX);
    assert!(!out.is_full());
}

//! QoS 0 on its way through the output buffer: published when it was taken out, and not before.

use bytes::Buf;
use mqtt_proto::{
    Client, ClientConfig, Disconnect, Event, Failure, Instant, Packet, QoS, ReasonCode, Session,
    Token, TxBuf, Version,
};

use crate::pair::{VERSIONS, message, wire};

const NOW: Instant = Instant::EPOCH;

/// A client that is connected, and its output buffer, which is empty.
fn connected(version: Version) -> (Session<Client>, TxBuf) {
    let mut session = Session::<Client>::new(ClientConfig::new(version));
    let mut out = TxBuf::new();
    session.handle_open(NOW);
    session.poll_transmit(&mut out, NOW);
    out.advance(out.len());
    let connack = Packet::ConnAck(Box::default());
    session.handle_input(&mut wire(&connack, version)[..].into(), NOW);
    outcomes(&mut session);
    (session, out)
}

fn publish(session: &mut Session<Client>, qos: QoS) -> Token {
    session.publish(message("a", "some payload", qos), NOW).unwrap()
}

/// What the tokens came to: true for published.
fn outcomes(session: &mut Session<Client>) -> Vec<(Token, bool)> {
    let outcome = |event| match event {
        Event::Published { token, reason, .. } => {
            assert_eq!(reason, ReasonCode::SUCCESS);
            Some((token, true))
        }
        Event::Failed { token, error } => {
            assert_eq!(error, Failure::NotWritten);
            Some((token, false))
        }
        _ => None,
    };
    std::iter::from_fn(|| session.poll_event()).filter_map(outcome).collect()
}

#[test]
fn published_with_the_last_byte_of_its_packet() {
    for version in VERSIONS {
        let (mut session, mut out) = connected(version);
        let tokens = [(); 3].map(|()| publish(&mut session, QoS::AtMostOnce));
        session.poll_transmit(&mut out, NOW);
        let size = out.len() / 3;
        for taken in 1..=3 * size {
            out.advance(1);
            session.poll_transmit(&mut out, NOW);
            let whole = (taken % size == 0).then(|| (tokens[taken / size - 1], true));
            assert_eq!(outcomes(&mut session), Vec::from_iter(whole), "{version}: {taken}");
            assert_eq!(session.is_idle(), taken == 3 * size);
        }
    }
}

#[test]
fn another_buffer_each_time_does_as_well() {
    let (mut session, _) = connected(Version::V5);
    let mut last = None;
    for _ in 0..3 {
        let token = publish(&mut session, QoS::AtMostOnce);
        assert!(session.poll_transmit(&mut TxBuf::new(), NOW));
        assert_eq!(outcomes(&mut session), Vec::from_iter(last.replace((token, true))));
    }
}

#[test]
fn what_the_transport_did_not_take_fails_when_it_is_gone() {
    for version in VERSIONS {
        for clears in [false, true] {
            let (mut session, mut out) = connected(version);
            let [first, second] = [(); 2].map(|()| publish(&mut session, QoS::AtMostOnce));
            let acknowledged = publish(&mut session, QoS::AtLeastOnce);
            session.poll_transmit(&mut out, NOW);
            // All but a byte of the second.
            let size = (out.len() - 2) / 3;
            out.advance(2 * size - 1);
            if clears {
                out.clear();
            }
            session.handle_written(&out);
            session.handle_eof(NOW);
            assert_eq!(outcomes(&mut session), [(first, true), (second, false)]);
            let held = session.stats();
            assert_eq!((held.queued, held.in_flight), (0, 1), "{acknowledged:?} is sent again");
        }
    }
}

#[test]
fn without_a_word_about_the_end_it_fails_with_the_next_connection() {
    let (mut session, mut out) = connected(Version::V311);
    let token = publish(&mut session, QoS::AtMostOnce);
    session.poll_transmit(&mut out, NOW);
    session.handle_open(NOW);
    assert_eq!(outcomes(&mut session), [(token, false)]);
}

#[test]
fn what_stands_before_disconnect_is_still_written() {
    for version in VERSIONS {
        let (mut session, mut out) = connected(version);
        let [first, second] = [(); 2].map(|()| publish(&mut session, QoS::AtMostOnce));
        session.disconnect(Disconnect::default(), NOW).unwrap();
        session.poll_transmit(&mut out, NOW);
        let closed = |event| matches!(event, Event::Closed { .. });
        assert!(session.poll_event().is_some_and(closed), "the session's part is over");
        out.advance(out.len() / 2);
        session.handle_written(&out);
        assert_eq!(outcomes(&mut session), [(first, true)]);
        out.advance(out.len());
        session.handle_written(&out);
        session.handle_eof(NOW);
        assert_eq!(outcomes(&mut session), [(second, true)]);
    }
}

// class: 22
#[test]
fn what_still_waited_is_sent_with_the_next_connection() {
    let (mut session, _) = connected(Version::V5);
    let token = publish(&mut session, QoS::AtMostOnce);
    session.handle_eof(NOW);
    assert_eq!(outcomes(&mut session), []);
    session.handle_open(NOW);
    let mut out = TxBuf::new();
    session.poll_transmit(&mut out, NOW);
    let connack = Packet::ConnAck(Box::default());
    session.handle_input(&mut wire(&connack, Version::V5)[..].into(), NOW);
    session.poll_transmit(&mut out, NOW);
    out.advance(out.len());
    session.poll_transmit(&mut out, NOW);
    assert_eq!(outcomes(&mut session), [(token, true)]);
}

// class: 43
#[test]
fn a_session_that_goes_on_with_the_state_tells_what_became_of_it() {
    let (mut session, mut out) = connected(Version::V5);
    let [first, second] = [(); 2].map(|()| publish(&mut session, QoS::AtMostOnce));
    session.poll_transmit(&mut out, NOW);
    out.advance(out.len() / 2);
    session.handle_written(&out);
    let config = session.config().clone();
    let mut session = Session::<Client>::with_state(config, session.into_state());
    assert_eq!(outcomes(&mut session), [(first, true), (second, false)]);
}

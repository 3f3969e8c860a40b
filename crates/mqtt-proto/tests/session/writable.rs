//! `Full` and `Writable`: whoever waits is told once, and then there is room.

use mqtt_proto::{Client, ClientConfig, Event, Packet, PublishError, QoS, Token};

use crate::pair::{durable, message, subscribe};
use crate::solo::{Solo, ack};

const IDENTIFIERS: usize = 65_535;

/// A client whose journal has a record, and so an identifier, for each message that it holds.
fn exhausted(messages: usize, connected: bool) -> Solo<mqtt_proto::Client> {
    let mut config = ClientConfig { journal: true, ..durable(mqtt_proto::Version::V5) };
    config.bounds.messages = messages;
    // Two bytes for each, and ten more.
    config.bounds.bytes = 2 * IDENTIFIERS + 10;
    config.max_in_flight = u16::MAX;
    let mut solo = Solo::accepted(config, mqtt_proto::ConnAck::default());
    if !connected {
        solo.eof();
        solo.events();
    }
    for _ in 0..IDENTIFIERS {
        solo.publish("a", QoS::AtLeastOnce);
    }
    solo
}

fn is_full(solo: &mut Solo<mqtt_proto::Client>, name: &str, qos: QoS) -> bool {
    match solo.session.publish(message(name, name, qos), solo.now) {
        Ok(_) => false,
        Err(PublishError::Full(_)) => true,
        Err(error) => panic!("{error}"),
    }
}

fn store(solo: &mut Solo<mqtt_proto::Client>) {
    while let Some(op) = solo.session.poll_store() {
        let (mqtt_proto::StoreOp::Put { seq, .. } | mqtt_proto::StoreOp::Delete { seq, .. }) = op;
        solo.session.handle_stored(seq);
    }
}

// `Writable` came with each poll, and `Full` with each attempt.
#[test]
fn without_an_identifier_there_is_no_room_until_one_is_free() {
    let mut solo = exhausted(IDENTIFIERS + 10, true);
    for _ in 0..3 {
        assert!(is_full(&mut solo, "a", QoS::AtLeastOnce));
        store(&mut solo);
        solo.sent();
        assert_eq!(solo.events(), [], "there is no room");
    }
    // Without an identifier, QoS 0 has room.
    assert!(!is_full(&mut solo, "a", QoS::AtMostOnce));
    solo.sent();
    solo.events();
    solo.feed(&Packet::PubAck(ack(7)));
    let events = solo.events();
    assert!(matches!(events[..], [Event::Published { .. }, Event::Writable]), "{events:?}");
    assert!(!is_full(&mut solo, "a", QoS::AtLeastOnce));
    assert!(is_full(&mut solo, "a", QoS::AtLeastOnce));
}

#[test]
fn room_for_one_of_those_that_were_handed_back_is_enough_and_no_less() {
    let mut solo = exhausted(IDENTIFIERS + 2, false);
    let [large, small] = ["aaaa", "a"].map(|name| solo.publish(name, QoS::AtMostOnce));
    // There is a byte for the small message, and no identifier; for the large one there is no byte.
    assert!(is_full(&mut solo, "a", QoS::AtLeastOnce));
    assert!(is_full(&mut solo, "aaaa", QoS::AtMostOnce));
    assert!(solo.session.cancel(small).is_some());
    assert_eq!(solo.events(), [], "neither would be taken");
    assert!(solo.session.cancel(large).is_some());
    assert_eq!(solo.events(), [Event::Writable]);
    assert!(is_full(&mut solo, "a", QoS::AtLeastOnce));
    assert!(!is_full(&mut solo, "aaaa", QoS::AtMostOnce));
}

#[test]
fn the_end_of_a_connection_gives_identifiers_of_requests_back() {
    let mut config = ClientConfig { journal: true, ..durable(mqtt_proto::Version::V5) };
    config.bounds.messages = IDENTIFIERS + 10;
    let mut solo = Solo::accepted(config, mqtt_proto::ConnAck::default());
    solo.session.subscribe(subscribe("a", QoS::AtMostOnce)).unwrap();
    assert_eq!(solo.sent().len(), 1);
    for _ in 1..IDENTIFIERS {
        solo.publish("a", QoS::AtLeastOnce);
    }
    assert!(is_full(&mut solo, "a", QoS::AtLeastOnce));
    assert_eq!(solo.events(), []);
    solo.eof();
    let events = solo.events();
    assert!(matches!(events[..], [Event::Closed { .. }, Event::Writable]), "{events:?}");
    assert!(!is_full(&mut solo, "a", QoS::AtLeastOnce));
}

/// Publishes at any rate; returns the tokens that were taken back.
fn over(
    solo: &mut Solo<Client>,
    place: Option<Token>,
) -> (Result<Token, PublishError>, Vec<Token>) {
    let mut taken = Vec::new();
    let publish = message("a", "a", QoS::AtLeastOnce);
    let result = solo.session.publish_over(publish, place, solo.now, &mut taken);
    let result = result.map(|(token, at)| {
        assert_eq!(at, place.unwrap_or(token));
        token
    });
    (result, taken.into_iter().map(|(token, _)| token).collect())
}

// All that waited was taken back, and then there was no identifier after all.
#[test]
fn nothing_gives_way_for_a_message_that_gets_no_identifier() {
    let mut solo = exhausted(IDENTIFIERS + 10, true);
    store(&mut solo);
    solo.sent();
    solo.eof();
    let waits = solo.publish("a", QoS::AtMostOnce);
    for place in [None, Some(waits)] {
        let (result, taken) = over(&mut solo, place);
        assert!(matches!(result, Err(PublishError::Full(_))), "{result:?}");
        assert_eq!(taken, []);
    }
    assert!(solo.session.cancel(waits).is_some());
}

// The oldest gave way, since no identifier was free for both.
#[test]
fn a_message_takes_the_identifier_of_the_one_whose_place_it_takes() {
    let mut solo = exhausted(IDENTIFIERS + 10, false);
    let (first, last) = solo.session.waiting().unwrap();
    let (newest, taken) = over(&mut solo, Some(last));
    assert_eq!(taken, [last]);
    // One without an identifier does not give one.
    let without = solo.publish("a", QoS::AtMostOnce);
    let (result, taken) = over(&mut solo, Some(without));
    assert_eq!((result.map(|_| ()), taken), (Ok(()), vec![without, first]));
    assert_eq!(solo.session.stats().queued, IDENTIFIERS);
    assert!(solo.session.cancel(newest.unwrap()).is_some());
}

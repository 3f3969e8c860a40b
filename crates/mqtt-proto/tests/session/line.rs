//! A full line in which others give way, and what is taken out of it.

use mqtt_proto::{
    Bounds, Client, ClientConfig, ConnAck, Packet, PublishError, QoS, ReasonCode, Session, Token,
    Version,
};

use crate::pair::{durable, message};
use crate::solo::{Solo, ack};

fn bounded(messages: usize, bytes: usize) -> ClientConfig {
    let mut config = durable(Version::V5);
    config.bounds = Bounds { messages, bytes, ..Bounds::default() };
    config
}

/// Publishes at any rate; returns the payloads that were taken back.
fn over(
    session: &mut Session<Client>,
    payload: &str,
    place: Option<Token>,
) -> (Token, Token, Vec<String>) {
    let mut taken = Vec::new();
    let publish = message("t", payload, QoS::AtLeastOnce);
    let now = mqtt_proto::Instant::EPOCH;
    let (token, place) = session.publish_over(publish, place, now, &mut taken).unwrap();
    let payloads = taken.into_iter().map(|(_, publish)| text(&publish.payload));
    (token, place, payloads.collect())
}

fn text(payload: &[u8]) -> String {
    String::from_utf8_lossy(payload).into_owned()
}

fn payloads(solo: &mut Solo<Client>) -> Vec<String> {
    let payload = |packet: &Packet| match packet {
        Packet::Publish(publish) => Some(text(publish.payload_bytes())),
        _ => None,
    };
    solo.sent().iter().filter_map(payload).collect()
}

#[test]
fn the_oldest_gives_way_and_one_message_is_always_taken() {
    for (messages, bytes) in [(2, 1000), (1000, 9)] {
        let mut session = Session::<Client>::new(bounded(messages, bytes));
        // Each has four bytes, with its topic.
        assert_eq!(over(&mut session, "aaa", None).2, [""; 0]);
        assert_eq!(over(&mut session, "bbb", None).2, [""; 0]);
        assert_eq!(over(&mut session, "ccc", None).2, ["aaa"]);
        assert!(!session.has_room(&message("t", "ddd", QoS::AtMostOnce)));
        let full =
            session.publish(message("t", "ddd", QoS::AtMostOnce), mqtt_proto::Instant::EPOCH);
        assert!(matches!(full, Err(PublishError::Full(_))));
        let large = "x".repeat(2000);
        let taken = over(&mut session, &large, None).2;
        assert_eq!(taken.last().map(String::as_str), Some("ccc"), "{messages}");
        assert!(session.stats().queued <= 2);
    }
}

// class: 18, 22
#[test]
fn only_what_was_never_sent_gives_way() {
    let mut solo = Solo::accepted(bounded(3, 1000), ConnAck::default());
    for payload in ["1", "2", "3"] {
        assert_eq!(over(&mut solo.session, payload, None).2, [""; 0]);
    }
    assert_eq!(payloads(&mut solo), ["1", "2", "3"]);
    // All that is held is in flight: one may wait beside it.
    solo.eof();
    assert_eq!(over(&mut solo.session, "4", None).2, [""; 0]);
    assert_eq!(over(&mut solo.session, "5", None).2, ["4"]);
    // Sent again as new after the session was lost: they may have been delivered.
    solo.reconnect(ConnAck::default());
    assert_eq!(over(&mut solo.session, "6", None).2, ["5"]);
    assert!(solo.session.take_back(|_| true).iter().all(|(_, publish)| publish.payload == "6"));
    assert_eq!(payloads(&mut solo), ["1", "2", "3"]);
}

#[test]
fn a_message_takes_the_place_of_another_one() {
    let mut solo = Solo::client(bounded(10, 30));
    let [a, b, c] = ["a", "b", "c"].map(|payload| over(&mut solo.session, payload, None).0);
    let (token, place, taken) = over(&mut solo.session, "B", Some(b));
    assert_eq!((place, taken), (b, vec!["b".to_owned()]));
    assert!(token > c);
    // Again, by the same place; it is larger, so that the others have to go.
    let (newest, place, taken) = over(&mut solo.session, &"B".repeat(28), Some(b));
    assert_eq!((place, taken), (b, ["B", "a", "c"].map(str::to_owned).into()));
    assert_eq!(solo.session.stats().held_bytes, 29);
    assert!(solo.session.cancel(b).is_none(), "it was replaced");
    assert!(solo.session.cancel(newest).is_some());
    // One that is gone has no place any more.
    let (d, place, taken) = over(&mut solo.session, "d", Some(a));
    assert_eq!((d, taken), (place, vec![]));
}

/// Against a list, with everything that changes the line.
#[test]
fn the_line_is_what_a_list_would_be() {
    let mut random = 7u64;
    let mut next = move |below: u64| {
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (random >> 33) % below
    };
    let mut solo = Solo::client(bounded(12, 1_000_000));
    // Place, token and payload.
    let mut model: Vec<(Token, Token, String)> = Vec::new();
    for step in 0..20_000 {
        let payload = step.to_string();
        let at = next(12) as usize;
        match next(4) {
            0 if at < model.len() => {
                let place = model[at].0;
                let (token, got, taken) = over(&mut solo.session, &payload, Some(place));
                assert_eq!((got, taken), (place, vec![model[at].2.clone()]));
                model[at] = (place, token, payload);
            }
            1 if at < model.len() => {
                let (_, token, payload) = model.remove(at);
                assert_eq!(text(&solo.session.cancel(token).unwrap().payload), payload);
                assert_eq!(solo.session.cancel(token), None);
            }
            2 if next(20) == 0 => {
                let odd = |payload: &[u8]| payload.last().is_some_and(|digit| digit % 2 == 1);
                let taken = solo.session.take_back(|publish| odd(&publish.payload));
                let taken: Vec<_> = taken.into_iter().map(|(token, _)| token).collect();
                let unwanted = model.iter().filter(|it| odd(it.2.as_bytes())).map(|it| it.1);
                assert_eq!(taken, unwanted.collect::<Vec<_>>());
                model.retain(|it| !odd(it.2.as_bytes()));
            }
            _ => {
                let (token, place, taken) = over(&mut solo.session, &payload, None);
                assert_eq!(token, place);
                if model.len() == 12 {
                    assert_eq!(taken, [model.remove(0).2]);
                }
                model.push((place, token, payload));
            }
        }
        assert_eq!(solo.session.stats().queued, model.len());
    }
    solo.sent();
    solo.feed(&Packet::ConnAck(Box::default()));
    let expected: Vec<String> = model.into_iter().map(|it| it.2).collect();
    assert_eq!(payloads(&mut solo), expected);
    for id in 1..=expected.len() as u16 {
        solo.feed(&Packet::PubAck(ack(id)));
    }
    assert!(solo.session.is_idle());
    let done = solo.events().iter().filter(|event| crate::pair::ends(event).is_some()).count();
    assert_eq!((done, ReasonCode::SUCCESS), (expected.len(), ack(1).reason));
}

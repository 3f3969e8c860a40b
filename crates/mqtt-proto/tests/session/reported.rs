//! Faults that the first users of the session reported.

use mqtt_proto::{
    CloseReason, ConnAck, Event, Packet, PacketType, QoS, ReasonCode, ServerConfig, Timeout,
    Version,
};

use crate::pair::{Pair, VERSIONS, durable, message, subscribe};
use crate::solo::{Solo, ack_with, secs};

// class: 35
#[test]
fn only_new_bytes_are_a_sign_of_life() {
    for version in VERSIONS {
        let mut config = durable(version);
        config.connect.keep_alive = 10;
        config.ping_timeout = secs(5);
        let mut solo = Solo::accepted(config, ConnAck::default());
        // The server dies in the middle of a packet; whoever drives the session shows that part again
        // and again, as after each command.
        solo.feed_raw(&[0x30, 100, 0]);
        let mut closed = None;
        for _ in 0..100 {
            solo.now = solo.now + secs(1);
            solo.feed_again();
            solo.session.handle_timeout(solo.now);
            solo.sent();
            closed = solo.events().into_iter().find_map(|event| match event {
                Event::Closed { reason, .. } => Some(reason),
                _ => None,
            });
            if closed.is_some() {
                break;
            }
        }
        assert_eq!(closed, Some(CloseReason::Timeout(Timeout::PingResp)));
    }
}

// covers: v3 MQTT-3.8.3-2
#[test]
fn a_client_of_3x_that_asks_for_what_is_switched_off_is_told_so_and_not_cut_off() {
    let server = ServerConfig {
        wildcard_subscription_available: false,
        shared_subscription_available: false,
        ..ServerConfig::default()
    };
    for version in [Version::V31, Version::V311] {
        let mut config = durable(version);
        config.connect.clean_start = true;
        let mut pair = Pair::with_server(config, server.clone());
        pair.grant = Some(ReasonCode::WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED);
        pair.open();
        pair.settle();
        let token = pair.client.subscribe(subscribe("a/#", QoS::AtMostOnce)).unwrap();
        pair.settle();
        let outcome = pair.outcome(token);
        let Event::Subscribed { ack, .. } = outcome else { panic!("{outcome:?}") };
        assert_eq!(ack.reasons, [ReasonCode::UNSPECIFIED_ERROR]);
    }
}

#[test]
fn a_publisher_learns_the_reason_of_pubrec() {
    let mut solo = Solo::connected(Version::V5);
    let token = solo.session.publish(message("a", "x", QoS::ExactlyOnce), solo.now).unwrap();
    let Packet::Publish(publish) = &solo.sent()[0] else { panic!() };
    let id = publish.packet_id().unwrap().get();
    let nobody = ReasonCode::NO_MATCHING_SUBSCRIBERS;
    solo.feed(&Packet::PubRec(ack_with(id, nobody)));
    assert_eq!(solo.sent_types(), [PacketType::PubRel]);
    solo.feed(&Packet::PubComp(ack_with(id, ReasonCode::SUCCESS)));
    let events = solo.events();
    assert!(
        matches!(
            &events[..],
            [
                Event::Received { token: received, reason: first },
                Event::Published { token: published, reason: last, .. },
            ] if *received == token && *first == nobody && *published == token && *last == nobody
        ),
        "{events:?}"
    );
}

//! How long the peer takes to answer.

use mqtt_proto::{Packet, QoS, ReasonCode, Session, Version};

use crate::pair::VERSIONS;
use crate::solo::{Solo, ack, ack_with, secs};

#[test]
fn one_message_at_a_time_is_followed_from_the_buffer_to_its_first_answer() {
    for version in VERSIONS {
        let mut solo = Solo::connected(version);
        assert_eq!(solo.session.poll_round_trip(), None);
        // QoS 0 has no answer.
        solo.publish("zero", QoS::AtMostOnce);
        // Accepted now, and sent later: the time in the queue is none of the peer's.
        solo.publish("one", QoS::AtLeastOnce);
        solo.now = solo.now + secs(1);
        solo.sent();
        solo.now = solo.now + secs(1);
        solo.publish("two", QoS::ExactlyOnce);
        solo.sent();
        solo.now = solo.now + secs(1);
        // Another one than the first, which is followed.
        solo.feed(&Packet::PubRec(ack(2)));
        assert_eq!(solo.session.poll_round_trip(), None);
        solo.feed(&Packet::PubAck(ack(1)));
        assert_eq!(solo.session.poll_round_trip(), Some(secs(2)));
        assert_eq!(solo.session.poll_round_trip(), None, "handed out once");
        // PUBREC is an answer, PUBCOMP and a repeated PUBREC are none to the message.
        solo.publish("three", QoS::ExactlyOnce);
        solo.sent();
        solo.now = solo.now + secs(3);
        solo.feed(&Packet::PubRec(ack(3)));
        solo.now = solo.now + secs(3);
        solo.feed(&Packet::PubRec(ack(3)));
        solo.feed(&Packet::PubComp(ack(3)));
        assert_eq!(solo.session.poll_round_trip(), Some(secs(3)));
        assert_eq!(solo.session.poll_round_trip(), None);
    }
}

#[test]
fn an_error_is_an_answer_and_the_last_measurement_is_kept() {
    let mut solo = Solo::connected(Version::V5);
    for (id, qos) in [(1, QoS::AtLeastOnce), (2, QoS::ExactlyOnce)] {
        solo.publish("a", qos);
        solo.sent();
        solo.now = solo.now + secs(id.into());
        let refused = ack_with(id, ReasonCode::QUOTA_EXCEEDED);
        solo.feed(&match qos {
            QoS::AtLeastOnce => Packet::PubAck(refused),
            _ => Packet::PubRec(refused),
        });
    }
    assert_eq!(solo.session.poll_round_trip(), Some(secs(2)));
    assert_eq!(solo.session.poll_round_trip(), None);
}

#[test]
fn a_message_that_is_sent_again_is_measured_on_its_new_connection() {
    for version in VERSIONS {
        let mut solo = Solo::connected(version);
        solo.publish("a", QoS::AtLeastOnce);
        solo.publish("b", QoS::AtLeastOnce);
        solo.sent();
        solo.now = solo.now + secs(100);
        solo.resume();
        assert_eq!(solo.session.poll_round_trip(), None);
        solo.sent();
        solo.now = solo.now + secs(1);
        solo.feed(&Packet::PubAck(ack(2)));
        solo.feed(&Packet::PubAck(ack(1)));
        assert_eq!(solo.session.poll_round_trip(), Some(secs(1)));
        // A late answer to what this connection has not sent tells nothing.
        solo.publish("c", QoS::ExactlyOnce);
        solo.sent();
        solo.resume();
        solo.feed(&Packet::PubRec(ack(3)));
        assert_eq!(solo.session.poll_round_trip(), None);
        Session::handle_eof(&mut solo.session, solo.now);
        assert_eq!(solo.session.poll_round_trip(), None);
    }
}

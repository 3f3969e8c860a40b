//! A server that cannot accept a connection as it wished.

use mqtt_proto::{
    Accept, AcceptError, CommandError, ConnAck, Connect, Packet, PacketType, QoS, ServerConfig,
    SessionState, Version, Will,
};

use crate::pair::{message, topic};
use crate::solo::{Solo, connect_packet, text};

/// The state of a session that holds a message.
fn state() -> SessionState {
    let mut solo = Solo::plain(Version::V5);
    solo.publish("kept", QoS::AtLeastOnce);
    solo.sent();
    solo.session.into_state()
}

fn too_small() -> Connect {
    Connect { maximum_packet_size: Some(12), ..connect_packet(false) }
}

fn with_will() -> Connect {
    let will = Will { qos: QoS::ExactlyOnce, ..Will::new(topic("w"), "gone") };
    Connect { will: Some(will), ..connect_packet(false) }
}

// The state was dropped, and with it messages that nobody had got.
// class: 22
#[test]
fn a_session_is_handed_back_when_it_cannot_go_on() {
    let fine = ConnAck::default;
    let authenticated = ConnAck { authentication_method: Some(text("m")), ..ConnAck::default() };
    let no_qos_2 = ConnAck { maximum_qos: Some(QoS::AtLeastOnce), ..ConnAck::default() };
    type Fits = fn(&CommandError) -> bool;
    let unexpected: Fits = |error| matches!(error, CommandError::Unexpected(_));
    let cases: [(Connect, ConnAck, Fits); 4] = [
        (too_small(), fine(), |error| matches!(error, CommandError::TooLarge { limit: 12, .. })),
        (with_will(), no_qos_2, unexpected),
        (connect_packet(false), authenticated, unexpected),
        (Connect { client_id: text(""), ..connect_packet(false) }, fine(), unexpected),
    ];
    for (connect, connack, fits) in cases {
        let mut solo = Solo::server(ServerConfig::default(), Version::V5);
        solo.feed(&Packet::Connect(Box::new(connect)));
        let accept = Accept { connack, state: Some(state()) };
        let AcceptError { error, state, .. } = solo.session.accept(accept, solo.now).unwrap_err();
        assert!(fits(&error), "{error}");
        assert_eq!(solo.sent(), [], "the client was told nothing");
        let state = *state.expect("handed back");
        assert_eq!(state.tokens().len(), 1);
        // It goes on with another connection.
        let mut solo = Solo::server(ServerConfig::default(), Version::V5);
        solo.feed(&Packet::Connect(Box::new(connect_packet(false))));
        solo.accept(fine(), Some(state));
        let sent = solo.sent();
        assert!(matches!(&sent[0], Packet::ConnAck(connack) if connack.session_present));
        assert!(matches!(&sent[1..], [Packet::Publish(publish)] if publish.dup()));
    }
}

#[test]
fn a_connection_that_was_not_accepted_still_waits_for_its_answer() {
    let mut solo = Solo::server(ServerConfig::default(), Version::V5);
    solo.feed(&Packet::Connect(Box::new(with_will())));
    let connack = ConnAck { maximum_qos: Some(QoS::AtLeastOnce), ..ConnAck::default() };
    let accept = Accept { connack, state: Some(state()) };
    let state = solo.session.accept(accept, solo.now).unwrap_err().state;
    solo.accept(ConnAck::default(), state.map(|state| *state));
    assert_eq!(solo.sent_types(), [PacketType::ConnAck, PacketType::Publish]);
}

#[test]
fn a_session_that_comes_too_late_is_handed_back_as_well() {
    for version in [Version::V31, Version::V311, Version::V5] {
        let mut solo = Solo::plain(version);
        let accept = || Accept { connack: ConnAck::default(), state: Some(state()) };
        let late = solo.session.accept(accept(), solo.now).unwrap_err();
        assert!(late.state.is_some_and(|state| state.tokens().len() == 1));
        solo.eof();
        let late = solo.session.accept(accept(), solo.now).unwrap_err();
        assert!(late.state.is_some());
        assert_eq!(
            late.to_string(),
            "the connection was not accepted: no connection waits to be accepted"
        );
        solo.session.publish(message("a", "x", QoS::AtMostOnce), solo.now).unwrap();
    }
}

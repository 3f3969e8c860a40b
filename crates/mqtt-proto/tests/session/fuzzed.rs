//! What fuzzing has found, each case cut down to what it shows.

use mqtt_proto::{CloseReason, Disconnect, Event, QoS, ReasonCode, Text, Version};

use crate::pair::{Pair, durable, message};

/// Changes the configuration between CONNECT and CONNACK, and returns the pair once it is at rest.
fn changed_while_connecting(
    mut config: mqtt_proto::ClientConfig,
    change: impl FnOnce(&mut mqtt_proto::ClientConfig),
) -> Pair {
    config.connect.client_id = Text::new("fuzzed").unwrap();
    let mut pair = Pair::new(config);
    pair.open();
    pair.settle();
    pair.cut();
    pair.client_closed();
    pair.client_events.clear();
    pair.open();
    change(pair.client.config_mut());
    pair.settle();
    pair
}

#[test]
fn a_clean_start_that_is_configured_while_connecting_is_for_the_next_connection() {
    for version in crate::pair::VERSIONS {
        let pair =
            changed_while_connecting(durable(version), |config| config.connect.clean_start = true);
        assert!(pair.was_connected() && pair.resumed(), "{:?}", pair.client_events);
    }
}

#[test]
fn a_receive_maximum_that_is_configured_while_connecting_is_for_the_next_connection() {
    let mut pair = changed_while_connecting(durable(Version::V5), |config| {
        config.connect.receive_maximum = Some(1);
    });
    pair.client_acks = false;
    for text in ["one", "two"] {
        pair.server.publish(message("t", text, QoS::AtLeastOnce), pair.now).unwrap();
    }
    pair.settle();
    assert_eq!(Pair::payloads(&pair.client_messages), ["one", "two"]);
    assert!(!pair.client_events.iter().any(|event| matches!(event, Event::Closed { .. })));
}

#[test]
fn a_keep_alive_that_is_configured_while_connecting_is_for_the_next_connection() {
    let mut config = durable(Version::V311);
    config.connect.keep_alive = 0;
    let pair = changed_while_connecting(config, |config| config.connect.keep_alive = 5);
    assert_eq!(pair.client.poll_timeout(), None);
}

#[test]
fn an_authentication_method_that_is_configured_while_connecting_is_for_the_next_connection() {
    let pair = changed_while_connecting(durable(Version::V5), |config| {
        config.connect.authentication_method = Some(Text::new("m").unwrap());
    });
    assert!(pair.was_connected(), "{:?}", pair.client_events);
}

#[test]
fn another_version_is_for_the_next_connection() {
    // Between CONNECT and CONNACK.
    let pair = changed_while_connecting(durable(Version::V5), |config| {
        config.version = Version::V311;
    });
    assert!(pair.was_connected(), "{:?}", pair.client_events);
    // And once connected: DISCONNECT of a server is there in 5.0 only.
    let mut pair = Pair::connected(Version::V5, 64 * 1024);
    pair.client.config_mut().version = Version::V311;
    let reason = ReasonCode::SERVER_SHUTTING_DOWN;
    pair.server.disconnect(Disconnect::new(reason), pair.now).unwrap();
    pair.settle();
    let CloseReason::Disconnected(disconnect) = pair.client_closed() else {
        panic!("the server said why");
    };
    assert_eq!(disconnect.reason, reason);
}

#[test]
fn a_disconnect_is_checked_against_what_connect_has_said() {
    let mut pair = Pair::connected(Version::V5, 64 * 1024);
    pair.client.config_mut().connect.session_expiry_interval = None;
    let disconnect = Disconnect { session_expiry_interval: Some(7), ..Disconnect::default() };
    assert_eq!(pair.client.disconnect(disconnect, pair.now), Ok(()));
}

//! A transport that takes nothing.

use std::time::Duration;

use bytes::Buf;
use mqtt_proto::{Client, ClientConfig, CloseReason, Event, Instant, QoS, Session, Timeout, TxBuf};

use crate::pair::{VERSIONS, message};

fn closed(session: &mut Session<Client>) -> Option<CloseReason> {
    std::iter::from_fn(|| session.poll_event()).find_map(|event| match event {
        Event::Closed { reason, .. } => Some(reason),
        _ => None,
    })
}

// class: 35
#[test]
fn writing_that_gets_on_is_let_be_and_writing_that_stalls_ends_the_connection() {
    for version in VERSIONS {
        let mut config = ClientConfig::new(version);
        config.write_timeout = Duration::from_secs(5);
        config.connect_timeout = Duration::from_secs(3600);
        let mut session = Session::<Client>::new(config);
        let mut now = Instant::from_epoch(Duration::from_secs(1));
        let mut out = TxBuf::new();
        session.handle_open(now);
        session.poll_transmit(&mut out, now);
        assert!(!out.is_empty());
        // One byte each four seconds is slow, but it is not nothing.
        for _ in 0..5 {
            now = now + Duration::from_secs(4);
            out.advance(1);
            session.handle_timeout(now);
            session.poll_transmit(&mut out, now);
            assert_eq!(closed(&mut session), None);
        }
        let deadline = session.poll_timeout().unwrap();
        assert_eq!(deadline, now + Duration::from_secs(5));
        session.handle_timeout(deadline);
        session.poll_transmit(&mut out, deadline);
        assert_eq!(closed(&mut session), Some(CloseReason::Timeout(Timeout::Write)));
        session.publish(message("a", "x", QoS::AtLeastOnce), now).unwrap();
    }
}

#[test]
fn an_empty_buffer_is_not_watched() {
    let mut session = Session::<Client>::new(ClientConfig::new(VERSIONS[0]));
    let now = Instant::EPOCH;
    let mut out = TxBuf::new();
    session.handle_open(now);
    session.poll_transmit(&mut out, now);
    let watched = session.poll_timeout();
    out.advance(out.len());
    session.poll_transmit(&mut out, now);
    assert!(watched.is_some() && session.poll_timeout().is_some(), "CONNACK is still awaited");
    let long_after = now + Duration::from_secs(9);
    session.handle_timeout(long_after);
    assert_eq!(closed(&mut session), None);
}

//! Time: keep alive on both sides, PINGREQ and its answer, clocks that jump.

use std::time::Duration;

use mqtt_proto::{
    Client, ClientConfig, CloseReason, ConnAck, Connect, Instant, Packet, PacketType, QoS,
    ReasonCode, Server, ServerConfig, Timeout, Version,
};

use crate::pair::{Pair, VERSIONS, durable, message, wire};
use crate::solo::{Solo, connect_packet, publish_bytes, secs};

fn config(version: Version, keep_alive: u16) -> ClientConfig {
    let mut config = durable(version);
    config.connect.keep_alive = keep_alive;
    config
}

fn client(version: Version, keep_alive: u16) -> Solo<Client> {
    Solo::accepted(config(version, keep_alive), ConnAck::default())
}

fn server(version: Version, keep_alive: u16) -> Solo<Server> {
    let connect = Connect { keep_alive, ..connect_packet(true) };
    Solo::serving(ServerConfig::default(), version, connect)
}

/// Moves on to the next deadline, which must not lie more than `limit` ahead.
fn next(solo: &mut Solo<Client>, limit: Duration) -> Vec<PacketType> {
    let deadline = solo.session.poll_timeout().unwrap();
    assert!(deadline <= solo.now + limit, "{deadline:?}");
    solo.wait(deadline.since(solo.now));
    solo.sent_types()
}

// covers: v5 MQTT-3.1.2-20, v3 MQTT-3.1.2-23, v5 X5-3.13.4-a
// class: 36
#[test]
fn an_idle_client_pings_once_in_each_keep_alive() {
    for version in VERSIONS {
        let mut solo = client(version, 60);
        for _ in 0..10 {
            let before = solo.now;
            assert_eq!(next(&mut solo, secs(60)), [PacketType::PingReq]);
            assert_eq!(solo.now, before + secs(60));
            solo.feed(&Packet::PingResp);
            assert_eq!((solo.sent_raw(), solo.events()), (vec![], vec![]));
        }
    }
}

// class: 36
#[test]
fn keep_alive_counts_from_connect_and_not_from_connack() {
    for version in VERSIONS {
        let mut solo = Solo::client(config(version, 60));
        let connect = solo.now;
        solo.wait(secs(9));
        solo.feed(&Packet::ConnAck(Box::default()));
        solo.events();
        assert_eq!(solo.session.poll_timeout(), Some(connect + secs(60)));
    }
}

// covers: v5 MQTT-3.1.2-21, v5 MQTT-3.2.2-21
#[test]
fn the_server_s_keep_alive_replaces_the_client_s() {
    for (own, servers) in [(60, 7), (7, 60), (0, 5)] {
        let connack = ConnAck { server_keep_alive: Some(servers), ..ConnAck::default() };
        let mut solo = Solo::accepted(config(Version::V5, own), connack);
        let start = solo.now;
        assert_eq!(next(&mut solo, secs(100)), [PacketType::PingReq]);
        assert_eq!(solo.now, start + secs(servers.into()));
        // It holds for that connection only.
        let connect = solo.reconnect(ConnAck::default());
        assert_eq!(connect.keep_alive, own);
        let next = solo.session.poll_timeout();
        assert_eq!(next, (own > 0).then(|| solo.now + secs(own.into())));
    }
    let connack = ConnAck { server_keep_alive: Some(0), ..ConnAck::default() };
    let solo = Solo::accepted(config(Version::V5, 60), connack);
    assert_eq!(solo.session.poll_timeout(), None);
}

// covers: v5 X5-3.1.2-a, v3 X3-3.1.2-a
// class: 36
#[test]
fn keep_alive_0_turns_it_off_on_both_sides() {
    for version in VERSIONS {
        let mut client = client(version, 0);
        let mut server = server(version, 0);
        client.publish("a", QoS::AtLeastOnce);
        client.sent();
        assert_eq!(client.session.poll_timeout(), None);
        assert_eq!(server.session.poll_timeout(), None);
        for _ in 0..3 {
            client.wait(secs(1_000_000));
            server.wait(secs(1_000_000));
            assert_eq!((client.sent_raw(), server.sent_raw()), (vec![], vec![]));
            assert!(client.is_open() && server.is_open());
        }
    }
}

// covers: v5 X5-3.1.2-b, v3 X3-3.1.2-b
// class: 35
#[test]
fn a_silent_server_is_noticed_whatever_the_keep_alive() {
    for version in VERSIONS {
        // Also shorter than the time that PINGRESP may take.
        for keep_alive in [1, 2, 5, 9, 10, 11, 60, 300] {
            for busy in [false, true] {
                let mut solo = client(version, keep_alive);
                let start = solo.now;
                let limit = start + secs(u64::from(keep_alive) + 10);
                while solo.is_open() {
                    assert!(solo.now <= limit + secs(1), "{keep_alive} {busy}");
                    if busy {
                        // Writes succeed for ever, and nobody reads.
                        solo.publish("a", QoS::AtMostOnce);
                        solo.sent();
                        let step = secs(1).min(Duration::from_millis(u64::from(keep_alive) * 300));
                        solo.wait(step);
                    } else {
                        next(&mut solo, secs(u64::from(u16::MAX)));
                    }
                }
                assert_eq!(solo.closed(), CloseReason::Timeout(Timeout::PingResp));
                assert!(solo.now <= limit + secs(1), "{keep_alive} {busy}");
                assert_eq!(solo.session.poll_timeout(), None);
            }
        }
    }
}

// class: 36
#[test]
fn a_client_that_hears_but_does_not_speak_pings_in_time() {
    for version in VERSIONS {
        let mut solo = client(version, 10);
        let bytes = publish_bytes(version, &message("a", "x", QoS::AtMostOnce), 0, false);
        let mut pings = Vec::new();
        for _ in 0..100 {
            solo.wait(secs(1));
            solo.feed_raw(&bytes);
            if solo.sent_types() == [PacketType::PingReq] {
                pings.push(solo.now.since_epoch().as_secs());
                solo.feed(&Packet::PingResp);
            }
        }
        assert!(pings.windows(2).all(|pair| pair[1] - pair[0] == 10), "{pings:?}");
        assert_eq!(pings.len(), 10);
    }
}

/// A small generator of numbers, the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % limit
    }
}

/// When a client has to do something, by the rules alone.
struct Reference {
    keep_alive: Duration,
    sent: Instant,
    received: Instant,
    /// Since when a PINGREQ has no answer, or since when the server last gave a sign of life.
    waiting: Option<Instant>,
}

impl Reference {
    fn deadline(&self) -> Instant {
        let send = self.sent + self.keep_alive;
        match self.waiting {
            Some(since) => send.min(since + secs(10)),
            None => send.min(self.received + self.keep_alive),
        }
    }
}

// class: 36, 37
#[test]
fn deadlines_are_those_of_a_reference_under_random_traffic() {
    for version in VERSIONS {
        for seed in 0..60 {
            let mut random = Random(seed);
            let keep_alive = [2, 9, 15, 30][random.below(4) as usize];
            let mut solo = client(version, keep_alive);
            let keep_alive = secs(keep_alive.into());
            let (sent, received) = (solo.now, solo.now);
            let mut model = Reference { keep_alive, sent, received, waiting: None };
            let bytes = publish_bytes(version, &message("a", "x", QoS::AtMostOnce), 0, false);
            for _ in 0..300 {
                let deadline = solo.session.poll_timeout().unwrap();
                assert_eq!(deadline, model.deadline(), "seed {seed}");
                let step = Duration::from_millis(random.below(4000));
                let due = solo.now + step >= deadline;
                solo.wait(step.min(deadline.since(solo.now)));
                let last_sent = model.sent;
                if due {
                    if model.waiting.is_some_and(|since| since + secs(10) <= solo.now) {
                        let reason = CloseReason::Timeout(Timeout::PingResp);
                        assert_eq!(solo.closed(), reason, "seed {seed}");
                        break;
                    }
                    assert_eq!(solo.sent_types(), [PacketType::PingReq], "seed {seed}");
                    model.sent = solo.now;
                    model.waiting.get_or_insert(solo.now);
                    // An early call does nothing.
                    solo.wait(Duration::ZERO);
                    assert_eq!(solo.sent_raw(), []);
                } else {
                    match random.below(4) {
                        0 => {
                            solo.publish("a", QoS::AtMostOnce);
                            assert_eq!(solo.sent_types(), [PacketType::Publish]);
                            model.sent = solo.now;
                        }
                        1 => {
                            solo.feed_raw(&bytes);
                            model.received = solo.now;
                            model.waiting = model.waiting.map(|_| solo.now);
                        }
                        2 => {
                            solo.feed(&Packet::PingResp);
                            model.received = solo.now;
                            model.waiting = None;
                        }
                        _ => assert_eq!(solo.sent_raw(), []),
                    }
                }
                assert!(solo.now <= last_sent + keep_alive, "never a longer gap");
            }
        }
    }
}

// class: 36
#[test]
fn a_ping_does_not_wait_behind_messages() {
    for version in VERSIONS {
        let mut solo = client(version, 10);
        for _ in 0..50 {
            let large = message("a", &"x".repeat(100_000), QoS::AtMostOnce);
            solo.session.publish(large, solo.now).unwrap();
        }
        solo.wait(secs(10));
        assert_eq!(solo.sent_types()[0], PacketType::PingReq);
    }
}

// covers: v5 MQTT-3.1.2-22, v3 MQTT-3.1.2-24, v5 MQTT-3.2.2-22
// class: 35
#[test]
fn a_server_closes_after_one_and_a_half_keep_alives() {
    for version in VERSIONS {
        for keep_alive in [1, 5, 60] {
            let mut solo = server(version, keep_alive);
            let patience = secs(u64::from(keep_alive)) * 3 / 2;
            for _ in 0..5 {
                solo.wait(patience - Duration::from_millis(1));
                solo.feed(&Packet::PingReq);
                assert_eq!(solo.sent_types(), [PacketType::PingResp]);
            }
            assert_eq!(solo.session.poll_timeout(), Some(solo.now + patience));
            // What the server sends does not count.
            solo.wait(patience / 2);
            solo.publish("a", QoS::AtMostOnce);
            assert_eq!(solo.sent_types(), [PacketType::Publish]);
            solo.wait(patience / 2);
            let said = solo.sent_raw();
            let code = ReasonCode::KEEP_ALIVE_TIMEOUT.get();
            assert_eq!(said, if version.is_v5() { vec![0xE0, 1, code] } else { vec![] });
            assert_eq!(solo.closed(), CloseReason::Timeout(Timeout::KeepAlive));
        }
    }
    let mut solo = Solo::server(ServerConfig::default(), Version::V5);
    let connect = Connect { keep_alive: 60, ..connect_packet(true) };
    solo.feed_raw(&wire(&Packet::Connect(Box::new(connect)), Version::V5));
    solo.accept(ConnAck { server_keep_alive: Some(4), ..ConnAck::default() }, None);
    assert_eq!(solo.session.poll_timeout(), Some(solo.now + secs(6)));
}

// class: 37
#[test]
fn time_may_jump_and_run_backwards() {
    for version in VERSIONS {
        let mut solo = client(version, 60);
        let start = solo.now;
        // Backwards: the deadline stays.
        let deadline = solo.session.poll_timeout();
        for back in [Instant::EPOCH, start, Instant::from_epoch(secs(999))] {
            solo.now = back;
            solo.wait(Duration::ZERO);
            solo.publish("a", QoS::AtMostOnce);
            assert_eq!(solo.sent_types(), [PacketType::Publish]);
            assert_eq!(solo.session.poll_timeout(), deadline);
        }
        // An hour forward: one ping, no burst.
        solo.now = start + secs(3600);
        solo.wait(Duration::ZERO);
        assert_eq!(solo.sent_types(), [PacketType::PingReq]);
        for _ in 0..5 {
            solo.wait(Duration::ZERO);
            assert_eq!(solo.sent_raw(), []);
        }
        solo.feed(&Packet::PingResp);
        assert_eq!(solo.session.poll_timeout(), Some(solo.now + secs(60)));
        // An hour forward with a ping outstanding: one end.
        solo.wait(secs(60));
        assert_eq!(solo.sent_types(), [PacketType::PingReq]);
        solo.wait(secs(3600));
        assert_eq!(solo.closed(), CloseReason::Timeout(Timeout::PingResp));
        solo.wait(secs(3600));
        assert_eq!((solo.sent_raw(), solo.events()), (vec![], vec![]));
        // To the end of time.
        let mut solo = client(version, u16::MAX);
        solo.now = Instant::from_epoch(Duration::MAX);
        solo.wait(Duration::ZERO);
        solo.sent();
        solo.wait(Duration::ZERO);
        solo.sent();
    }
}

// class: 26, 36
#[test]
fn a_pair_at_rest_stays_connected_for_a_week() {
    for version in VERSIONS {
        let mut pair = Pair::connected(version, 1);
        pair.sent_by_client();
        let end = pair.now + secs(7 * 24 * 3600);
        let mut rounds = 0;
        while pair.now < end {
            assert!(pair.advance(secs(3600)));
            pair.settle();
            rounds += 1;
        }
        assert!(pair.client_events.len() == 1 && pair.server_events.is_empty());
        let sent = pair.sent_by_client();
        assert!(sent.iter().all(|packet| *packet == Packet::PingReq));
        assert!(sent.len() <= 7 * 24 * 60 && rounds <= 2 * sent.len(), "{rounds}");
    }
}

// covers: v5 MQTT-3.12.4-1, v3 MQTT-3.12.4-1
#[test]
fn each_ping_has_its_answer_also_when_several_wait() {
    for version in VERSIONS {
        let mut solo = Solo::plain(version);
        for _ in 0..3 {
            solo.feed(&Packet::PingReq);
        }
        assert!(!solo.session.is_idle());
        assert_eq!(solo.sent_types(), [PacketType::PingResp; 3]);
        assert!(solo.session.is_idle());
        solo.feed(&Packet::PingReq);
        solo.eof();
        solo.events();
        assert_eq!(solo.sent(), [], "it went with the connection");
        assert!(solo.session.is_idle());
    }
}

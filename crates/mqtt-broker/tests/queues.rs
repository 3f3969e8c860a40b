//! What happens when the queue of a client is full.

mod support;

use std::time::Duration;

use mqtt_broker::{BrokerConfig, QueueOverflow, SessionInfo};
use mqtt_proto::{QoS, ReasonCode, TopicName};
use support::*;

const ROOM: usize = 10;

fn config(policy: QueueOverflow) -> BrokerConfig {
    let mut config = BrokerConfig::default();
    config.session.bounds.messages = ROOM;
    config.queue_overflow = policy;
    config.sys_interval = Some(Duration::from_secs(1));
    config
}

fn publish(world: &World, numbers: std::ops::Range<usize>, qos: QoS) {
    for number in numbers {
        world.broker.publish(&message("a", &number.to_string()).qos(qos));
    }
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

fn session(world: &World, id: &str) -> SessionInfo {
    let all = world.broker.sessions();
    all.into_iter().find(|session| session.client_id.as_str() == id).unwrap()
}

/// What `$SYS` says of it, at its next time.
async fn told(world: &World, name: &str) -> String {
    world.time.advance(Duration::from_secs(2));
    for _ in 0..100 {
        smol::future::yield_now().await;
    }
    let topic = filter(&format!("$SYS/broker/queues/{name}"));
    let found = world.broker.retained(&topic);
    String::from_utf8(found[0].payload.to_vec()).unwrap()
}

/// A session with a subscription that is not connected.
async fn away(world: &World) {
    let mut client = world.connect(world.lasting("away")).await;
    client.subscribe("a", QoS::ExactlyOnce).await;
    client.disconnect(ReasonCode::SUCCESS).await;
}

#[test]
fn the_newest_or_the_oldest_is_dropped_while_a_client_is_away() {
    for (policy, left) in [
        (QueueOverflow::DropNewest, 0..10),
        (QueueOverflow::DropOldest, 5..15),
        (QueueOverflow::Disconnect, 0..10),
    ] {
        scenario_with(&BOTH, config(policy), async |world| {
            for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
                let before = world.broker.stats().dropped_full;
                away(&world).await;
                publish(&world, 0..15, qos);
                assert_eq!(world.broker.stats().dropped_full - before, 5, "{policy:?}");
                let info = session(&world, "away");
                assert_eq!((info.queued, info.dropped), (ROOM, 5), "{policy:?}");
                let mut client = world.connect(world.lasting("away")).await;
                assert_eq!(client.payloads(ROOM).await, numbers(left.clone()), "{policy:?}");
                // What QoS 2 still has to say gets through before.
                client.subscribe("other", qos).await;
                world.silent(&mut client).await;
                client.disconnect(ReasonCode::SUCCESS).await;
                assert!(world.broker.remove_session("away"));
            }
            assert_eq!(told(&world, "dropped").await, "10");
            assert_eq!(told(&world, "disconnected").await, "0");
        });
    }
}

#[test]
fn what_was_sent_does_not_give_way() {
    scenario_with(&BOTH, config(QueueOverflow::DropOldest), async |world| {
        let mut slow = world.client("slow").await;
        slow.acks = false;
        slow.subscribe("a", QoS::AtLeastOnce).await;
        publish(&world, 0..ROOM, QoS::AtLeastOnce);
        // All of the queue is in flight now.
        assert_eq!(slow.payloads(ROOM).await, numbers(0..ROOM));
        assert_eq!(session(&world, "slow").in_flight, ROOM);
        // One may wait beyond the bound, for as long as the transport does not take it.
        let large = "x".repeat(30_000);
        for _ in 0..5 {
            world.broker.publish(&message("a", &large).qos(QoS::AtLeastOnce));
        }
        let info = session(&world, "slow");
        assert_eq!((info.in_flight + info.queued, info.dropped), (ROOM + 1, 4));
    });
}

#[test]
fn qos_0_pushes_nothing_out_and_cuts_nobody_off() {
    for policy in [QueueOverflow::DropOldest, QueueOverflow::Disconnect] {
        scenario_with(&BOTH, config(policy), async |world| {
            let mut slow = world.client("slow").await;
            slow.acks = false;
            slow.subscribe("a", QoS::AtLeastOnce).await;
            publish(&world, 0..ROOM, QoS::AtLeastOnce);
            publish(&world, 100..120, QoS::AtMostOnce);
            assert_eq!(slow.payloads(ROOM).await, numbers(0..ROOM));
            assert_eq!(session(&world, "slow").dropped, 20, "{policy:?}");
            assert_eq!(world.broker.stats().disconnected_full, 0);
        });
    }
}

#[test]
fn a_client_that_is_too_slow_is_cut_off_and_keeps_its_queue() {
    scenario_with(&BOTH, config(QueueOverflow::Disconnect), async |world| {
        let mut watcher = world.client("watcher").await;
        watcher.subscribe("will", QoS::AtMostOnce).await;
        watcher.subscribe("a", QoS::AtLeastOnce).await;
        let mut config = world.lasting("slow");
        config.connect.will = Some(will("will"));
        let mut slow = world.connect(config).await;
        slow.acks = false;
        slow.subscribe("a", QoS::AtLeastOnce).await;
        for number in 0..=ROOM {
            publish(&world, number..number + 1, QoS::AtLeastOnce);
            assert_eq!(watcher.message().await.payload, number.to_string());
        }
        assert_eq!(slow.payloads(ROOM).await, numbers(0..ROOM));
        let reason = world.version.is_v5().then_some(ReasonCode::QUOTA_EXCEEDED);
        assert_eq!(slow.disconnected().await, reason);
        assert_eq!(watcher.message().await.payload, "gone");
        let stats = world.broker.stats();
        assert_eq!((stats.disconnected_full, stats.dropped_full), (1, 1));
        assert_eq!(told(&world, "disconnected").await, "1");
        // What it had not acknowledged is there again.
        let mut again = world.connect(world.lasting("slow")).await;
        assert_eq!(again.payloads(ROOM).await, numbers(0..ROOM));
        world.silent(&mut again).await;
    });
}

#[test]
fn clients_that_overflow_each_other_with_their_wills_all_go() {
    const CHAIN: usize = 300;
    let mut config = config(QueueOverflow::Disconnect);
    config.session.bounds.messages = 1;
    scenario_with(&BOTH, config, async |world| {
        let mut clients = Vec::new();
        for number in 0..CHAIN {
            let mut config = world.clean(&format!("{number}"));
            // The end of each is one message too many for the next.
            let topic = TopicName::new(format!("t/{}", number + 1)).unwrap();
            config.connect.will = Some(mqtt_proto::Will::new(topic, "gone").qos(QoS::AtLeastOnce));
            let mut client = world.connect(config).await;
            client.acks = false;
            client.subscribe(&format!("t/{number}"), QoS::AtLeastOnce).await;
            world.broker.publish(&message(&format!("t/{number}"), "1").qos(QoS::AtLeastOnce));
            clients.push(client);
        }
        world.broker.publish(&message("t/0", "2").qos(QoS::AtLeastOnce));
        world.until(|stats| stats.disconnected_full == CHAIN as u64).await;
        world.until(|stats| stats.sessions == 0).await;
    });
}

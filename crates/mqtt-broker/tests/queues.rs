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

// covers: v5 MQTT-3.3.2-5
#[test]
fn what_has_expired_takes_no_room() {
    for policy in [QueueOverflow::DropNewest, QueueOverflow::DropOldest] {
        let mut config = config(policy);
        // A message has two bytes: it then has more than its share of all queues together as well.
        config.max_queued_total = 4 * ROOM - 2;
        scenario_with(&BOTH, config, async |world| {
            away(&world).await;
            publish(&world, 0..3, QoS::AtLeastOnce);
            for _ in 3..ROOM {
                let mut short = message("a", "x").qos(QoS::AtLeastOnce);
                short.properties.edit().message_expiry_interval = Some(60);
                world.broker.publish(&short);
            }
            assert_eq!(session(&world, "away").queued, ROOM);
            world.time.advance(Duration::from_secs(60));
            publish(&world, 3..ROOM, QoS::AtLeastOnce);
            let stats = world.broker.stats();
            assert_eq!((stats.dropped_full, stats.dropped_expired), (0, 7), "{policy:?}");
            let mut client = world.connect(world.lasting("away")).await;
            assert_eq!(client.payloads(ROOM).await, numbers(0..ROOM), "{policy:?}");
            world.silent(&mut client).await;
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

/// The bound over all queues, and a message of that size in each of them.
const TOTAL: usize = 10_000;
const SIZE: usize = 100;

fn together(policy: QueueOverflow) -> BrokerConfig {
    let mut config = BrokerConfig::default();
    config.queue_overflow = policy;
    config.max_queued_total = TOTAL;
    config
}

fn sized(qos: QoS) -> mqtt_proto::Publish {
    message("a", &"x".repeat(SIZE - 1)).qos(qos)
}

#[test]
fn who_is_away_does_not_crowd_out_who_is_there() {
    use QueueOverflow::{Disconnect, DropNewest, DropOldest};
    for policy in [DropNewest, DropOldest, Disconnect] {
        scenario_with(&BOTH, together(policy), async |world| {
            let mut quick = world.client("quick").await;
            quick.subscribe("a", QoS::AtLeastOnce).await;
            away(&world).await;
            for _ in 0..2 * TOTAL / SIZE {
                world.broker.publish(&sized(QoS::AtLeastOnce));
                quick.message().await;
                // It has acknowledged that.
                let held = session(&world, "away").held_bytes;
                world.until(|stats| stats.queued_bytes == held).await;
            }
            world.silent(&mut quick).await;
            // Half of it with the copy of the other one, and no more, because an even share is a quarter.
            let kept = TOTAL / SIZE / 2 - 1;
            let dropped = 2 * TOTAL / SIZE - kept;
            let held = session(&world, "away");
            assert_eq!((held.queued, held.dropped), (kept, dropped as u64), "{policy:?}");
            let stats = world.broker.stats();
            assert_eq!((stats.queued_bytes, stats.dropped_full), (kept * SIZE, dropped as u64));
            assert_eq!(stats.disconnected_full, 0);

            // What is not kept for it anyway is not dropped.
            world.broker.publish(&sized(QoS::AtMostOnce));
            quick.message().await;
            assert_eq!(session(&world, "away").dropped, dropped as u64);

            // There is room for it again when it has taken what there was, or is gone.
            let mut back = world.connect(world.lasting("away")).await;
            back.payloads(kept).await;
            world.until(|stats| stats.queued_bytes == 0).await;
            back.disconnect(ReasonCode::SUCCESS).await;
            world.broker.publish(&sized(QoS::AtLeastOnce));
            quick.message().await;
            assert_eq!(session(&world, "away").queued, 1);
            world.until(|stats| stats.queued_bytes == SIZE).await;
            world.broker.remove_session("away");
            assert_eq!(world.broker.stats().queued_bytes, 0);
        });
    }
}

#[test]
fn all_queues_together_have_a_bound() {
    scenario_with(&BOTH, together(QueueOverflow::DropNewest), async |world| {
        for number in 0..20 {
            let mut client = world.connect(world.lasting(&number.to_string())).await;
            client.subscribe("a", QoS::AtLeastOnce).await;
            client.disconnect(ReasonCode::SUCCESS).await;
            for _ in 0..TOTAL / SIZE {
                world.broker.publish(&sized(QoS::AtLeastOnce));
            }
        }
        let sessions = world.broker.sessions();
        let held: usize = sessions.iter().map(|session| session.held_bytes).sum();
        assert_eq!(world.broker.stats().queued_bytes, held);
        assert_eq!(
            held, TOTAL,
            "whoever comes late has some of what is left, as long as there is any"
        );
        let dropped: u64 = sessions.iter().map(|session| session.dropped).sum();
        assert_eq!(world.broker.stats().dropped_full, dropped);

        // What is retained waits in no queue of its own.
        for number in 0..20 {
            world.broker.publish(&message(&format!("b/{number}"), "kept").retain(true));
        }
        let mut client = world.client("client").await;
        client.subscribe("b/+", QoS::AtLeastOnce).await;
        assert_eq!(client.payloads(20).await, ["kept"; 20]);
        world.until(|stats| stats.queued_bytes == TOTAL).await;

        // Who is there and acknowledges is served all the same, one message after the other.
        client.subscribe("a", QoS::AtLeastOnce).await;
        client.acks = false;
        for _ in 0..2 {
            world.broker.publish(&sized(QoS::AtLeastOnce));
        }
        assert_eq!(session(&world, "client").dropped, 1);
        let first = client.message().await;
        client.session.ack(first.ack.unwrap(), ReasonCode::SUCCESS);
        client.flush().await.unwrap();
        world.until(|stats| stats.queued_bytes == TOTAL).await;
        world.broker.publish(&sized(QoS::AtLeastOnce));
        client.message().await;
    });
}

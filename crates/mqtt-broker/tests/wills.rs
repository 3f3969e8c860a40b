//! Wills.

mod support;

use std::time::Duration;

use mqtt_broker::BrokerConfig;
use mqtt_proto::{Connect, QoS, ReasonCode, Text};
use smol::io::AsyncWriteExt;
use support::*;

// covers: v5 MQTT-3.1.2-7, v5 MQTT-3.1.2-8, v5 MQTT-3.1.2-14, v5 MQTT-3.1.2-15, v5 X5-3.1.3-b
// covers: v3 MQTT-3.1.2-8, v3 MQTT-3.1.2-16, v3 MQTT-3.1.2-17
#[test]
fn published_when_the_connection_breaks() {
    scenario(async |world| {
        for qos in EACH_QOS {
            for retain in [false, true] {
                let mut watcher = world.client("watcher").await;
                watcher.subscribe("will", QoS::ExactlyOnce).await;
                let mut config = world.clean("client");
                config.connect.will = Some(will("will").qos(qos).retain(retain));
                drop(world.connect(config).await);
                let got = watcher.message().await;
                assert_eq!((got.payload.as_str(), got.qos, got.retain), ("gone", qos, false));
                world.silent(&mut watcher).await;
                assert_eq!(world.broker.stats().retained_messages, usize::from(retain));
                world.broker.publish(&message("will", "").retain(true));
                watcher.message().await;
            }
        }
    });
}

// covers: v5 MQTT-3.14.4-3, v3 MQTT-3.14.4-3, v5 MQTT-3.1.2-10, v3 MQTT-3.1.2-10
#[test]
fn dropped_by_a_disconnect() {
    scenario(async |world| {
        let mut watcher = world.client("watcher").await;
        watcher.subscribe("will", QoS::AtMostOnce).await;
        let mut config = world.clean("client");
        config.connect.will = Some(will("will"));
        world.connect(config.clone()).await.disconnect(ReasonCode::SUCCESS).await;
        world.silent(&mut watcher).await;
        if world.version.is_v5() {
            world.connect(config).await.disconnect(ReasonCode::DISCONNECT_WITH_WILL).await;
            assert_eq!(watcher.message().await.payload, "gone");
        }
    });
}

#[test]
fn published_after_a_protocol_error_and_after_silence() {
    scenario(async |world| {
        let mut watcher = world.client("watcher").await;
        watcher.subscribe("will", QoS::AtMostOnce).await;
        let mut config = world.clean("client");
        config.connect.will = Some(will("will"));
        let mut client = world.connect(config.clone()).await;
        // A SUBSCRIBE with reserved bits.
        client.stream.write_all(&[0x80, 0x00]).await.unwrap();
        assert_eq!(watcher.message().await.payload, "gone");
        let malformed = world.version.is_v5().then_some(ReasonCode::MALFORMED_PACKET);
        assert_eq!(client.disconnected().await, malformed);

        config.connect.keep_alive = 10;
        let mut client = world.connect(config).await;
        world.time.advance(Duration::from_secs(14));
        world.silent(&mut watcher).await;
        world.time.advance(Duration::from_secs(2));
        assert_eq!(watcher.message().await.payload, "gone");
        let silent = world.version.is_v5().then_some(ReasonCode::KEEP_ALIVE_TIMEOUT);
        assert_eq!(client.disconnected().await, silent);
    });
}

// covers: v5 MQTT-3.1.2-8, v5 MQTT-3.1.3-9
#[test]
fn a_delayed_one_waits_and_is_forgotten_on_return() {
    scenario_with(&ALL[2..], BrokerConfig::default(), async |world| {
        let mut watcher = world.client("watcher").await;
        watcher.subscribe("will", QoS::AtMostOnce).await;
        let mut config = world.lasting("client");
        let mut delayed = will("will");
        delayed.delay_interval = Some(10);
        config.connect.will = Some(delayed);

        let broken = async |config| {
            drop(world.connect(config).await);
            world.until(|stats| stats.connections == 1).await;
        };
        broken(config.clone()).await;
        world.time.advance(Duration::from_secs(9));
        world.silent(&mut watcher).await;
        // Back in time: nobody hears of it, and the delay begins anew when the connection breaks.
        broken(config.clone()).await;
        world.time.advance(Duration::from_secs(9));
        world.silent(&mut watcher).await;
        world.time.advance(Duration::from_secs(1));
        assert_eq!(watcher.message().await.payload, "gone");
        world.time.advance(Duration::from_secs(100));
        world.silent(&mut watcher).await;

        // The session ends before the delay does, and with it the waiting.
        config.connect.session_expiry_interval = Some(5);
        broken(config.clone()).await;
        world.time.advance(Duration::from_secs(4));
        world.silent(&mut watcher).await;
        world.time.advance(Duration::from_secs(1));
        assert_eq!(watcher.message().await.payload, "gone");

        // A new session in its place is an end as well.
        broken(config.clone()).await;
        config.connect.clean_start = true;
        let _client = world.connect(config).await;
        assert_eq!(watcher.message().await.payload, "gone");
    });
}

#[test]
fn published_when_another_connection_takes_the_session() {
    scenario(async |world| {
        let mut watcher = world.client("watcher").await;
        watcher.subscribe("will", QoS::AtMostOnce).await;
        let mut config = world.lasting("client");
        config.connect.will = Some(will("will"));
        let _old = world.connect(config.clone()).await;
        let _new = world.connect(config).await;
        assert_eq!(watcher.message().await.payload, "gone");
        world.silent(&mut watcher).await;
    });
}

// covers: v5 MQTT-3.1.3-10
#[test]
fn with_its_properties() {
    scenario_with(&ALL[2..], BrokerConfig::default(), async |world| {
        let mut watcher = world.client("watcher").await;
        watcher.subscribe("will", QoS::AtMostOnce).await;
        let pair = |name: &str| (Text::new(name).unwrap(), Text::new("x").unwrap());
        let mut full = will("will");
        full.properties.edit().user_properties = vec![pair("b"), pair("a"), pair("b")];
        let mut config = world.clean("client");
        config.connect = Connect { will: Some(full.clone()), ..config.connect };
        drop(world.connect(config).await);
        let got = watcher.message().await.packet.to_publish().unwrap();
        assert_eq!(got.properties, full.properties);
    });
}

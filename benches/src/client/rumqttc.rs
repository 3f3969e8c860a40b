//! rumqttc: an event loop that is polled, and a handle with a channel to it.

use std::time::Duration;

use bytes::Bytes;

use super::runtime;
use crate::load::{Load, Measured, Meter, Mode, TOPIC};
use crate::sink::serve;

/// How many messages its channel takes.
const CHANNEL: usize = 1000;

/// The two versions have the same names in different modules.
macro_rules! program {
    ($name:ident, $module:path, $qos:path, $packet:path, $options:expr) => {
        pub mod $name {
            use std::time::Instant;

            use rumqttc::NetworkOptions;
            use $module as library;
            use $packet as Packet;
            use $qos as QoS;

            use super::*;

            pub fn run(load: Load, nodelay: bool) -> Measured {
                runtime(async move {
                    let mut options = library::MqttOptions::new("bench", "127.0.0.1", load.port);
                    options.set_keep_alive(Duration::from_secs(60));
                    let adjust: fn(&mut library::MqttOptions, &Load) = $options;
                    adjust(&mut options, &load);
                    let mut network = NetworkOptions::new();
                    network.set_tcp_nodelay(nodelay);
                    let (client, events) = connect(options, network);
                    work(client, events, load).await
                })
            }

            fn qos(number: u8) -> QoS {
                match number {
                    0 => QoS::AtMostOnce,
                    1 => QoS::AtLeastOnce,
                    _ => QoS::ExactlyOnce,
                }
            }

            async fn work(
                client: library::AsyncClient,
                mut events: library::EventLoop,
                load: Load,
            ) -> Measured {
                while !matches!(
                    events.poll().await.expect("a connection"),
                    library::Event::Incoming(Packet::ConnAck(_))
                ) {}
                let payload = Bytes::from(vec![b'x'; load.size]);
                match load.mode {
                    Mode::Publish(level) => {
                        let meter = Meter::new();
                        let publishing = tokio::spawn(async move {
                            for _ in 0..load.messages {
                                let payload = payload.clone();
                                let sent = client.publish_bytes(TOPIC, qos(level), false, payload);
                                sent.await.expect("an open channel");
                            }
                            if level == 0 {
                                let sent = client.publish_bytes(TOPIC, qos(1), false, payload);
                                sent.await.expect("an open channel");
                            }
                            client
                        });
                        let mut left = if level == 0 { 1 } else { load.messages };
                        while left > 0 {
                            if let library::Event::Incoming(
                                Packet::PubAck(_) | Packet::PubComp(_),
                            ) = events.poll().await.expect("a connection")
                            {
                                left -= 1;
                            }
                        }
                        let measured = meter.stop();
                        drop(publishing.await);
                        measured
                    }
                    Mode::Receive(level) => {
                        let filter = serve(level, load.messages, load.size);
                        client.subscribe(filter, qos(level)).await.expect("an open channel");
                        let (mut left, mut meter) = (load.messages, None);
                        while left > 0 {
                            match events.poll().await.expect("a connection") {
                                library::Event::Incoming(Packet::SubAck(_)) => load.subscribed(),
                                library::Event::Incoming(Packet::Publish(publish)) => {
                                    assert_eq!(publish.payload.len(), load.size);
                                    meter.get_or_insert_with(Meter::new);
                                    left -= 1;
                                }
                                _ => {}
                            }
                        }
                        meter.expect("a message").stop()
                    }
                    Mode::RoundTrip => {
                        client.subscribe(TOPIC, qos(1)).await.expect("an open channel");
                        while !matches!(
                            events.poll().await.expect("a connection"),
                            library::Event::Incoming(Packet::SubAck(_))
                        ) {}
                        let mut meter = Meter::new();
                        for _ in 0..load.messages {
                            let start = Instant::now();
                            let sent = client.publish_bytes(TOPIC, qos(1), false, payload.clone());
                            sent.await.expect("an open channel");
                            while !matches!(
                                events.poll().await.expect("a connection"),
                                library::Event::Incoming(Packet::Publish(_))
                            ) {}
                            meter.round_trip(start);
                        }
                        meter.stop()
                    }
                }
            }

            fn connect(
                options: library::MqttOptions,
                network: NetworkOptions,
            ) -> (library::AsyncClient, library::EventLoop) {
                super::$name(options, network)
            }
        }
    };
}

program!(v311, rumqttc, rumqttc::QoS, rumqttc::Packet, |options, load| {
    options.set_inflight(load.window).set_max_packet_size(1 << 20, 1 << 20);
});
program!(
    v5,
    rumqttc::v5,
    rumqttc::v5::mqttbytes::QoS,
    rumqttc::v5::mqttbytes::v5::Packet,
    |options, load| {
        options.set_outgoing_inflight_upper_limit(load.window).set_max_packet_size(Some(1 << 20));
    }
);

fn v311(
    options: rumqttc::MqttOptions,
    network: rumqttc::NetworkOptions,
) -> (rumqttc::AsyncClient, rumqttc::EventLoop) {
    let (client, mut events) = rumqttc::AsyncClient::new(options, CHANNEL);
    events.set_network_options(network);
    (client, events)
}

fn v5(
    mut options: rumqttc::v5::MqttOptions,
    network: rumqttc::NetworkOptions,
) -> (rumqttc::v5::AsyncClient, rumqttc::v5::EventLoop) {
    options.set_network_options(network);
    rumqttc::v5::AsyncClient::new(options, CHANNEL)
}

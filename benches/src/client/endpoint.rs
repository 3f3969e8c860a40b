//! mqtt-endpoint-tokio: one task publishes, one takes what comes.

use std::sync::Arc;
use std::time::Instant;

use mqtt_endpoint_tokio::mqtt_ep::connection_option::ConnectionOption;
use mqtt_endpoint_tokio::mqtt_ep::packet::{GenericPacket, Qos, SubEntry, SubOpts};
use mqtt_endpoint_tokio::mqtt_ep::transport::TcpTransport;
use mqtt_endpoint_tokio::mqtt_ep::{Endpoint, Mode as Side, Version, packet, role};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::runtime;
use crate::load::{Load, Measured, Meter, Mode, TOPIC};
use crate::sink::serve;

type Client = Endpoint<role::Client>;

/// The two versions have the same names in different modules, but for a few.
macro_rules! program {
    ($name:ident, $version:expr, $module:ident, $clean:ident, $publish:ident, $puback:ident, $pubcomp:ident) => {
        pub mod $name {
            use packet::$module as packets;

            use super::*;

            pub fn run(load: Load) -> Measured {
                runtime(async move {
                    let client = Arc::new(connect(&load).await);
                    match load.mode {
                        Mode::Publish(qos) => publish(&client, load, qos).await,
                        Mode::Receive(qos) => receive(&client, load, qos).await,
                        Mode::RoundTrip => round_trips(&client, load).await,
                    }
                })
            }

            async fn connect(load: &Load) -> Client {
                let client = attach($version, load).await;
                let connect = packets::Connect::builder().client_id("bench");
                let connect = connect.expect("an identifier").keep_alive(60).$clean(true);
                client.send(connect.build().expect("a packet")).await.expect("a connection");
                client.recv().await.expect("CONNACK");
                client
            }

            async fn subscribe(client: &Client, filter: &str, qos: u8) {
                let options = SubOpts::new().set_qos(level(qos));
                let entry = SubEntry::new(filter, options).expect("a filter");
                let id = client.acquire_packet_id().await.expect("an identifier");
                let subscribe = packets::Subscribe::builder().packet_id(id).entries(vec![entry]);
                let subscribe = subscribe.build().expect("a packet");
                client.send(subscribe).await.expect("a connection");
                client.recv().await.expect("SUBACK");
            }

            async fn send(client: &Client, qos: u8, payload: &[u8]) {
                let publish = packets::Publish::builder().topic_name(TOPIC).expect("a topic");
                let mut publish = publish.qos(level(qos)).payload(payload);
                if qos > 0 {
                    let id = client.acquire_packet_id().await.expect("an identifier");
                    publish = publish.packet_id(id);
                }
                client.send(publish.build().expect("a packet")).await.expect("a connection");
            }

            async fn publish(client: &Arc<Client>, load: Load, qos: u8) -> Measured {
                let room = Arc::new(Semaphore::new(load.window.into()));
                let meter = Meter::new();
                let (sender, place) = (Arc::clone(client), Arc::clone(&room));
                let publishing = tokio::spawn(async move {
                    let payload = vec![b'x'; load.size];
                    for _ in 0..load.messages {
                        if qos > 0 {
                            place.acquire().await.expect("it is open").forget();
                        }
                        send(&sender, qos, &payload).await;
                    }
                    if qos == 0 {
                        send(&sender, 1, &payload).await;
                    }
                });
                let mut left = if qos == 0 { 1 } else { load.messages };
                while left > 0 {
                    if let GenericPacket::$puback(_) | GenericPacket::$pubcomp(_) =
                        client.recv().await.expect("a packet")
                    {
                        left -= 1;
                        room.add_permits(1);
                    }
                }
                let measured = meter.stop();
                publishing.await.expect("no panic");
                measured
            }

            async fn receive(client: &Client, load: Load, qos: u8) -> Measured {
                subscribe(client, &serve(qos, load.messages, load.size), qos).await;
                load.subscribed();
                next(client).await;
                let meter = Meter::new();
                for _ in 1..load.messages {
                    next(client).await;
                }
                meter.stop()
            }

            async fn round_trips(client: &Client, load: Load) -> Measured {
                subscribe(client, TOPIC, 1).await;
                let payload = vec![b'x'; load.size];
                let mut meter = Meter::new();
                for _ in 0..load.messages {
                    let start = Instant::now();
                    send(client, 1, &payload).await;
                    next(client).await;
                    meter.round_trip(start);
                }
                meter.stop()
            }

            /// Waits for the next PUBLISH.
            async fn next(client: &Client) {
                while !matches!(client.recv().await.expect("a packet"), GenericPacket::$publish(_))
                {
                }
            }
        }
    };
}

program!(v311, Version::V3_1_1, v3_1_1, clean_session, V3_1_1Publish, V3_1_1Puback, V3_1_1Pubcomp);
program!(v5, Version::V5_0, v5_0, clean_start, V5_0Publish, V5_0Puback, V5_0Pubcomp);

async fn attach(version: Version, load: &Load) -> Client {
    let client = Client::new(version);
    let stream = TcpStream::connect(("127.0.0.1", load.port)).await.expect("a connection");
    stream.set_nodelay(true).expect("an option of the socket");
    let options = ConnectionOption::builder().auto_pub_response(true).auto_ping_response(true);
    let options = options.build().expect("options");
    let transport = TcpTransport::from_stream(stream);
    client.attach_with_options(transport, Side::Client, options).await.expect("a transport");
    client
}

fn level(qos: u8) -> Qos {
    match qos {
        0 => Qos::AtMostOnce,
        1 => Qos::AtLeastOnce,
        _ => Qos::ExactlyOnce,
    }
}

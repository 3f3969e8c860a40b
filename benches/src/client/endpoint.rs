//! mqtt-endpoint-tokio: one task publishes, one takes what comes.

use std::sync::Arc;
use std::time::Instant;

use mqtt_endpoint_tokio::mqtt_ep::connection_option::ConnectionOption;
use mqtt_endpoint_tokio::mqtt_ep::packet::{GenericPacket, Qos, SubEntry, SubOpts, v3_1_1};
use mqtt_endpoint_tokio::mqtt_ep::transport::TcpTransport;
use mqtt_endpoint_tokio::mqtt_ep::{Endpoint, Mode as Side, Version, role};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::runtime;
use crate::load::{Load, Measured, Meter, Mode, TOPIC};
use crate::sink::serve;

type Client = Endpoint<role::Client>;

pub fn v311(load: Load) -> Measured {
    runtime(async move {
        let client = Arc::new(connect(&load).await);
        match load.mode {
            Mode::Publish(qos) => publish(&client, load, qos).await,
            Mode::Receive(qos) => {
                subscribe(&client, &serve(qos, load.messages, load.size), qos).await;
                load.subscribed();
                let (mut left, mut meter) = (load.messages, None);
                while left > 0 {
                    if let GenericPacket::V3_1_1Publish(_) = client.recv().await.expect("a packet")
                    {
                        meter.get_or_insert_with(Meter::new);
                        left -= 1;
                    }
                }
                meter.expect("a message").stop()
            }
            Mode::RoundTrip => {
                subscribe(&client, TOPIC, 1).await;
                let payload = vec![b'x'; load.size];
                let mut meter = Meter::new();
                for _ in 0..load.messages {
                    let start = Instant::now();
                    send(&client, 1, &payload).await;
                    while !matches!(
                        client.recv().await.expect("a packet"),
                        GenericPacket::V3_1_1Publish(_)
                    ) {}
                    meter.round_trip(start);
                }
                meter.stop()
            }
        }
    })
}

async fn connect(load: &Load) -> Client {
    let client = Client::new(Version::V3_1_1);
    let stream = TcpStream::connect(("127.0.0.1", load.port)).await.expect("a connection");
    stream.set_nodelay(true).expect("an option of the socket");
    let options = ConnectionOption::builder().auto_pub_response(true).auto_ping_response(true);
    let options = options.build().expect("options");
    let transport = TcpTransport::from_stream(stream);
    client.attach_with_options(transport, Side::Client, options).await.expect("a transport");
    let connect = v3_1_1::Connect::builder().client_id("bench").expect("an identifier");
    let connect = connect.keep_alive(60).clean_session(true).build().expect("a packet");
    client.send(connect).await.expect("a connection");
    client.recv().await.expect("CONNACK");
    client
}

async fn subscribe(client: &Client, filter: &str, qos: u8) {
    let options = SubOpts::new().set_qos(level(qos));
    let entry = SubEntry::new(filter, options).expect("a filter");
    let id = client.acquire_packet_id().await.expect("an identifier");
    let subscribe = v3_1_1::Subscribe::builder().packet_id(id).entries(vec![entry]);
    client.send(subscribe.build().expect("a packet")).await.expect("a connection");
    client.recv().await.expect("SUBACK");
}

fn level(qos: u8) -> Qos {
    match qos {
        0 => Qos::AtMostOnce,
        1 => Qos::AtLeastOnce,
        _ => Qos::ExactlyOnce,
    }
}

async fn send(client: &Client, qos: u8, payload: &[u8]) {
    let publish = v3_1_1::Publish::builder().topic_name(TOPIC).expect("a topic");
    let mut publish = publish.qos(level(qos)).payload(payload);
    if qos > 0 {
        publish = publish.packet_id(client.acquire_packet_id().await.expect("an identifier"));
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
        if let GenericPacket::V3_1_1Puback(_) | GenericPacket::V3_1_1Pubcomp(_) =
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

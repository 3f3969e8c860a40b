//! The mqtt5 crate's client of MQTT 5.0: as many futures at once as the window permits.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use futures_util::StreamExt;
use mqtt5::{ConnectOptions, MqttClient, QoS, SubscribeOptions};
use tokio::sync::mpsc;

use super::runtime;
use crate::load::{Load, Measured, Meter, Mode, TOPIC};
use crate::sink::serve;

pub fn v5(load: Load) -> Measured {
    runtime(async move {
        let options = ConnectOptions::new("bench").with_clean_start(true);
        let client = MqttClient::with_options(options);
        client.connect(&format!("mqtt://127.0.0.1:{}", load.port)).await.expect("a connection");
        let payload = vec![b'x'; load.size];
        match load.mode {
            Mode::Publish(0) => {
                let meter = Meter::new();
                for _ in 0..load.messages {
                    client.publish_qos0(TOPIC, payload.clone()).await.expect("a connection");
                }
                client.publish_qos1(TOPIC, payload).await.expect("an answer");
                meter.stop()
            }
            Mode::Publish(qos) => {
                let meter = Meter::new();
                let all = futures_util::stream::iter(0..load.messages).map(|_| async {
                    let payload = payload.clone();
                    let sent = match qos {
                        1 => client.publish_qos1(TOPIC, payload).await,
                        _ => client.publish_qos2(TOPIC, payload).await,
                    };
                    sent.expect("an answer");
                });
                all.buffer_unordered(load.window.into()).for_each(|()| async {}).await;
                meter.stop()
            }
            Mode::Receive(qos) => receive(&client, load, qos).await,
            Mode::RoundTrip => {
                let (sender, mut heard) = mpsc::unbounded_channel();
                let options = SubscribeOptions { qos: QoS::AtLeastOnce, ..Default::default() };
                let hear = move |_| {
                    let _ = sender.send(());
                };
                client.subscribe_with_options(TOPIC, options, hear).await.expect("SUBACK");
                let mut meter = Meter::new();
                for _ in 0..load.messages {
                    let start = Instant::now();
                    let published = client.publish_qos1(TOPIC, payload.clone());
                    let (published, came) = tokio::join!(published, heard.recv());
                    published.expect("PUBACK");
                    came.expect("a message");
                    meter.round_trip(start);
                }
                meter.stop()
            }
        }
    })
}

async fn receive(client: &MqttClient, load: Load, qos: u8) -> Measured {
    let (came, meter) = (AtomicUsize::new(0), Arc::new(Mutex::new(None)));
    let (sender, mut end) = mpsc::channel(1);
    let own = Arc::clone(&meter);
    let hear = move |_| match came.fetch_add(1, Ordering::Relaxed) {
        0 => *own.lock().expect("no panic") = Some(Meter::new()),
        last if last + 1 == load.messages => drop(sender.try_send(())),
        _ => {}
    };
    let level = if qos == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce };
    let options = SubscribeOptions { qos: level, ..Default::default() };
    let filter = serve(qos, load.messages, load.size);
    client.subscribe_with_options(filter, options, hear).await.expect("SUBACK");
    load.subscribed();
    end.recv().await.expect("the last message");
    let meter = meter.lock().expect("no panic").take();
    meter.expect("a message").stop()
}

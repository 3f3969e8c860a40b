//! ntex-mqtt on ntex's runtime over tokio: bound to one thread, with its fastest ways to publish.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use futures_util::StreamExt;
use ntex_bytes::{ByteString, Bytes};
use ntex_mqtt::{MqttServiceConfig, QoS, v3, v5};
use ntex_service::Pipeline;
use ntex_service::cfg::SharedCfg;
use ntex_util::channel::mpsc;
use ntex_util::time::Seconds;
use tokio::sync::Notify;

use crate::load::{Load, Measured, Meter, Mode, TOPIC};
use crate::sink::serve;

/// What came, or the end of what is received.
enum Heard {
    Message,
    Received(Measured),
}

/// What is told of messages that come in.
struct Ear {
    load: Load,
    came: Cell<usize>,
    meter: RefCell<Option<Meter>>,
    heard: mpsc::Sender<Heard>,
}

impl Ear {
    fn hear(&self) {
        if self.load.mode == Mode::RoundTrip {
            let _ = self.heard.send(Heard::Message);
            return;
        }
        self.came.set(self.came.get() + 1);
        let mut meter = self.meter.borrow_mut();
        if self.came.get() == 1 {
            *meter = Some(Meter::new());
        }
        if self.came.get() == self.load.messages
            && let Some(meter) = meter.take()
        {
            let _ = self.heard.send(Heard::Received(meter.stop()));
        }
    }
}

fn options(load: &Load) -> SharedCfg {
    let service = MqttServiceConfig::new().set_max_send(load.window).set_max_receive(1000);
    SharedCfg::new("bench").add(service).build()
}

/// The two versions have the same names in different modules, but for a few.
macro_rules! program {
    ($name:ident, $module:ident, $clean:ident, $receive:expr, $subscribe:expr) => {
        pub fn $name(load: Load) -> Measured {
            ntex_rt::System::new("bench", ntex_net::DefaultRuntime).block_on(async move {
                let connector =
                    Pipeline::new(options(&load), $module::client::MqttConnector::new());
                let connect = $module::client::Connect::new(format!("127.0.0.1:{}", load.port))
                    .client_id("bench")
                    .$clean()
                    .keep_alive(Seconds(60));
                let client = connector.call(connect).await.expect("a connection");
                let sink = client.sink();
                let (sender, mut heard) = mpsc::channel();
                let (came, meter) = (Cell::new(0), RefCell::new(None));
                let ear = Rc::new(Ear { load, came, meter, heard: sender });
                ntex_rt::spawn(client.start(async move |message| $receive(message, &ear)));
                let payload = Bytes::from(vec![b'x'; load.size]);
                let topic = ByteString::from_static(TOPIC);
                match load.mode {
                    Mode::Publish(0) => {
                        let meter = Meter::new();
                        for index in 0..load.messages {
                            let publish = sink.publish(topic.clone());
                            publish.send_at_most_once(payload.clone()).expect("a connection");
                            if index % 256 == 255 {
                                tokio::task::yield_now().await;
                            }
                            // What the server does not take yet would only make its buffer grow.
                            if !sink.is_ready() {
                                sink.ready().await;
                            }
                        }
                        let last = sink.publish(topic).send_at_least_once(payload);
                        last.await.expect("an answer");
                        meter.stop()
                    }
                    Mode::Publish(1) => {
                        let end = Rc::new(Notify::new());
                        let (left, over) = (Cell::new(load.messages), Rc::clone(&end));
                        sink.publish_ack_cb(move |_, _| {
                            left.set(left.get() - 1);
                            if left.get() == 0 {
                                over.notify_one();
                            }
                        });
                        let meter = Meter::new();
                        for _ in 0..load.messages {
                            if !sink.is_ready() {
                                sink.ready().await;
                            }
                            let publish = sink.publish(topic.clone());
                            publish.send_at_least_once_no_block(payload.clone()).expect("room");
                        }
                        end.notified().await;
                        meter.stop()
                    }
                    Mode::Publish(_) => {
                        let meter = Meter::new();
                        let all = futures_util::stream::iter(0..load.messages).map(|_| async {
                            let publish = sink.publish(topic.clone());
                            let received = publish.send_exactly_once(payload.clone());
                            received.await.expect("PUBREC").release().await.expect("PUBCOMP");
                        });
                        all.buffer_unordered(load.window.into()).for_each(|()| async {}).await;
                        meter.stop()
                    }
                    Mode::Receive(qos) => {
                        let filter = serve(qos, load.messages, load.size).into();
                        let qos = if qos == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce };
                        $subscribe(&sink, filter, qos).await;
                        load.subscribed();
                        match heard.next().await {
                            Some(Heard::Received(measured)) => measured,
                            _ => panic!("it ended early"),
                        }
                    }
                    Mode::RoundTrip => {
                        $subscribe(&sink, topic.clone(), QoS::AtLeastOnce).await;
                        let mut meter = Meter::new();
                        for _ in 0..load.messages {
                            let start = Instant::now();
                            let publish = sink.publish(topic.clone());
                            publish.send_at_least_once(payload.clone()).await.expect("PUBACK");
                            heard.next().await.expect("a message");
                            meter.round_trip(start);
                        }
                        meter.stop()
                    }
                }
            })
        }
    };
}

program!(
    v311,
    v3,
    clean_session,
    |message, ear: &Ear| match message {
        v3::client::ProtocolMessage::Publish(publish) => {
            ear.hear();
            Ok::<_, ()>(publish.ack())
        }
        v3::client::ProtocolMessage::PublishRelease(release) => Ok(release.ack()),
        v3::client::ProtocolMessage::Ping(ping) => Ok(ping.ack()),
    },
    async |sink: &v3::MqttSink, filter, qos| {
        sink.subscribe().topic_filter(filter, qos).send().await.expect("SUBACK");
    }
);
program!(
    v5,
    v5,
    clean_start,
    |message, ear: &Ear| match message {
        v5::client::ProtocolMessage::Publish(publish) => {
            ear.hear();
            Ok::<_, ()>(publish.ack(v5::codec::PublishAckReason::Success))
        }
        other => Ok(other.ack()),
    },
    async |sink: &v5::MqttSink, filter, qos| {
        let options = v5::codec::SubscriptionOptions {
            qos,
            no_local: false,
            retain_as_published: false,
            retain_handling: v5::codec::RetainHandling::AtSubscribe,
        };
        sink.subscribe(None).topic_filter(filter, options).send().await.expect("SUBACK");
    }
);

//! Payloads and other memory of the user end outside of the client's lock, whatever ends them: that is code of
//! the user, which may call the client. And they end as soon as they are done with.

mod common;

use std::time::Duration;

use common::bench::{Bench, VERSIONS, config, lasting};
use common::lent::Lender;
use common::pipe::Shape;
use common::requests::{SECOND, answer};
use common::runtime::guarded;
use common::server::Seen;
use common::streams::{bounds, reconnect};
use mqtt_async::{
    Client, Config, Failure, Offline, OutboundOverflow, Overflow, PublishError, QoS, ReasonCode,
    RequestError, Resubscribe, TokenError, Version,
};

const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

/// One that is copied into the output buffer, and one that is sent from where it lies.
const SIZES: [usize; 2] = [10, 10_000];

fn each(test: impl Fn(Version, QoS, usize) + Send + 'static) {
    guarded(move || {
        for version in VERSIONS {
            for qos in QOS {
                for size in SIZES {
                    test(version, qos, size);
                }
            }
        }
    });
}

fn lender(bench: &Bench) -> Lender {
    Lender::of(bench.client())
}

#[test]
fn what_was_acknowledged() {
    each(|version, qos, size| {
        for refused in [false, true] {
            let mut bench = Bench::connected(config(version));
            let lender = lender(&bench);
            if refused && version == Version::V5 {
                bench.server.script(|script| script.publish_reason = ReasonCode::QUOTA_EXCEEDED);
            }
            drop(bench.client().send(lender.publish("t", size, qos, version)).unwrap());
            let token = bench.client().send(lender.publish("t", size, qos, version)).unwrap();
            let _ = bench.done(token);
            lender.has_all();
        }
    });
}

#[test]
fn what_pubrec_has_answered() {
    guarded(|| {
        let mut bench = Bench::connected(config(Version::V5));
        let lender = lender(&bench);
        let publish = lender.publish("t", 10, QoS::ExactlyOnce, Version::V5);
        let mut token = bench.client().send(publish).unwrap();
        // The server answers, and takes nothing more.
        while bench.poll(&mut token.received()).is_pending() {
            bench.step();
        }
        assert!(bench.poll(&mut token).is_pending());
        lender.has_all();
    });
}

#[test]
fn what_waits_in_line_when_the_connection_comes() {
    each(|version, qos, size| {
        let mut bench = Bench::new(config(version), Shape { capacity: 100, chunk: 30 });
        let lender = lender(&bench);
        for _ in 0..5 {
            drop(bench.client().send(lender.publish("t", size, qos, version)).unwrap());
        }
        bench.settle();
        lender.has_all();
    });
}

#[test]
fn what_the_policies_drop() {
    each(|version, qos, size| {
        for overflow in [
            OutboundOverflow::DropOldest,
            OutboundOverflow::DropNewest,
            OutboundOverflow::LatestPerTopic,
        ] {
            let mut config = config(version);
            config.session.bounds.messages = 2;
            config.outbound.overflow = overflow;
            let mut bench = Bench::new(config, Shape::default());
            let lender = lender(&bench);
            let parts = if version == Version::V5 { 4 } else { 1 };
            for number in 0..6 {
                let publish = lender.publish(&format!("t/{}", number % 3), size, qos, version);
                drop(bench.client().send(publish).unwrap());
                assert!(lender.out() <= 2 * parts, "{overflow:?}: {}", lender.out());
            }
            assert_eq!(lender.out(), 2 * parts);
            bench.settle();
            lender.has_all();
        }
    });
}

#[test]
fn what_is_handed_back_or_refused() {
    each(|version, qos, size| {
        let mut config = config(version);
        config.session.bounds.messages = 1;
        config.outbound.offline = Offline::Acknowledged;
        let bench = Bench::new(config, Shape::default());
        let (client, lender) = (bench.client(), lender(&bench));
        let publish = || lender.publish("t", size, qos, version);
        if qos == QoS::AtMostOnce {
            assert!(matches!(client.send(publish()), Err(PublishError::Offline(_))));
            return lender.has_all();
        }
        let held = client.send(publish()).unwrap();
        assert!(matches!(client.send(publish()), Err(PublishError::Full(_))));
        let mut waiting = client.send_wait(publish());
        assert!(bench.poll(&mut waiting).is_pending());
        drop(waiting);
        let mut waiting = client.send_wait(publish());
        assert!(bench.poll(&mut waiting).is_pending());
        assert!(waiting.into_publish().is_some());
        drop(held.cancel());
        lender.has_all();
        // What can never be sent.
        let mut wrong = publish();
        wrong.properties.edit().topic_alias = Some(0);
        wrong.properties.edit().user_properties.push((lender.text("a"), lender.text("b")));
        wrong.properties.edit().subscription_identifiers.push(0);
        assert!(client.send(wrong).is_err());
        lender.has_all();
        drop(client.abort());
        assert!(matches!(client.send(publish()), Err(PublishError::Closed(_))));
        lender.has_all();
    });
}

#[test]
fn what_is_too_large_for_the_server() {
    each(|version, qos, _| {
        if version != Version::V5 {
            return;
        }
        // Known before it is accepted, and after.
        for before in [false, true] {
            let mut bench = Bench::new(config(version), Shape::default());
            bench.server.script(|script| script.connack.maximum_packet_size = Some(200));
            let lender = lender(&bench);
            let publish = lender.publish("t", 1000, qos, version);
            if before {
                bench.settle();
                assert!(bench.client().send(publish).is_err());
            } else {
                let token = bench.client().send(publish).unwrap();
                let error = bench.done(token).unwrap_err();
                assert!(matches!(error, TokenError::Failed(Failure::TooLarge { .. })), "{error}");
            }
            lender.has_all();
        }
    });
}

#[test]
fn what_has_expired() {
    each(|_, qos, size| {
        let mut bench = Bench::new(config(Version::V5), Shape::default());
        let lender = lender(&bench);
        let mut publish = lender.publish("t", size, qos, Version::V5);
        publish.properties.edit().message_expiry_interval = Some(1);
        let token = bench.client().send(publish).unwrap();
        bench.clock.advance(2 * SECOND);
        let error = bench.done(token).unwrap_err();
        assert!(matches!(error, TokenError::Failed(Failure::Expired)), "{error}");
        lender.has_all();
    });
}

#[test]
fn what_a_lost_session_and_a_lost_connection_end() {
    each(|version, qos, size| {
        for offline in [Offline::All, Offline::None] {
            let mut config = lasting(version);
            config.outbound.offline = offline;
            let mut bench = Bench::new(config, Shape { capacity: 50, chunk: 20 });
            bench.settle();
            let lender = lender(&bench);
            bench.server.script(|script| {
                (script.hold_acks, script.deaf, script.forget) = (true, true, true);
            });
            for _ in 0..3 {
                drop(bench.client().send(lender.publish("t", size, qos, version)).unwrap());
            }
            bench.settle();
            bench.server.script(|script| (script.hold_acks, script.deaf) = (false, false));
            reconnect(&mut bench);
            lender.has_all();
        }
    });
}

#[test]
fn what_is_left_at_the_end() {
    type End = fn(&mut Bench);
    let ends: [End; 6] = [
        |bench| {
            let report = bench.client().shutdown(Duration::ZERO);
            bench.end().unwrap();
            drop(bench.done(report));
        },
        |bench| {
            let report = bench.client().shutdown(SECOND);
            bench.end().unwrap();
            drop(bench.done(report));
        },
        |bench| {
            drop(bench.client().disconnect());
            bench.end().unwrap();
        },
        |bench| {
            drop(bench.client().abort());
            bench.end().unwrap();
        },
        |bench| bench.driver = None,
        |bench| {
            bench.client = None;
            bench.end().unwrap();
        },
    ];
    each(move |version, qos, size| {
        for (number, end) in ends.iter().enumerate() {
            for connected in [false, true] {
                let mut config = lasting(version);
                config.session.max_in_flight = 1;
                let mut bench = Bench::new(config, Shape { capacity: 50, chunk: 20 });
                if connected {
                    bench.settle();
                }
                let lender = lender(&bench);
                bench.server.script(|script| script.deaf = true);
                for _ in 0..3 {
                    drop(bench.client().send(lender.publish("t", size, qos, version)).unwrap());
                }
                if connected {
                    bench.step();
                }
                if number == 5 {
                    lender.calls(None);
                }
                end(&mut bench);
                if number < 2 {
                    // The report had them, but for what the transport has still to write.
                    lender.has_all();
                }
                lender.calls(None);
                let Bench { client, driver, connections, .. } = bench;
                drop((client, driver, connections));
                lender.has_all();
            }
        }
    });
}

#[test]
fn what_a_drain_waits_for() {
    each(|version, qos, size| {
        let mut bench = Bench::connected(config(version));
        let lender = lender(&bench);
        let token = bench.client().send(lender.publish("t", size, qos, version)).unwrap();
        let drained = bench.client().drain();
        bench.end().unwrap();
        bench.done(drained).unwrap();
        bench.done(token).unwrap();
        lender.has_all();
    });
}

#[test]
fn what_requests_and_responses_are_made_of() {
    guarded(|| {
        for version in VERSIONS {
            let mut config = config(version);
            config.requests.outstanding = 4;
            let mut bench = Bench::connected(config);
            let lender = lender(&bench);
            let request = |bench: &Bench| {
                let publish = lender.publish("service", 10, QoS::AtLeastOnce, version);
                bench.client().request_with(publish, 10 * SECOND)
            };
            let (answered, late) = (request(&bench), request(&bench));
            drop(request(&bench));
            bench.settle();
            answer(&mut bench, 0, "answer");
            bench.done(answered).unwrap();
            bench.advance(10 * SECOND);
            assert!(matches!(bench.done(late), Err(RequestError::TimedOut)));
            lender.has_all();
            // Held, and given up.
            bench.server.cut();
            bench.settle();
            let held = [(); 4].map(|()| request(&bench));
            assert!(matches!(bench.done(request(&bench)), Err(RequestError::Full(_))));
            drop(held);
            let mut held = request(&bench);
            assert!(bench.poll(&mut held).is_pending());
            bench.driver = None;
            assert!(matches!(bench.done(held), Err(RequestError::Ended(_))));
            lender.calls(None);
            drop(bench);
            lender.has_all();
        }
    });
}

#[test]
fn a_request_that_the_session_does_not_take() {
    guarded(|| {
        let mut bench = Bench::new(config(Version::V5), Shape::default());
        bench.server.script(|script| script.connack.maximum_packet_size = Some(300));
        let lender = lender(&bench);
        let publish = lender.publish("service", 1000, QoS::AtLeastOnce, Version::V5);
        let request = bench.client().request_with(publish, 10 * SECOND);
        let error = bench.done(request).unwrap_err();
        assert!(matches!(error, RequestError::NotAccepted(_)), "{error}");
        lender.has_all();
    });
}

#[test]
fn what_subscriptions_are_made_of() {
    guarded(|| {
        for version in VERSIONS {
            for resubscribe in [Resubscribe::OnNewSession, Resubscribe::Never] {
                for refused in [false, true] {
                    subscriptions(version, resubscribe, refused);
                }
            }
        }
    });
}

fn subscriptions(version: Version, resubscribe: Resubscribe, refused: bool) {
    let mut config = lasting(version);
    config.resubscribe = resubscribe;
    let mut bench = Bench::connected(config);
    let (client, lender) = (bench.client().clone(), lender(&bench));
    if refused {
        bench.server.script(|script| script.reject_filters = Some(ReasonCode::NOT_AUTHORIZED));
    }
    let listen = |name: &str| {
        let subscribe = lender.subscribe(name, version);
        client.listen_with(subscribe, bounds(3, Overflow::DropOldest)).unwrap()
    };
    let subscribing = client.subscribe_with(lender.subscribe("a", version)).unwrap();
    let streams = [listen("b"), listen("b"), listen("c")];
    let mut twice = lender.subscribe("x", version);
    twice.subscriptions.extend(lender.subscribe("x", version).subscriptions);
    assert!(client.listen_with(twice, bounds(1, Overflow::Block)).is_err());
    assert_eq!(bench.done(subscribing).is_err(), refused);
    bench.server.script(|script| script.forget = true);
    reconnect(&mut bench);
    let [one, other, third] = streams;
    drop(client.unsubscribe(lender.filter("c")).unwrap());
    drop(third);
    bench.settle();
    drop((one, other));
    let done = client.unsubscribe(lender.filter("a")).unwrap();
    bench.done(done).unwrap();
    // While it is offline, and at the end.
    bench.server.cut();
    bench.settle();
    drop(client.subscribe_with(lender.subscribe("d", version)).unwrap());
    drop(client.unsubscribe(lender.filter("d")).unwrap());
    drop(listen("e"));
    drop(client.abort());
    bench.end().unwrap();
    lender.calls(None);
    drop((bench, client));
    lender.has_all();
}

fn connect(config: &mut Config, lender: &Lender) {
    let connect = &mut config.session.connect;
    connect.client_id = lender.text("lent");
    connect.user_name = Some(lender.text("user"));
    connect.password = Some(lender.bytes("password"));
    let will = lender.publish("will", 10, QoS::AtLeastOnce, Version::V5);
    let mut last = mqtt_async::Will::new(will.topic, will.payload);
    last.properties = will.properties;
    connect.will = Some(last);
    connect.user_properties.push((lender.text("name"), lender.text("value")));
}

#[test]
fn what_connect_is_made_of() {
    guarded(|| {
        let lender = Lender::default();
        let mut config = config(Version::V5);
        config.fall_back_to_v311 = true;
        connect(&mut config, &lender);
        let each = lender.clone();
        let mut bench = Bench::hooked(config, Shape::default(), |driver| {
            driver.before_connect(move |mut attempt| {
                attempt.connect.password = Some(each.bytes("another"));
                async { Ok(attempt) }
            })
        });
        lender.calls(bench.client.as_ref());
        bench.settle();
        bench.server.script(|script| script.refuse_v5 = Some(vec![0x20, 2, 0, 1]));
        for _ in 0..3 {
            reconnect(&mut bench);
            bench.server.script(|script| script.refuse_v5 = None);
        }
        drop(bench.client().disconnect());
        bench.end().unwrap();
        lender.calls(None);
        drop(bench);
        lender.has_all();
    });
}

#[test]
fn what_a_store_has_given() {
    guarded(|| {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let (server, lender) = (common::server::Server::new(), Lender::default());
            let store = Lending { lender: lender.clone(), memory: Default::default() };
            let (bench, _) = Bench::durable(lasting(Version::V5), &server, store.clone()).unwrap();
            lender.calls(bench.client.as_ref());
            drop(bench.client().send(lender.publish("t", 10, qos, Version::V5)).unwrap());
            let mut bench = bench;
            bench.step();
            lender.calls(None);
            bench.crash();
            let (mut bench, recovered) =
                Bench::durable(lasting(Version::V5), &server, store).unwrap();
            lender.calls(bench.client.as_ref());
            assert_eq!(recovered.len(), 1);
            drop(recovered);
            bench.settle();
            assert_eq!(bench.server.count(|seen| matches!(seen, Seen::Publish { .. })), 1);
            lender.has_all();
        }
    });
}

/// Its records are lent.
#[derive(Clone)]
struct Lending {
    lender: Lender,
    memory: mqtt_async::MemoryStore,
}

impl mqtt_async::Store for Lending {
    async fn load(
        &mut self,
    ) -> Result<Vec<(mqtt_async::RecordKey, bytes::Bytes)>, mqtt_async::StoreFailure> {
        let records = self.memory.load().await?;
        Ok(records.into_iter().map(|(key, record)| (key, self.lender.bytes(record))).collect())
    }

    async fn write(
        &mut self,
        batch: Vec<mqtt_async::Change>,
    ) -> Result<(), mqtt_async::StoreFailure> {
        self.memory.write(batch).await
    }
}

#[test]
fn what_an_authenticator_says() {
    guarded(|| {
        let lender = Lender::default();
        let speaker = lender.clone();
        let mut bench = Bench::hooked(config(Version::V5), Shape::default(), |driver| {
            driver.authenticator(move || Speaker(speaker.clone()))
        });
        lender.calls(bench.client.as_ref());
        bench.server.script(|script| script.challenges.extend(["one", "two", "three"]));
        bench.settle();
        assert!(bench.client().status().connected.is_some());
        let again = bench.client().reauthenticate().unwrap();
        bench.done(again).unwrap();
        drop(bench.client().abort());
        bench.end().unwrap();
        lender.calls(None);
        drop(bench);
        lender.has_all();
    });
}

struct Speaker(Lender);

impl mqtt_async::Authenticator for Speaker {
    fn method(&self) -> &str {
        "METHOD"
    }

    async fn start(&mut self) -> Result<Option<bytes::Bytes>, mqtt_async::HookError> {
        Ok(Some(self.0.bytes("start")))
    }

    async fn answer(
        &mut self,
        _: Option<bytes::Bytes>,
    ) -> Result<Option<bytes::Bytes>, mqtt_async::HookError> {
        Ok(Some(self.0.bytes("answer")))
    }

    async fn finish(&mut self, _: Option<bytes::Bytes>) -> Result<(), mqtt_async::HookError> {
        Ok(())
    }
}

#[test]
fn a_responder_lends_its_responses() {
    guarded(|| {
        let mut bench = Bench::connected(config(Version::V5));
        let (client, lender): (Client, _) = (bench.client().clone(), lender(&bench));
        let lending = lender.clone();
        let responder = client.respond("service", move |_| {
            let payload = lending.bytes("response");
            async move { payload }
        });
        let mut responder = Box::pin(responder.unwrap());
        let request = client.request("service", "?", 10 * SECOND);
        for _ in 0..20 {
            bench.settle();
            let _ = bench.poll(&mut responder);
        }
        assert_eq!(bench.done(request).unwrap().payload(), "response");
        lender.has_all();
    });
}

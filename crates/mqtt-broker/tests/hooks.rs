//! What the application decides, and what it is told.

mod support;

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_lite::{AsyncWriteExt, future};
use mqtt_broker::{
    Broker, BrokerConfig, ClientInfo, Connecting, Deciding, Exchange, Hooks, Verdict, decided,
};
use mqtt_proto::{
    Auth, ClientConfig, CloseReason, ConnAck, Event, Packet, PublishPacket, QoS, ReasonCode,
    Subscribe, Subscription, Text, TxBuf, Version, codec,
};
use support::*;

/// Hooks that follow rules of the test, and write down what they hear.
#[derive(Clone, Default)]
struct House(Arc<Inner>);

#[derive(Default)]
struct Inner {
    log: Mutex<Vec<String>>,
    /// Whoever is asked calls the broker: no lock may be held.
    broker: OnceLock<Broker>,
}

impl House {
    fn note(&self, line: String) {
        if let Some(broker) = self.0.broker.get() {
            broker.publish(&message("log", &line));
        }
        self.0.log.lock().unwrap().push(line);
    }

    fn log(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.log.lock().unwrap())
    }
}

impl Hooks for House {
    fn authenticate(&self, connecting: Connecting) -> Deciding {
        let connect = &connecting.connect;
        self.note(format!("authenticate {}", connect.client_id));
        if let Some(method) = &connect.authentication_method {
            assert_eq!(*method, "SUM");
            let exchange = Sum { house: self.clone(), rounds: 2, again: connecting.again };
            return Box::new(exchange).answered(connect.authentication_data.clone());
        }
        match connect.password.as_deref() {
            Some(b"sesame") => decided(Verdict::accept()),
            Some(b"slow") => Box::pin(async {
                future::yield_now().await;
                future::yield_now().await;
                Verdict::accept()
            }),
            Some(b"never") => Box::pin(future::pending()),
            Some(b"elsewhere") => decided(Verdict::Refuse(Box::new(ConnAck {
                server_reference: Some(Text::new("other:1883").unwrap()),
                ..ConnAck::new(ReasonCode::USE_ANOTHER_SERVER)
            }))),
            // A hook that refuses with a success has refused all the same.
            Some(b"muddled") => decided(Verdict::refuse(ReasonCode::SUCCESS)),
            _ => decided(Verdict::refuse(ReasonCode::BAD_USER_NAME_OR_PASSWORD)),
        }
    }

    fn may_publish(&self, client: &ClientInfo, publish: &PublishPacket) -> Result<(), ReasonCode> {
        self.note(format!("may_publish {} {}", client.client_id, publish.topic()));
        match publish.topic().strip_prefix("secret/") {
            None => Ok(()),
            Some("muddled") => Err(ReasonCode::SUCCESS),
            Some(_) => Err(ReasonCode::NOT_AUTHORIZED),
        }
    }

    fn may_subscribe(
        &self,
        client: &ClientInfo,
        subscription: &Subscription,
    ) -> Result<(), ReasonCode> {
        self.note(format!("may_subscribe {} {}", client.client_id, subscription.filter));
        if subscription.filter.filter().starts_with("secret/") {
            return Err(ReasonCode::NOT_AUTHORIZED);
        }
        Ok(())
    }

    fn connected(&self, client: &ClientInfo, resumed: bool) {
        self.note(format!("connected {} {resumed} {}", client.client_id, client.version));
    }

    fn disconnected(&self, client: &ClientInfo, reason: &CloseReason) {
        let reason = match reason {
            CloseReason::Disconnected(packet) => packet.reason.to_string(),
            other => other.to_string(),
        };
        self.note(format!("disconnected {} {reason}", client.client_id));
    }

    fn published(&self, client: &ClientInfo, publish: &PublishPacket, receivers: usize) {
        self.note(format!("published {} {} {receivers}", client.client_id, publish.topic()));
    }
}

/// A toy of a method: each answer has to be one more than the challenge.
struct Sum {
    house: House,
    rounds: u8,
    again: bool,
}

impl Exchange for Sum {
    fn answered(mut self: Box<Self>, data: Option<Bytes>) -> Deciding {
        self.house.note(format!("answered {data:?}"));
        Box::pin(async move {
            // It has to ask somebody first.
            future::yield_now().await;
            match data.as_deref() {
                Some([number]) if *number == self.rounds => {}
                _ => return Verdict::refuse(ReasonCode::NOT_AUTHORIZED),
            }
            if self.rounds == 4 {
                let last = if self.again { "again" } else { "proof" };
                return Verdict::Accept {
                    authentication_data: Some(Bytes::from(last)),
                    user_properties: Default::default(),
                };
            }
            self.rounds += 1;
            let authentication_data = Some(Bytes::from(vec![self.rounds - 1]));
            Verdict::Challenge { authentication_data, exchange: self }
        })
    }
}

fn with_hooks(body: impl AsyncFn(World, House)) {
    for version in BOTH {
        with_hooks_in(version, &body);
    }
}

fn with_hooks_in(version: Version, body: impl AsyncFn(World, House)) {
    eprintln!("with {version}");
    let house = House::default();
    let (world, driver) = World::new(version, BrokerConfig::default().hooks(house.clone()));
    house.0.broker.set(world.broker.clone()).unwrap();
    guard(world.run(driver, body(world.clone(), house)));
}

fn with_password(mut config: ClientConfig, password: &'static str) -> ClientConfig {
    config.connect.user_name = Some(Text::new("user").unwrap());
    config.connect.password = Some(Bytes::from(password));
    config
}

impl House {
    async fn client(&self, world: &World, id: &str) -> Peer<Pipe> {
        let peer = world.connect(with_password(world.clean(id), "sesame")).await;
        self.log();
        peer
    }
}

async fn refusal(world: &World, config: ClientConfig) -> Option<ReasonCode> {
    let mut peer = Peer::new(config, world.pipe());
    match peer.handshake().await {
        Err(CloseReason::Refused(connack)) => Some(connack.reason),
        Err(CloseReason::Eof) => None,
        other => panic!("{other:?}"),
    }
}

// covers: v5 MQTT-3.1.4-2, v5 MQTT-3.2.2-7
#[test]
fn a_client_is_let_in_or_refused_and_its_comings_and_goings_are_told() {
    with_hooks(async |world, house| {
        let v5 = world.version.is_v5();
        let mut peer = world.connect(with_password(world.clean("one"), "slow")).await;
        peer.disconnect(ReasonCode::SUCCESS).await;
        let told = [
            "authenticate one".to_owned(),
            format!("connected one false {}", world.version),
            format!("disconnected one {}", ReasonCode::SUCCESS),
        ];
        assert_eq!(house.log(), told);
        for (password, reason) in [
            ("wrong", Some(ReasonCode::BAD_USER_NAME_OR_PASSWORD)),
            ("elsewhere", v5.then_some(ReasonCode::USE_ANOTHER_SERVER)),
            ("muddled", None),
        ] {
            let refused = refusal(&world, with_password(world.clean("two"), password)).await;
            assert_eq!(refused, reason, "{password}");
            assert_eq!(house.log(), ["authenticate two"], "nobody was connected");
        }
        world.until(|stats| stats.sessions == 0).await;
    });
}

#[test]
fn hooks_that_take_their_time_hold_nobody_up_and_have_an_end() {
    with_hooks(async |world, house| {
        let mut waiting = Peer::new(with_password(world.clean("waiting"), "never"), world.pipe());
        let mut handshake = Box::pin(waiting.handshake());
        assert!(future::poll_once(&mut handshake).await.is_none());
        let mut other = house.client(&world, "other").await;
        other.subscribe("a", QoS::AtMostOnce).await;
        other.send("a", "b", QoS::AtMostOnce).await;
        assert_eq!(other.message().await.payload, "b");
        let timeout = BrokerConfig::default().session.connect_timeout;
        world.time.advance(timeout - Duration::from_millis(1));
        for _ in 0..100 {
            assert!(future::poll_once(&mut handshake).await.is_none(), "not yet");
            future::yield_now().await;
        }
        world.time.advance(Duration::from_millis(1));
        let Err(CloseReason::Refused(connack)) = handshake.await else { panic!() };
        let busy = match world.version {
            Version::V5 => ReasonCode::SERVER_BUSY,
            _ => ReasonCode::SERVER_UNAVAILABLE,
        };
        assert_eq!(connack.reason, busy);
    });
}

// covers: v3 MQTT-3.3.5-2
#[test]
fn what_may_not_be_published_goes_to_nobody() {
    with_hooks(async |world, house| {
        let mut reader = house.client(&world, "reader").await;
        reader.subscribe("secret/#", QoS::ExactlyOnce).await;
        reader.subscribe("#", QoS::ExactlyOnce).await;
        reader.unsubscribe("log").await;
        let mut writer = house.client(&world, "writer").await;
        for (number, qos) in (1..).zip(EACH_QOS) {
            for topic in ["secret/plan", "secret/muddled"] {
                let reason = writer.send(topic, "x", qos).await;
                let expected = match (world.version, qos, topic) {
                    (Version::V5, QoS::AtLeastOnce | QoS::ExactlyOnce, "secret/plan") => {
                        ReasonCode::NOT_AUTHORIZED
                    }
                    (Version::V5, QoS::AtLeastOnce | QoS::ExactlyOnce, _) => {
                        ReasonCode::UNSPECIFIED_ERROR
                    }
                    _ => ReasonCode::SUCCESS,
                };
                assert_eq!(reason, expected, "{qos:?} {topic}");
            }
            world.until(|stats| stats.not_authorized == 2 * number).await;
            assert_eq!(writer.send("open", "y", qos).await, ReasonCode::SUCCESS);
            let got = loop {
                let got = reader.message().await;
                if got.topic != "log" {
                    break got;
                }
            };
            assert_eq!((got.topic.as_str(), got.qos), ("open", qos));
        }
        assert!(house.log().contains(&"published writer open 1".to_owned()));
    });
}

#[test]
fn a_will_that_may_not_be_published_keeps_its_client_out() {
    with_hooks(async |world, house| {
        for qos in EACH_QOS {
            let mut config = with_password(world.clean("lurking"), "sesame");
            config.connect.will = Some(will("secret/will").qos(qos));
            assert_eq!(refusal(&world, config).await, Some(ReasonCode::NOT_AUTHORIZED));
            let mut config = with_password(world.clean("fine"), "sesame");
            config.connect.will = Some(will("open/will").qos(qos));
            let mut reader = house.client(&world, "reader").await;
            reader.subscribe("open/will", QoS::AtMostOnce).await;
            drop(world.connect(config).await);
            assert_eq!(reader.message().await.payload, "gone");
        }
    });
}

// covers: v5 MQTT-3.9.3-1
#[test]
fn each_filter_is_decided_about() {
    with_hooks(async |world, house| {
        let mut peer = house.client(&world, "peer").await;
        let mut subscribe = Subscribe::new(filter("a"), QoS::AtMostOnce);
        for more in ["secret/a", "b/#", "$share/g/secret/b"] {
            let options = QoS::AtLeastOnce.into();
            subscribe.subscriptions.push(Subscription { filter: filter(more), options });
        }
        let no = match world.version {
            Version::V5 => ReasonCode::NOT_AUTHORIZED,
            _ => ReasonCode::UNSPECIFIED_ERROR,
        };
        let granted = peer.subscribe_all(subscribe).await;
        assert_eq!(granted, [ReasonCode::SUCCESS, no, ReasonCode::GRANTED_QOS_1, no]);
        assert_eq!(world.broker.stats().subscriptions, 2);
    });
}

fn auth(data: &[u8]) -> Auth {
    Auth {
        reason: ReasonCode::CONTINUE_AUTHENTICATION,
        authentication_method: Some(Text::new("SUM").unwrap()),
        authentication_data: Some(Bytes::copy_from_slice(data)),
        ..Auth::default()
    }
}

/// Answers challenges until there is an end, one of them wrongly if that is asked for.
async fn answer(peer: &mut Peer<Pipe>, wrong_at: Option<u8>) -> Event {
    loop {
        match peer.event().await {
            Event::Auth(step) if step.reason == ReasonCode::CONTINUE_AUTHENTICATION => {
                let challenge = step.authentication_data.unwrap()[0];
                let wrong = u8::from(wrong_at == Some(challenge));
                peer.session.authenticate(auth(&[challenge + 1 + wrong]), peer.now()).unwrap();
            }
            other => return other,
        }
    }
}

// covers: v5 MQTT-4.12.0-2, v5 MQTT-4.12.0-3, v5 MQTT-4.12.0-4, v5 MQTT-4.12.0-5
// covers: v5 MQTT-4.12.1-2
#[test]
fn an_enhanced_authentication_takes_several_steps_and_can_be_made_again() {
    with_hooks_in(Version::V5, async |world, house| {
        let config = |first: u8| {
            let mut config = world.clean("peer");
            config.connect.authentication_method = Some(Text::new("SUM").unwrap());
            config.connect.authentication_data = Some(Bytes::from(vec![first]));
            config
        };
        for (first, wrong_at) in [(9, None), (2, Some(2)), (2, Some(3))] {
            let mut peer = Peer::new(config(first), world.pipe());
            peer.session.handle_open(peer.now());
            let Event::Closed { reason: CloseReason::Refused(connack), .. } =
                answer(&mut peer, wrong_at).await
            else {
                panic!()
            };
            assert_eq!(connack.reason, ReasonCode::NOT_AUTHORIZED);
        }
        house.log();

        let mut peer = Peer::new(config(2), world.pipe());
        peer.session.handle_open(peer.now());
        let Event::Connected { connack, .. } = answer(&mut peer, None).await else { panic!() };
        assert_eq!(connack.authentication_method.unwrap(), "SUM");
        assert_eq!(connack.authentication_data.as_deref(), Some(&b"proof"[..]));
        let log = house.log();
        assert_eq!(log.len(), 5, "{log:?}");
        assert_eq!(log[4], format!("connected peer false {}", Version::V5));

        // Messages go on while it is made again.
        let again = Auth { reason: ReasonCode::RE_AUTHENTICATE, ..auth(&[2]) };
        peer.session.authenticate(again.clone(), peer.now()).unwrap();
        assert_eq!(
            peer.send("a", "b", QoS::AtLeastOnce).await,
            ReasonCode::NO_MATCHING_SUBSCRIBERS
        );
        let Event::Auth(last) = answer(&mut peer, None).await else { panic!() };
        assert_eq!(last.reason, ReasonCode::SUCCESS);
        assert_eq!(last.authentication_data.as_deref(), Some(&b"again"[..]));

        peer.session.authenticate(again, peer.now()).unwrap();
        let Event::Closed { reason: CloseReason::Disconnected(packet), .. } =
            answer(&mut peer, Some(3)).await
        else {
            panic!()
        };
        assert_eq!(packet.reason, ReasonCode::NOT_AUTHORIZED);
    });
}

#[test]
fn a_step_that_nobody_asked_for_ends_the_connection() {
    with_hooks_in(Version::V5, async |world, _house| {
        let mut config = world.clean("peer");
        config.connect.authentication_method = Some(Text::new("SUM").unwrap());
        config.connect.authentication_data = Some(Bytes::from_static(&[2]));
        let mut peer = Peer::new(config, world.pipe());
        peer.session.handle_open(peer.now());
        let Event::Connected { .. } = answer(&mut peer, None).await else { panic!() };
        // The session of a client would not send it.
        let mut out = TxBuf::new();
        codec::encode(&Packet::Auth(Box::new(auth(&[3]))), Version::V5, &mut out).unwrap();
        peer.stream.write_all(out.chunk()).await.unwrap();
        assert_eq!(peer.disconnected().await, Some(ReasonCode::PROTOCOL_ERROR));
    });
}

//! What the tests have in common: clients without I/O of their own, pipes, and a clock that stands.
#![allow(dead_code, unused_imports, reason = "not every test file uses all of it")]

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use futures_lite::{AsyncReadExt, AsyncWriteExt, future};
use mqtt_broker::{Broker, BrokerConfig, BrokerStats, Clock, Timer};
use mqtt_proto::{
    AckId, Client, ClientConfig, CloseReason, ConnAck, Connect, Event, Publish, PublishPacket, QoS,
    ReasonCode, Session, Subscribe, SubscriptionOptions, Text, Token, TopicFilter, TopicName,
    TxBuf, Unsubscribe, Version, Will,
};

mod pipe;
mod watched;

pub(crate) use pipe::{Pipe, pipe};
pub(crate) use watched::Watched;

pub(crate) const BOTH: [Version; 2] = [Version::V311, Version::V5];
pub(crate) const ALL: [Version; 3] = [Version::V31, Version::V311, Version::V5];
pub(crate) const EACH_QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

/// A test that takes longer hangs.
const GUARD: Duration = Duration::from_secs(60);

/// Runs a test, and fails it if it hangs.
pub(crate) fn guard<T>(body: impl Future<Output = T>) -> T {
    smol::block_on(guarded(body))
}

pub(crate) async fn guarded<T>(body: impl Future<Output = T>) -> T {
    let hang = async {
        smol::Timer::after(GUARD).await;
        panic!("the test hangs")
    };
    future::or(body, hang).await
}

/// Time that passes when a test says so. It wakes at the deadline that it was told and not before.
#[derive(Clone)]
pub(crate) struct Manual(Arc<Mutex<(Instant, Option<Alarm>)>>);

type Alarm = (Instant, Waker);

impl Manual {
    pub(crate) fn new() -> Manual {
        Manual(Arc::new(Mutex::new((Instant::now(), None))))
    }

    pub(crate) fn advance(&self, by: Duration) {
        let waker = {
            let mut inner = self.0.lock().unwrap();
            inner.0 += by;
            let now = inner.0;
            inner.1.take_if(|(deadline, _)| *deadline <= now)
        };
        waker.into_iter().for_each(|(_, waker)| waker.wake());
    }
}

impl Timer for Manual {
    fn now(&self) -> Instant {
        self.0.lock().unwrap().0
    }

    fn poll_until(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.0.lock().unwrap();
        if inner.0 >= deadline {
            return Poll::Ready(());
        }
        inner.1 = Some((deadline, cx.waker().clone()));
        Poll::Pending
    }

    fn clock(&self) -> Clock {
        let timer = self.clone();
        Clock::new(move || timer.now())
    }
}

/// A broker in a time of its own, whose clients come through pipes.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) broker: Broker,
    pub(crate) time: Manual,
    pub(crate) version: Version,
}

/// Runs a scenario with each version.
pub(crate) fn scenario(body: impl AsyncFn(World)) {
    scenario_with(&BOTH, BrokerConfig::default(), body);
}

pub(crate) fn scenario_with(versions: &[Version], config: BrokerConfig, body: impl AsyncFn(World)) {
    for version in versions {
        let (world, driver) = World::new(*version, config.clone());
        eprintln!("with {version}");
        guard(world.run(driver, body(world.clone())));
    }
}

impl World {
    pub(crate) fn new(version: Version, config: BrokerConfig) -> (World, Watched) {
        let time = Manual::new();
        let (broker, driver) = Broker::with_timer(config, time.clone());
        (World { broker, time, version }, Watched(driver))
    }

    /// Runs the broker until the body ends.
    pub(crate) async fn run<T>(&self, driver: Watched, body: impl Future<Output = T>) -> T {
        let ends = async {
            driver.await;
            future::pending().await
        };
        future::or(body, ends).await
    }

    /// Returns a pipe whose other end is a connection of the broker.
    pub(crate) fn pipe(&self) -> Pipe {
        let (near, far) = pipe(16 * 1024);
        self.broker.attach(far);
        near
    }

    /// Returns what a client with a session that lasts is made from.
    pub(crate) fn lasting(&self, id: &str) -> ClientConfig {
        let mut config = self.clean(id);
        config.connect.clean_start = false;
        config.connect.session_expiry_interval = self.version.is_v5().then_some(u32::MAX);
        config
    }

    /// Returns what a client whose session ends with the connection is made from.
    pub(crate) fn clean(&self, id: &str) -> ClientConfig {
        let mut config = ClientConfig::new(self.version);
        config.connect.client_id = Text::new(id).unwrap();
        config.connect.keep_alive = 0;
        // A peer is a new session of `mqtt-proto` each time, as a program that was restarted.
        config.adopt_session = true;
        config
    }

    pub(crate) async fn connect(&self, config: ClientConfig) -> Peer<Pipe> {
        Peer::connect(config, self.pipe()).await
    }

    /// Connects with a new session that ends with the connection.
    pub(crate) async fn client(&self, id: &str) -> Peer<Pipe> {
        self.connect(self.clean(id)).await
    }

    pub(crate) async fn until(&self, condition: impl Fn(&BrokerStats) -> bool) {
        until(&self.broker, condition).await;
    }

    /// Makes sure that no message is on its way to the client: one that is sent now is the next.
    pub(crate) async fn silent<S: Stream>(&self, peer: &mut Peer<S>) {
        let topic = format!("sentinel/{}", peer.name);
        peer.subscribe(&topic, QoS::AtMostOnce).await;
        assert_eq!(self.broker.publish(&message(&topic, "-")), 1);
        let next = peer.message().await;
        assert_eq!(next.topic, topic, "there was another message: {next:?}");
        peer.unsubscribe(&topic).await;
    }
}

/// Waits until the broker, whose driver is [`Watched`], has come so far.
pub(crate) async fn until(broker: &Broker, condition: impl Fn(&BrokerStats) -> bool) {
    poll_fn(|cx| {
        watched::wake_after_step(cx.waker());
        if condition(&broker.stats()) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

pub(crate) fn message(topic: &str, payload: &str) -> Publish {
    Publish::new(TopicName::new(topic).unwrap(), payload.to_owned())
}

pub(crate) fn will(topic: &str) -> Will {
    Will::new(TopicName::new(topic).unwrap(), "gone")
}

pub(crate) fn filter(text: &str) -> TopicFilter {
    TopicFilter::new(text).unwrap()
}

pub(crate) trait Stream: futures_lite::AsyncRead + futures_lite::AsyncWrite + Unpin {}

impl<S: futures_lite::AsyncRead + futures_lite::AsyncWrite + Unpin> Stream for S {}

/// A client: a session of `mqtt-proto` over a stream.
pub(crate) struct Peer<S> {
    pub(crate) session: Session<Client>,
    pub(crate) name: String,
    pub(crate) stream: S,
    /// What the last connection was answered with.
    pub(crate) connack: ConnAck,
    pub(crate) resumed: bool,
    /// Whether messages are acknowledged as they are taken.
    pub(crate) acks: bool,
    input: BytesMut,
    events: VecDeque<Event>,
    epoch: Instant,
}

/// A message as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) topic: String,
    pub(crate) payload: String,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) packet: PublishPacket,
    pub(crate) ack: Option<AckId>,
}

impl Got {
    pub(crate) fn identifiers(&self) -> Vec<u32> {
        let publish = self.packet.to_publish().unwrap();
        let fields = publish.properties.get();
        let mut all = fields.map_or(Vec::new(), |fields| fields.subscription_identifiers.clone());
        all.sort();
        all
    }
}

impl<S: Stream> Peer<S> {
    /// Connects, and insists on being let in.
    pub(crate) async fn connect(config: ClientConfig, stream: S) -> Peer<S> {
        let mut peer = Peer::new(config, stream);
        peer.handshake().await.unwrap_or_else(|reason| panic!("not let in: {reason}"));
        peer
    }

    pub(crate) fn new(config: ClientConfig, stream: S) -> Peer<S> {
        Peer {
            name: config.connect.client_id.to_string(),
            session: Session::new(config),
            stream,
            connack: ConnAck::default(),
            resumed: false,
            acks: true,
            input: BytesMut::new(),
            events: VecDeque::new(),
            epoch: Instant::now(),
        }
    }

    /// Goes on with the same session over another stream.
    pub(crate) async fn reconnect(&mut self, stream: S) {
        self.session.handle_eof(self.now());
        while self.session.poll_event().is_some() {}
        self.stream = stream;
        self.input.clear();
        self.handshake().await.unwrap_or_else(|reason| panic!("not let in: {reason}"));
    }

    pub(crate) async fn handshake(&mut self) -> Result<(), CloseReason> {
        self.session.handle_open(self.now());
        loop {
            match self.event().await {
                Event::Connected { resumed, connack } => {
                    (self.resumed, self.connack) = (resumed, *connack);
                    return Ok(());
                }
                Event::Closed { reason, .. } => return Err(reason),
                // A session may drop what a server has forgotten.
                _ => {}
            }
        }
    }

    pub(crate) fn now(&self) -> mqtt_proto::Instant {
        mqtt_proto::Instant::from_epoch(self.epoch.elapsed())
    }

    /// Writes what the session has to say.
    pub(crate) async fn flush(&mut self) -> std::io::Result<()> {
        let mut out = TxBuf::new();
        while self.session.poll_transmit(&mut out, self.now()) {
            while !out.is_empty() {
                let written = self.stream.write(out.chunk()).await?;
                out.advance(written);
            }
        }
        self.stream.flush().await
    }

    async fn step(&mut self) -> Event {
        loop {
            // Even if the broker takes nothing more, it may have said why.
            let _ = self.flush().await;
            if let Some(event) = self.session.poll_event() {
                return event;
            }
            let mut block = [0; 4096];
            match self.stream.read(&mut block).await {
                Ok(count) if count > 0 => {
                    self.input.extend_from_slice(&block[..count]);
                    let now = self.now();
                    self.session.handle_input(&mut self.input, now);
                }
                _ => self.session.handle_eof(self.now()),
            }
        }
    }

    /// Returns the next event.
    pub(crate) async fn event(&mut self) -> Event {
        match self.events.pop_front() {
            Some(event) => event,
            None => self.step().await,
        }
    }

    /// Waits for an event, and keeps those before it.
    pub(crate) async fn wait<T>(&mut self, mut pick: impl FnMut(&Event) -> Option<T>) -> T {
        if let Some((at, found)) =
            self.events.iter().enumerate().find_map(|(at, event)| Some((at, pick(event)?)))
        {
            self.events.remove(at);
            return found;
        }
        loop {
            let event = self.step().await;
            if let Some(found) = pick(&event) {
                return found;
            }
            if let Event::Closed { reason, .. } = &event {
                panic!("{} was closed: {reason}", self.name);
            }
            self.events.push_back(event);
        }
    }

    /// Returns the next message, and acknowledges it unless `acks` is off.
    pub(crate) async fn message(&mut self) -> Got {
        let message = self
            .wait(|event| match event {
                Event::Message(message) => Some(message.clone()),
                _ => None,
            })
            .await;
        if let (Some(ack), true) = (message.ack, self.acks) {
            self.session.ack(ack, ReasonCode::SUCCESS);
            self.flush().await.unwrap();
        }
        let packet = message.publish;
        Got {
            topic: packet.topic().to_owned(),
            payload: String::from_utf8(packet.payload_bytes().to_vec()).unwrap(),
            qos: packet.qos(),
            retain: packet.retain(),
            ack: message.ack,
            packet,
        }
    }

    pub(crate) async fn payloads(&mut self, count: usize) -> Vec<String> {
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(self.message().await.payload);
        }
        all
    }

    /// Waits for the end of the connection.
    pub(crate) async fn closed(&mut self) -> CloseReason {
        let find = |event: &Event| match event {
            Event::Closed { reason, .. } => Some(reason.clone()),
            _ => None,
        };
        self.wait(find).await
    }

    /// Returns the reason of the DISCONNECT that ends the connection, or `None` if none came.
    pub(crate) async fn disconnected(&mut self) -> Option<ReasonCode> {
        match self.closed().await {
            CloseReason::Disconnected(packet) => Some(packet.reason),
            CloseReason::Eof => None,
            other => panic!("{other}"),
        }
    }

    pub(crate) fn start(&mut self, publish: Publish) -> Token {
        let now = self.now();
        self.session.publish(publish, now).unwrap()
    }

    pub(crate) async fn outcome(&mut self, token: Token) -> ReasonCode {
        self.wait(|event| match event {
            Event::Published { token: found, reason, .. } if *found == token => Some(*reason),
            Event::Failed { token: found, error } if *found == token => panic!("{error}"),
            _ => None,
        })
        .await
    }

    /// Publishes, and returns what the broker said.
    pub(crate) async fn publish(&mut self, publish: Publish) -> ReasonCode {
        let token = self.start(publish);
        self.outcome(token).await
    }

    pub(crate) async fn send(&mut self, topic: &str, payload: &str, qos: QoS) -> ReasonCode {
        self.publish(message(topic, payload).qos(qos)).await
    }

    pub(crate) async fn subscribe(
        &mut self,
        text: &str,
        options: impl Into<SubscriptionOptions>,
    ) -> ReasonCode {
        let reasons = self.subscribe_all(Subscribe::new(filter(text), options)).await;
        assert_eq!(reasons.len(), 1);
        reasons[0]
    }

    pub(crate) async fn subscribe_all(&mut self, subscribe: Subscribe) -> Vec<ReasonCode> {
        let token = self.session.subscribe(subscribe).unwrap();
        self.wait(|event| match event {
            Event::Subscribed { token: found, ack } if *found == token => Some(ack.reasons.clone()),
            _ => None,
        })
        .await
    }

    pub(crate) async fn unsubscribe(&mut self, text: &str) -> Vec<ReasonCode> {
        let token = self.session.unsubscribe(Unsubscribe::new(filter(text))).unwrap();
        self.wait(|event| match event {
            Event::Unsubscribed { token: found, ack } if *found == token => {
                Some(ack.reasons.clone())
            }
            _ => None,
        })
        .await
    }

    /// Says goodbye, and waits until the broker has closed as well.
    pub(crate) async fn disconnect(&mut self, reason: ReasonCode) {
        let now = self.now();
        let packet = mqtt_proto::Disconnect::new(reason);
        self.session.disconnect(packet, now).unwrap();
        self.flush().await.unwrap();
        assert!(matches!(self.closed().await, CloseReason::Requested));
        self.stream.close().await.unwrap();
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).await.unwrap();
    }
}

/// Returns the bytes of a CONNECT.
pub(crate) fn connect_bytes(version: Version, connect: Connect) -> Vec<u8> {
    let mut out = TxBuf::new();
    let packet = mqtt_proto::Packet::Connect(Box::new(connect));
    mqtt_proto::codec::encode(&packet, version, &mut out).unwrap();
    out.copy_to_bytes(out.remaining()).to_vec()
}

/// Polls a future until it has made no progress for so long that it never will: everything that could
/// make it go on runs on this thread.
pub(crate) async fn stalls(
    future: impl Future<Output = ()>,
    progress: impl Fn() -> usize,
) -> usize {
    let mut future = pin!(future);
    let (mut last, mut same) = (progress(), 0);
    while same < 1000 {
        let ended = future::poll_once(&mut future).await.is_some();
        assert!(!ended, "it was not held up at all");
        future::yield_now().await;
        let now = progress();
        same = if now == last { same + 1 } else { 0 };
        last = now;
    }
    last
}

//! A small server for tests: it accepts, grants and echoes, unless its script says otherwise.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, BytesMut};
use futures_io::{AsyncRead, AsyncWrite};
use mqtt_proto::{
    Accept, AckId, Auth, CloseReason, ConnAck, Connect, Disconnect, Event, Instant, Packet,
    Publish, QoS, ReasonCode, Server as ServerRole, ServerConfig, Session, SessionState, Text,
    TopicFilter, TxBuf, Version, codec,
};

/// What the server says to a new connection.
#[derive(Clone, Debug, Default)]
pub enum Greeting {
    #[default]
    Mqtt,
    /// A CONNACK that refuses.
    Refuse(ReasonCode),
    /// The same, with what else it says.
    RefuseWith(Box<ConnAck>),
    /// The end of the transport.
    Nothing,
    /// Silence.
    Silence,
    /// What a web server would say.
    Http,
}

/// What the server has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Connect {
        client_id: String,
        clean_start: bool,
    },
    Subscribe(Vec<String>),
    Unsubscribe(Vec<String>),
    /// A step of an enhanced authentication.
    Auth(ReasonCode, String),
    Publish {
        topic: String,
        payload: Vec<u8>,
        qos: QoS,
        dup: bool,
    },
    /// A message that the server sent has its acknowledgement.
    Acked(ReasonCode),
    Disconnect(ReasonCode),
    /// The connection is over; whether a DISCONNECT came first.
    Closed {
        politely: bool,
    },
}

#[derive(Debug, Default)]
pub struct Script {
    pub greeting: Greeting,
    /// The greetings of the next connections; `greeting` is that of the last one then.
    pub greetings: VecDeque<Greeting>,
    /// Refuse MQTT 5.0, with these bytes.
    pub refuse_v5: Option<Vec<u8>>,
    /// What CONNACK says besides.
    pub connack: ConnAck,
    /// What to ask in an enhanced authentication, step by step, before it is accepted.
    pub challenges: VecDeque<&'static str>,
    /// What to say as it is accepted.
    pub proof: Option<&'static str>,
    /// What to say instead.
    pub authentication_refused: Option<ReasonCode>,
    pub config: ServerConfig,
    /// Lose the session instead of going on with it.
    pub forget: bool,
    /// Cut the connection instead of answering that many messages.
    pub cut_on_publish: usize,
    /// Take no answer to PUBLISH back before this is false.
    pub hold_acks: bool,
    /// Answer no SUBSCRIBE before this is false.
    pub hold_grants: bool,
    /// Answer so many of those that are held, the newest first.
    pub grant_newest: usize,
    /// What to answer to SUBSCRIBE instead of the QoS.
    pub reject_filters: Option<ReasonCode>,
    /// What to answer to PUBLISH.
    pub publish_reason: ReasonCode,
    /// Read nothing.
    pub deaf: bool,
    /// Send messages back to those who subscribed to them.
    pub silent: bool,
    /// Messages to send, whoever subscribed.
    pub push: VecDeque<Publish>,
    /// Bytes to send as they are.
    pub raw: Option<Vec<u8>>,
    /// Connections below this number are cut.
    pub cut_below: u64,
    /// To say to the present connection.
    pub disconnect: Option<ReasonCode>,
    pub seen: Vec<Seen>,
    pub connects: Vec<mqtt_proto::Connect>,
    /// The messages that came in, with their properties.
    pub published: Vec<Publish>,
    /// The Subscription Identifiers of the SUBSCRIBEs, in their order.
    pub identifiers: Vec<Option<u32>>,
    connections: u64,
    sessions: HashMap<String, Kept>,
    wakers: Vec<Waker>,
}

/// What outlives a connection.
#[derive(Debug)]
struct Kept {
    state: SessionState,
    filters: Vec<TopicFilter>,
    /// Messages of QoS 2 are not delivered twice: their answer is owed still.
    held: VecDeque<AckId>,
}

#[derive(Clone, Debug, Default)]
pub struct Server(Arc<Mutex<Script>>);

impl Server {
    pub fn new() -> Server {
        Server::default()
    }

    /// Changes the script, and lets everybody look at it.
    pub fn script<T>(&self, change: impl FnOnce(&mut Script) -> T) -> T {
        let (result, wakers) = {
            let mut script = self.0.lock().unwrap();
            (change(&mut script), std::mem::take(&mut script.wakers))
        };
        wakers.into_iter().for_each(Waker::wake);
        result
    }

    /// Cuts the connections that there are.
    pub fn cut(&self) {
        self.script(|script| script.cut_below = script.connections + 1);
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.0.lock().unwrap().seen.clone()
    }

    pub fn count(&self, what: impl Fn(&Seen) -> bool) -> usize {
        self.0.lock().unwrap().seen.iter().filter(|seen| what(seen)).count()
    }

    /// Waits until the server has seen it so often.
    pub async fn wait(&self, times: usize, what: impl Fn(&Seen) -> bool) {
        std::future::poll_fn(|cx| {
            // Registered first: what is seen between the two is not missed.
            self.register(cx.waker());
            if self.count(&what) >= times { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    fn see(&self, seen: Seen) {
        self.script(|script| script.seen.push(seen));
    }

    /// Serves one connection until it ends.
    pub fn serve<Io: AsyncRead + AsyncWrite + Unpin>(&self, io: Io) -> Connection<Io> {
        let number = self.script(|script| {
            script.connections += 1;
            if let Some(greeting) = script.greetings.pop_front() {
                script.greeting = greeting;
            }
            script.connections
        });
        let mut session = Session::new(self.script(|script| script.config.clone()));
        session.handle_open(Instant::EPOCH);
        Connection {
            server: self.clone(),
            io: Some(io),
            session: Some(session),
            number,
            client_id: String::new(),
            connect: None,
            method: None,
            filters: Vec::new(),
            held: VecDeque::new(),
            requests: VecDeque::new(),
            input: BytesMut::new(),
            out: TxBuf::new(),
            politely: false,
            over: false,
        }
    }
}

/// One connection: a future.
pub struct Connection<Io> {
    server: Server,
    io: Option<Io>,
    session: Option<Session<ServerRole>>,
    number: u64,
    client_id: String,
    /// A CONNECT that is not accepted yet.
    connect: Option<Box<Connect>>,
    /// Its Authentication Method.
    method: Option<Text>,
    filters: Vec<TopicFilter>,
    /// Messages whose answer is held.
    held: VecDeque<AckId>,
    requests: VecDeque<(mqtt_proto::RequestId, Vec<ReasonCode>)>,
    input: BytesMut,
    out: TxBuf,
    politely: bool,
    over: bool,
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Connection<Io> {
    fn handle(&mut self, event: Event) {
        let Some(session) = &mut self.session else { return };
        let server = self.server.clone();
        match event {
            Event::Connect(connect) => {
                self.client_id = connect.client_id.as_str().to_owned();
                server.see(Seen::Connect {
                    client_id: self.client_id.clone(),
                    clean_start: connect.clean_start,
                });
                let greeting = server.script(|script| {
                    script.connects.push((*connect).clone());
                    script.greeting.clone()
                });
                let bytes = server.script(|script| script.refuse_v5.clone());
                if let Some(bytes) = bytes
                    && session.version() == Some(mqtt_proto::Version::V5)
                {
                    server.script(|script| script.raw = Some(bytes));
                    return;
                }
                let refusal = match greeting {
                    Greeting::Refuse(reason) => Some(ConnAck::new(reason)),
                    Greeting::RefuseWith(connack) => Some(*connack),
                    _ => None,
                };
                if let Some(connack) = refusal {
                    session.refuse(connack, Instant::EPOCH).unwrap();
                    return;
                }
                self.method = connect.authentication_method.clone();
                self.connect = Some(connect);
                self.authenticate();
            }
            Event::Auth(auth) => {
                let data = auth.authentication_data.unwrap_or_default();
                let data = String::from_utf8(data.to_vec()).unwrap();
                server.see(Seen::Auth(auth.reason, data));
                self.authenticate();
            }
            Event::Subscribe(request, subscribe) => {
                let filters = subscribe.subscriptions.iter();
                server.see(Seen::Subscribe(
                    filters.map(|it| it.filter.as_str().to_owned()).collect(),
                ));
                let reject = server.script(|script| {
                    script.identifiers.push(subscribe.subscription_identifier);
                    script.reject_filters
                });
                let reasons = subscribe.subscriptions.iter().map(|subscription| {
                    reject.unwrap_or(ReasonCode::new(subscription.options.qos as u8))
                });
                self.requests.push_back((request, reasons.collect()));
                if reject.is_none() {
                    self.filters.extend(subscribe.subscriptions.into_iter().map(|it| it.filter));
                }
            }
            Event::Unsubscribe(request, unsubscribe) => {
                let filters = unsubscribe.filters.iter();
                server.see(Seen::Unsubscribe(filters.map(|it| it.as_str().to_owned()).collect()));
                self.filters.retain(|filter| !unsubscribe.filters.contains(filter));
                let reasons = vec![ReasonCode::SUCCESS; unsubscribe.filters.len()];
                self.requests.push_back((request, reasons));
            }
            Event::Message(message) => {
                let publish = message.publish.to_publish().unwrap();
                server.see(Seen::Publish {
                    topic: publish.topic.as_str().to_owned(),
                    payload: publish.payload.to_vec(),
                    qos: publish.qos,
                    dup: message.publish.dup(),
                });
                let cut = server.script(|script| {
                    script.published.push(publish.clone());
                    let cut = script.cut_on_publish > 0;
                    script.cut_on_publish = script.cut_on_publish.saturating_sub(1);
                    cut
                });
                if cut {
                    self.over = true;
                    return;
                }
                let echo = self.filters.iter().any(|filter| filter.matches(&publish.topic));
                if echo && !server.script(|script| script.silent) {
                    session.publish(publish, Instant::EPOCH).unwrap();
                }
                self.held.extend(message.ack);
            }
            Event::Published { reason, .. } => server.see(Seen::Acked(reason)),
            Event::Closed { reason, .. } => {
                if let CloseReason::Disconnected(packet) = reason {
                    self.politely = true;
                    server.see(Seen::Disconnect(packet.reason));
                }
                self.over = true;
            }
            _ => {}
        }
    }

    /// Takes the next step of an authentication, or what comes after the last one.
    fn authenticate(&mut self) {
        let Some(session) = &mut self.session else { return };
        let method = self.method.clone();
        let server = self.server.clone();
        let step = server.script(|script| {
            method.as_ref()?;
            script.challenges.pop_front()
        });
        let auth = |reason, data: Option<&'static str>| Auth {
            reason,
            authentication_method: method.clone(),
            authentication_data: data.map(Into::into),
            ..Auth::default()
        };
        if let Some(challenge) = step {
            let auth = auth(ReasonCode::CONTINUE_AUTHENTICATION, Some(challenge));
            return session.authenticate(auth, Instant::EPOCH).unwrap();
        }
        let (refused, proof) = server.script(|script| {
            (script.authentication_refused.filter(|_| method.is_some()), script.proof)
        });
        match (self.connect.take(), refused) {
            (Some(_), Some(reason)) => {
                session.refuse(ConnAck::new(reason), Instant::EPOCH).unwrap();
            }
            (None, Some(reason)) => {
                session.disconnect(Disconnect::new(reason), Instant::EPOCH).unwrap();
            }
            (None, None) => {
                let auth = auth(ReasonCode::SUCCESS, proof);
                session.authenticate(auth, Instant::EPOCH).unwrap();
            }
            (Some(connect), None) => {
                let (mut connack, kept) = server.script(|script| {
                    let kept = script.sessions.remove(&self.client_id);
                    let keeps = !connect.clean_start && !script.forget;
                    (script.connack.clone(), kept.filter(|_| keeps))
                });
                if method.is_some() {
                    connack.authentication_method = method;
                    connack.authentication_data = proof.map(Into::into);
                }
                let state = kept.map(|kept| {
                    self.filters = kept.filters;
                    self.held = kept.held;
                    kept.state
                });
                session.accept(Accept { connack, state }, Instant::EPOCH).unwrap();
            }
        }
    }

    fn follow_script(&mut self) {
        let Some(session) = &mut self.session else { return };
        let mut script = self.server.0.lock().unwrap();
        if self.number < script.cut_below {
            self.over = true;
            return;
        }
        if let Greeting::Nothing = script.greeting {
            self.over = true;
        }
        if session.phase() != mqtt_proto::Phase::Connected {
            return;
        }
        while let Some(publish) = script.push.pop_front() {
            session.publish(publish, Instant::EPOCH).unwrap();
        }
        if !script.hold_acks {
            let reason = script.publish_reason;
            self.held.drain(..).for_each(|ack| session.ack(ack, reason));
        }
        while script.grant_newest > 0
            && let Some((request, reasons)) = self.requests.pop_back()
        {
            session.grant(request, reasons).unwrap();
            script.grant_newest -= 1;
        }
        if !script.hold_grants {
            for (request, reasons) in self.requests.drain(..) {
                session.grant(request, reasons).unwrap();
            }
        }
        if let Some(reason) = script.disconnect.take() {
            session.disconnect(Disconnect::new(reason), Instant::EPOCH).unwrap();
        }
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Future for Connection<Io> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        loop {
            this.server.register(cx.waker());
            this.follow_script();
            let Some(session) = &mut this.session else { return Poll::Ready(()) };
            let greeting = this.server.script_quietly(|script| script.greeting.clone());
            let asked = !this.input.is_empty();
            if let Greeting::Silence | Greeting::Http = greeting {
                this.input.clear();
            }
            session.handle_input(&mut this.input, Instant::EPOCH);
            while let Some(event) = this.session.as_mut().and_then(Session::poll_event) {
                this.handle(event);
            }
            let Some(session) = &mut this.session else { return Poll::Ready(()) };
            session.poll_transmit(&mut this.out, Instant::EPOCH);
            let mut more = false;
            while let Some(event) = this.session.as_mut().and_then(Session::poll_event) {
                this.handle(event);
                more = true;
            }
            let Some(io) = &mut this.io else { return Poll::Ready(()) };
            if matches!(greeting, Greeting::Http) && asked {
                let _ = Pin::new(&mut *io).poll_write(cx, b"HTTP/1.1 400 Bad Request\r\n\r\n");
                this.over = true;
            }
            if let Some(raw) = this.server.0.lock().unwrap().raw.take() {
                let _ = Pin::new(&mut *io).poll_write(cx, &raw);
            }
            while !this.out.is_empty() {
                match Pin::new(&mut *io).poll_write(cx, this.out.chunk()) {
                    Poll::Ready(Ok(count)) if count > 0 => this.out.advance(count),
                    Poll::Ready(_) => {
                        this.out.clear();
                        this.over = true;
                    }
                    Poll::Pending => break,
                }
            }
            // A layer may hold what was written.
            let _ = Pin::new(&mut *io).poll_flush(cx);
            if this.over && this.out.is_empty() {
                let _ = Pin::new(&mut *io).poll_close(cx);
                this.close();
                return Poll::Ready(());
            }
            if this.server.script_quietly(|script| script.deaf) {
                return Poll::Pending;
            }
            let mut block = [0; 4096];
            match Pin::new(&mut *io).poll_read(cx, &mut block) {
                Poll::Ready(Ok(count)) if count > 0 => {
                    this.input.extend_from_slice(&block[..count]);
                }
                Poll::Ready(_) => {
                    let Some(session) = &mut this.session else { return Poll::Ready(()) };
                    session.handle_eof(Instant::EPOCH);
                    this.over = true;
                    this.out.clear();
                }
                Poll::Pending if more => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl Connection<super::pipe::Pipe> {
    pub fn writes_and_flushes(&self) -> (usize, usize) {
        self.io.as_ref().unwrap().writes_and_flushes()
    }
}

impl<Io> Connection<Io> {
    /// Puts the session away and ends the transport.
    fn close(&mut self) {
        self.io = None;
        if let Some(session) = self.session.take() {
            let politely = self.politely;
            let kept = Kept {
                state: session.into_state(),
                filters: std::mem::take(&mut self.filters),
                held: std::mem::take(&mut self.held),
            };
            let id = self.client_id.clone();
            self.server.script(|script| {
                script.sessions.insert(id, kept);
                script.seen.push(Seen::Closed { politely });
            });
        }
    }
}

impl Server {
    fn register(&self, waker: &Waker) {
        let mut script = self.0.lock().unwrap();
        if !script.wakers.iter().any(|known| known.will_wake(waker)) {
            script.wakers.push(waker.clone());
        }
    }

    fn script_quietly<T>(&self, look: impl FnOnce(&Script) -> T) -> T {
        look(&self.0.lock().unwrap())
    }
}

/// What these packets are on the wire of MQTT 5.0.
pub fn wire(packets: &[Packet]) -> Vec<u8> {
    let mut out = TxBuf::new();
    for packet in packets {
        codec::encode(packet, Version::V5, &mut out).unwrap();
    }
    let len = out.len();
    out.copy_to_bytes(len).to_vec()
}

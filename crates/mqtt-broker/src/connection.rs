//! One connection: it takes turns at the hub, writes and reads.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use futures_io::{AsyncRead, AsyncWrite};
use mqtt_proto::codec::{PublishHeader, publish_packet};
use mqtt_proto::{PacketId, PublishPacket, QoS, ReasonCode, TxBuf};

use crate::hooks::{ClientInfo, Connecting, Deciding, Exchange, Verdict, decided};
use crate::hub::{Ask, ConnectionKey, Outcome, Shared, Turn};

/// How much is read at once, at first and at most.
const READ_FIRST: usize = 2 * 1024;
const READ_MOST: usize = 64 * 1024;

/// How many rounds one poll may take before others get their chance; fewer, if they read so much.
const ROUNDS: usize = 8;
const READ_AT_ONCE: usize = READ_MOST;

/// How many slices one write is given.
const SLICES: usize = 16;

/// The place of a connection at the hub, from the first byte of its transport on.
pub(crate) struct Slot {
    pub(crate) shared: Arc<Shared>,
    pub(crate) key: ConnectionKey,
}

impl Slot {
    /// Waits until the transport is ready for MQTT: `None` if that fails, takes longer than CONNECT may take
    /// as well, or the broker stops.
    pub(crate) async fn wait<T>(
        &self,
        handshake: impl Future<Output = io::Result<T>>,
    ) -> Option<T> {
        let mut handshake = pin!(handshake);
        poll_fn(|cx| {
            if let Poll::Ready(done) = handshake.as_mut().poll(cx) {
                return Poll::Ready(done.ok());
            }
            let now = self.shared.now();
            // A turn without anything to say: the hub keeps the time.
            let (mut input, mut out) = (BytesMut::new(), TxBuf::new());
            let turn =
                self.shared.with(|hub| hub.turn(self.key, &mut input, &mut out, cx.waker(), now));
            if matches!(turn, Turn::Open { .. }) { Poll::Pending } else { Poll::Ready(None) }
        })
        .await
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let now = self.shared.now();
        self.shared.with(|hub| hub.close(self.key, now));
    }
}

/// The task of a connection.
pub(crate) struct Connection<S> {
    slot: Slot,
    stream: S,
    input: BytesMut,
    out: TxBuf,
    /// What comes behind `out`, once the connection has ended.
    last: TxBuf,
    stage: Stage,
    /// How much the next read may bring.
    step: usize,
    /// How many bytes have been written since the last read.
    written: usize,
    /// How many bytes this poll has read.
    taken: usize,
    flush: bool,
    authentication: Authentication,
}

/// What the hooks are busy with.
#[derive(Default)]
struct Authentication {
    deciding: Option<Deciding>,
    /// What has to be permitted as well before the client is let in.
    will: Option<(ClientInfo, PublishPacket)>,
    /// Who takes the answer to a challenge.
    exchange: Option<Box<dyn Exchange>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    /// The session has ended: what is left is written, and then the write side closed.
    Closing,
    /// What still arrives is read away: to close with unread bytes makes the kernel send RST, which
    /// can destroy the DISCONNECT on its way.
    Draining,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(crate) fn new(slot: Slot, stream: S) -> Connection<S> {
        Connection {
            slot,
            stream,
            input: BytesMut::new(),
            out: TxBuf::new(),
            last: TxBuf::new(),
            stage: Stage::Open,
            step: READ_FIRST,
            written: 0,
            taken: 0,
            flush: false,
            authentication: Authentication::default(),
        }
    }

    /// Takes a turn at the hub, and tells whether the session wants to be read for.
    fn turn(&mut self, cx: &mut Context<'_>) -> bool {
        loop {
            self.poll_deciding(cx);
            let Connection { slot: Slot { shared, key }, input, out, .. } = self;
            let now = shared.now();
            match shared.with(|hub| hub.turn(*key, input, out, cx.waker(), now)) {
                Turn::Open { wants_input } => return wants_input,
                // No more of these than packets were read.
                Turn::Ask(ask) => self.ask(ask),
                Turn::Ended { last } => {
                    self.last = last;
                    self.stage = Stage::Closing;
                    self.authentication = Authentication::default();
                    return false;
                }
            }
        }
    }

    /// Puts a question to the hooks, and brings the answer back if it is at hand.
    fn ask(&mut self, ask: Ask) {
        let Some(hooks) = self.slot.shared.hooks().map(Arc::clone) else { return };
        let (key, now) = (self.slot.key, self.slot.shared.now());
        match ask {
            Ask::Authenticate(connecting) => {
                self.authentication.will = will(&connecting);
                self.authentication.deciding = Some(hooks.authenticate(*connecting));
            }
            Ask::Answered(data) => {
                let exchange = self.authentication.exchange.take();
                let nobody = || decided(Verdict::refuse(ReasonCode::NOT_AUTHORIZED));
                let deciding = exchange.map_or_else(nobody, |exchange| exchange.answered(data));
                self.authentication.deciding = Some(deciding);
            }
            Ask::Publish(client, message) => {
                let permitted = hooks.may_publish(&client, &message.publish);
                let receivers =
                    self.slot.shared.with(|hub| hub.decided_message(key, &message, permitted, now));
                if permitted.is_ok() {
                    hooks.published(&client, &message.publish, receivers);
                }
            }
            Ask::Subscribe(client, request, subscribe) => {
                let filters = subscribe.subscriptions.iter();
                let permitted: Vec<_> =
                    filters.map(|it| hooks.may_subscribe(&client, it)).collect();
                self.slot
                    .shared
                    .with(|hub| hub.decided_subscribe(key, request, *subscribe, &permitted, now));
            }
        }
    }

    /// Looks whether the hooks have decided about the client.
    fn poll_deciding(&mut self, cx: &mut Context<'_>) {
        let Some(deciding) = &mut self.authentication.deciding else { return };
        let Poll::Ready(verdict) = deciding.as_mut().poll(cx) else { return };
        self.authentication.deciding = None;
        let outcome = match verdict {
            Verdict::Accept { authentication_data, user_properties } => {
                match self.may_leave_will() {
                    Ok(()) => Outcome::Accept { authentication_data, user_properties },
                    Err(reason) => Outcome::refuse(reason),
                }
            }
            Verdict::Refuse(connack) => Outcome::Refuse(connack),
            Verdict::Challenge { authentication_data, exchange } => {
                self.authentication.exchange = Some(exchange);
                Outcome::Challenge { authentication_data }
            }
        };
        let now = self.slot.shared.now();
        self.slot.shared.with(|hub| hub.authenticated(self.slot.key, outcome, now));
    }

    /// A Will is published when nobody can be asked any more, so it is asked about beforehand.
    fn may_leave_will(&mut self) -> Result<(), ReasonCode> {
        match (self.authentication.will.take(), self.slot.shared.hooks()) {
            (Some((client, will)), Some(hooks)) => hooks.may_publish(&client, &will),
            _ => Ok(()),
        }
    }

    /// Writes until nothing is left, and flushes once then.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let buf = if self.out.is_empty() { &mut self.last } else { &mut self.out };
            if buf.is_empty() {
                break;
            }
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = buf.chunks_vectored(&mut slices);
            let slices = slices.get(..count).unwrap_or_default();
            let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, slices))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            buf.advance(written);
            self.written += written;
            self.flush = true;
        }
        if self.flush {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.flush = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once, behind what is there already; zero is the end.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let start = self.input.len();
        self.input.resize(start + self.step, 0);
        let room = self.input.get_mut(start..).unwrap_or_default();
        let read = Pin::new(&mut self.stream).poll_read(cx, room);
        let count = match &read {
            Poll::Ready(Ok(count)) => (*count).min(self.step),
            _ => 0,
        };
        self.input.truncate(start + count);
        self.taken += count;
        if count == self.step {
            // There is more than fits: the steps grow by what has come, not by what a header claims.
            self.step = (self.step * 2).min(READ_MOST);
        } else if read.is_pending() {
            self.step = READ_FIRST;
            if self.input.is_empty() && self.input.capacity() > READ_FIRST {
                // Most connections are silent most of the time.
                self.input = BytesMut::new();
            }
        }
        read
    }

    /// Tells whether a read is in order although the peer has not taken what waits for it.
    ///
    /// A peer that takes nothing is not listened to, so that its answers cannot pile up. One that is
    /// merely slow is heard as much as it takes, so that its PINGREQ gets through.
    fn may_read(&self) -> bool {
        !self.out.is_full() || self.written >= self.step
    }

    /// One round; `Ready(true)` asks for another one, and `Ready(false)` ends the task.
    fn poll_round(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        match self.stage {
            Stage::Open => self.poll_open(cx),
            Stage::Closing | Stage::Draining => {
                let now = self.slot.shared.now();
                if !self.slot.shared.with(|hub| hub.linger(self.slot.key, cx.waker(), now)) {
                    return Poll::Ready(false);
                }
                let step = ready!(self.poll_end(cx));
                Poll::Ready(step.is_ok_and(|count| count > 0))
            }
        }
    }

    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let wants_input = self.turn(cx);
        if self.stage != Stage::Open {
            return Poll::Ready(true);
        }
        let was_full = self.out.is_full();
        let wrote = match self.poll_write(cx) {
            Poll::Ready(Ok(())) => true,
            Poll::Ready(Err(_)) => return self.broken(),
            Poll::Pending => false,
        };
        // The session may hold back what had no room, and nobody else would wake this task for it.
        let more = wrote && was_full;
        if wants_input && self.may_read() {
            match self.poll_read(cx) {
                Poll::Ready(Ok(0) | Err(_)) => return self.broken(),
                Poll::Ready(Ok(_)) => {
                    self.written = 0;
                    return Poll::Ready(true);
                }
                Poll::Pending => {}
            }
        }
        if more { Poll::Ready(true) } else { Poll::Pending }
    }

    /// The transport has ended: the session hears of it, and then closes what is left.
    fn broken(&mut self) -> Poll<bool> {
        let now = self.slot.shared.now();
        self.slot.shared.with(|hub| hub.eof(self.slot.key, now));
        Poll::Ready(true)
    }

    /// Writes what is left, closes the write side, and reads until the peer closes; zero is the end.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.stage == Stage::Closing {
            ready!(self.poll_write(cx))?;
            ready!(Pin::new(&mut self.stream).poll_close(cx))?;
            self.stage = Stage::Draining;
        }
        self.input.clear();
        self.poll_read(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Connection<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.taken = 0;
        for _ in 0..ROUNDS {
            if !ready!(self.poll_round(cx)) {
                return Poll::Ready(());
            }
            // What came in is handled in the next round: small packets are many.
            if self.taken >= READ_AT_ONCE {
                break;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Returns the Will as a message, and who wants to leave it.
fn will(connecting: &Connecting) -> Option<(ClientInfo, PublishPacket)> {
    let Connecting { connect, version, peer, again } = connecting;
    let will = connect.will.clone().filter(|_| !*again)?.into_publish();
    // Any identifier will do: it is not on a wire.
    let header = PublishHeader {
        packet_id: (will.qos != QoS::AtMostOnce).then_some(PacketId::MIN),
        ..PublishHeader::default()
    };
    let packet = publish_packet(&will, &header).ok()?;
    let (id, user_name) = (connect.client_id.clone(), connect.user_name.clone());
    Some((ClientInfo::new(id, user_name, *version, Arc::clone(peer)), packet))
}

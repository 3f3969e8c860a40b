//! A transport that delivers in parts, says `Pending` when it likes, buffers, stalls, and breaks at any
//! byte; and a timer that wakes at its deadline and never else.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures_io::{AsyncRead, AsyncWrite};
use mqtt_async::{Clock, Timer};

use crate::random::Random;

/// One direction of a connection.
#[derive(Default)]
pub struct Lane {
    /// Written and not flushed, if the transport buffers.
    buffer: VecDeque<u8>,
    transit: VecDeque<u8>,
    arrived: VecDeque<u8>,
    /// Nothing more comes behind what is on the way.
    fin: bool,
    /// Nothing moves.
    pub stalled: bool,
    waker: Option<Waker>,
}

/// What a connection is like.
#[derive(Clone, Copy)]
struct Habits {
    /// Of a hundred polls, how many say `Pending` for no reason.
    hesitates: u64,
    /// How many bytes one call moves at most.
    chunk: usize,
    capacity: usize,
    /// Whether only `poll_flush` puts bytes on the way.
    buffers: bool,
    /// Whether a vectored write takes the first slice only.
    first_slice: bool,
}

impl Habits {
    /// Much moves at once: what is left has to come to its end.
    fn ease(&mut self) {
        (self.hesitates, self.chunk, self.capacity) = (0, usize::MAX, 1 << 20);
    }
}

/// What the two ends of a connection and the world share.
pub struct Net {
    pub up: Lane,
    pub down: Lane,
    habits: Habits,
    random: Random,
    /// After how many bytes reading or writing fails.
    reads_left: Option<usize>,
    writes_left: Option<usize>,
    /// Who was told `Pending` for no reason.
    hesitant: Vec<Waker>,
    /// Whether the client has dropped its end.
    pub dropped: bool,
    /// Whether writing has failed: the client then listens for a while to what the server has to say.
    pub broken: bool,
    /// Whether the faults are over.
    calm: bool,
}

pub type Shared = Rc<RefCell<Net>>;

impl Net {
    pub fn new(random: &mut Random, calm: bool) -> Shared {
        let mut habits = Habits {
            hesitates: random.pick(&[0, 0, 5, 40]),
            chunk: random.pick(&[1, 3, 50, usize::MAX, usize::MAX]),
            capacity: random.pick(&[1, 30, 1000, 1 << 20, 1 << 20]),
            buffers: random.chance(25),
            first_slice: random.chance(20),
        };
        if calm {
            habits.ease();
        }
        let mut fails = || (!calm && random.chance(8)).then(|| random.below(600) as usize);
        let (reads_left, writes_left) = (fails(), fails());
        Rc::new(RefCell::new(Net {
            up: Lane::default(),
            down: Lane::default(),
            habits,
            random: Random::new(random.next()),
            reads_left,
            writes_left,
            hesitant: Vec::new(),
            dropped: false,
            broken: false,
            calm,
        }))
    }

    /// Moves bytes of the client to the server; returns them, and whether they are the last.
    pub fn deliver_up(&mut self, most: usize) -> (Vec<u8>, bool) {
        let Lane { transit, fin, stalled, waker, .. } = &mut self.up;
        let count = if *stalled { 0 } else { most.min(transit.len()) };
        let bytes = transit.drain(..count).collect();
        let over = *fin && transit.is_empty() && !*stalled;
        let waker = waker.take_if(|_| count > 0);
        wake(waker);
        (bytes, over)
    }

    /// Moves bytes of the server to the client; tells whether anything moved.
    pub fn deliver_down(&mut self, most: usize) -> bool {
        let Lane { transit, arrived, fin, stalled, waker, .. } = &mut self.down;
        let count = if *stalled { 0 } else { most.min(transit.len()) };
        arrived.extend(transit.drain(..count));
        let over = *fin && transit.is_empty() && !*stalled;
        let waker = waker.take_if(|_| count > 0 || over);
        let any = count > 0 || waker.is_some();
        wake(waker);
        any
    }

    /// How many bytes the server may write now.
    pub fn room_down(&self) -> usize {
        self.habits.capacity.saturating_sub(self.down.transit.len())
    }

    pub fn write_down(&mut self, bytes: &[u8]) {
        if !self.dropped && !self.down.fin {
            self.down.transit.extend(bytes);
        }
    }

    /// The server closes its side; tells whether that changes anything.
    pub fn shut_down(&mut self) -> bool {
        let new = !std::mem::replace(&mut self.down.fin, true);
        self.deliver_down(0) | new
    }

    /// The connection is gone: some of what is on the way still arrives.
    pub fn cut(&mut self, random: &mut Random) {
        for lane in [&mut self.up, &mut self.down] {
            let kept = random.below(lane.transit.len() as u64 + 1) as usize;
            lane.transit.truncate(kept);
            lane.buffer.clear();
            (lane.fin, lane.stalled) = (true, false);
        }
        match random.below(3) {
            0 => self.reads_left = Some(0),
            1 => self.writes_left = Some(0),
            _ => {}
        }
        self.deliver_down(0);
        wake(self.up.waker.take());
        wake(self.down.waker.take());
    }

    /// The faults stop; what is broken stays so.
    pub fn calm_down(&mut self) {
        self.calm = true;
        (self.up.stalled, self.down.stalled) = (false, false);
        self.reads_left.take_if(|left| *left > 0);
        self.writes_left.take_if(|left| *left > 0);
        self.habits.ease();
        wake(self.up.waker.take());
    }

    /// Lets those who were told `Pending` for no reason try again.
    pub fn nudge(&mut self) -> bool {
        let hesitant = std::mem::take(&mut self.hesitant);
        let any = !hesitant.is_empty();
        hesitant.into_iter().for_each(Waker::wake);
        any
    }

    /// Says where bytes are.
    pub fn describe(&self) -> String {
        let lane = |lane: &Lane| {
            let Lane { buffer, transit, arrived, fin, stalled, waker } = lane;
            let lens = (buffer.len(), transit.len(), arrived.len());
            format!("{lens:?}, fin {fin}, stalled {stalled}, waker {}", waker.is_some())
        };
        let Habits { capacity, buffers, .. } = self.habits;
        let (up, down) = (lane(&self.up), lane(&self.down));
        format!("up {up}; down {down}; capacity {capacity}, buffers {buffers}")
    }

    fn hesitates(&mut self, cx: &Context<'_>) -> bool {
        if !self.random.chance(self.habits.hesitates) {
            return false;
        }
        if self.random.chance(30) {
            cx.waker().wake_by_ref();
        } else {
            self.hesitant.push(cx.waker().clone());
        }
        true
    }

    /// How many of so many bytes one call moves.
    fn part(&mut self, most: usize) -> usize {
        let most = most.min(self.habits.chunk);
        if most > 1 && self.random.chance(30) {
            1 + self.random.below(most as u64) as usize
        } else {
            most
        }
    }

    fn write(&mut self, cx: &Context<'_>, slices: &[&[u8]]) -> Poll<io::Result<usize>> {
        if self.hesitates(cx) {
            return Poll::Pending;
        }
        if self.writes_left == Some(0) || self.up.fin {
            self.broken = true;
            let zero = self.random.chance(20);
            return Poll::Ready(if zero { Ok(0) } else { Err(io::ErrorKind::BrokenPipe.into()) });
        }
        let total = slices.iter().map(|slice| slice.len()).sum::<usize>();
        let waiting = self.up.buffer.len() + self.up.transit.len();
        let room = self.habits.capacity.saturating_sub(waiting).min(total);
        let mut count = self.part(room.min(self.writes_left.unwrap_or(usize::MAX)));
        if count == 0 && total > 0 {
            if self.up.buffer.is_empty() || self.move_buffer() == 0 {
                self.up.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some(left) = &mut self.writes_left {
            *left -= count;
        }
        let into = if self.habits.buffers { &mut self.up.buffer } else { &mut self.up.transit };
        let mut written = 0;
        for slice in slices {
            let part = slice.len().min(count);
            into.extend(&slice[..part]);
            count -= part;
            written += part;
        }
        Poll::Ready(Ok(written))
    }

    /// Puts what is buffered on the way; returns how much that was.
    fn move_buffer(&mut self) -> usize {
        let room = self.habits.capacity.saturating_sub(self.up.transit.len());
        let count = room.min(self.up.buffer.len());
        self.up.transit.extend(self.up.buffer.drain(..count));
        count
    }

    fn flush(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        if self.hesitates(cx) {
            return Poll::Pending;
        }
        if self.writes_left == Some(0) && !self.up.buffer.is_empty() {
            self.broken = true;
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        self.move_buffer();
        if !self.up.buffer.is_empty() {
            self.up.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

fn wake(waker: Option<Waker>) {
    waker.into_iter().for_each(Waker::wake);
}

/// The client's end of a connection.
pub struct Transport(pub Shared);

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut net = self.0.borrow_mut();
        let net = &mut *net;
        if net.hesitates(cx) {
            return Poll::Pending;
        }
        if net.reads_left == Some(0) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let most = net.down.arrived.len().min(buffer.len());
        let count = net.part(most.min(net.reads_left.unwrap_or(usize::MAX)));
        if count == 0 {
            if net.down.fin && net.down.transit.is_empty() && !net.down.stalled {
                return Poll::Ready(Ok(0));
            }
            net.down.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if let Some(left) = &mut net.reads_left {
            *left -= count;
        }
        for (to, from) in buffer.iter_mut().zip(net.down.arrived.drain(..count)) {
            *to = from;
        }
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().write(cx, &[bytes])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut net = self.0.borrow_mut();
        let most = if net.habits.first_slice { 1 } else { slices.len() };
        let slices: Vec<&[u8]> = slices.iter().take(most).map(|slice| &**slice).collect();
        net.write(cx, &slices)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut net = self.0.borrow_mut();
        let flushed = std::task::ready!(net.flush(cx));
        net.up.fin = true;
        Poll::Ready(flushed)
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        let net = &mut *self.0.borrow_mut();
        let unread = !net.down.arrived.is_empty() || !net.down.transit.is_empty();
        net.up.buffer.clear();
        net.up.fin = true;
        net.dropped = true;
        // Whoever is told `Pending` by a transport that is gone waits for nothing.
        net.hesitant.clear();
        if unread {
            // The kernel sends RST, which may overtake what is on its way.
            let kept = net.random.below(net.up.transit.len() as u64 + 1) as usize;
            let kept = if net.calm { 0 } else { kept };
            net.up.transit.truncate(kept);
        }
        net.down.arrived.clear();
        net.down.transit.clear();
    }
}

/// All deadlines of the client that are not alike whole steps are rounded up to one: backoff is random,
/// and a run has to be the same each time.
pub const TICK: Duration = Duration::from_millis(10);

struct Time {
    now: Instant,
    armed: Option<(Instant, Waker)>,
}

/// Time passes when the world says so.
#[derive(Clone)]
pub struct Manual(Arc<Mutex<Time>>);

impl Manual {
    pub fn new() -> Manual {
        Manual(Arc::new(Mutex::new(Time { now: Instant::now(), armed: None })))
    }

    /// How long the driver wants to sleep at most, in whole ticks.
    pub fn left(&self) -> Option<Duration> {
        let time = self.0.lock().unwrap();
        let (deadline, _) = time.armed.as_ref()?;
        let left = deadline.saturating_duration_since(time.now);
        let ticks = left.as_nanos().div_ceil(TICK.as_nanos());
        Some(TICK * u32::try_from(ticks).unwrap_or(u32::MAX))
    }

    /// Lets time pass; who waits for its deadline is woken once.
    pub fn pass(&self, by: Duration) {
        let mut time = self.0.lock().unwrap();
        time.now += by;
        let now = time.now;
        let due = time.armed.take_if(|(deadline, _)| *deadline <= now);
        drop(time);
        wake(due.map(|(_, waker)| waker));
    }
}

impl Timer for Manual {
    fn now(&self) -> Instant {
        self.0.lock().unwrap().now
    }

    fn poll_until(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let mut time = self.0.lock().unwrap();
        if time.now >= deadline {
            return Poll::Ready(());
        }
        time.armed = Some((deadline, cx.waker().clone()));
        Poll::Pending
    }

    fn clock(&self) -> Clock {
        let timer = self.clone();
        Clock::new(move || timer.now())
    }
}

//! Which of the addresses of a host to take: RFC 8305, "Happy Eyeballs".

use std::collections::VecDeque;
use std::error::Error as StdError;
use std::future::{Future, poll_fn};
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use std::{fmt, io, mem};

use super::TcpOptions;

/// How long an attempt is waited for before the next one is made beside it: RFC 8305 section 8.
const STAGGER: Duration = Duration::from_millis(250);

/// Tells why none of the addresses of a host could be connected to, if there are several.
#[derive(Clone, Debug)]
pub struct AddressErrors(Arc<[(SocketAddr, io::Error)]>);

impl AddressErrors {
    /// Returns each address with its error, in the order in which they failed.
    pub fn errors(&self) -> &[(SocketAddr, io::Error)] {
        &self.0
    }
}

impl fmt::Display for AddressErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (address, error)) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { "; " };
            write!(f, "{separator}{address}: {error}")?;
        }
        Ok(())
    }
}

/// The one that failed last.
impl StdError for AddressErrors {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.last().map(|(_, error)| error as _)
    }
}

/// Connects to one of the addresses of a host, with sockets that have these options.
pub(crate) async fn dial<S, Attempt, Delay>(
    addresses: Vec<SocketAddr>,
    options: &TcpOptions,
    attempt: impl Fn(TcpStream, SocketAddr) -> Attempt,
    delay: impl FnMut(Duration) -> Delay,
) -> io::Result<S>
where
    Attempt: Future<Output = io::Result<S>>,
    Delay: Future,
{
    let connect = |address| {
        let socket = options.socket(address);
        let attempt = &attempt;
        async move { attempt(socket?, address).await }
    };
    race(options.reachable(addresses)?, connect, delay).await
}

/// Connects to the addresses, one after the other and then side by side, and returns what is there first.
/// The other attempts are dropped.
///
/// The families take turns, in the order in which the addresses are given: the system has sorted them.
async fn race<S, Attempt, Delay>(
    addresses: Vec<SocketAddr>,
    connect: impl FnMut(SocketAddr) -> Attempt,
    delay: impl FnMut(Duration) -> Delay,
) -> io::Result<S>
where
    Attempt: Future<Output = io::Result<S>>,
    Delay: Future,
{
    let mut race = Race {
        waiting: interleave(addresses),
        running: Vec::new(),
        timer: None,
        failed: Vec::new(),
        connect,
        delay,
    };
    poll_fn(|cx| race.poll(cx)).await
}

struct Race<Connect, NewDelay, Attempt, Delay> {
    waiting: VecDeque<SocketAddr>,
    running: Vec<(SocketAddr, Pin<Box<Attempt>>)>,
    /// When the next attempt is made, whatever became of the others.
    timer: Option<Pin<Box<Delay>>>,
    failed: Vec<(SocketAddr, io::Error)>,
    connect: Connect,
    delay: NewDelay,
}

impl<Connect, NewDelay, Attempt, Delay, S> Race<Connect, NewDelay, Attempt, Delay>
where
    Connect: FnMut(SocketAddr) -> Attempt,
    NewDelay: FnMut(Duration) -> Delay,
    Attempt: Future<Output = io::Result<S>>,
    Delay: Future,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<S>> {
        loop {
            let failed = self.failed.len();
            if let Some(stream) = self.poll_attempts(cx) {
                return Poll::Ready(Ok(stream));
            }
            // Who failed is not waited for.
            let next = self.running.is_empty()
                || self.failed.len() > failed
                || self.timer.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready());
            if !next {
                return Poll::Pending;
            }
            self.timer = None;
            match self.waiting.pop_front() {
                Some(address) => {
                    self.running.push((address, Box::pin((self.connect)(address))));
                    let more = !self.waiting.is_empty();
                    self.timer = more.then(|| Box::pin((self.delay)(STAGGER)));
                }
                None if self.running.is_empty() => {
                    return Poll::Ready(Err(all_failed(mem::take(&mut self.failed))));
                }
                None => return Poll::Pending,
            }
        }
    }

    /// Returns the connection of the earliest attempt that has one.
    fn poll_attempts(&mut self, cx: &mut Context<'_>) -> Option<S> {
        let mut at = 0;
        while let Some((address, attempt)) = self.running.get_mut(at) {
            match attempt.as_mut().poll(cx) {
                Poll::Ready(Ok(stream)) => return Some(stream),
                Poll::Ready(Err(error)) => {
                    self.failed.push((*address, error));
                    self.running.remove(at);
                }
                Poll::Pending => at += 1,
            }
        }
        None
    }
}

/// Lets the families take turns; the first address stays the first one.
fn interleave(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let first = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (one, other): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first);
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    let mut all = VecDeque::new();
    loop {
        let pair = (one.next(), other.next());
        if pair == (None, None) {
            return all;
        }
        all.extend(pair.0.into_iter().chain(pair.1));
    }
}

/// Says what each address has said; one alone keeps the error of the system.
fn all_failed(mut failed: Vec<(SocketAddr, io::Error)>) -> io::Error {
    match failed.pop() {
        None => io::ErrorKind::NotFound.into(),
        Some((_, only)) if failed.is_empty() => only,
        Some(last) => {
            // The one that was waited for longest: an address that cannot be reached at all fails at once.
            let kind = last.1.kind();
            failed.push(last);
            io::Error::new(kind, AddressErrors(failed.into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::task::Waker;

    use super::*;

    /// A network whose answers the test gives, and a timer that it lets fire.
    #[derive(Clone, Default)]
    struct World(Rc<RefCell<Inner>>);

    #[derive(Default)]
    struct Inner {
        /// What was begun, by its port, and what became of it.
        attempts: Vec<(u16, Option<io::Result<u16>>)>,
        dropped: Vec<u16>,
        delays: usize,
        fired: usize,
    }

    struct Attempt(World, u16);

    impl Future for Attempt {
        type Output = io::Result<u16>;

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<u16>> {
            let mut inner = self.0.0.borrow_mut();
            let attempt = inner.attempts.iter_mut().find(|(port, _)| *port == self.1).unwrap();
            attempt.1.take().map_or(Poll::Pending, Poll::Ready)
        }
    }

    impl Drop for Attempt {
        fn drop(&mut self) {
            self.0.0.borrow_mut().dropped.push(self.1);
        }
    }

    impl World {
        fn race(&self, addresses: &[&str]) -> Pin<Box<dyn Future<Output = io::Result<u16>>>> {
            let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
            let (world, timer) = (self.clone(), self.clone());
            let connect = move |address: SocketAddr| {
                world.0.borrow_mut().attempts.push((address.port(), None));
                Attempt(world.clone(), address.port())
            };
            let delay = move |time| {
                assert_eq!(time, Duration::from_millis(250));
                let mut inner = timer.0.borrow_mut();
                inner.delays += 1;
                let (timer, number) = (timer.clone(), inner.delays);
                poll_fn(move |_| {
                    let fired = timer.0.borrow().fired >= number;
                    if fired { Poll::Ready(()) } else { Poll::Pending }
                })
            };
            Box::pin(race(addresses, connect, delay))
        }

        fn begun(&self) -> Vec<u16> {
            self.0.borrow().attempts.iter().map(|(port, _)| *port).collect()
        }

        fn fire(&self) {
            let mut inner = self.0.borrow_mut();
            inner.fired = inner.delays;
        }

        fn answer(&self, port: u16, answer: io::Result<u16>) {
            let mut inner = self.0.borrow_mut();
            inner.attempts.iter_mut().find(|(it, _)| *it == port).unwrap().1 = Some(answer);
        }
    }

    fn poll<T>(future: &mut Pin<Box<dyn Future<Output = T>>>) -> Option<T> {
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    const FOUR: [&str; 4] = ["[::1]:1", "[::1]:2", "127.0.0.1:3", "127.0.0.1:4"];

    #[test]
    fn families_take_turns_and_attempts_are_staggered() {
        let world = World::default();
        let mut race = world.race(&FOUR);
        for (step, expected) in [&[1][..], &[1, 3], &[1, 3, 2], &[1, 3, 2, 4]].iter().enumerate() {
            assert!(poll(&mut race).is_none());
            // Polled again without reason, nothing begins.
            assert!(poll(&mut race).is_none());
            assert_eq!(world.begun(), *expected, "{step}");
            world.fire();
        }
        world.answer(3, Ok(3));
        assert_eq!(poll(&mut race).unwrap().unwrap(), 3);
        drop(race);
        let mut dropped = world.0.borrow().dropped.clone();
        dropped.sort_unstable();
        assert_eq!(dropped, [1, 2, 3, 4]);
    }

    #[test]
    fn of_two_that_are_there_the_earlier_one_is_taken() {
        let world = World::default();
        let mut race = world.race(&FOUR);
        assert!(poll(&mut race).is_none());
        world.fire();
        assert!(poll(&mut race).is_none());
        world.answer(3, Ok(3));
        world.answer(1, Ok(1));
        assert_eq!(poll(&mut race).unwrap().unwrap(), 1);
    }

    #[test]
    fn a_failure_is_not_waited_for() {
        let world = World::default();
        let mut race = world.race(&FOUR);
        assert!(poll(&mut race).is_none());
        world.answer(1, Err(io::ErrorKind::ConnectionRefused.into()));
        assert!(poll(&mut race).is_none());
        assert_eq!(world.begun(), [1, 3]);
        // The next one has its own time.
        assert_eq!(world.0.borrow().delays, 2);
        world.fire();
        assert!(poll(&mut race).is_none());
        // Also if another one goes on.
        world.answer(3, Err(io::ErrorKind::ConnectionRefused.into()));
        assert!(poll(&mut race).is_none());
        assert_eq!(world.begun(), [1, 3, 2, 4]);
        world.answer(2, Ok(2));
        assert_eq!(poll(&mut race).unwrap().unwrap(), 2);
    }

    #[test]
    fn all_failures_are_told() {
        let world = World::default();
        let mut race = world.race(&FOUR[1..3]);
        assert!(poll(&mut race).is_none());
        world.fire();
        assert!(poll(&mut race).is_none());
        world.answer(3, Err(io::ErrorKind::TimedOut.into()));
        assert!(poll(&mut race).is_none());
        world.answer(2, Err(io::ErrorKind::ConnectionRefused.into()));
        let error = poll(&mut race).unwrap().unwrap_err();
        assert_eq!(error.to_string(), "127.0.0.1:3: timed out; [::1]:2: connection refused");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let errors = error.get_ref().unwrap().downcast_ref::<AddressErrors>().unwrap();
        assert_eq!(errors.errors().len(), 2);
        assert_eq!(errors.source().unwrap().to_string(), "connection refused");

        let mut one = World::default();
        let mut race = one.race(&FOUR[..1]);
        assert!(poll(&mut race).is_none());
        one.answer(1, Err(io::Error::from_raw_os_error(111)));
        assert_eq!(poll(&mut race).unwrap().unwrap_err().raw_os_error(), Some(111));
        one = World::default();
        let error = poll(&mut one.race(&[])).unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn the_first_address_stays_first() {
        for (order, expected) in [
            ([2, 3, 1, 0], [3, 2, 4, 1]),
            ([0, 1, 2, 3], [1, 3, 2, 4]),
            ([0, 2, 1, 3], [1, 3, 2, 4]),
        ] {
            let addresses = order.map(|at: usize| FOUR[at].parse().unwrap()).to_vec();
            let ports: Vec<u16> = interleave(addresses).iter().map(SocketAddr::port).collect();
            assert_eq!(ports, expected);
        }
        assert_eq!(interleave(vec!["[::1]:1".parse().unwrap()]).len(), 1);
    }
}

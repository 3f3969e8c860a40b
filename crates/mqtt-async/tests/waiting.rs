//! Those who wait for room: in their order, woken when there is some, and free to leave.

mod common;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use common::bench::{Bench, Flag, config};
use common::pipe::Shape;
use common::server::{Greeting, Seen};
use mqtt_async::{Config, Offline, Phase, PublishError, Publishing, QoS, SendWait, Version};

/// A future with a waker of its own.
struct Task(SendWait, Arc<Flag>);

impl Task {
    fn new(bench: &Bench, payload: impl ToString) -> Task {
        Task(
            bench.client().publish_wait("t", payload.to_string(), QoS::AtLeastOnce),
            Arc::default(),
        )
    }

    fn poll(&mut self) -> Poll<Result<Publishing, PublishError>> {
        let waker = Waker::from(Arc::clone(&self.1));
        Pin::new(&mut self.0).poll(&mut Context::from_waker(&waker))
    }

    fn was_woken(&self) -> bool {
        self.1.take()
    }
}

fn bounded(messages: usize) -> Config {
    let mut config = config(Version::V5);
    config.session.bounds.messages = messages;
    config
}

/// A client that is connected, whose server answers when it is told to, with as many messages in flight as it
/// may hold.
fn full(messages: usize) -> Bench {
    let mut bench = Bench::connected(bounded(messages));
    bench.server.script(|script| script.hold_acks = true);
    for _ in 0..messages {
        drop(bench.client().publish("t", "first", QoS::AtLeastOnce).unwrap());
    }
    bench.settle();
    bench
}

/// Lets the server answer all that it has got.
fn answer(bench: &mut Bench) {
    bench.server.script(|script| script.hold_acks = false);
    bench.settle();
    bench.server.script(|script| script.hold_acks = true);
}

fn arrived(bench: &Bench) -> Vec<String> {
    let payload = |seen: Seen| match seen {
        Seen::Publish { payload, .. } if payload != b"first" => {
            Some(String::from_utf8(payload).unwrap())
        }
        _ => None,
    };
    bench.server.seen().into_iter().filter_map(payload).collect()
}

#[test]
fn where_there_is_room_nobody_waits() {
    let mut bench = Bench::connected(bounded(1));
    let Poll::Ready(Ok(token)) = Task::new(&bench, "x").poll() else { panic!() };
    bench.done(token).unwrap();
    // At QoS 0 it does not even wait in the session; and what was accepted is not given back.
    let mut short = bench.client().publish_wait("t", "x", QoS::AtMostOnce);
    assert!(bench.poll(&mut short).is_ready());
    assert!(short.into_publish().is_none());
    let mut bad = bench.client().publish_wait("a/+", "x", QoS::AtMostOnce);
    assert!(matches!(bench.poll(&mut bad), Poll::Ready(Err(PublishError::Topic(_)))));
}

// class: 41
#[test]
fn as_many_are_woken_as_there_is_room_for_and_in_their_order() {
    let mut bench = full(2);
    let mut tasks: Vec<_> = (0..5).map(|number| Task::new(&bench, number)).collect();
    assert!(tasks.iter_mut().all(|task| task.poll().is_pending()));
    for round in [0..2, 2..4, 4..5] {
        answer(&mut bench);
        let woken: Vec<_> = (0..5).filter(|at| tasks[*at].was_woken()).collect();
        // Some more may have been woken, but not before those whose turn it is.
        assert!(woken.starts_with(&round.clone().collect::<Vec<_>>()), "{round:?} {woken:?}");
        for at in woken {
            assert_eq!(tasks[at].poll().is_ready(), round.contains(&at), "{round:?} {at}");
        }
        bench.settle();
    }
    answer(&mut bench);
    assert_eq!(arrived(&bench), ["0", "1", "2", "3", "4"]);
}

/// A client that waits before it connects again, with as many messages as it may hold: what wakes its driver
/// is the test alone.
fn offline(messages: usize) -> (Bench, Vec<Publishing>) {
    let mut bench = Bench::new(bounded(messages), Shape::default());
    bench.server.script(|script| script.greeting = Greeting::Nothing);
    bench.settle();
    assert_eq!(bench.client().status().phase, Phase::Waiting);
    let publish = |_| bench.client().publish("t", "first", QoS::AtLeastOnce).unwrap();
    let tokens = (0..messages).map(publish).collect();
    bench.settle();
    (bench, tokens)
}

#[test]
fn who_comes_later_waits_behind_those_who_wait() {
    let (mut bench, mut tokens) = offline(1);
    let [mut first, mut second, mut third] = ["1", "2", "3"].map(|it| Task::new(&bench, it));
    assert!(first.poll().is_pending() && second.poll().is_pending());
    assert!(tokens.remove(0).cancel().is_some());
    bench.step();
    assert!(first.was_woken() && !second.was_woken());
    // There is room, but it is not for one who has just come.
    assert!(third.poll().is_pending());
    assert!(first.poll().is_ready());
    assert!(second.poll().is_pending());
}

// class: 40, 43
#[test]
fn a_wake_up_is_passed_on_by_who_leaves() {
    for polls in 0..3 {
        let (mut bench, mut tokens) = offline(1);
        let [mut first, mut second] = ["1", "2"].map(|payload| Task::new(&bench, payload));
        for _ in 0..polls {
            assert!(first.poll().is_pending());
        }
        assert!(second.poll().is_pending());
        assert!(tokens.remove(0).cancel().is_some());
        bench.step();
        assert_eq!(second.was_woken(), polls == 0);
        assert_eq!(first.was_woken(), polls > 0);
        // The driver sleeps. The first is dropped before it tries.
        let driver = Arc::new(Flag::default());
        let waker = Waker::from(Arc::clone(&driver));
        let poll = bench.driver.as_mut().unwrap().as_mut().poll(&mut Context::from_waker(&waker));
        assert!(poll.is_pending() && !driver.take());
        let early = second.was_woken();
        drop(first);
        assert_eq!(driver.take(), polls > 0);
        bench.step();
        assert_eq!(early || second.was_woken(), polls > 0);
        assert!(second.poll().is_ready());
    }
}

// class: 40
#[test]
fn one_that_is_dropped_was_not_sent_and_gives_its_message_back() {
    let mut bench = full(1);
    let mut task = Task::new(&bench, "x");
    assert!(task.poll().is_pending());
    assert_eq!(task.0.into_publish().unwrap().payload, "x");
    let task = Task::new(&bench, "never polled");
    drop(task);
    answer(&mut bench);
    assert_eq!(arrived(&bench), [""; 0]);
    assert_eq!(bench.client().stats().queued + bench.client().stats().in_flight, 0);
}

// class: 40
#[test]
fn each_message_arrives_once_however_often_its_future_is_dropped() {
    for polls in [usize::MAX, 1, 2, 3] {
        let mut bench = Bench::new(bounded(1), Shape { capacity: 40, chunk: 7 });
        bench.settle();
        for number in 0..30 {
            let mut publish = None;
            for round in 0..1000 {
                let mut wait = match publish.take() {
                    Some(publish) => bench.client().send_wait(publish),
                    None => bench.client().publish_wait("t", number.to_string(), QoS::ExactlyOnce),
                };
                let accepted = (0..polls.min(50)).any(|_| {
                    let ready = bench.poll(&mut wait).is_ready();
                    bench.step();
                    ready
                });
                publish = wait.into_publish();
                assert_eq!(accepted, publish.is_none());
                if accepted {
                    break;
                }
                assert!(round < 999, "no progress");
            }
        }
        bench.settle();
        let expected: Vec<_> = (0..30).map(|number| number.to_string()).collect();
        assert_eq!(arrived(&bench), expected);
    }
}

#[test]
fn who_never_tries_keeps_nobody_waiting_for_ever() {
    let mut bench = full(1);
    let mut idle: Vec<_> = (0..3).map(|number| Task::new(&bench, number)).collect();
    assert!(idle.iter_mut().all(|task| task.poll().is_pending()));
    let mut task = Task::new(&bench, "x");
    assert!(task.poll().is_pending());
    answer(&mut bench);
    // Nobody of those before it moves; a Keep Alive later at the latest it is its turn.
    let mut waited = 0;
    while !task.was_woken() {
        bench.advance(Duration::from_secs(60));
        waited += 1;
        assert!(waited < 10);
    }
    assert!(task.poll().is_ready());
}

#[test]
fn a_large_message_is_not_overtaken_by_those_behind_it() {
    let mut config = config(Version::V5);
    config.session.bounds.bytes = 100;
    let mut bench = Bench::connected(config);
    bench.server.script(|script| script.hold_acks = true);
    for _ in 0..2 {
        drop(bench.client().publish("t", "x".repeat(40), QoS::AtLeastOnce).unwrap());
    }
    bench.settle();
    let mut large = Task::new(&bench, "y".repeat(90));
    let mut small = Task::new(&bench, "z".repeat(30));
    assert!(large.poll().is_pending() && small.poll().is_pending());
    answer(&mut bench);
    assert!(large.was_woken() && large.poll().is_ready());
    assert!(small.poll().is_pending());
    answer(&mut bench);
    answer(&mut bench);
    assert!(small.was_woken() && small.poll().is_ready());
}

// class: 43
#[test]
fn they_do_not_outlive_the_client() {
    for way in 0..4 {
        let mut bench = full(1);
        let mut task = Task::new(&bench, "x");
        assert!(task.poll().is_pending());
        match way {
            0 => drop(bench.client().disconnect()),
            1 => drop(bench.client().drain()),
            2 => bench.driver = None,
            _ => bench.client = None,
        }
        bench.settle();
        assert!(task.was_woken(), "{way}");
        let Poll::Ready(Err(PublishError::Closed(publish))) = task.poll() else { panic!("{way}") };
        assert_eq!(publish.payload, "x");
    }
}

#[test]
fn who_may_not_wait_for_a_connection_is_told_when_it_is_lost() {
    let mut config = bounded(1);
    config.outbound.offline = Offline::None;
    let mut bench = Bench::connected(config);
    bench.server.script(|script| script.hold_acks = true);
    drop(bench.client().publish("t", "first", QoS::AtLeastOnce).unwrap());
    bench.settle();
    let mut task = Task::new(&bench, "x");
    assert!(task.poll().is_pending());
    bench.server.cut();
    bench.settle();
    assert!(task.was_woken());
    assert!(matches!(task.poll(), Poll::Ready(Err(PublishError::Offline(_)))));
}

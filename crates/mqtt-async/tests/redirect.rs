//! Servers that send the client to another one.

mod common;

use std::cell::RefCell;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use common::bench::{Bench, Manual, config};
use common::pipe::{Pipe, Shape, pipe};
use common::server::{Connection, Greeting, Seen, Server, wire};
use futures_io::{AsyncRead, AsyncWrite};
use mqtt_async::{
    Attempt, Client, Config, ConnAck, Connector, Disconnect, Driver, Error, Event, Phase, Progress,
    QoS, ReasonCode, RedirectFault, Redirects, Servers, Text, Version,
};
use mqtt_proto::Packet;

const ANOTHER: ReasonCode = ReasonCode::USE_ANOTHER_SERVER;
const MOVED: ReasonCode = ReasonCode::SERVER_MOVED;

fn text(text: &str) -> Text {
    Text::new(text).unwrap()
}

fn following(redirects: Redirects) -> Config {
    let mut config = config(Version::V5).credentials("user", "secret").unwrap();
    config.redirects = Some(redirects);
    config
}

/// A CONNACK that sends the client there.
fn refusal(reason: ReasonCode, reference: &str) -> Greeting {
    let mut connack = ConnAck::new(reason);
    connack.server_reference = Some(text(reference));
    Greeting::RefuseWith(Box::new(connack))
}

/// Sends the connected client there, with DISCONNECT.
fn send_away(bench: &mut Bench, reason: ReasonCode, reference: &str) {
    let mut disconnect = Disconnect::new(reason);
    disconnect.server_reference = Some(text(reference));
    let bytes = wire(&[Packet::Disconnect(disconnect)]);
    bench.server.script(|script| script.raw = Some(bytes));
    bench.settle();
}

fn greeted(config: Config, greetings: impl IntoIterator<Item = Greeting>) -> Bench {
    let mut bench = Bench::new(config, Shape::default());
    bench.server.script(|script| script.greetings = greetings.into_iter().collect());
    bench.settle();
    bench
}

fn selected(bench: &Bench) -> Vec<String> {
    bench.selected.lock().unwrap().clone()
}

fn connects(bench: &Bench) -> usize {
    bench.server.count(|seen| matches!(seen, Seen::Connect { .. }))
}

fn server(bench: &Bench) -> Option<String> {
    bench.client().status().server.map(|server| server.to_string())
}

/// Cuts the connection and waits until there is another one.
fn reconnect(bench: &mut Bench) {
    bench.server.cut();
    bench.settle();
    bench.advance(Duration::from_secs(60));
    assert_eq!(bench.client().status().phase, Phase::Connected);
}

#[test]
fn without_a_policy_or_a_usable_reference_it_is_an_error_as_others() {
    let any = || Some(Redirects::to_any_host());
    for reason in [ANOTHER, MOVED] {
        for (redirects, reference) in [
            (None, "b"),
            (any(), ""),
            (any(), "  "),
            (any(), "mqtt://b mqtts://b:8883 b/c b:x b:65536 b: :1 [::1 []:1 [::1]1 user@b b?c"),
        ] {
            let mut config = config(Version::V5);
            config.redirects = redirects;
            let bench = greeted(config.clone(), [refusal(reason, reference)]);
            assert!(matches!(bench.result, Some(Err(Error::Refused(_)))), "{:?}", bench.result);
            assert_eq!((selected(&bench), connects(&bench)), (vec![], 1));

            let mut bench = greeted(config, []);
            send_away(&mut bench, reason, reference);
            let result = bench.result.as_ref();
            assert!(matches!(result, Some(Err(Error::Disconnected(_)))), "{result:?}");
            assert_eq!((selected(&bench), connects(&bench)), (vec![], 1));
        }
        // No reference at all: the client is to know the other server.
        let mut config = config(Version::V5);
        config.redirects = any();
        let bench = greeted(config, [Greeting::Refuse(reason)]);
        assert!(matches!(bench.result, Some(Err(Error::Refused(_)))), "{:?}", bench.result);
    }
}

#[test]
fn use_another_server_is_for_one_connection_and_server_moved_for_all() {
    for (reason, permanent) in [(ANOTHER, false), (MOVED, true)] {
        let mut bench = Bench::new(following(Redirects::to_any_host()), Shape::default());
        let mut events = bench.client().events();
        let redirects = [refusal(reason, "b:1884"), Greeting::Mqtt];
        bench.server.script(|script| script.greetings = redirects.into());
        // At once: the clock stands still.
        bench.settle();
        assert_eq!(bench.client().status().phase, Phase::Connected);
        assert_eq!(
            (selected(&bench), server(&bench)),
            (vec!["b:1884".into()], Some("b:1884".into()))
        );
        let event = events.try_next();
        let Some(Event::AttemptFailed { error, failed: 1, retry_in: Some(Duration::ZERO) }) = event
        else {
            panic!("{event:?}")
        };
        assert_eq!(error.reason(), Some(reason));
        let Some(Event::Redirected { servers, permanent: told }) = events.try_next() else {
            panic!("{reason}")
        };
        assert_eq!((servers.len(), &*servers[0], told), (1, "b:1884", permanent));
        assert!(matches!(events.try_next(), Some(Event::Connected(_))));
        for round in 2..5 {
            reconnect(&mut bench);
            let (count, name) = if permanent { (round, Some("b:1884".into())) } else { (1, None) };
            assert_eq!((selected(&bench).len(), server(&bench)), (count, name));
        }
        let redirected = |event: &Event| matches!(event, Event::Redirected { .. });
        assert!(!std::iter::from_fn(|| events.try_next()).any(|event| redirected(&event)));
        let losses = bench.client().stats().losses;
        assert_eq!((losses.refused, losses.transport), (1, 3));
    }
}

#[test]
fn a_redirect_of_a_connection_that_stands_waits_as_any_loss() {
    let mut config = following(Redirects::to_any_host());
    let mut bench = greeted(config.clone(), []);
    let mut events = bench.client().events();
    let token = bench.client().publish("t", "waits", QoS::AtLeastOnce).unwrap();
    send_away(&mut bench, ANOTHER, "b");
    let Some(Event::Disconnected { retry_in: Some(delay), .. }) = events.try_next() else {
        panic!()
    };
    assert!(matches!(events.try_next(), Some(Event::Redirected { permanent: false, .. })));
    assert!(delay > Duration::ZERO && delay <= Duration::from_secs(1), "{delay:?}");
    bench.advance(delay - Duration::from_nanos(1));
    assert_eq!((selected(&bench), bench.client().status().phase), (vec![], Phase::Waiting));
    bench.advance(Duration::from_nanos(1));
    assert_eq!((selected(&bench), connects(&bench)), (vec!["b".into()], 2));
    bench.done(token).unwrap();

    // Without reconnection the connection is over.
    config.reconnect = None;
    let mut bench = greeted(config.clone(), []);
    send_away(&mut bench, ANOTHER, "b");
    assert!(matches!(bench.result, Some(Err(Error::Disconnected(_)))));
    // But to be sent on is part of connecting.
    let bench = greeted(config, [refusal(ANOTHER, "b"), Greeting::Mqtt]);
    assert_eq!(bench.client().status().phase, Phase::Connected);
}

#[test]
fn the_servers_of_a_reference_are_tried_in_turn() {
    for reason in [ANOTHER, MOVED] {
        // The connector does not know the first, the others do not answer until the last.
        let reference = "unknown b:1  [2001:db8::1]:2 ::1 d";
        let tried = ["b:1", "[2001:db8::1]:2", "::1", "d"];
        let mut bench = greeted(
            following(Redirects::to_any_host()),
            [refusal(reason, reference), Greeting::Nothing],
        );
        bench.advance(Duration::from_secs(60));
        bench.advance(Duration::from_secs(60));
        assert_eq!(selected(&bench), tried[..3]);
        bench.advance(Duration::from_secs(60));
        assert_eq!(selected(&bench), tried);
        bench.advance(Duration::from_secs(60));
        // All have failed: the own server again, or around once more.
        let again = if reason == MOVED { Some("b:1".into()) } else { None };
        assert_eq!(server(&bench), again);
        bench.server.script(|script| script.greeting = Greeting::Mqtt);
        bench.advance(Duration::from_secs(60));
        assert_eq!(bench.client().status().phase, Phase::Connected);
        let last = selected(&bench).last().unwrap().clone();
        assert_eq!(last, if reason == MOVED { "[2001:db8::1]:2" } else { "d" });
        // The one that works is stayed with.
        reconnect(&mut bench);
        assert_eq!(selected(&bench).last(), Some(&last));
    }
}

#[test]
fn a_connector_that_knows_none_of_them_ends_it() {
    for reason in [ANOTHER, MOVED] {
        let redirects = [refusal(reason, "unknown unknown"), Greeting::Mqtt];
        let bench = greeted(following(Redirects::to_any_host()), redirects);
        let Some(Err(Error::Redirect(error))) = &bench.result else { panic!("{:?}", bench.result) };
        assert_eq!((error.reason, error.fault), (reason, RedirectFault::Unknown));
        assert_eq!(error.server_reference, "unknown unknown");
        assert_eq!(connects(&bench), 1);
    }
}

// class: 39
#[test]
fn servers_that_send_the_client_around_are_not_stormed() {
    let mut redirects = Redirects::to_any_host();
    redirects.hops = 3;
    let mut bench = Bench::new(following(redirects), Shape::default());
    let mut events = bench.client().events();
    bench.server.script(|script| script.greeting = refusal(ANOTHER, "b"));
    bench.settle();
    assert_eq!((connects(&bench), selected(&bench).len()), (4, 3));
    let last = std::iter::from_fn(|| events.try_next()).last();
    let Some(Event::AttemptFailed { error, retry_in: Some(delay), .. }) = last else { panic!() };
    let Error::Redirect(redirect) = &error else { panic!("{error:?}") };
    assert_eq!((redirect.fault, error.reason()), (RedirectFault::TooMany, Some(ANOTHER)));
    assert!(delay > Duration::ZERO && error.is_retryable());
    // It begins anew with the own server, after a wait that grows.
    for _ in 0..3600 {
        bench.advance(Duration::from_secs(1));
    }
    let attempts = connects(&bench);
    assert!((60..1600).contains(&attempts) && attempts.is_multiple_of(4), "{attempts}");
    // With DISCONNECT as well: no connection is stable.
    bench.server.script(|script| script.greeting = Greeting::Mqtt);
    bench.advance(Duration::from_secs(60));
    for _ in 0..3 {
        send_away(&mut bench, ANOTHER, "c");
        bench.advance(Duration::from_secs(60));
        assert_eq!(server(&bench).as_deref(), Some("c"));
        // What has stood for this long does not count.
        bench.advance(Duration::from_secs(30));
    }
    for hop in 1..=4 {
        send_away(&mut bench, ANOTHER, "d");
        if hop < 4 {
            bench.clock.advance(Duration::from_secs(60));
            while bench.client().status().phase != Phase::Connected {
                bench.step();
            }
        }
    }
    let error = bench.client().status().last_error;
    assert!(matches!(error, Some(Error::Redirect(it)) if it.fault == RedirectFault::TooMany));
}

#[test]
fn credentials_go_to_the_hosts_of_the_list_only() {
    let hosts = || Redirects::to_hosts(["Good.example.com", "10.0.0.1:1884", "[2001:db8::1]:5"]);
    let bad = "evil.example.com good.example.com.evil.com xgood.example.com 10.0.0.1 10.0.0.1:1883 \
               10.0.0.11:1884 [2001:db8::1] [2001:db8::1]:6 good.example.com@evil.com mqtt://good.example.com";
    for reason in [ANOTHER, MOVED] {
        let bench = greeted(following(hosts()), [refusal(reason, bad), Greeting::Mqtt]);
        let Some(Err(error @ Error::Redirect(redirect))) = &bench.result else {
            panic!("{:?}", bench.result)
        };
        assert_eq!((redirect.reason, redirect.fault), (reason, RedirectFault::NotAllowed));
        assert!(!error.is_retryable() && error.to_string().contains("evil.example.com"), "{error}");
        assert_eq!(
            (selected(&bench), connects(&bench)),
            (vec![], 1),
            "nobody else is connected to"
        );

        let mut bench = greeted(following(hosts()), []);
        send_away(&mut bench, reason, bad);
        assert!(matches!(&bench.result, Some(Err(Error::Redirect(_)))), "{:?}", bench.result);

        let good = ["GOOD.example.com:77", "good.example.com", "10.0.0.1:1884", "[2001:DB8::1]:5"];
        let reference = format!("{bad} {}", good.join(" "));
        let greetings = [refusal(reason, &reference), Greeting::Nothing];
        let mut bench = greeted(following(hosts()), greetings);
        for _ in 0..3 {
            bench.advance(Duration::from_secs(60));
        }
        assert_eq!(selected(&bench), good);
        bench.server.script(|script| script.greeting = Greeting::Mqtt);
        bench.advance(Duration::from_secs(60));
        let connects = bench.server.script(|script| script.connects.clone());
        assert!(connects.iter().all(|connect| connect.password.as_deref() == Some(b"secret")));
    }
}

#[test]
fn the_hook_sees_where_it_goes_and_may_go_elsewhere() {
    for (answer, last) in [(None, "b"), (Some("c"), "c"), (Some(""), "")] {
        let mut bench =
            Bench::hooked(following(Redirects::to_any_host()), Shape::default(), |driver| {
                driver.before_connect(move |mut attempt| async move {
                    if attempt.server.as_deref() == Some("b") {
                        attempt.connect.password = Some("for b".into());
                        match answer {
                            None => {}
                            Some("") => attempt.server = None,
                            Some(answer) => attempt.server = Some(answer.to_owned()),
                        }
                    }
                    Ok(attempt)
                })
            });
        let greetings = [refusal(ANOTHER, "b"), Greeting::Mqtt];
        bench.server.script(|script| script.greetings = greetings.into());
        bench.settle();
        assert_eq!(bench.client().status().phase, Phase::Connected);
        assert_eq!(selected(&bench).last().map_or("", |it| it), last);
        assert_eq!(server(&bench).unwrap_or_default(), last);
        let connects = bench.server.script(|script| script.connects.clone());
        assert_eq!(connects.last().unwrap().password.as_deref(), Some(&b"for b"[..]));
    }
}

/// A layer that both ends need: whoever leaves it out reads nonsense.
struct Scrambled<Io>(Io);

impl<Io: AsyncRead + Unpin> AsyncRead for Scrambled<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.0).poll_read(cx, buffer))?;
        buffer[..count].iter_mut().for_each(|byte| *byte ^= 0xA5);
        Poll::Ready(Ok(count))
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Scrambled<Io> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let bytes: Vec<u8> = bytes.iter().map(|byte| byte ^ 0xA5).collect();
        Pin::new(&mut self.0).poll_write(cx, &bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = slices.iter().find(|slice| !slice.is_empty());
        self.poll_write(cx, first.map_or(&[], |slice| slice))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}

type Connections<Io> = Rc<RefCell<Vec<Connection<Io>>>>;

/// Lets the driver and the servers at the other ends do what they can.
fn settle<C, Io>(driver: &mut Driver<C, Manual>, connections: &Connections<Io>)
where
    C: Connector,
    Io: AsyncRead + AsyncWrite + Unpin,
{
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..100 {
        assert!(Pin::new(&mut *driver).poll(&mut cx).is_pending());
        let mut served = std::mem::take(&mut *connections.borrow_mut());
        served.retain_mut(|connection| Pin::new(connection).poll(&mut cx).is_pending());
        connections.borrow_mut().extend(served);
    }
}

/// The layer below: it knows each server, and all of them scramble.
struct Below(Server, Connections<Scrambled<Pipe>>, Vec<String>);

impl Connector for Below {
    type Io = Pipe;
    type Connecting = std::future::Ready<io::Result<Pipe>>;

    fn connect(&mut self, _: &Progress) -> Self::Connecting {
        let (ours, theirs) = pipe(Shape::default());
        self.1.borrow_mut().push(self.0.serve(Scrambled(theirs)));
        std::future::ready(Ok(ours))
    }

    fn select(&mut self, server: &str) -> io::Result<()> {
        self.2.push(server.to_owned());
        Ok(())
    }
}

/// The layer: it has no say in where to connect to.
struct Scramble<C>(C);

impl Connector for Scramble<Below> {
    type Io = Scrambled<Pipe>;
    type Connecting = std::future::Ready<io::Result<Scrambled<Pipe>>>;

    fn connect(&mut self, progress: &Progress) -> Self::Connecting {
        std::future::ready(self.0.connect(progress).into_inner().map(Scrambled))
    }

    fn select(&mut self, server: &str) -> io::Result<()> {
        self.0.select(server)
    }
}

#[test]
fn the_layers_around_the_transport_stay_as_they_are() {
    let (server, connections) = (Server::new(), Connections::default());
    server.script(|script| {
        script.greetings =
            [refusal(ANOTHER, "b"), refusal(MOVED, "c:1883 mqtt://d"), Greeting::Mqtt].into();
    });
    let below = Below(server.clone(), connections.clone(), Vec::new());
    // Inside of a list of servers as well.
    let connector = Servers::new("own", Scramble(below));
    let config = following(Redirects::to_any_host());
    let (client, mut driver) = Client::with_timer(config, connector, Manual::new());
    settle(&mut driver, &connections);
    let status = client.status();
    assert_eq!(status.phase, Phase::Connected, "{status:?}");
    assert_eq!(status.server.as_deref(), Some("c:1883"));
    assert_eq!(server.count(|seen| matches!(seen, Seen::Connect { .. })), 3);
}

/// An entry of a list: it notes what is connected through it, and to where.
struct Entry {
    name: &'static str,
    to: Option<String>,
    server: Server,
    connections: Connections<Pipe>,
    log: Rc<RefCell<Vec<String>>>,
}

impl Connector for Entry {
    type Io = Pipe;
    type Connecting = std::future::Ready<io::Result<Pipe>>;

    fn connect(&mut self, _: &Progress) -> Self::Connecting {
        let to = self.to.take().unwrap_or_default();
        self.log.borrow_mut().push(format!("{} {to}", self.name));
        let (ours, theirs) = pipe(Shape::default());
        self.connections.borrow_mut().push(self.server.serve(theirs));
        std::future::ready(Ok(ours))
    }

    fn select(&mut self, server: &str) -> io::Result<()> {
        self.to = Some(server.to_owned());
        Ok(())
    }
}

/// A list with two entries, of which the first has TLS and the second has not, and where that leads.
fn through_a_list(
    first: Greeting,
    hook: impl Fn(&mut Attempt) + Clone + Send + 'static,
) -> Vec<String> {
    let (server, connections) = (Server::new(), Connections::default());
    let log = Rc::default();
    server.script(|script| script.greetings = [first, Greeting::Mqtt].into());
    let entry = |name| Entry {
        name,
        to: None,
        server: server.clone(),
        connections: Rc::clone(&connections),
        log: Rc::clone(&log),
    };
    let servers = Servers::new("tls", entry("tls")).and("plain", entry("plain"));
    let clock = Manual::new();
    let config = following(Redirects::to_any_host());
    let (_client, driver) = Client::with_timer(config, servers, clock.clone());
    let mut driver = driver.before_connect(move |mut attempt| {
        hook(&mut attempt);
        async { Ok(attempt) }
    });
    for _ in 0..4 {
        settle(&mut driver, &connections);
        server.cut();
        settle(&mut driver, &connections);
        clock.advance(Duration::from_secs(60));
    }
    log.take()
}

#[test]
fn a_server_cannot_send_the_client_to_an_entry_without_tls() {
    // It names that entry, and then another host, where the turn of that entry would be.
    for reference in ["plain", "elsewhere"] {
        let another = through_a_list(refusal(ANOTHER, reference), |_| ());
        let there = format!("tls {reference}");
        assert_eq!(another[..3], ["tls ", &there, "plain "], "0x9C is for one connection");
        let moved = through_a_list(refusal(MOVED, reference), |_| ());
        assert_eq!(moved[..4], ["tls ", &there, &there, &there]);
    }
    // Nor by way of one to which the application goes in between.
    let seen = Arc::new(AtomicBool::new(false));
    let led = through_a_list(refusal(MOVED, "elsewhere"), move |attempt| {
        if attempt.server.is_some() && !seen.swap(true, Ordering::Relaxed) {
            attempt.server = Some("plain".to_owned());
        }
    });
    assert_eq!(led[..4], ["tls ", "plain ", "plain ", "tls "]);
}

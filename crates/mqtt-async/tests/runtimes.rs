//! The same cases on smol's executor, tokio (multi-thread and current-thread) and async-std, over an
//! in-memory pipe and over TCP, and with a transport that is not `Send` on a local executor.
#![cfg(all(feature = "async-io", feature = "tokio"))]

mod common;

use std::future::Future;
use std::io::{self, IoSlice};
use std::marker::PhantomData;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_executor::{Executor, LocalExecutor};
use async_io::Async;
use common::bench::{PRESENT, VERSIONS, config, lasting};
use common::pipe::{Pipe, Shape, pipe};
use common::runtime::{Env, Task, guarded};
use common::server::{Greeting, Seen, Server};
use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::{Stream, StreamExt, stream};
use mqtt_async::{
    AsyncIoTimer, Client, Config, Connector, Error, Messages, Progress, QoS, ReasonCode, Tcp,
    TokenError, TokioTcp, TokioTimer, Version,
};
#[cfg(unix)]
use mqtt_async::{TokioUnix, Unix};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wire {
    Pipe,
    Tcp,
    #[cfg(unix)]
    Unix,
}

const SHAPE: Shape = Shape { capacity: 1000, chunk: 700 };

/// Accepts connections for a server; any executor will do for this end.
fn listen(env: &impl Env, server: &Server) -> SocketAddr {
    let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], 0)).unwrap();
    let address = listener.get_ref().local_addr().unwrap();
    accept(
        env,
        server,
        stream::try_unfold(listener, async |listener| {
            let (stream, _) = listener.accept().await?;
            stream.get_ref().set_nodelay(true)?;
            Ok(Some((stream, listener)))
        }),
    );
    address
}

#[cfg(unix)]
fn listen_unix(env: &impl Env, server: &Server) -> std::path::PathBuf {
    use std::os::unix::net::UnixListener;
    use std::sync::atomic::{AtomicUsize, Ordering};

    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    // A path of a socket is short, so it is not below the folder of the build.
    let name = format!("mqtt-async-{}-{number}.sock", std::process::id());
    let path = std::env::temp_dir().join(name);
    let listener = Async::<UnixListener>::bind(&path).unwrap();
    struct Remove(std::path::PathBuf);
    impl Drop for Remove {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }
    let listener = (listener, Remove(path.clone()));
    accept(
        env,
        server,
        stream::try_unfold(listener, async |listener| {
            Ok(Some((listener.0.accept().await?.0, listener)))
        }),
    );
    path
}

fn accept<Io>(
    env: &impl Env,
    server: &Server,
    incoming: impl Stream<Item = io::Result<Io>> + Send + 'static,
) where
    Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let server = server.clone();
    let connections = Arc::new(Executor::new());
    let runner = Arc::clone(&connections);
    env.spawn(async move {
        let mut incoming = pin!(incoming);
        let accept = async {
            while let Some(Ok(stream)) = incoming.next().await {
                connections.spawn(server.serve(stream)).detach();
            }
        };
        runner.run(accept).await;
    });
}

macro_rules! env {
    ($name:ident($($handle:ty)?), $timer:expr, $tcp:ident, $unix:ident, |$env:ident, $future:ident| $spawn:expr) => {
        #[derive(Clone)]
        struct $name { $(handle: $handle,)? wire: Wire }

        impl Env for $name {
            fn spawn(&self, $future: impl Future<Output = ()> + Send + 'static) {
                let $env = self;
                $spawn
            }

            fn start(&self, config: Config, server: &Server) -> (Client, Task) {
                let task = Task::new();
                let client = match self.wire {
                    Wire::Pipe => {
                        let (env, server) = (self.clone(), server.clone());
                        let connector = move || {
                            let (ours, theirs) = pipe(SHAPE);
                            env.spawn(server.serve(theirs));
                            std::future::ready(io::Result::Ok(ours))
                        };
                        let (client, driver) = Client::with_timer(config, connector, $timer);
                        self.spawn(task.clone().run(driver));
                        client
                    }
                    Wire::Tcp => {
                        let port = listen(self, server).port();
                        let connector = $tcp::new("127.0.0.1", port);
                        let (client, driver) = Client::with_timer(config, connector, $timer);
                        self.spawn(task.clone().run(driver));
                        client
                    }
                    #[cfg(unix)]
                    Wire::Unix => {
                        let connector = $unix::new(listen_unix(self, server));
                        let (client, driver) = Client::with_timer(config, connector, $timer);
                        self.spawn(task.clone().run(driver));
                        client
                    }
                };
                (client, task)
            }
        }
    };
}

env!(Smol(Arc<Executor<'static>>), AsyncIoTimer::new(), Tcp, Unix, |env, future| env
    .handle
    .spawn(future)
    .detach());
env!(Tokio(tokio::runtime::Handle), TokioTimer::new(), TokioTcp, TokioUnix, |env, future| {
    env.handle.spawn(future);
});
env!(AsyncStd(), AsyncIoTimer::new(), Tcp, Unix, |_env, future| {
    async_std::task::spawn(future);
});

/// A transport that must stay in its thread.
struct LocalPipe(Pipe, PhantomData<Rc<()>>);

impl AsyncRead for LocalPipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for LocalPipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}

#[derive(Clone)]
struct Local(Rc<LocalExecutor<'static>>);

impl Env for Local {
    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(future).detach();
    }

    fn start(&self, config: Config, server: &Server) -> (Client, Task) {
        let (env, server, task) = (self.clone(), server.clone(), Task::new());
        let connector = move || {
            let (ours, theirs) = pipe(SHAPE);
            env.spawn(server.serve(theirs));
            std::future::ready(io::Result::Ok(LocalPipe(ours, PhantomData)))
        };
        let (client, driver) = Client::new(config, connector);
        self.0.spawn(task.clone().run(driver)).detach();
        (client, task)
    }
}

fn smol<Fut: Future<Output = ()>>(wire: Wire, case: impl FnOnce(Smol) -> Fut + Send + 'static) {
    guarded(move || {
        let handle = Arc::new(Executor::new());
        let case = case(Smol { handle: Arc::clone(&handle), wire });
        async_io::block_on(handle.run(case));
    });
}

fn async_std<Fut: Future<Output = ()>>(
    wire: Wire,
    case: impl FnOnce(AsyncStd) -> Fut + Send + 'static,
) {
    guarded(move || async_std::task::block_on(case(AsyncStd { wire })));
}

fn tokio_threads<Fut: Future<Output = ()>>(
    wire: Wire,
    case: impl FnOnce(Tokio) -> Fut + Send + 'static,
) {
    guarded(move || {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(case(Tokio { handle: runtime.handle().clone(), wire }));
    });
}

fn tokio_current<Fut: Future<Output = ()>>(
    wire: Wire,
    case: impl FnOnce(Tokio) -> Fut + Send + 'static,
) {
    guarded(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(case(Tokio { handle: runtime.handle().clone(), wire }));
    });
}

fn local<Fut: Future<Output = ()>>(_: Wire, case: impl FnOnce(Local) -> Fut + Send + 'static) {
    guarded(move || {
        let executor = Rc::new(LocalExecutor::new());
        let case = case(Local(Rc::clone(&executor)));
        async_io::block_on(executor.run(case));
    });
}

macro_rules! suite {
    ($($module:ident: $run:ident, $wire:ident;)*) => {
        $(mod $module {
            use super::Wire::$wire;

            #[test]
            fn publishes_and_receives() {
                super::$run($wire, super::publishes_and_receives);
            }

            #[test]
            fn goes_on_after_a_cut() {
                super::$run($wire, super::goes_on_after_a_cut);
            }

            #[test]
            fn drains_and_disconnects() {
                super::$run($wire, super::drains_and_disconnects);
            }

            #[test]
            fn everything_resolves_when_the_driver_is_dropped() {
                super::$run($wire, super::everything_resolves_when_the_driver_is_dropped);
            }

            #[test]
            fn the_last_handle_disconnects() {
                super::$run($wire, super::the_last_handle_disconnects);
            }

            #[test]
            fn one_task_receives_and_publishes() {
                super::$run($wire, super::one_task_receives_and_publishes);
            }

            #[test]
            fn carries_much() {
                super::$run($wire, super::carries_much);
            }

            #[test]
            fn bad_servers_are_told_apart() {
                super::$run($wire, super::bad_servers_are_told_apart);
            }
        })*
    };
}

suite! {
    smol_pipe: smol, Pipe;
    smol_tcp: smol, Tcp;
    async_std_pipe: async_std, Pipe;
    async_std_tcp: async_std, Tcp;
    tokio_threads_pipe: tokio_threads, Pipe;
    tokio_threads_tcp: tokio_threads, Tcp;
    tokio_current_pipe: tokio_current, Pipe;
    tokio_current_tcp: tokio_current, Tcp;
    not_send_pipe: local, Pipe;
}

#[cfg(unix)]
suite! {
    smol_unix: smol, Unix;
    tokio_threads_unix: tokio_threads, Unix;
}

fn quick(mut config: Config) -> Config {
    if let Some(backoff) = &mut config.reconnect {
        backoff.first = Duration::from_millis(5);
        backoff.max = Duration::from_millis(20);
    }
    config
}

async fn text(messages: &mut Messages) -> String {
    String::from_utf8(messages.next().await.unwrap().payload().to_vec()).unwrap()
}

async fn publishes_and_receives(env: impl Env) {
    for version in VERSIONS {
        let server = Server::new();
        let (client, task) = env.start(config(version), &server);
        let mut messages = client.messages();
        assert!(!client.connected().await.unwrap().resumed);
        let granted = client.subscribe("a/+", QoS::ExactlyOnce).unwrap().await.unwrap();
        assert_eq!(granted.reasons, [ReasonCode::GRANTED_QOS_2]);
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let token = client.publish("a/b", format!("{qos}"), qos).unwrap();
            assert_eq!(token.await.unwrap().reason, ReasonCode::SUCCESS);
            let message = messages.next().await.unwrap();
            assert_eq!((message.topic(), message.qos()), ("a/b", qos));
            assert_eq!(message.payload(), format!("{qos}"));
        }
        client.unsubscribe("a/+").unwrap().await.unwrap();
        server.wait(3, |seen| matches!(seen, Seen::Acked(_))).await;
        client.disconnect().await.unwrap();
        task.await.unwrap();
        assert!(messages.next().await.is_none());
        server.wait(1, |seen| *seen == Seen::Closed { politely: true }).await;
    }
}

async fn goes_on_after_a_cut(env: impl Env) {
    for version in PRESENT {
        let server = Server::new();
        let (client, _task) = env.start(quick(lasting(version)), &server);
        let mut messages = client.messages();
        client.subscribe("t", QoS::ExactlyOnce).unwrap().await.unwrap();
        server.script(|script| script.cut_on_publish = 1);
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            client.publish("t", "over", qos).unwrap().await.unwrap();
        }
        // QoS 1 may come twice.
        let mut got = vec![text(&mut messages).await];
        while got.len() < 2 {
            got.push(text(&mut messages).await);
        }
        server.script(|script| script.forget = true);
        server.cut();
        server.wait(2, |seen| matches!(seen, Seen::Subscribe(_))).await;
        client.publish("t", "anew", QoS::ExactlyOnce).unwrap().await.unwrap();
        while text(&mut messages).await != "anew" {}
        assert!(client.status().connections >= 3);
        client.disconnect().await.unwrap();
    }
}

async fn drains_and_disconnects(env: impl Env) {
    let server = Server::new();
    server.script(|script| script.hold_acks = true);
    let (client, task) = env.start(config(Version::V5), &server);
    let tokens: Vec<_> =
        (0..10).map(|_| client.publish("t", "x", QoS::AtLeastOnce).unwrap()).collect();
    let drained = client.drain();
    server.wait(10, |seen| matches!(seen, Seen::Publish { .. })).await;
    server.script(|script| script.hold_acks = false);
    for token in tokens {
        token.await.unwrap();
    }
    drained.await.unwrap();
    task.await.unwrap();
    server.wait(1, |seen| *seen == Seen::Closed { politely: true }).await;
}

async fn everything_resolves_when_the_driver_is_dropped(env: impl Env) {
    let server = Server::new();
    server.script(|script| script.hold_acks = true);
    let (client, task) = env.start(config(Version::V5), &server);
    let token = client.publish("t", "x", QoS::AtLeastOnce).unwrap();
    server.wait(1, |seen| matches!(seen, Seen::Publish { .. })).await;
    task.abort();
    assert!(matches!(token.await, Err(TokenError::DriverGone)));
    assert!(client.messages().next().await.is_none());
    assert!(client.disconnect().await.is_err());
    server.wait(1, |seen| *seen == Seen::Closed { politely: false }).await;
}

async fn the_last_handle_disconnects(env: impl Env) {
    let server = Server::new();
    let (client, task) = env.start(config(Version::V311), &server);
    drop(client.publish("t", "last", QoS::AtMostOnce).unwrap());
    drop(client);
    task.await.unwrap();
    server.wait(1, |seen| *seen == Seen::Closed { politely: true }).await;
    assert_eq!(server.count(|seen| matches!(seen, Seen::Publish { .. })), 1);
}

// class: 41
async fn one_task_receives_and_publishes(env: impl Env) {
    for version in VERSIONS {
        let mut config = config(version);
        config.inbound.messages = 1;
        config.session.bounds.messages = 1;
        let server = Server::new();
        let (client, _task) = env.start(config, &server);
        let mut messages = client.messages();
        client.subscribe("in", QoS::ExactlyOnce).unwrap().await.unwrap();
        for number in 0..50 {
            let topic = mqtt_async::TopicName::new("in").unwrap();
            let publish = mqtt_async::Publish::new(topic, format!("{number}"));
            server.script(|script| script.push.push_back(publish.qos(QoS::ExactlyOnce)));
        }
        for number in 0..50 {
            assert_eq!(text(&mut messages).await, format!("{number}"));
            client.ready().await.unwrap();
            client.publish("out", "answer", QoS::ExactlyOnce).unwrap().await.unwrap();
        }
    }
}

async fn carries_much(env: impl Env) {
    let server = Server::new();
    let (client, task) = env.start(config(Version::V5), &server);
    let mut messages = client.messages();
    client.subscribe("#", QoS::AtLeastOnce).unwrap().await.unwrap();
    for number in 0..200 {
        let size = if number % 20 == 0 { 100_000 } else { number };
        let payload = vec![number as u8; size];
        drop(client.publish("much", payload, QoS::AtLeastOnce).unwrap());
    }
    for number in 0..200 {
        let size = if number % 20 == 0 { 100_000 } else { number };
        let message = messages.next().await.unwrap();
        assert_eq!(message.payload(), vec![number as u8; size], "{number}");
    }
    client.drain().await.unwrap();
    task.await.unwrap();
}

async fn bad_servers_are_told_apart(env: impl Env) {
    let refuse = Greeting::Refuse(ReasonCode::BAD_USER_NAME_OR_PASSWORD);
    for greeting in [refuse, Greeting::Http, Greeting::Nothing] {
        let server = Server::new();
        server.script(|script| script.greeting = greeting.clone());
        let mut config = config(Version::V311);
        config.reconnect = None;
        let (client, task) = env.start(config, &server);
        let connected = client.connected().await;
        assert!(matches!(connected, Err(TokenError::Ended(_))), "{connected:?}");
        let error = task.await.unwrap_err();
        let fits = match greeting {
            Greeting::Refuse(reason) => error.reason() == Some(reason) && error.is_auth(),
            Greeting::Http => matches!(error, Error::NotMqtt(_)),
            _ => matches!(error, Error::Eof { .. } | Error::Io(_)),
        };
        assert!(fits, "{greeting:?}: {error:?}");
    }
}

/// Runs a driver that cannot connect, on both connectors; returns their errors.
fn fails(host: &str, port: u16) -> [Error; 2] {
    let mut config = config(Version::V5);
    config.reconnect = None;
    let (_client, driver) = Client::new(config.clone(), Tcp::new(host, port));
    let first = async_io::block_on(driver).unwrap_err();
    let connector = TokioTcp::new(host, port);
    let (_client, driver) = Client::with_timer(config, connector, TokioTimer::new());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    [first, runtime.block_on(driver).unwrap_err()]
}

#[test]
fn a_refused_port() {
    guarded(|| {
        // Bound and let go: nobody listens there.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        for error in fails("127.0.0.1", port) {
            let Error::Connect(source) = &error else { panic!("{error:?}") };
            assert_eq!(source.kind(), io::ErrorKind::ConnectionRefused);
            assert!(error.is_retryable());
            assert!(std::error::Error::source(&error).is_some());
        }
    });
}

#[test]
fn a_wrong_host() {
    guarded(|| {
        // Reserved by RFC 2606 never to exist.
        for error in fails("no-such-host.invalid", 1883) {
            assert!(matches!(error, Error::Connect(_)), "{error:?}");
        }
    });
}

#[test]
fn the_tcp_connector_ends_its_direction_and_reads_on() {
    guarded(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        async_io::block_on(async {
            use futures_lite::{AsyncReadExt, AsyncWriteExt};
            let mut stream = Tcp::new("localhost", port).connect(&Progress::default());
            let mut stream = (&mut stream).await.unwrap();
            assert!(stream.get_ref().nodelay().unwrap());
            let (mut other, _): (TcpStream, _) = listener.accept().unwrap();
            stream.close().await.unwrap();
            let mut rest = Vec::new();
            io::Read::read_to_end(&mut other, &mut rest).unwrap();
            io::Write::write_all(&mut other, b"late").unwrap();
            drop(other);
            stream.read_to_end(&mut rest).await.unwrap();
            assert_eq!(rest, b"late");
        });
    });
}

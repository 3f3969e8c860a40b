//! A client with a layer around its transport, over pipes, against a server with the same layer.

use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_executor::Executor;
use futures_io::{AsyncRead, AsyncWrite};
use mqtt_async::{Address, Client, Connector, Progress, QoS};

use super::bench::{VERSIONS, lasting};
use super::pipe::{Pipe, Shape, pipe};
use super::runtime::guarded;
use super::server::{Seen, Server};

type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Makes pipes, and has their other ends served.
#[derive(Clone)]
pub struct Dial {
    address: Option<Address>,
    shape: Shape,
    serve: Arc<Mutex<dyn FnMut(Pipe) -> Serving + Send>>,
    executor: Arc<Executor<'static>>,
}

impl Dial {
    /// A connector to that address, if any: the function is what serves it.
    pub fn new<Fut>(
        address: Option<Address>,
        shape: Shape,
        mut serve: impl FnMut(Pipe) -> Fut + Send + 'static,
    ) -> Dial
    where
        Fut: Future<Output = ()> + Send + 'static,
    {
        let serve = Arc::new(Mutex::new(move |pipe| Box::pin(serve(pipe)) as Serving));
        Dial { address, shape, serve, executor: Arc::default() }
    }

    /// Connects with a layer around this, and lets something be done with the transport.
    pub fn connect<C: Connector, T>(
        &self,
        connector: &mut C,
        progress: &Progress,
        then: impl AsyncFnOnce(C::Io) -> T,
    ) -> io::Result<T> {
        let connecting = connector.connect(progress);
        let work = self.executor.run(async { Ok(then(connecting.await?).await) });
        async_io::block_on(futures_lite::future::or(work, async {
            async_io::Timer::after(Duration::from_secs(30)).await;
            panic!("the test hangs")
        }))
    }
}

impl Connector for Dial {
    type Io = Pipe;
    type Connecting = Ready<io::Result<Pipe>>;

    fn connect(&mut self, _: &Progress) -> Self::Connecting {
        let (ours, theirs) = pipe(self.shape);
        let serving = (self.serve.lock().unwrap())(theirs);
        self.executor.spawn(serving).detach();
        ready(Ok(ours))
    }

    fn select(&mut self, server: &str) -> io::Result<()> {
        self.address = Some(Address::new(server, 1883));
        Ok(())
    }

    fn address(&mut self) -> Option<Address> {
        self.address.clone()
    }
}

/// What has to work over any layer, whatever the transport takes and gives at once, but that many bytes:
/// messages of all sizes in both directions, a reconnect in the middle, and an end in order.
pub fn exercise<C, Io, Fut>(
    host: &str,
    least: usize,
    layer: impl Fn(Dial) -> C + Clone + Send + 'static,
    accept: impl Fn(Pipe) -> Fut + Clone + Send + 'static,
) where
    C: Connector<Io: Send + 'static, Connecting: Send + 'static> + Send + 'static,
    Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    Fut: Future<Output = Io> + Send + 'static,
{
    // A handshake in which both sides speak at once needs some room on the way, as TCP has it.
    let shapes = [(4096, least), (4096, least + 6), (64 * 1024, usize::MAX)];
    for (version, (capacity, chunk)) in
        VERSIONS.into_iter().flat_map(|version| shapes.map(|shape| (version, shape)))
    {
        let (layer, accept) = (layer.clone(), accept.clone());
        let address = Address::new(host, 1883);
        guarded(move || {
            let server = Server::new();
            let served = server.clone();
            let dial = Dial::new(Some(address), Shape { capacity, chunk }, move |pipe| {
                let (accepting, server) = (accept(pipe), served.clone());
                async move { server.serve(accepting.await).await }
            });
            let executor = Arc::clone(&dial.executor);
            let mut config = lasting(version);
            let mut backoff = mqtt_async::Backoff::default();
            (backoff.first, backoff.max) = (Duration::from_millis(1), Duration::from_millis(5));
            // Whoever never gets there fails, instead of trying on.
            backoff.attempts = Some(20);
            config.reconnect = Some(backoff);
            let largest = if chunk < 1000 { 3_000 } else { 300_000 };
            let (client, driver) = Client::new(config, layer(dial));
            let driver = executor.spawn(driver);
            async_io::block_on(executor.run(async move {
                talk(&client, &server, largest).await;
                client.disconnect().await.unwrap();
                driver.await.unwrap();
                server.wait(1, |seen| *seen == Seen::Closed { politely: true }).await;
            }));
        });
    }
}

async fn talk(client: &Client, server: &Server, largest: usize) {
    let mut messages = client.messages();
    client.subscribe("t", QoS::ExactlyOnce).unwrap().await.unwrap();
    for round in 0..3u8 {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            for size in [0, 1, 100, largest] {
                let payload = vec![round; size];
                client.publish("t", payload.clone(), qos).unwrap().await.unwrap();
                let message = messages.next().await.unwrap();
                assert_eq!((message.qos(), message.payload().len()), (qos, size));
                assert_eq!(message.payload(), payload);
            }
        }
        server.cut();
        server.wait(usize::from(round) + 1, |seen| matches!(seen, Seen::Closed { .. })).await;
        client.connected().await.unwrap();
    }
    // Many at once, which share what a layer puts them in.
    for number in 0..100 {
        let payload = format!("{number}");
        drop(client.publish("t", payload, QoS::AtLeastOnce).unwrap());
    }
    for number in 0..100 {
        assert_eq!(messages.next().await.unwrap().payload(), format!("{number}"));
    }
}

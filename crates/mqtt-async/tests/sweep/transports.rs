//! The futures of the connectors that there are, dropped after any number of polls: what they had begun is closed,
//! nobody keeps the task, and the next one works.

use std::future::Future;
use std::io::{self, Read};
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_tungstenite::WebSocketStream;
use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::{AsyncReadExt, AsyncWriteExt, StreamExt, future};
use futures_rustls::{TlsAcceptor, server};
use mqtt_async::rustls::pki_types::pem::PemObject;
use mqtt_async::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use mqtt_async::rustls::{ClientConfig, ServerConfig, crypto::ring};
use mqtt_async::{
    Address, Connector, Progress, Proxied, Proxy, Tcp, Tls, TlsConfig, TokioTcp, WebSocket,
};

use crate::certificates::{Authority, Valid};
use crate::common::bench::Flag;
use crate::common::pipe::{Pipe, Shape, pipe};
use crate::common::runtime::guarded;
use crate::common::served::{Requests, try_accept};

/// Handshakes take many polls.
const NARROW: Shape = Shape { capacity: 20, chunk: 7 };
/// The same, where both sides speak at once: that needs some room on the way, as TCP has it.
const ROOMY: Shape = Shape { capacity: 4096, chunk: 7 };

const HOST: &str = "localhost";

// ---- layers ----

type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Connects after a while, over a pipe whose other end is served.
struct Inner {
    shape: Shape,
    serve: fn(Pipe) -> Serving,
    serving: Arc<Mutex<Vec<Serving>>>,
}

impl Connector for Inner {
    type Io = Pipe;
    type Connecting = Pin<Box<dyn Future<Output = io::Result<Pipe>> + Send>>;

    fn connect(&mut self, _: &Progress) -> Self::Connecting {
        let (shape, serve, serving) = (self.shape, self.serve, Arc::clone(&self.serving));
        Box::pin(async move {
            future::yield_now().await;
            let (ours, theirs) = pipe(shape);
            serving.lock().unwrap().push(serve(theirs));
            Ok(ours)
        })
    }

    fn address(&mut self) -> Option<Address> {
        Some(Address::new(HOST, 8883))
    }
}

/// A future that is polled so often at most, and dropped then: returns whether it was resolved by then.
fn dropped<C: Connector>(connector: &mut C, polls: usize, mut between: impl FnMut()) -> bool {
    let flag = Arc::new(Flag::default());
    let waker = Waker::from(Arc::clone(&flag));
    let mut connecting = Box::pin(connector.connect(&Progress::default()));
    let resolved = (0..polls).any(|_| {
        between();
        match connecting.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(result) => {
                result.map(drop).unwrap();
                true
            }
            Poll::Pending => false,
        }
    });
    drop((connecting, waker));
    // A reactor may still be about to wake it.
    while Arc::strong_count(&flag) > 1 {
        between();
        std::thread::yield_now();
    }
    resolved
}

fn sweep<C: Connector>(shape: Shape, serve: fn(Pipe) -> Serving, layer: impl Fn(Inner) -> C) {
    let serving: Arc<Mutex<Vec<Serving>>> = Arc::default();
    let mut connector = layer(Inner { shape, serve, serving: Arc::clone(&serving) });
    let go_on = || {
        let cx = &mut Context::from_waker(Waker::noop());
        serving.lock().unwrap().retain_mut(|serving| serving.as_mut().poll(cx).is_pending());
    };
    let resolved = (0..1000).find(|polls| {
        let resolved = dropped(&mut connector, *polls, go_on);
        // The server sees the end of what was begun.
        while !serving.lock().unwrap().is_empty() {
            go_on();
        }
        resolved
    });
    let polls = resolved.expect("it works after any number that were dropped");
    assert!(polls >= 4, "resolved by poll {polls}");
}

/// What is behind the handshakes: nothing is said, and the end is waited for.
fn to_the_end<Io>(accepting: impl Future<Output = Option<Io>> + Send + 'static) -> Serving
where
    Io: AsyncRead + Unpin + Send,
{
    Box::pin(async {
        if let Some(mut io) = accepting.await {
            let _ = io.read_to_end(&mut Vec::new()).await;
        }
    })
}

async fn http(mut pipe: Pipe) -> Option<Pipe> {
    let (mut asked, mut byte) = (Vec::new(), [0]);
    while !asked.ends_with(b"\r\n\r\n") {
        pipe.read_exact(&mut byte).await.ok()?;
        asked.extend(byte);
    }
    pipe.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.ok()?;
    Some(pipe)
}

async fn socks(mut pipe: Pipe) -> Option<Pipe> {
    pipe.read_exact(&mut [0; 3]).await.ok()?;
    pipe.write_all(&[5, 0]).await.ok()?;
    pipe.read_exact(&mut [0; 4 + 1 + HOST.len() + 2]).await.ok()?;
    pipe.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.ok()?;
    Some(pipe)
}

async fn tls<Io: AsyncRead + AsyncWrite + Unpin>(io: Io) -> Option<server::TlsStream<Io>> {
    TlsAcceptor::from(Arc::clone(&CONFIGS.1)).accept(io).await.ok()
}

/// The client's configuration and the server's.
static CONFIGS: LazyLock<(Arc<ClientConfig>, Arc<ServerConfig>)> = LazyLock::new(|| {
    let authority = Authority::new("ours");
    let identity = authority.sign(&[HOST], HOST, Valid::Now);
    let client = TlsConfig::own_roots().ca(authority.certificate.as_bytes()).unwrap();
    let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key);
    (client.build().unwrap(), Arc::new(server.unwrap()))
});

async fn websocket<Io: AsyncRead + AsyncWrite + Unpin>(io: Io) {
    let accepted: Option<WebSocketStream<Io>> = try_accept(io, Requests::default()).await.ok();
    if let Some(mut ws) = accepted {
        while let Some(Ok(_)) = ws.next().await {}
    }
}

fn through(proxy: Proxy) -> impl Fn(Inner) -> Proxied<Inner> {
    move |inner| Proxied::new(inner, proxy.clone(), Address::new(HOST, 1883))
}

// class: 40
#[test]
fn that_of_a_proxy() {
    guarded(|| {
        sweep(NARROW, |pipe| to_the_end(http(pipe)), through(Proxy::http("proxy", 3128)));
        sweep(NARROW, |pipe| to_the_end(socks(pipe)), through(Proxy::socks5("proxy", 1080)));
    });
}

// class: 40
#[test]
fn that_of_tls() {
    guarded(|| {
        sweep(NARROW, |pipe| to_the_end(tls(pipe)), |inner| Tls::new(inner, CONFIGS.0.clone()))
    });
}

// class: 40
#[test]
fn that_of_websocket() {
    guarded(|| {
        let edited = |inner| {
            WebSocket::new(inner).edit_request(async |request| {
                future::yield_now().await;
                Ok(request)
            })
        };
        sweep(NARROW, |pipe| Box::pin(websocket(pipe)), edited);
    });
}

// class: 40
#[test]
fn that_of_all_layers_together() {
    guarded(|| {
        let serve = |pipe: Pipe| -> Serving {
            Box::pin(async {
                let Some(pipe) = http(pipe).await else { return };
                let Some(io) = tls(pipe).await else { return };
                websocket(io).await;
            })
        };
        let proxied = through(Proxy::http("proxy", 3128));
        sweep(ROOMY, serve, |inner| WebSocket::new(Tls::new(proxied(inner), CONFIGS.0.clone())));
    });
}

// ---- sockets ----

/// `accept` takes what has come to the listener, until there is no more.
fn sweep_sockets<C: Connector, S: Read>(mut connector: C, accept: impl Fn() -> Option<S>) {
    for polls in 0..10 {
        dropped(&mut connector, polls, std::thread::yield_now);
    }
    // What was given up is closed: else this would wait for ever.
    while let Some(mut stream) = accept() {
        let mut rest = Vec::new();
        assert!(stream.read_to_end(&mut rest).is_err() || rest.is_empty());
    }
    // It works as on the first day.
    let kept = future::block_on(connector.connect(&Progress::default())).unwrap();
    assert!(accept().is_some());
    drop(kept);
}

fn sweep_tcp<C: Connector>(connect: impl Fn(u16) -> C) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let connector = connect(listener.local_addr().unwrap().port());
    sweep_sockets(connector, || {
        let (stream, _) = listener.accept().ok()?;
        stream.set_nonblocking(false).unwrap();
        Some(stream)
    });
}

#[cfg(unix)]
fn sweep_unix<C: Connector>(name: &str, connect: impl Fn(std::path::PathBuf) -> C) {
    let name = format!("mqtt-async-sweep-{name}-{}.sock", std::process::id());
    let path = std::env::temp_dir().join(name);
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    listener.set_nonblocking(true).unwrap();
    sweep_sockets(connect(path.clone()), || {
        let (stream, _) = listener.accept().ok()?;
        stream.set_nonblocking(false).unwrap();
        Some(stream)
    });
    std::fs::remove_file(path).unwrap();
}

// class: 40
#[test]
fn that_of_a_socket() {
    guarded(|| {
        sweep_tcp(|port| Tcp::new("127.0.0.1", port));
        // Its thread for the name ends when it has it.
        sweep_tcp(|port| Tcp::new(HOST, port));
        #[cfg(unix)]
        sweep_unix("async-io", mqtt_async::Unix::new);
    });
}

// class: 40
#[test]
fn that_of_a_socket_of_tokio() {
    guarded(|| {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
        let entered = runtime.enter();
        sweep_tcp(|port| TokioTcp::new("127.0.0.1", port));
        sweep_tcp(|port| TokioTcp::new(HOST, port));
        #[cfg(unix)]
        sweep_unix("tokio", mqtt_async::TokioUnix::new);
        assert_eq!(runtime.metrics().num_alive_tasks(), 0);
        drop(entered);
        runtime.shutdown_timeout(Duration::from_secs(30));
    });
}

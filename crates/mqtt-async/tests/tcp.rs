//! What is set on TCP sockets, and which address of a host is taken, on both runtimes.
#![cfg(all(feature = "async-io", feature = "tokio"))]

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mqtt_async::{AddressErrors, Connector, Progress, Tcp, TcpOptions, TokioTcp};
use socket2::SockRef;

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What was seen of a connection: where it came from, and two options.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    from: IpAddr,
    nodelay: bool,
    keepalive: Option<Duration>,
}

/// Connects on both runtimes, and tells what both saw alike.
fn connect(host: &str, port: u16, options: &TcpOptions) -> io::Result<Seen> {
    let progress = Progress::default();
    let mut tcp = Tcp::new(host, port).options(options.clone());
    let one = async_io::block_on(tcp.connect(&progress));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut tcp = TokioTcp::new(host, port).options(options.clone());
    let other = runtime.block_on(async { tcp.connect(&progress).await });
    match (one, other) {
        (Ok(one), Ok(other)) => {
            let one = seen(SockRef::from(one.get_ref()));
            assert_eq!(one, seen(SockRef::from(other.get_ref())));
            Ok(one)
        }
        (Err(one), Err(other)) => {
            assert_eq!(one.to_string(), other.to_string());
            Err(one)
        }
        both => panic!("{both:?}"),
    }
}

fn seen(socket: SockRef<'_>) -> Seen {
    let from = socket.local_addr().unwrap().as_socket().unwrap().ip();
    let alive = socket.keepalive().unwrap();
    let keepalive = alive.then(|| socket.tcp_keepalive_time().unwrap());
    Seen { from, nodelay: socket.tcp_nodelay().unwrap(), keepalive }
}

fn listen(address: &str) -> (TcpListener, u16) {
    let listener = TcpListener::bind(address).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

#[test]
fn nothing_but_nodelay_is_set_unless_asked_for() {
    let (_listener, port) = listen("127.0.0.1:0");
    let plain = Seen { from: LOCALHOST, nodelay: true, keepalive: None };
    assert_eq!(connect("127.0.0.1", port, &TcpOptions::new()).unwrap(), plain);
    let late = TcpOptions::default().nodelay(false).keepalive(Duration::from_secs(77));
    let expected = Seen { nodelay: false, keepalive: Some(Duration::from_secs(77)), ..plain };
    assert_eq!(connect("127.0.0.1", port, &late).unwrap(), expected);
}

// Linux has all of 127.0.0.0/8, and a device by that name.
#[cfg(target_os = "linux")]
#[test]
fn a_socket_comes_from_the_address_and_the_device_that_it_is_bound_to() {
    let (_listener, port) = listen("127.0.0.1:0");
    let local: SocketAddr = "127.0.0.9:0".parse().unwrap();
    let bound = TcpOptions::new().bind(local);
    assert_eq!(connect("127.0.0.1", port, &bound).unwrap().from, local.ip());
    // The other family cannot be reached from there.
    let error = connect("::1", port, &bound).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    connect("127.0.0.1", port, &TcpOptions::new().bind_device("lo")).unwrap();
    let error = connect("127.0.0.1", port, &TcpOptions::new().bind_device("nil9")).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(19), "{error}");
}

#[test]
fn a_hook_sees_each_socket_before_it_connects() {
    let (_listener, port) = listen("127.0.0.1:0");
    let told = Arc::new(Mutex::new(Vec::new()));
    let telling = Arc::clone(&told);
    let hooked = TcpOptions::new().configure(move |socket, address| {
        assert!(socket.peer_addr().is_err());
        telling.lock().unwrap().push(address);
        socket.set_nodelay(false)
    });
    assert!(!connect("127.0.0.1", port, &hooked).unwrap().nodelay);
    assert_eq!(*told.lock().unwrap(), [SocketAddr::new(LOCALHOST, port); 2]);
    let refusing = TcpOptions::new().configure(|_, _| Err(io::Error::other("not this one")));
    let error = connect("127.0.0.1", port, &refusing).unwrap_err();
    assert_eq!(error.to_string(), "not this one");
}

#[test]
fn a_port_where_nobody_listens_is_refused() {
    let (listener, port) = listen("127.0.0.1:0");
    drop(listener);
    let error = connect("127.0.0.1", port, &TcpOptions::new()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}

/// `localhost` has mostly two addresses, of which one listens.
#[test]
fn each_address_of_a_host_is_tried() {
    for local in ["127.0.0.1:0", "[::1]:0"] {
        // Not every machine has IPv6.
        let Ok(listener) = TcpListener::bind(local) else { continue };
        let address = listener.local_addr().unwrap();
        let all: Vec<_> = ("localhost", address.port()).to_socket_addrs().unwrap().collect();
        if !all.contains(&address) {
            continue;
        }
        let seen = connect("localhost", address.port(), &TcpOptions::new()).unwrap();
        assert_eq!(seen.from, address.ip());
        drop(listener);
        let error = connect("localhost", address.port(), &TcpOptions::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let errors = error.get_ref().and_then(|inner| inner.downcast_ref::<AddressErrors>());
        assert_eq!(errors.map_or(1, |errors| errors.errors().len()), all.len());
    }
}

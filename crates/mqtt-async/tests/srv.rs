//! SRV records: what is asked, what name servers answer, and where that leads.
#![cfg(all(feature = "async-io", feature = "srv", feature = "tokio"))]

mod common;

use std::future::{Future, pending, ready};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use common::layers::{Dial, exercise};
use common::pipe::{Pipe, Shape, pipe};
use mqtt_async::{Address, ConnectStage, Connector, Progress, Srv, SrvError, Tcp, TokioTcp};
use simple_dns::rdata::{RData, SRV};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord, TYPE};

// ---- a name server ----

/// A name server on loopback, and what it was asked for.
struct NameServer {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

/// What it sends to a query, over UDP or TCP.
type Answers = Box<dyn FnMut(&Packet<'_>, bool) -> Vec<Vec<u8>> + Send>;

impl NameServer {
    fn new(answers: impl FnMut(&Packet<'_>, bool) -> Vec<Vec<u8>> + Send + 'static) -> NameServer {
        let answers: Arc<Mutex<Answers>> = Arc::new(Mutex::new(Box::new(answers)));
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            // Somebody else may have that port of TCP.
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (noted, answering) = (Arc::clone(&asked), Arc::clone(&answers));
        std::thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok((length, from)) = udp.recv_from(&mut buffer) {
                let query = Packet::parse(&buffer[..length]).unwrap();
                assert_eq!(query.questions[0].qtype, QTYPE::TYPE(TYPE::SRV));
                assert!(query.has_flags(PacketFlag::RECURSION_DESIRED));
                noted.lock().unwrap().push(query.questions[0].qname.to_string());
                for answer in (answering.lock().unwrap())(&query, false) {
                    udp.send_to(&answer, from).unwrap();
                }
            }
        });
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = tcp.accept() {
                let mut length = [0; 2];
                stream.read_exact(&mut length).unwrap();
                let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut query).unwrap();
                let query = Packet::parse(&query).unwrap();
                for answer in (answers.lock().unwrap())(&query, true) {
                    let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
                    stream.write_all(&[&length, &*answer].concat()).unwrap();
                }
            }
        });
        NameServer { address, asked }
    }

    /// One that has these records: priority, target, and port.
    fn with(records: &[(u16, &'static str, u16)]) -> NameServer {
        let records = records.to_vec();
        NameServer::new(move |query, _| vec![reply(query, &records).build_bytes_vec().unwrap()])
    }

    /// One that answers nothing but this code.
    fn saying(code: RCODE) -> NameServer {
        NameServer::new(move |query, _| {
            let mut reply = reply(query, &[]);
            *reply.rcode_mut() = code;
            vec![reply.build_bytes_vec().unwrap()]
        })
    }
}

fn reply<'a>(query: &Packet<'a>, records: &[(u16, &'static str, u16)]) -> Packet<'a> {
    let mut reply = Packet::new_reply(query.id());
    reply.questions = query.questions.clone();
    for (priority, target, port) in records {
        let target = Name::new(target).unwrap();
        let srv = SRV { priority: *priority, weight: 0, port: *port, target };
        let name = query.questions[0].qname.clone();
        reply.answers.push(ResourceRecord::new(name, CLASS::IN, 60, RData::SRV(srv)));
    }
    reply
}

/// Connects from `localhost` as the domain, on both runtimes; tells to which port both did.
fn connect(port: u16, nameservers: &[SocketAddr]) -> io::Result<u16> {
    let servers = nameservers.iter().copied();
    let progress = Progress::default();
    let mut srv = Srv::mqtt(Tcp::new("localhost", port)).nameservers(servers.clone());
    let one = async_io::block_on(srv.connect(&progress));
    assert_eq!(srv.address(), Some(Address::new("localhost", port)), "what TLS checks");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut srv = Srv::mqtt(TokioTcp::new("localhost", port)).nameservers(servers);
    let other = runtime.block_on(async { srv.connect(&progress).await });
    match (one, other) {
        (Ok(one), Ok(other)) => {
            let port = one.get_ref().peer_addr().unwrap().port();
            assert_eq!(other.get_ref().peer_addr().unwrap().port(), port);
            Ok(port)
        }
        (Err(one), Err(other)) => {
            assert_eq!(one.to_string(), other.to_string());
            Err(one)
        }
        both => panic!("{both:?}"),
    }
}

#[track_caller]
fn inner(error: &io::Error) -> &SrvError {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<SrvError>());
    inner.unwrap_or_else(|| panic!("{error:?}"))
}

fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// A port at which nobody listens.
fn nobody() -> u16 {
    listen().1
}

// ---- where it leads ----

#[test]
fn the_records_say_where_the_servers_are() {
    let ((_one, first), (_other, second)) = (listen(), listen());
    let records = [(2, "localhost", second), (1, "localhost", first)];
    let server = NameServer::with(&records);
    assert_eq!(connect(1, &[server.address]).unwrap(), first);
    assert_eq!(*server.asked.lock().unwrap(), ["_mqtt._tcp.localhost"; 2]);
    // One that cannot be reached makes way for the next.
    let records = [(1, "localhost", nobody()), (2, "a b", 1), (3, "127.0.0.1", second)];
    let server = NameServer::with(&records);
    assert_eq!(connect(1, &[server.address]).unwrap(), second);
}

#[test]
fn a_domain_without_records_is_a_server() {
    let (_listener, port) = listen();
    for code in [RCODE::NoError, RCODE::NameError] {
        let server = NameServer::saying(code);
        assert_eq!(connect(port, &[server.address]).unwrap(), port);
    }
}

#[test]
fn a_domain_may_say_that_it_offers_nothing() {
    let (_listener, port) = listen();
    let server = NameServer::with(&[(0, ".", 0)]);
    let error = connect(port, &[server.address]).unwrap_err();
    assert!(matches!(inner(&error), SrvError::NotOffered), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn servers_that_cannot_be_reached_are_named() {
    let (one, other) = (nobody(), nobody());
    let server = NameServer::with(&[(1, "127.0.0.1", one), (2, "127.0.0.1", other)]);
    let error = connect(1, &[server.address]).unwrap_err();
    let SrvError::Servers(errors) = inner(&error) else { panic!("{error:?}") };
    assert_eq!(errors.len(), 2);
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    for port in [one, other] {
        assert!(error.to_string().contains(&format!("127.0.0.1:{port}: ")), "{error}");
    }
    // Nonsense in the records is not the fault of the caller.
    let server = NameServer::with(&[(1, "a b", 1)]);
    assert_eq!(connect(1, &[server.address]).unwrap_err().kind(), ErrorKind::InvalidData);
}

// ---- name servers ----

#[test]
fn what_does_not_fit_comes_over_tcp() {
    let (_listener, port) = listen();
    let server = NameServer::new(move |query, over_tcp| {
        let mut reply = reply(query, &[(0, "localhost", port)]);
        if over_tcp {
            return vec![reply.build_bytes_vec().unwrap()];
        }
        reply.set_flags(PacketFlag::TRUNCATION);
        let mut bytes = reply.build_bytes_vec().unwrap();
        // In the middle of the record.
        bytes.truncate(bytes.len() - 3);
        vec![bytes]
    });
    assert_eq!(connect(1, &[server.address]).unwrap(), port);
}

#[test]
fn answers_to_other_questions_are_passed_over() {
    let (_listener, port) = listen();
    let server = NameServer::new(move |query, _| {
        let wrong = [(0, "localhost", 1)];
        let mut other_id = reply(query, &wrong);
        other_id.set_id(query.id().wrapping_add(1));
        let mut other_name = reply(query, &wrong);
        other_name.questions[0].qname = Name::new("_mqtt._tcp.example.com").unwrap();
        let mut no_reply = Packet::new_query(query.id());
        no_reply.questions = query.questions.clone();
        let right = reply(query, &[(0, "localhost", port)]);
        let all = [other_id, other_name, no_reply, right];
        let mut all: Vec<_> = all.iter().map(|it| it.build_bytes_vec().unwrap()).collect();
        all.insert(0, vec![1]);
        all
    });
    assert_eq!(connect(1, &[server.address]).unwrap(), port);
}

#[test]
fn a_name_server_that_fails_makes_way_for_the_next() {
    let (_listener, port) = listen();
    let closed = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let failing = NameServer::saying(RCODE::ServerFailure);
    let babbling = NameServer::new(|query, _| {
        // It claims a record that is not there.
        let mut bytes = reply(query, &[]).build_bytes_vec().unwrap();
        bytes[7] = 1;
        vec![bytes]
    });
    let good = NameServer::with(&[(0, "localhost", port)]);
    for bad in [closed, failing.address, babbling.address] {
        assert_eq!(connect(1, &[bad, good.address]).unwrap(), port);
    }
    let all = [closed, failing.address, babbling.address];
    // A fourth is not asked.
    let error = connect(1, &[all[0], all[1], all[2], good.address]).unwrap_err();
    let SrvError::Lookup(errors) = inner(&error) else { panic!("{error:?}") };
    let servers: Vec<_> = errors.iter().map(|(server, _)| *server).collect();
    assert_eq!(servers, all);
    assert!(error.to_string().contains("ServerFailure"), "{error}");
    assert_eq!(failing.asked.lock().unwrap().len(), 2 + 2 * 2, "twice where nobody answers");
}

#[test]
fn what_cannot_be_looked_up_is_told() {
    let server = NameServer::with(&[]);
    let look_up = |domain: &str, servers: &[SocketAddr]| {
        let mut srv = Srv::secure_mqtt(Tcp::new(domain, 1)).nameservers(servers.iter().copied());
        async_io::block_on(srv.connect(&Progress::default())).unwrap_err()
    };
    let error = look_up("localhost", &[]);
    assert!(matches!(inner(&error), SrvError::NoNameserver), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let error = look_up(&"x".repeat(64), &[server.address]);
    assert!(matches!(inner(&error), SrvError::Name(_)), "{error:?}");
    let closure = || ready(Ok(pipe(Shape::default()).0));
    let error = async_io::block_on(Srv::mqtt(closure).connect(&Progress::default())).unwrap_err();
    assert!(matches!(inner(&error), SrvError::NoDomain), "{error:?}");
    assert_eq!(*server.asked.lock().unwrap(), Vec::<String>::new());
}

// ---- the layer ----

/// Notes where it goes, and never gets there.
#[derive(Clone)]
struct Hole(Address, Arc<Mutex<Vec<String>>>);

impl Connector for Hole {
    type Io = Pipe;
    type Connecting = Pin<Box<dyn Future<Output = io::Result<Pipe>> + Send>>;

    fn connect(&mut self, progress: &Progress) -> Self::Connecting {
        progress.enter(ConnectStage::Connect);
        self.1.lock().unwrap().push(self.0.to_string());
        Box::pin(pending())
    }

    fn select(&mut self, server: &str) -> io::Result<()> {
        let (host, port) = server.split_once(':').ok_or(ErrorKind::Unsupported)?;
        self.0 = Address::new(host, port.parse().unwrap());
        Ok(())
    }

    fn address(&mut self) -> Option<Address> {
        Some(self.0.clone())
    }
}

/// Waits until an attempt has come to its server, and gives it up, as a driver does after a while.
fn give_up(srv: &mut Srv<Hole>) {
    let progress = Progress::default();
    let connecting = srv.connect(&progress);
    let there = std::future::poll_fn({
        let progress = progress.clone();
        move |cx| match progress.stage() {
            Some(ConnectStage::Connect) => std::task::Poll::Ready(()),
            _ => {
                cx.waker().wake_by_ref();
                std::task::Poll::Pending
            }
        }
    });
    async_io::block_on(futures_lite::future::or(async { drop(connecting.await) }, there));
}

#[test]
fn a_server_that_never_answers_does_not_have_every_attempt() {
    let server = NameServer::with(&[(1, "first", 1), (2, "second", 2)]);
    let log = Arc::new(Mutex::new(Vec::new()));
    let hole = Hole(Address::new("domain", 1883), Arc::clone(&log));
    let mut srv = Srv::mqtt(hole).nameservers([server.address]);
    for _ in 0..3 {
        give_up(&mut srv);
    }
    assert_eq!(*log.lock().unwrap(), ["first:1", "second:2", "first:1"]);
}

#[test]
fn what_is_selected_is_not_looked_up() {
    let server = NameServer::with(&[(1, "first", 1)]);
    let log = Arc::new(Mutex::new(Vec::new()));
    let hole = Hole(Address::new("domain", 1883), Arc::clone(&log));
    let mut srv = Srv::mqtt(hole).nameservers([server.address]);
    srv.select("other:7").unwrap();
    assert_eq!(srv.address(), Some(Address::new("other", 7)));
    give_up(&mut srv);
    srv.redirect("else:8").unwrap();
    give_up(&mut srv);
    assert!(srv.select("nonsense").is_err());
    let mut literal = srv.clone();
    literal.select("127.0.0.1:9").unwrap();
    give_up(&mut literal);
    // Nor is an IP address, whoever has named it.
    give_up(&mut literal);
    let nothing = server.asked.lock().unwrap().is_empty();
    assert!(nothing);
    give_up(&mut srv);
    let seen = log.lock().unwrap().clone();
    assert_eq!(seen, ["other:7", "else:8", "127.0.0.1:9", "127.0.0.1:9", "first:1"]);
}

#[test]
fn messages_pass_through() {
    let server = NameServer::with(&[(1, "first", 1)]);
    let nameserver = server.address;
    let layer = move |dial: Dial| Srv::mqtt(dial).nameservers([nameserver]);
    exercise("domain", 1, layer, ready);
    let asked = server.asked.lock().unwrap();
    assert!(asked.len() > 4 && asked.iter().all(|name| name == "_mqtt._tcp.domain"), "{asked:?}");
}

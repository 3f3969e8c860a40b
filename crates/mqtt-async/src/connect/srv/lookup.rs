//! Asking a name server for SRV records: RFC 1035 and RFC 2782. It blocks, in a thread of its own.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use simple_dns::rdata::RData;
use simple_dns::{
    CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE, header_buffer,
};

use super::SrvError;
use crate::connect::{Address, in_thread};
use crate::random::Random;

/// How long one name server has for an answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often each name server is asked: a datagram may get lost.
const ROUNDS: usize = 2;

/// How many name servers are asked; the C library takes no more either.
const NAMESERVERS: usize = 3;

/// How many servers of a domain are looked at.
const SERVERS: usize = 32;

/// What is asked, and whom.
pub(super) struct Lookup {
    pub(super) name: String,
    /// `None`: those of the system.
    pub(super) servers: Option<Vec<SocketAddr>>,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Record {
    priority: u16,
    weight: u16,
    server: Address,
}

/// What came back.
enum Reply {
    Records(Vec<Record>),
    /// It did not fit.
    Truncated,
    /// It is for another question.
    Stray,
}

impl Lookup {
    /// Returns the servers in the order to try them in, or `None` if the domain has no records.
    pub(super) async fn servers(self) -> io::Result<Option<Vec<Address>>> {
        let records = in_thread(move || Ok(self.ask()?)).await?;
        if records.is_empty() {
            return Ok(None);
        }
        let servers = order(records, &mut Random::new());
        // The root stands for: there is none.
        let servers: Vec<_> = servers.into_iter().filter(|it| !it.host().is_empty()).collect();
        if servers.is_empty() {
            return Err(SrvError::NotOffered.into());
        }
        Ok(Some(servers))
    }

    fn ask(&self) -> Result<Vec<Record>, SrvError> {
        let bad_name = |_| SrvError::Name(self.name.clone());
        let name = Name::new(&self.name).map_err(bad_name)?;
        let mut servers = self.servers.clone().unwrap_or_else(of_the_system);
        servers.truncate(NAMESERVERS);
        if servers.is_empty() {
            return Err(SrvError::NoNameserver);
        }
        let mut failed = Vec::new();
        for _ in 0..ROUNDS {
            failed.clear();
            for server in &servers {
                let query = Query::new(&name).map_err(bad_name)?;
                match query.ask(*server) {
                    Ok(records) => return Ok(records),
                    Err(error) => failed.push((*server, error)),
                }
            }
        }
        Err(SrvError::Lookup(failed.into()))
    }
}

/// Returns the name servers that the system has, as far as it says so in the way of Unix.
fn of_the_system() -> Vec<SocketAddr> {
    let text = std::fs::read("/etc/resolv.conf").unwrap_or_default();
    let (config, _) = resolv_conf::Config::parse_with_errors(&text);
    config.nameservers.iter().map(|server| SocketAddr::new(server.into(), 53)).collect()
}

struct Query<'a> {
    id: u16,
    name: &'a Name<'a>,
    bytes: Vec<u8>,
}

impl<'a> Query<'a> {
    fn new(name: &'a Name<'a>) -> Result<Query<'a>, simple_dns::SimpleDnsError> {
        // Who does not see it cannot answer in place of the name server.
        let id = (Random::new().next() >> 48) as u16;
        let mut packet = Packet::new_query(id);
        packet.set_flags(PacketFlag::RECURSION_DESIRED);
        let (of_type, class) = (QTYPE::TYPE(TYPE::SRV), QCLASS::CLASS(CLASS::IN));
        packet.questions.push(Question::new(name.clone(), of_type, class, false));
        Ok(Query { id, name, bytes: packet.build_bytes_vec()? })
    }

    fn ask(&self, server: SocketAddr) -> io::Result<Vec<Record>> {
        let deadline = Instant::now() + PATIENCE;
        let any: IpAddr = match server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0))?;
        // From then on, it takes datagrams of that server only.
        socket.connect(server)?;
        socket.send(&self.bytes)?;
        let mut buffer = [0; 4096];
        loop {
            socket.set_read_timeout(Some(left(deadline)?))?;
            let length = socket.recv(&mut buffer).map_err(too_late)?;
            match self.read(buffer.get(..length).unwrap_or_default())? {
                Reply::Records(records) => return Ok(records),
                Reply::Truncated => return self.ask_for_all(server),
                Reply::Stray => {}
            }
        }
    }

    /// Asks over TCP, where everything fits.
    fn ask_for_all(&self, server: SocketAddr) -> io::Result<Vec<Record>> {
        let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let length = u16::try_from(self.bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let query = [&length.to_be_bytes(), &*self.bytes].concat();
        stream.write_all(&query).map_err(too_late)?;
        let mut length = [0; 2];
        stream.read_exact(&mut length).map_err(too_late)?;
        let mut reply = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut reply).map_err(too_late)?;
        match self.read(&reply)? {
            Reply::Records(records) => Ok(records),
            Reply::Truncated | Reply::Stray => Err(malformed()),
        }
    }

    fn read(&self, bytes: &[u8]) -> io::Result<Reply> {
        if header_buffer::id(bytes).ok() != Some(self.id) {
            return Ok(Reply::Stray);
        }
        // One that was cut off cannot be read to its end.
        if header_buffer::has_flags(bytes, PacketFlag::TRUNCATION).unwrap_or_default() {
            return Ok(Reply::Truncated);
        }
        let packet = Packet::parse(bytes).map_err(|_| malformed())?;
        let asked = packet.questions.first().map(|question| question.qname.to_string());
        let asked = asked.unwrap_or_default();
        if !packet.has_flags(PacketFlag::RESPONSE)
            || !asked.eq_ignore_ascii_case(&self.name.to_string())
        {
            return Ok(Reply::Stray);
        }
        match packet.rcode() {
            RCODE::NoError => {}
            // Nothing by that name.
            RCODE::NameError => return Ok(Reply::Records(Vec::new())),
            code => return Err(io::Error::other(format!("it says {code:?}"))),
        }
        let records = packet.answers.iter().filter_map(|answer| match &answer.rdata {
            RData::SRV(srv) => Some(Record {
                priority: srv.priority,
                weight: srv.weight,
                server: Address::new(srv.target.to_string(), srv.port),
            }),
            _ => None,
        });
        Ok(Reply::Records(records.collect()))
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "what it says is no answer")
}

/// Returns the time that is left.
fn left(deadline: Instant) -> io::Result<Duration> {
    match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}

/// Unix says that a read would block where it was waited for in vain.
fn too_late(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}

/// Sorts servers by priority, and within one by chance, as the weights have it: RFC 2782.
fn order(mut records: Vec<Record>, random: &mut Random) -> Vec<Address> {
    // Those without weight come first, which gives them a small chance.
    records.sort_by_key(|record| (record.priority, record.weight > 0));
    records.truncate(SERVERS);
    let mut ordered = Vec::new();
    while let Some(priority) = records.first().map(|record| record.priority) {
        let alike = records.iter().take_while(|record| record.priority == priority);
        let weights: Vec<_> = alike.map(|record| u64::from(record.weight)).collect();
        let mut chance = random.next() % (weights.iter().sum::<u64>() + 1);
        let place = weights.iter().position(|weight| {
            let is_it = chance <= *weight;
            chance = chance.saturating_sub(*weight);
            is_it
        });
        ordered.push(records.remove(place.unwrap_or_default()).server);
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(priority: u16, weight: u16, port: u16) -> Record {
        Record { priority, weight, server: Address::new("h", port) }
    }

    #[test]
    fn priorities_are_kept_and_weights_are_chances() {
        let records = vec![
            record(2, 9, 9),
            record(1, 0, 1),
            record(1, 30, 2),
            record(1, 10, 3),
            record(0, 0, 0),
        ];
        let mut random = Random::new();
        let mut first = [0; 10];
        for _ in 0..4_000 {
            let ordered = order(records.clone(), &mut random);
            let ports: Vec<_> = ordered.iter().map(Address::port).collect();
            assert_eq!((ports.len(), ports[0], ports[4]), (5, 0, 9));
            first[usize::from(ports[1])] += 1;
        }
        // 1, 30 and 10 of 41 chances.
        assert!((40..200).contains(&first[1]), "{first:?}");
        assert!((2_700..3_150).contains(&first[2]), "{first:?}");
        assert!((800..1_150).contains(&first[3]), "{first:?}");
        assert!(order(Vec::new(), &mut random).is_empty());
        let many = (0..1_000).map(|port| record(1, 1, port)).collect();
        assert_eq!(order(many, &mut random).len(), SERVERS);
    }
}

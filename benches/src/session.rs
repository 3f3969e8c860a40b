//! Two state machines that talk to each other through two buffers: all of the protocol, and no I/O.

use bytes::{Buf, Bytes, BytesMut};
use mqtt_proto::{
    Accept, Client, ClientConfig, Event, Instant, Publish, QoS, ReasonCode, Server, ServerConfig,
    Session, Text, TopicName, TxBuf, Version,
};

use crate::measure::Run;

#[cfg(feature = "peers")]
mod peers;

#[cfg(feature = "peers")]
pub use self::peers::cases;

/// How long payloads are.
const SIZE: usize = 64;

/// Time stands still: no deadline is any of our business.
const NOW: Instant = Instant::EPOCH;

/// Sends so many messages, in groups as large as the window, and answers them.
pub fn exchange(version: Version, qos: QoS, window: usize, messages: usize) -> Run {
    let mut pair = Pair::connected(version);
    let topics: Vec<TopicName> =
        topics().map(|topic| TopicName::new(topic).expect("a topic")).collect();
    let payload = Bytes::from(vec![b'x'; SIZE]);
    Box::new(move || {
        let mut left = messages;
        while left > 0 {
            let group = left.min(window);
            for topic in topics.iter().cycle().take(group) {
                let publish = Publish::new(topic.clone(), payload.clone()).qos(qos);
                pair.client.publish(publish, NOW).expect("room");
            }
            left -= group;
            while pair.step() {}
        }
        std::mem::take(&mut pair.done)
    })
}

/// The topics that messages have in turn, of 24 bytes each.
fn topics() -> impl Iterator<Item = String> {
    (0..100).map(|index| format!("sensors/plant7/node-{index:04}"))
}

struct Pair {
    client: Session<Client>,
    server: Session<Server>,
    /// What each of them writes, and what it reads.
    out: [TxBuf; 2],
    input: [BytesMut; 2],
    /// How many messages have come, and how many have their final answer.
    done: u64,
}

impl Pair {
    fn connected(version: Version) -> Pair {
        let mut client = ClientConfig::new(version);
        client.connect.client_id = Text::new("client").expect("a text");
        client.bounds.messages = usize::MAX;
        let server = ServerConfig { receive_maximum: u16::MAX, ..ServerConfig::default() };
        let mut pair = Pair {
            client: Session::new(client),
            server: Session::new(server),
            out: [TxBuf::new(), TxBuf::new()],
            input: [BytesMut::new(), BytesMut::new()],
            done: 0,
        };
        pair.client.handle_open(NOW);
        pair.server.handle_open(NOW);
        while pair.step() {}
        pair
    }

    /// Lets both say what they have to say; tells whether that was anything.
    fn step(&mut self) -> bool {
        let Pair { client, server, out: [from_client, from_server], input, done } = self;
        let [to_client, to_server] = input;
        let said = client.poll_transmit(from_client, NOW);
        carry(from_client, to_server);
        server.handle_input(to_server, NOW);
        while let Some(event) = server.poll_event() {
            match event {
                Event::Connect(_) => server.accept(Accept::default(), NOW).expect("a server"),
                Event::Message(message) => {
                    *done += 1;
                    if let Some(ack) = message.ack {
                        server.ack(ack, ReasonCode::SUCCESS);
                    }
                }
                _ => {}
            }
        }
        let answered = server.poll_transmit(from_server, NOW);
        carry(from_server, to_client);
        client.handle_input(to_client, NOW);
        client.handle_written(from_client);
        while let Some(event) = client.poll_event() {
            *done += u64::from(matches!(event, Event::Published { .. }));
        }
        said || answered
    }
}

/// Copies what one side has to say to the other, as sockets do.
fn carry(out: &mut TxBuf, input: &mut BytesMut) {
    while !out.is_empty() {
        let chunk = out.chunk();
        input.extend_from_slice(chunk);
        let len = chunk.len();
        out.advance(len);
    }
}

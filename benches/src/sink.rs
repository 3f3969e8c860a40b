//! A server that only frames and acknowledges, so that the client is what takes the time; and what feeds the
//! client where a broker stands between.
//!
//! It trusts its clients. What it does: CONNACK, PUBACK, PUBREC, PUBCOMP, SUBACK, PINGRESP; a subscription to
//! [`serve`] is answered with so many messages as fast as they are taken, and a message to any other topic
//! that was subscribed to is sent back.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

/// How much is read at once.
const BLOCK: usize = 256 * 1024;

/// How many messages may wait for its answer: on MQTT 5.0 it says so in CONNACK, for clients that have no such option
/// of their own.
pub const RECEIVE_MAXIMUM: u16 = 100;

/// How many messages of QoS 1 it sends before it waits for acknowledgements.
pub(crate) const WINDOW: usize = 1000;

/// Returns the filter, of 24 bytes, that asks for so many messages.
pub fn serve(qos: u8, messages: usize, size: usize) -> String {
    format!("serve/{qos}/{messages:09}/{size:06}")
}

/// Listens on a port of its own, with a thread for each connection; returns the port.
pub fn listen() -> io::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that is gone is nobody's fault.
            thread::spawn(move || drop(attend(stream)));
        }
    });
    Ok(port)
}

/// Publishes at a broker what [`serve`] asks for there, as fast as it is taken.
pub fn feed(port: u16, qos: u8, messages: usize, size: usize) -> io::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    // CONNECT of MQTT 3.1.1, with Clean Session and no Keep Alive, and its CONNACK.
    stream.write_all(b"\x10\x10\0\x04MQTT\x04\x02\0\0\0\x04feed")?;
    stream.read_exact(&mut [0; 4])?;
    let topic = serve(qos, messages, size).into_bytes();
    let (mut sink, mut block) = (Sink::default(), vec![0; BLOCK]);
    sink.send(&Wanted { topic, qos, messages, size }, &mut stream, &mut block)?;
    // After DISCONNECT, the broker closes when it has taken everything.
    stream.write_all(&[0xE0, 0])?;
    while stream.read(&mut block)? > 0 {}
    Ok(())
}

fn attend(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut block, mut answers, mut sink) = (vec![0; BLOCK], Vec::new(), Sink::default());
    loop {
        let count = stream.read(&mut block)?;
        if count == 0 {
            return Ok(());
        }
        sink.take(block.get(..count).unwrap_or_default(), &mut answers);
        stream.write_all(&answers)?;
        answers.clear();
        if let Some(wanted) = sink.wanted.take() {
            sink.send(&wanted, &mut stream, &mut block)?;
        }
    }
}

/// What the server knows of a connection.
#[derive(Debug, Default)]
pub struct Sink {
    partial: Vec<u8>,
    is_v5: bool,
    /// The topics whose messages are sent back, with the QoS.
    echoes: Vec<(Vec<u8>, u8)>,
    last_id: u16,
    pub(crate) wanted: Option<Wanted>,
    pub(crate) acknowledged: usize,
}

/// Messages that a client has asked for.
#[derive(Debug)]
pub(crate) struct Wanted {
    topic: Vec<u8>,
    pub(crate) qos: u8,
    pub(crate) messages: usize,
    size: usize,
}

impl Sink {
    /// Takes what came, and appends what to answer.
    pub fn take(&mut self, bytes: &[u8], answers: &mut Vec<u8>) {
        if self.partial.is_empty() {
            let taken = self.frames(bytes, answers);
            self.partial.extend_from_slice(&bytes[taken..]);
        } else {
            self.partial.extend_from_slice(bytes);
            let partial = std::mem::take(&mut self.partial);
            let taken = self.frames(&partial, answers);
            self.partial = partial;
            self.partial.drain(..taken);
        }
    }

    /// Answers all whole packets; returns how many bytes these take.
    fn frames(&mut self, bytes: &[u8], answers: &mut Vec<u8>) -> usize {
        let mut at = 0;
        while let Some((first, rest)) = bytes[at..].split_first() {
            let Some((digits, length)) = variable(rest) else { return at };
            let Some(body) = rest.get(digits..digits + length) else { return at };
            self.packet(*first, body, answers);
            at += 1 + digits + length;
        }
        at
    }

    fn packet(&mut self, first: u8, body: &[u8], answers: &mut Vec<u8>) {
        match first >> 4 {
            1 => {
                self.is_v5 = body[2 + number(body)] == 5;
                let [high, low] = RECEIVE_MAXIMUM.to_be_bytes();
                match self.is_v5 {
                    true => answers.extend([0x20, 6, 0, 0, 3, 0x21, high, low]),
                    false => answers.extend([0x20, 2, 0, 0]),
                }
            }
            3 => self.publish(first, body, answers),
            4 => self.acknowledged += 1,
            6 => answers.extend([0x70, 2, body[0], body[1]]),
            8 => self.subscribe(body, answers),
            12 => answers.extend([0xD0, 0]),
            _ => {}
        }
    }

    #[inline]
    fn publish(&mut self, first: u8, body: &[u8], answers: &mut Vec<u8>) {
        let topic = 2 + number(body);
        match first & 0b0110 {
            0b0010 => answers.extend([0x40, 2, body[topic], body[topic + 1]]),
            0b0100 => answers.extend([0x50, 2, body[topic], body[topic + 1]]),
            _ => {}
        }
        if let Some((_, qos)) = self.echoes.iter().find(|(echo, _)| **echo == body[2..topic]) {
            let rest = topic + if first & 0b0110 == 0 { 0 } else { 2 };
            let id = if *qos > 0 { 2 } else { 0 };
            answers.push(0x30 | qos << 1);
            put_variable(answers, topic + id + body.len() - rest);
            answers.extend(&body[..topic]);
            if id > 0 {
                self.last_id = self.last_id.checked_add(1).unwrap_or(1);
                answers.extend(self.last_id.to_be_bytes());
            }
            answers.extend(&body[rest..]);
        }
    }

    /// One filter is what all of these clients ask for.
    fn subscribe(&mut self, body: &[u8], answers: &mut Vec<u8>) {
        let properties = if self.is_v5 { variable(&body[2..]) } else { Some((0, 0)) };
        let at = properties.map_or(2, |(digits, length)| 2 + digits + length);
        let end = at + 2 + number(&body[at..]);
        let (filter, qos) = (body[at + 2..end].to_vec(), body[end] & 0b11);
        match self.is_v5 {
            true => answers.extend([0x90, 4, body[0], body[1], 0, qos]),
            false => answers.extend([0x90, 3, body[0], body[1], qos]),
        }
        let text = String::from_utf8_lossy(&filter);
        let numbers: Vec<usize> = text.split('/').flat_map(str::parse).collect();
        match numbers.as_slice() {
            [_, messages, size] if text.starts_with("serve/") => {
                let (messages, size) = (*messages, *size);
                self.wanted = Some(Wanted { topic: filter, qos, messages, size });
            }
            _ => self.echoes.push((filter, qos)),
        }
    }

    /// Sends what was asked for: blocks of packets that are made beforehand.
    fn send(
        &mut self,
        wanted: &Wanted,
        stream: &mut TcpStream,
        block: &mut [u8],
    ) -> io::Result<()> {
        let (packets, len) = self.packets(wanted);
        let most = packets.len() / len;
        let (mut sent, mut answers) = (0, Vec::new());
        self.acknowledged = 0;
        while sent < wanted.messages {
            let room = match wanted.qos {
                0 => most,
                _ => (WINDOW - (sent - self.acknowledged)).min(most - sent % most),
            };
            let count = room.min(wanted.messages - sent);
            let from = if wanted.qos == 0 { 0 } else { sent % most };
            stream.write_all(&packets[from * len..(from + count) * len])?;
            sent += count;
            if wanted.qos > 0 {
                let count = stream.read(block)?;
                if count == 0 {
                    return Ok(());
                }
                self.take(&block[..count], &mut answers);
            }
        }
        Ok(())
    }

    /// Returns packets, and how long each is: all Packet Identifiers, or 256 KiB.
    pub(crate) fn packets(&self, wanted: &Wanted) -> (Vec<u8>, usize) {
        let mut body = (wanted.topic.len() as u16).to_be_bytes().to_vec();
        body.extend(&wanted.topic);
        let id = body.len();
        if wanted.qos > 0 {
            body.extend([0, 0]);
        }
        body.extend(self.is_v5.then_some(0));
        body.resize(body.len() + wanted.size, b'x');
        let mut one = vec![0x30 | wanted.qos << 1];
        put_variable(&mut one, body.len());
        let id = one.len() + id;
        one.extend(body);
        let count = if wanted.qos > 0 { 65_535 } else { BLOCK / one.len() + 1 };
        let mut packets = Vec::with_capacity(count * one.len());
        for index in 1..=count {
            if wanted.qos > 0 {
                one[id..id + 2].copy_from_slice(&(index as u16).to_be_bytes());
            }
            packets.extend(&one);
        }
        (packets, one.len())
    }
}

pub fn number(bytes: &[u8]) -> usize {
    usize::from(u16::from_be_bytes([bytes[0], bytes[1]]))
}

/// Reads a Variable Byte Integer; returns how many bytes it takes, and its value.
#[inline]
pub fn variable(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for digits in 0..4 {
        let digit = *bytes.get(digits)?;
        value |= usize::from(digit & 0x7F) << (7 * digits);
        if digit & 0x80 == 0 {
            return Some((digits + 1, value));
        }
    }
    panic!("no Remaining Length");
}

/// Writes a Variable Byte Integer.
pub fn put_variable(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

//! The limit: a blocking socket, and packets written by hand. It keeps nothing, hands nothing on and hardly checks
//! anything: what it takes is what the kernel takes, or a broker that answers in small pieces.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use mqtt_proto::Version;

use crate::load::{Load, Measured, Meter, Mode, TOPIC};
use crate::sink::{number, put_variable, serve, variable};

/// How much is read at once, and about how much is written.
const BLOCK: usize = 64 * 1024;

const PUBLISH: u8 = 0x30;
const PUBACK: u8 = 0x40;
const PUBREC: u8 = 0x50;
const PUBREL: u8 = 0x62;
const PUBCOMP: u8 = 0x70;
const SUBACK: u8 = 0x90;

pub fn run(version: Version, load: Load) -> Measured {
    let mut link = Link::connect(version, load.port);
    match load.mode {
        Mode::Publish(0) => at_most_once(&mut link, &load),
        Mode::Publish(qos) => acknowledged(&mut link, &load, qos),
        Mode::Receive(qos) => receive(&mut link, &load, qos),
        Mode::RoundTrip => round_trips(&mut link, &load),
    }
}

fn at_most_once(link: &mut Link, load: &Load) -> Measured {
    let payload = vec![b'x'; load.size];
    let meter = Meter::new();
    for _ in 0..load.messages {
        link.publish(0, 0, &payload);
        if link.out.len() >= BLOCK {
            link.write();
        }
    }
    link.publish(1, 1, &payload);
    link.write();
    link.wait_for(PUBACK);
    meter.stop()
}

fn acknowledged(link: &mut Link, load: &Load, qos: u8) -> Measured {
    let payload = vec![b'x'; load.size];
    let (mut sent, mut done) = (0, 0);
    let meter = Meter::new();
    while done < load.messages {
        while sent < load.messages && sent - done < usize::from(load.window) {
            sent += 1;
            link.publish(qos, identifier(sent), &payload);
        }
        link.write();
        link.read(|kind, body, out| match kind {
            PUBREC => out.extend([PUBREL, 2, body[0], body[1]]),
            PUBACK | PUBCOMP => done += 1,
            _ => {}
        });
    }
    meter.stop()
}

fn receive(link: &mut Link, load: &Load, qos: u8) -> Measured {
    link.subscribe(&serve(qos, load.messages, load.size), qos);
    load.subscribed();
    let (mut received, mut meter) = (0, None);
    while received < load.messages {
        link.read(|kind, body, out| {
            if kind == PUBLISH {
                received += 1;
                acknowledge(qos, body, out);
            }
        });
        meter = meter.or_else(|| (received > 0).then(Meter::new));
        link.write();
    }
    meter.expect("a message").stop()
}

fn round_trips(link: &mut Link, load: &Load) -> Measured {
    let payload = vec![b'x'; load.size];
    link.subscribe(TOPIC, 1);
    let mut meter = Meter::new();
    for index in 1..=load.messages {
        let start = Instant::now();
        link.publish(1, identifier(index), &payload);
        link.write();
        let mut came = false;
        while !came {
            link.read(|kind, body, out| {
                if kind == PUBLISH {
                    came = true;
                    acknowledge(1, body, out);
                }
            });
        }
        meter.round_trip(start);
    }
    meter.stop()
}

fn acknowledge(qos: u8, publish: &[u8], out: &mut Vec<u8>) {
    let id = 2 + number(publish);
    if qos > 0 {
        out.extend([PUBACK, 2, publish[id], publish[id + 1]]);
    }
}

fn identifier(index: usize) -> u16 {
    (index % 65_535) as u16 + 1
}

struct Link {
    stream: TcpStream,
    is_v5: bool,
    input: Vec<u8>,
    /// How much of the input has come.
    filled: usize,
    out: Vec<u8>,
}

impl Link {
    fn connect(version: Version, port: u16) -> Link {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        let (is_v5, input) = (version.is_v5(), vec![0; 2 * BLOCK]);
        let mut link = Link { stream, is_v5, input, filled: 0, out: Vec::new() };
        // A clean session, a Keep Alive of a minute.
        match is_v5 {
            true => link.out.extend(b"\x10\x12\0\x04MQTT\x05\x02\0\x3C\0\0\x05limit"),
            false => link.out.extend(b"\x10\x11\0\x04MQTT\x04\x02\0\x3C\0\x05limit"),
        }
        link.write();
        link.read(|_, _, _| {});
        link
    }

    fn subscribe(&mut self, filter: &str, qos: u8) {
        self.out.extend([0x82, (5 + usize::from(self.is_v5) + filter.len()) as u8, 0, 1]);
        self.out.extend(self.is_v5.then_some(0));
        self.out.extend((filter.len() as u16).to_be_bytes());
        self.out.extend(filter.as_bytes());
        self.out.push(qos);
        self.write();
        self.wait_for(SUBACK);
    }

    fn publish(&mut self, qos: u8, id: u16, payload: &[u8]) {
        let header = 2 + TOPIC.len() + if qos > 0 { 2 } else { 0 } + usize::from(self.is_v5);
        self.out.push(PUBLISH | qos << 1);
        put_variable(&mut self.out, header + payload.len());
        self.out.extend((TOPIC.len() as u16).to_be_bytes());
        self.out.extend(TOPIC.as_bytes());
        if qos > 0 {
            self.out.extend(id.to_be_bytes());
        }
        self.out.extend(self.is_v5.then_some(0));
        self.out.extend(payload);
    }

    fn write(&mut self) {
        self.stream.write_all(&self.out).expect("a connection");
        self.out.clear();
    }

    fn wait_for(&mut self, wanted: u8) {
        let mut came = false;
        while !came {
            self.read(|kind, _, _| came |= kind == wanted);
        }
    }

    /// Reads once, and calls `take` with each whole packet: its type, its body, and where to answer.
    fn read(&mut self, mut take: impl FnMut(u8, &[u8], &mut Vec<u8>)) {
        let count = self.stream.read(&mut self.input[self.filled..]).expect("a connection");
        assert!(count > 0, "the server has closed");
        self.filled += count;
        let mut at = 0;
        while let Some((first, rest)) = self.input[at..self.filled].split_first()
            && let Some((digits, length)) = variable(rest)
            && let Some(body) = rest.get(digits..digits + length)
        {
            take(first & 0xF0, body, &mut self.out);
            at += 1 + digits + length;
        }
        self.input.copy_within(at..self.filled, 0);
        self.filled -= at;
    }
}

//! No async at all: `mqtt-proto` on a blocking socket of the standard library.
//!
//! This is what stands under every client: bytes and the time go in, bytes and events come out.
//!
//! ```sh
//! cargo run --release --example blocking_loop
//! cargo run --release --example blocking_loop -- --url mqtt://localhost:1883
//! ```

use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use mqtt_proto::{
    Client, ClientConfig, CloseReason, Disconnect, Event, Instant, Publish, QoS, ReasonCode,
    Session, Subscribe, Text, TopicFilter, TopicName, TxBuf, Version,
};

mod server;

/// A session on a socket.
struct Connection {
    session: Session<Client>,
    stream: TcpStream,
    input: BytesMut,
    out: TxBuf,
    epoch: std::time::Instant,
}

impl Connection {
    fn now(&self) -> Instant {
        Instant::from_epoch(self.epoch.elapsed())
    }

    /// Writes what there is to write and returns the next event, waiting for one if need be.
    fn next_event(&mut self) -> std::io::Result<Event> {
        loop {
            let now = self.now();
            while self.session.poll_transmit(&mut self.out, now) {
                while !self.out.is_empty() {
                    let written = self.stream.write(self.out.chunk())?;
                    self.out.advance(written);
                }
            }
            if let Some(event) = self.session.poll_event() {
                return Ok(event);
            }
            // A read timeout of zero would mean "for ever".
            let wait = self.session.poll_timeout().map(|deadline| deadline.since(now));
            self.stream.set_read_timeout(wait.map(|wait| wait.max(Duration::from_millis(1))))?;
            let mut block = [0; 4096];
            match self.stream.read(&mut block) {
                Ok(0) => self.session.handle_eof(self.now()),
                Ok(count) => {
                    self.input.extend_from_slice(&block[..count]);
                    let now = self.now();
                    self.session.handle_input(&mut self.input, now);
                }
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    self.session.handle_timeout(self.now());
                }
                Err(error) => return Err(error),
            }
        }
    }
}

fn main() -> ExitCode {
    server::report(run())
}

fn run() -> Result<(), Box<dyn Error>> {
    let server = server::Server::from_args()?;
    let name = format!("blocking-loop-{}", std::process::id());
    let mut config = ClientConfig::new(Version::V311);
    config.connect.client_id = Text::new(name.as_str())?;
    let stream = TcpStream::connect((server.host.as_str(), server.port))?;
    stream.set_nodelay(true)?;
    let mut connection = Connection {
        session: Session::new(config),
        stream,
        input: BytesMut::new(),
        out: TxBuf::new(),
        epoch: std::time::Instant::now(),
    };
    let now = connection.now();
    connection.session.handle_open(now);

    // Commands may be given at any time; they wait for the connection.
    let filter = TopicFilter::new(format!("{name}/#"))?;
    connection.session.subscribe(Subscribe::new(filter, QoS::ExactlyOnce))?;
    let (mut published, mut received) = (0, 0);
    loop {
        match connection.next_event()? {
            Event::Connected { connack, .. } => println!("connected: {}", connack.reason),
            Event::Subscribed { ack, .. } => {
                println!("subscribed: {}", ack.reasons[0]);
                for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
                    let topic = TopicName::new(format!("{name}/{}", qos as u8))?;
                    let publish = Publish::new(topic, format!("hello at {qos}")).qos(qos);
                    connection.session.publish(publish, now)?;
                }
            }
            Event::Published { reason, .. } => {
                println!("published: {reason}");
                published += 1;
            }
            Event::Message(message) => {
                let publish = &message.publish;
                let text = String::from_utf8_lossy(publish.payload_bytes());
                println!("received from {}: {text} ({})", publish.topic(), publish.qos());
                // The server sends it again until it has this: the message is ours from here on.
                if let Some(ack) = message.ack {
                    connection.session.ack(ack, ReasonCode::SUCCESS);
                }
                received += 1;
            }
            Event::Closed { reason: CloseReason::Requested, .. } => break,
            Event::Closed { reason, .. } => return Err(reason.into()),
            _ => {}
        }
        if (published, received) == (3, 3) && connection.session.is_idle() {
            let now = connection.now();
            connection.session.disconnect(Disconnect::default(), now)?;
        }
    }
    println!("disconnected");
    server.stop();
    Ok(())
}

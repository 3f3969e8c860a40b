//! What the applications know of their messages, and what has to be true of them.

use bytes::{BufMut, Bytes, BytesMut};
use mqtt_proto::{Failure, Packet, PacketId, Publish, PublishPacket, QoS, TopicName};

use crate::operation::FromClient;

const TOPICS: [&str; 4] = ["a", "long/topic/1", "long/topic/2", "long/topic/3"];

/// A message that a session has accepted.
#[derive(Debug)]
pub struct Message {
    from: FromClient,
    qos: QoS,
    topic: &'static str,
    /// How often the other side was given it.
    deliveries: u32,
    /// Whether it has an outcome, or was taken back.
    ended: bool,
    received: bool,
    /// Whether a session was lost while it was under way, so that it may come twice or not at all.
    lost: bool,
    /// Whether the receiver has refused it: then the sender may not know (MQTT-4.3.3-9).
    refused: bool,
    cancelled: bool,
    /// Whether the receiver has answered, in whatever way.
    answered: bool,
    /// The identifier with which it was last sent, and on which connection that was.
    sent: Option<(PacketId, u32)>,
    /// The identifier that nothing else may have although it has failed: the receiver may hold it.
    kept: Option<PacketId>,
}

impl Message {
    /// The session that it was under way in was lost.
    fn lose(&mut self) {
        self.kept = None;
        if !self.ended {
            self.lost = true;
            self.sent = None;
        }
    }
}

#[derive(Debug, Default)]
pub struct Messages {
    all: Vec<Message>,
    /// The last message that came for the first time, by sender and QoS.
    last: [[Option<usize>; 3]; 2],
    /// The last message on the wire and its connection, by sender.
    last_sent: [(u32, Option<usize>); 2],
}

impl Messages {
    /// Returns a message that carries the number that it will have.
    pub fn compose(&self, qos: QoS, topic: u8, len: u8) -> Publish {
        let mut payload = BytesMut::new();
        payload.put_u16(self.all.len() as u16);
        payload.put_bytes(7, len.into());
        let topic = TopicName::from_static(TOPICS[usize::from(topic & 3)]).expect("a name");
        Publish::new(topic, payload.freeze()).qos(qos)
    }

    /// Notes that a message was accepted, and returns its number.
    pub fn accepted(&mut self, from: FromClient, qos: QoS, topic: u8, lost: bool) -> usize {
        self.all.push(Message {
            from,
            qos,
            topic: TOPICS[usize::from(topic & 3)],
            deliveries: 0,
            ended: false,
            received: false,
            lost,
            refused: false,
            cancelled: false,
            answered: false,
            sent: None,
            kept: None,
        });
        self.all.len() - 1
    }

    pub fn is_qos_0(&self, number: usize) -> bool {
        self.all[number].qos == QoS::AtMostOnce
    }

    pub fn delivered(&mut self, from: FromClient, publish: &PublishPacket) -> usize {
        let number = number(&publish.payload());
        let message = &mut self.all[number];
        assert_eq!(message.from, from, "it came to the side that it was sent to");
        assert_eq!((publish.topic(), publish.qos()), (message.topic, message.qos));
        assert!(!message.cancelled, "{message:?} was never sent");
        message.deliveries += 1;
        let repeatable = message.lost || message.refused || message.qos == QoS::AtLeastOnce;
        if message.deliveries > 1 {
            assert!(repeatable && message.qos != QoS::AtMostOnce, "twice: {message:?}");
        } else if !message.lost {
            let last = &mut self.last[usize::from(from)][message.qos as usize];
            assert!(last.is_none_or(|last| last < number), "{number} came after {last:?}");
            *last = Some(number);
        }
        let done = message.ended && message.qos != QoS::AtMostOnce;
        assert!(!done || message.lost, "it came after its end: {message:?}");
        number
    }

    /// The receiver acknowledges it.
    pub fn answered(&mut self, number: usize, error: bool) {
        self.all[number].answered = true;
        self.all[number].refused |= error;
    }

    /// PUBREC came.
    pub fn received(&mut self, number: usize) {
        let message = &mut self.all[number];
        assert_eq!(message.qos, QoS::ExactlyOnce);
        assert!(!message.received || message.lost, "once: {message:?}");
        message.received = true;
    }

    pub fn published(&mut self, number: usize) {
        let message = &mut self.all[number];
        message.ended = true;
        // A client that has not heard yet that the session was lost takes new messages for old ones.
        let excused = message.qos == QoS::AtMostOnce || (message.lost && !message.from);
        let taken = message.deliveries > 0 && message.answered;
        assert!(taken || excused, "acknowledged, and not taken: {message:?}");
    }

    /// It came to nothing; tells whether its identifier may be kept all the same. It certainly is if the
    /// packet was seen.
    pub fn failed(&mut self, number: usize, failure: &Failure) -> bool {
        let message = &mut self.all[number];
        message.ended = true;
        let narrowed = matches!(failure, Failure::TooLarge { .. } | Failure::NotSupported(_));
        let repeated = message.sent.filter(|_| narrowed);
        let excused = message.lost || repeated.is_some();
        assert!(message.deliveries == 0 || excused, "failed, and delivered: {message:?}");
        assert!(!message.received || message.lost, "failed after PUBREC: {message:?}");
        message.kept = repeated.map(|(id, _)| id).filter(|_| message.qos == QoS::ExactlyOnce);
        narrowed && message.qos == QoS::ExactlyOnce
    }

    /// How many identifiers that side certainly keeps for messages that have failed.
    pub fn kept(&self, from: FromClient) -> usize {
        let kept = |message: &&Message| message.from == from && message.kept.is_some();
        self.all.iter().filter(kept).count()
    }

    pub fn cancelled(&mut self, number: usize) {
        let message = &mut self.all[number];
        assert!(message.sent.is_none(), "it was sent: {message:?}");
        (message.cancelled, message.ended) = (true, true);
    }

    /// The session with this side's messages was dropped by its application.
    pub fn dropped(&mut self, number: usize) {
        self.all[number].ended = true;
    }

    /// The server has lost the session: nothing is certain about what was under way.
    pub fn lose(&mut self) {
        self.all.iter_mut().for_each(Message::lose);
    }

    /// The client learns that the session was lost. What the server has sent since then is of the new one.
    pub fn lose_of_client(&mut self) {
        self.all.iter_mut().filter(|message| message.from).for_each(Message::lose);
    }

    /// A packet was seen on the wire.
    ///
    /// Returns the number of a message that its receiver has to answer.
    pub fn seen(
        &mut self,
        from: FromClient,
        packet: &Packet,
        link: u32,
        quota: u16,
    ) -> Option<usize> {
        let Packet::Publish(publish) = packet else { return None };
        let number = number(&publish.payload());
        let (before, last) = &mut self.last_sent[usize::from(from)];
        assert!(*before != link || *last < Some(number), "{number} was sent after {last:?}");
        (*before, *last) = (link, Some(number));
        let id = publish.packet_id()?;
        // A QoS 2 message ends at the earliest with this packet's answer.
        assert!(!self.all[number].ended && !self.all[number].received, "{:?}", self.all[number]);
        let again = self.all[number].sent.is_some();
        assert!(!again || publish.dup(), "sent again without DUP: {:?}", self.all[number]);
        let kept = self.all.iter().find(|message| message.from == from && message.kept == Some(id));
        assert!(kept.is_none(), "{id} of {kept:?} for another message");
        self.all[number].sent = Some((id, link));
        let others = || {
            let open = self.all.iter().filter(|message| message.from == from && !message.ended);
            open.filter_map(|message| message.sent)
        };
        let same = others().filter(|(other, _)| *other == id).count();
        assert_eq!(same, 1, "{id} stands for one message");
        let in_flight = others().filter(|(_, other)| *other == link).count();
        assert!(in_flight <= usize::from(quota), "{in_flight} in flight, and {quota} permitted");
        Some(number)
    }

    /// Nothing is under way any more.
    pub fn at_rest(&self) {
        for message in &self.all {
            assert!(message.ended, "no outcome: {message:?}");
        }
    }
}

fn number(payload: &Bytes) -> usize {
    let [high, low, ..] = payload[..] else { panic!("every message has a number") };
    usize::from(u16::from_be_bytes([high, low]))
}

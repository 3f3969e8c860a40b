//! The queue of messages that came in and were not taken yet.

use std::collections::{HashMap, VecDeque};
use std::mem;

use mqtt_proto::{AckId, Message, PublishPacket, QoS};

use crate::config::{Inbound, Overflow};

/// From this many waiting messages on, small ones are copied if they are still there when the next block has
/// been read: a queue that nobody empties then keeps few blocks alive, and one that is emptied copies nothing.
const COPY_FROM: usize = 32;

/// A bounded queue; see [`Inbound`] and [`Overflow`] for what happens at its bounds.
#[derive(Debug)]
pub(crate) struct Queue {
    messages: VecDeque<Message>,
    /// How many there were at most since there was none.
    peak: usize,
    bounds: Inbound,
    copy_up_to: usize,
    bytes: usize,
    /// How many of them are of QoS 1 and 2, and how many bytes these have.
    acked: usize,
    acked_bytes: usize,
    lagged: u64,
    /// Which of the blocks that were read the last message came in.
    block: u64,
    /// How many of the first have been looked at: small ones have memory of their own.
    settled: usize,
    /// How many of the first came on a former connection, and may come again without a word from the
    /// server about its session: MQTT 3.1.
    former: usize,
    /// The number of the first, and under which number a topic waits, for `LatestPerTopic`.
    first: u64,
    topics: HashMap<Box<[u8]>, u64>,
}

impl Queue {
    pub(crate) fn new(bounds: Inbound, copy_up_to: usize) -> Queue {
        Queue {
            messages: VecDeque::new(),
            peak: 0,
            bounds,
            copy_up_to,
            bytes: 0,
            acked: 0,
            acked_bytes: 0,
            lagged: 0,
            block: 0,
            settled: 0,
            former: 0,
            first: 0,
            topics: HashMap::new(),
        }
    }

    /// Adds a message from that block; what is dropped for lack of room is to be acknowledged.
    #[inline]
    pub(crate) fn push(&mut self, message: Message, block: u64, dropped: &mut Vec<AckId>) {
        if self.block != block {
            self.block = block;
            self.settle();
        }
        if self.former > 0
            && message.publish.dup()
            && let Some(index) = self.former_of(&message.publish)
        {
            // It stays where it stands: what came behind it comes again as well, and not all at once. Only the last
            // one can be acknowledged, and what a dropped stream has left may be older.
            if self.messages.get(index).is_some_and(|known| known.ack < message.ack) {
                self.replace(index, message);
            }
            return;
        }
        let size = message.publish.wire_len();
        let refused = match self.bounds.overflow {
            Overflow::Block => {
                message.publish.qos() == QoS::AtMostOnce
                    && (self.messages.len() - self.acked >= self.bounds.messages.max(1)
                        || !self.has_bytes_for(size))
            }
            Overflow::DropNewest => {
                self.messages.len() >= self.bounds.messages.max(1) || !self.has_bytes_for(size)
            }
            Overflow::DropOldest | Overflow::LatestPerTopic => false,
        };
        if refused {
            self.lagged += 1;
            dropped.extend(message.ack);
            return;
        }
        self.bytes += size;
        if message.publish.qos() != QoS::AtMostOnce {
            self.acked += 1;
            self.acked_bytes += size;
        }
        match self.bounds.overflow {
            // Straight to its place: each further move of a message shows in what receiving costs.
            Overflow::Block | Overflow::DropNewest => self.messages.push_back(message),
            Overflow::DropOldest => {
                self.messages.push_back(message);
                self.drop_oldest(dropped);
            }
            Overflow::LatestPerTopic => {
                self.place(message, dropped);
                self.drop_oldest(dropped);
            }
        }
        self.peak = self.peak.max(self.messages.len());
    }

    /// Makes room at the other end.
    fn drop_oldest(&mut self, dropped: &mut Vec<AckId>) {
        while self.messages.len() > 1
            && (self.messages.len() > self.bounds.messages.max(1) || self.bytes > self.bounds.bytes)
            && let Some(oldest) = self.pop(&mut false)
        {
            self.lagged += 1;
            dropped.extend(oldest.ack);
        }
    }

    /// Makes those that wait independent of their blocks, if they are many.
    fn settle(&mut self) {
        if self.messages.len() < COPY_FROM {
            return;
        }
        let copy_up_to = self.copy_up_to;
        self.messages.iter_mut().skip(self.settled).for_each(|it| own(&mut it.publish, copy_up_to));
        self.settled = self.messages.len();
    }

    fn has_bytes_for(&self, size: usize) -> bool {
        self.messages.is_empty() || self.bytes + size <= self.bounds.bytes
    }

    /// Puts a message to the end, or to where one of its topic waits.
    fn place(&mut self, message: Message, dropped: &mut Vec<AckId>) {
        let topic = message.publish.topic_bytes();
        let known = self.topics.get(topic).and_then(|number| number.checked_sub(self.first));
        let known = known.map(|index| index as usize).filter(|index| *index < self.messages.len());
        match known {
            Some(index) => {
                if let Some(old) = self.replace(index, message) {
                    self.forget(&old);
                    self.lagged += 1;
                    dropped.extend(old.ack);
                }
            }
            None => {
                self.topics.insert(topic.into(), self.first + self.messages.len() as u64);
                self.messages.push_back(message);
            }
        }
    }

    /// Puts a message where another one waits, which is returned.
    fn replace(&mut self, index: usize, mut message: Message) -> Option<Message> {
        let place = self.messages.get_mut(index)?;
        if index < self.settled {
            own(&mut message.publish, self.copy_up_to);
        }
        Some(mem::replace(place, message))
    }

    /// Takes the first message; `settled` is set if it has memory of its own where it is small.
    #[inline(always)]
    pub(crate) fn pop(&mut self, settled: &mut bool) -> Option<Message> {
        let message = self.messages.pop_front()?;
        self.first += 1;
        self.former = self.former.saturating_sub(1);
        if self.settled > 0 {
            self.settled -= 1;
            *settled = true;
        }
        if self.bounds.overflow == Overflow::LatestPerTopic {
            self.topics.remove(message.publish.topic_bytes());
        }
        self.forget(&message);
        if self.messages.is_empty() {
            self.run_empty();
        }
        Some(message)
    }

    /// What a burst needed is given back, unless the next one needs about as much.
    #[inline]
    fn run_empty(&mut self) {
        let peak = mem::take(&mut self.peak).max(COPY_FROM / 2);
        if self.messages.capacity() > 4 * peak {
            self.messages.shrink_to(2 * peak);
        }
    }

    /// Gives back what a burst needed: the connection has been quiet.
    pub(crate) fn relax(&mut self) {
        if self.messages.is_empty() {
            self.messages = VecDeque::new();
        }
    }

    #[inline]
    fn forget(&mut self, message: &Message) {
        let size = message.publish.wire_len();
        self.bytes -= size;
        if message.publish.qos() != QoS::AtMostOnce {
            self.acked -= 1;
            self.acked_bytes -= size;
        }
    }

    /// Removes the messages of QoS 1 that the server is bound to send again: MQTT-4.4.0-1.
    ///
    /// Without this, each loss of the connection would add them to the queue once more.
    pub(crate) fn remove_repeated(&mut self) {
        let messages = mem::take(&mut self.messages);
        (self.former, self.settled) = (0, 0);
        self.topics.clear();
        for message in messages {
            if message.publish.qos() == QoS::AtLeastOnce {
                self.forget(&message);
            } else if self.bounds.overflow == Overflow::LatestPerTopic {
                // No topic is there twice: nothing is dropped.
                self.place(message, &mut Vec::new());
            } else {
                self.messages.push_back(message);
            }
        }
    }

    /// There is a new connection, whose server does not say whether it will send what waits again.
    pub(crate) fn doubt(&mut self) {
        self.former = self.messages.len();
    }

    /// Returns where what comes again stands, so that losses of the connection do not make it pile up.
    fn former_of(&self, again: &PublishPacket) -> Option<usize> {
        // Where a topic waits once, the message takes that place anyway.
        let once = self.bounds.overflow == Overflow::LatestPerTopic;
        if once || again.qos() != QoS::AtLeastOnce {
            return None;
        }
        let is_same = |message: &Message| {
            let publish = &message.publish;
            (publish.qos(), publish.packet_id()) == (again.qos(), again.packet_id())
                && publish.topic_bytes() == again.topic_bytes()
                && publish.payload_bytes() == again.payload_bytes()
                && publish.wire_len() == again.wire_len()
        };
        self.messages.iter().take(self.former).position(is_same)
    }

    /// Tells whether reading has to stop because QoS 1 and 2 alone exceed a bound.
    pub(crate) fn is_over(&self) -> bool {
        self.bounds.overflow == Overflow::Block
            && (self.acked > self.bounds.messages.max(1)
                || (self.acked > 1 && self.acked_bytes > self.bounds.bytes))
    }

    /// Returns what the messages that wait are to be acknowledged with.
    pub(crate) fn acks(&self) -> impl Iterator<Item = AckId> {
        self.messages.iter().filter_map(|message| message.ack)
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(crate) fn lagged(&self) -> u64 {
        self.lagged
    }
}

/// Copies a small message out of the block that it was read with.
#[inline]
pub(crate) fn own(publish: &mut PublishPacket, copy_up_to: usize) {
    if publish.wire_len() <= copy_up_to {
        publish.make_owned();
    }
}

#[cfg(test)]
mod tests {
    use bytes::{Buf, Bytes};
    use mqtt_proto::{Message, Packet, Publish, TopicName, TxBuf, Version, codec};

    use super::*;

    /// A block with messages of these topics.
    fn block(topics: &[&str]) -> (Bytes, Vec<Message>) {
        let mut out = TxBuf::new();
        let mut ends = vec![0];
        for topic in topics {
            let publish = Publish::new(TopicName::new(*topic).unwrap(), "payload");
            let header = codec::PublishHeader::default();
            codec::encode_publish(&publish, &header, Version::V311, &mut out).unwrap();
            ends.push(out.len());
        }
        let block = out.copy_to_bytes(out.remaining());
        let decode = |at: &[usize]| match codec::decode(&block.slice(at[0]..at[1]), Version::V311) {
            Ok(Packet::Publish(publish)) => Message { publish, ack: None },
            other => panic!("{other:?}"),
        };
        let messages = ends.windows(2).map(decode).collect();
        (block, messages)
    }

    fn queue(overflow: Overflow, copy_up_to: usize) -> Queue {
        let bounds = Inbound { messages: 1000, overflow, ..Inbound::default() };
        Queue::new(bounds, copy_up_to)
    }

    /// Pushes blocks of so many messages each; returns how many of the blocks are still alive.
    fn alive(queue: &mut Queue, blocks: usize, each: usize) -> usize {
        let mut all = Vec::new();
        for number in 1..=blocks {
            let (block, messages) = block(&vec!["t"; each]);
            messages.into_iter().for_each(|it| queue.push(it, number as u64, &mut Vec::new()));
            all.push(block);
        }
        all.iter().filter(|block| !block.is_unique()).count()
    }

    #[test]
    fn a_queue_that_nobody_empties_keeps_few_blocks() {
        assert_eq!(alive(&mut queue(Overflow::Block, 1024), 10, 50), 1);
        assert_eq!(alive(&mut queue(Overflow::Block, 1024), 200, 1), 1);
        assert_eq!(alive(&mut queue(Overflow::Block, 1024), COPY_FROM, 1), COPY_FROM);
        assert_eq!(alive(&mut queue(Overflow::Block, 0), 10, 50), 10, "nothing may be copied");
    }

    #[test]
    fn one_that_is_emptied_copies_nothing() {
        let mut queue = queue(Overflow::Block, 1024);
        for number in 1..10 {
            let (block, messages) = block(&["t"; 100]);
            messages.into_iter().for_each(|it| queue.push(it, number, &mut Vec::new()));
            for _ in 0..100 {
                let mut settled = false;
                let mut message = queue.pop(&mut settled).unwrap();
                assert!(!settled && !block.is_unique());
                // The application has one of its own.
                own(&mut message.publish, 1024);
            }
            assert!(block.is_unique());
        }
    }

    #[test]
    fn what_a_burst_needed_is_kept_for_the_next_one_and_given_back_after_a_small_one() {
        let mut queue = queue(Overflow::Block, 1024);
        let mut capacities = Vec::new();
        for (number, size) in [700, 500, 900, 1, 1].into_iter().enumerate() {
            let (_, messages) = block(&vec!["t"; size]);
            messages.into_iter().for_each(|it| queue.push(it, number as u64, &mut Vec::new()));
            while queue.pop(&mut false).is_some() {}
            capacities.push(queue.messages.capacity());
        }
        let [first, second, third, small, smaller] = capacities[..] else { unreachable!() };
        assert!(first >= 700 && second == first && third == first, "{capacities:?}");
        assert!(small <= 4 * COPY_FROM && smaller == small, "{capacities:?}");
        queue.relax();
        assert_eq!(queue.messages.capacity(), 0);
    }

    #[test]
    fn what_takes_the_place_of_another_one_keeps_no_block() {
        let topics: Vec<String> = (0..100).map(|number| format!("t/{number}")).collect();
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        let mut queue = queue(Overflow::LatestPerTopic, 1024);
        let mut all = Vec::new();
        let mut push = |number, topics: &[&str]| {
            let (block, messages) = block(topics);
            messages.into_iter().for_each(|it| queue.push(it, number, &mut Vec::new()));
            all.push(block);
        };
        push(1, &topics);
        for number in 2..50 {
            push(number, &topics[number as usize..][..1]);
        }
        assert_eq!(all.iter().filter(|block| !block.is_unique()).count(), 0);
        assert_eq!(queue.len(), 100);
    }
}

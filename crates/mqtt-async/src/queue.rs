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
    entries: VecDeque<Entry>,
    /// How many there were at most since there was none.
    peak: usize,
    bounds: Inbound,
    copy_up_to: usize,
    bytes: usize,
    /// How many entries are of QoS 1 and 2, and how many bytes these have.
    acked: usize,
    acked_bytes: usize,
    lagged: u64,
    /// Which of the blocks that were read the last message came in.
    block: u64,
    /// How many of the first entries have been looked at: small ones have memory of their own.
    settled: usize,
    /// How many of the first entries came on a former connection, and may come again without a word from the
    /// server about its session: MQTT 3.1.
    former: usize,
    /// The number of the first entry, and under which number a topic waits, for `LatestPerTopic`.
    first: u64,
    topics: HashMap<Box<[u8]>, u64>,
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) message: Message,
    /// Whether the packet has memory of its own.
    owned: bool,
}

impl Queue {
    pub(crate) fn new(bounds: Inbound, copy_up_to: usize) -> Queue {
        Queue {
            entries: VecDeque::new(),
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
        let copy_up_to = self.copy_up_to;
        if self.former > 0
            && message.publish.dup()
            && let Some(former) = self.former_of(&message.publish)
        {
            // It stays where it stands: what came behind it comes again as well, and not all at once.
            *former = Entry { message, owned: false };
            former.settle(copy_up_to);
            return;
        }
        let size = message.publish.wire_len();
        let refused = match self.bounds.overflow {
            Overflow::Block => {
                message.publish.qos() == QoS::AtMostOnce
                    && (self.entries.len() - self.acked >= self.bounds.messages.max(1)
                        || !self.has_bytes_for(size))
            }
            Overflow::DropNewest => {
                self.entries.len() >= self.bounds.messages.max(1) || !self.has_bytes_for(size)
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
        self.place(Entry { message, owned: false }, dropped);
        if matches!(self.bounds.overflow, Overflow::DropOldest | Overflow::LatestPerTopic) {
            while self.entries.len() > 1
                && (self.entries.len() > self.bounds.messages.max(1)
                    || self.bytes > self.bounds.bytes)
                && let Some(oldest) = self.pop()
            {
                self.lagged += 1;
                dropped.extend(oldest.message.ack);
            }
        }
    }

    /// Makes those that wait independent of their blocks, if they are many.
    fn settle(&mut self) {
        if self.entries.len() < COPY_FROM {
            return;
        }
        let copy_up_to = self.copy_up_to;
        self.entries.iter_mut().skip(self.settled).for_each(|entry| entry.settle(copy_up_to));
        self.settled = self.entries.len();
    }

    fn has_bytes_for(&self, size: usize) -> bool {
        self.entries.is_empty() || self.bytes + size <= self.bounds.bytes
    }

    /// Puts an entry to the end, or to where a message of its topic waits.
    #[inline]
    fn place(&mut self, mut entry: Entry, dropped: &mut Vec<AckId>) {
        if self.bounds.overflow == Overflow::LatestPerTopic {
            let topic = entry.message.publish.topic_bytes();
            let known = self.topics.get(topic).and_then(|number| number.checked_sub(self.first));
            if let Some(waiting) = known.and_then(|index| self.entries.get_mut(index as usize)) {
                // It may stand among those that have been looked at.
                entry.settle(self.copy_up_to);
                let old = mem::replace(waiting, entry);
                self.forget(&old);
                self.lagged += 1;
                dropped.extend(old.message.ack);
                return;
            }
            self.topics.insert(topic.into(), self.first + self.entries.len() as u64);
        }
        self.entries.push_back(entry);
        self.peak = self.peak.max(self.entries.len());
    }

    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        self.first += 1;
        self.former = self.former.saturating_sub(1);
        self.settled = self.settled.saturating_sub(1);
        if self.bounds.overflow == Overflow::LatestPerTopic {
            self.topics.remove(entry.message.publish.topic_bytes());
        }
        self.forget(&entry);
        if self.entries.is_empty() {
            self.run_empty();
        }
        Some(entry)
    }

    /// What a burst needed is given back, unless the next one needs about as much.
    #[inline]
    fn run_empty(&mut self) {
        let peak = mem::take(&mut self.peak).max(COPY_FROM / 2);
        if self.entries.capacity() > 4 * peak {
            self.entries.shrink_to(2 * peak);
        }
    }

    /// Gives back what a burst needed: the connection has been quiet.
    pub(crate) fn relax(&mut self) {
        if self.entries.is_empty() {
            self.entries = VecDeque::new();
        }
    }

    #[inline]
    fn forget(&mut self, entry: &Entry) {
        let size = entry.message.publish.wire_len();
        self.bytes -= size;
        if entry.message.publish.qos() != QoS::AtMostOnce {
            self.acked -= 1;
            self.acked_bytes -= size;
        }
    }

    /// Removes the messages of QoS 1 that the server is bound to send again: MQTT-4.4.0-1.
    ///
    /// Without this, each loss of the connection would add them to the queue once more.
    pub(crate) fn remove_repeated(&mut self) {
        let entries = mem::take(&mut self.entries);
        (self.former, self.settled) = (0, 0);
        self.topics.clear();
        for entry in entries {
            if entry.message.publish.qos() == QoS::AtLeastOnce {
                self.forget(&entry);
            } else {
                // No topic is there twice: nothing is dropped.
                self.place(entry, &mut Vec::new());
            }
        }
    }

    /// There is a new connection, whose server does not say whether it will send what waits again.
    pub(crate) fn doubt(&mut self) {
        self.former = self.entries.len();
    }

    /// Returns what comes again, so that losses of the connection do not make it pile up.
    fn former_of(&mut self, again: &PublishPacket) -> Option<&mut Entry> {
        // Where a topic waits once, the message takes that place anyway.
        let once = self.bounds.overflow == Overflow::LatestPerTopic;
        if once || again.qos() != QoS::AtLeastOnce {
            return None;
        }
        let is_same = |entry: &Entry| {
            let publish = &entry.message.publish;
            (publish.qos(), publish.packet_id()) == (again.qos(), again.packet_id())
                && publish.topic_bytes() == again.topic_bytes()
                && publish.payload_bytes() == again.payload_bytes()
                && publish.wire_len() == again.wire_len()
        };
        self.entries.iter_mut().take(self.former).find(|entry| is_same(entry))
    }

    /// Tells whether reading has to stop because QoS 1 and 2 alone exceed a bound.
    pub(crate) fn is_over(&self) -> bool {
        self.bounds.overflow == Overflow::Block
            && (self.acked > self.bounds.messages.max(1)
                || (self.acked > 1 && self.acked_bytes > self.bounds.bytes))
    }

    /// Returns what the messages that wait are to be acknowledged with.
    pub(crate) fn acks(&self) -> impl Iterator<Item = AckId> {
        self.entries.iter().filter_map(|entry| entry.message.ack)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn lagged(&self) -> u64 {
        self.lagged
    }
}

impl Entry {
    /// Takes a small message out of its block.
    fn settle(&mut self, copy_up_to: usize) {
        if !self.owned && self.message.publish.wire_len() <= copy_up_to {
            self.message.publish = self.message.publish.clone().into_owned();
            self.owned = true;
        }
    }

    /// Returns the packet for the application: small ones share no memory with what was read.
    #[inline]
    pub(crate) fn into_packet(self, copy_up_to: usize) -> PublishPacket {
        let packet = self.message.publish;
        if self.owned || packet.wire_len() > copy_up_to { packet } else { packet.into_owned() }
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
                let entry = queue.pop().unwrap();
                assert!(!entry.owned && !block.is_unique());
                // The application has one of its own.
                let _packet = entry.into_packet(1024);
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
            while queue.pop().is_some() {}
            capacities.push(queue.entries.capacity());
        }
        let [first, second, third, small, smaller] = capacities[..] else { unreachable!() };
        assert!(first >= 700 && second == first && third == first, "{capacities:?}");
        assert!(small <= 4 * COPY_FROM && smaller == small, "{capacities:?}");
        queue.relax();
        assert_eq!(queue.entries.capacity(), 0);
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

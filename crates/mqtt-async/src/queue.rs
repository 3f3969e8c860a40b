//! The queue of messages that came in and were not taken yet.

use std::collections::{HashMap, VecDeque};

use mqtt_proto::{AckId, Message, PublishPacket, QoS};

use crate::config::{Inbound, Overflow};

/// From this many waiting messages on, small ones are copied when they come in: a queue that nobody
/// empties then keeps few blocks alive.
const COPY_FROM: usize = 32;

/// A bounded queue; see [`Inbound`] and [`Overflow`] for what happens at its bounds.
#[derive(Debug)]
pub(crate) struct Queue {
    entries: VecDeque<Entry>,
    bounds: Inbound,
    copy_up_to: usize,
    bytes: usize,
    /// How many entries are of QoS 1 and 2, and how many bytes these have.
    acked: usize,
    acked_bytes: usize,
    lagged: u64,
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
            bounds,
            copy_up_to,
            bytes: 0,
            acked: 0,
            acked_bytes: 0,
            lagged: 0,
            former: 0,
            first: 0,
            topics: HashMap::new(),
        }
    }

    /// Adds a message; what is dropped for lack of room is to be acknowledged.
    #[inline]
    pub(crate) fn push(&mut self, mut message: Message, dropped: &mut Vec<AckId>) {
        if self.former > 0
            && message.publish.dup()
            && let Some(former) = self.former_of(&message.publish)
        {
            // It stays where it stands: what came behind it comes again as well, and not all at once.
            former.owned = false;
            former.message = message;
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
        let owned = self.entries.len() >= COPY_FROM && size <= self.copy_up_to;
        if owned {
            message.publish = message.publish.into_owned();
        }
        self.place(Entry { message, owned }, dropped);
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

    fn has_bytes_for(&self, size: usize) -> bool {
        self.entries.is_empty() || self.bytes + size <= self.bounds.bytes
    }

    /// Puts an entry to the end, or to where a message of its topic waits.
    #[inline]
    fn place(&mut self, entry: Entry, dropped: &mut Vec<AckId>) {
        if self.bounds.overflow == Overflow::LatestPerTopic {
            let topic = entry.message.publish.topic_bytes();
            let known = self.topics.get(topic).and_then(|number| number.checked_sub(self.first));
            if let Some(waiting) = known.and_then(|index| self.entries.get_mut(index as usize)) {
                let old = std::mem::replace(waiting, entry);
                self.forget(&old);
                self.lagged += 1;
                dropped.extend(old.message.ack);
                return;
            }
            self.topics.insert(topic.into(), self.first + self.entries.len() as u64);
        }
        self.entries.push_back(entry);
    }

    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        self.first += 1;
        self.former = self.former.saturating_sub(1);
        if self.bounds.overflow == Overflow::LatestPerTopic {
            self.topics.remove(entry.message.publish.topic_bytes());
        }
        self.forget(&entry);
        if self.entries.is_empty() {
            // What a burst needed is given back.
            self.entries.shrink_to(COPY_FROM);
        }
        Some(entry)
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
        let entries = std::mem::take(&mut self.entries);
        self.former = 0;
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
    /// Returns the packet for the application: small ones share no memory with what was read.
    #[inline]
    pub(crate) fn into_packet(self, copy_up_to: usize) -> PublishPacket {
        let packet = self.message.publish;
        if self.owned || packet.wire_len() > copy_up_to { packet } else { packet.into_owned() }
    }
}

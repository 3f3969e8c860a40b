//! The queue of messages that came in and were not taken yet.

use std::collections::VecDeque;

use mqtt_proto::{Message, PublishPacket, QoS};

use crate::config::Inbound;

/// From this many waiting messages on, small ones are copied when they come in: a queue that nobody
/// empties then keeps few blocks alive.
const COPY_FROM: usize = 32;

/// A bounded queue; see [`Inbound`] for what happens at its bounds.
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
        }
    }

    /// Adds a message, unless it may be dropped and there is no room.
    pub(crate) fn push(&mut self, mut message: Message) {
        let size = message.publish.wire_len();
        if message.publish.qos() == QoS::AtMostOnce {
            let unacked = self.entries.len() - self.acked;
            let fits = unacked < self.bounds.messages
                && (self.entries.is_empty() || self.bytes + size <= self.bounds.bytes);
            if !fits {
                self.lagged += 1;
                return;
            }
        } else {
            self.acked += 1;
            self.acked_bytes += size;
        }
        self.bytes += size;
        let owned = self.entries.len() >= COPY_FROM && size <= self.copy_up_to;
        if owned {
            message.publish = message.publish.into_owned();
        }
        self.entries.push_back(Entry { message, owned });
    }

    pub(crate) fn pop(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        self.forget(&entry);
        if self.entries.is_empty() {
            // What a burst needed is given back.
            self.entries.shrink_to(COPY_FROM);
        }
        Some(entry)
    }

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
        for entry in entries {
            if entry.message.publish.qos() == QoS::AtLeastOnce {
                self.forget(&entry);
            } else {
                self.entries.push_back(entry);
            }
        }
    }

    /// Tells whether reading has to stop because QoS 1 and 2 alone exceed a bound.
    pub(crate) fn is_over(&self) -> bool {
        self.acked > self.bounds.messages.max(1)
            || (self.acked > 1 && self.acked_bytes > self.bounds.bytes)
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
    pub(crate) fn into_packet(self, copy_up_to: usize) -> PublishPacket {
        let packet = self.message.publish;
        if self.owned || packet.wire_len() > copy_up_to { packet } else { packet.into_owned() }
    }
}

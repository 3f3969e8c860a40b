//! Memory that tests lend a client: its end is code of theirs, which calls the client.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use mqtt_async::{Client, Publish, QoS, Subscribe, Text, TopicFilter, TopicName, Version};

/// Counts what was lent, and what has come back.
#[derive(Clone, Default)]
pub struct Lender {
    client: Arc<Mutex<Option<Client>>>,
    lent: Arc<AtomicUsize>,
    back: Arc<AtomicUsize>,
}

struct Owner {
    bytes: Vec<u8>,
    lender: Lender,
}

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.lender.back.fetch_add(1, Ordering::SeqCst);
        let client = self.lender.client.lock().unwrap().clone();
        if let Some(client) = client {
            // Each of these takes the lock, and would wait for ever for whoever holds it.
            let _ = (client.status(), client.stats());
            drop((client.ready(), client.messages()));
        }
    }
}

impl Lender {
    pub fn of(client: &Client) -> Lender {
        let lender = Lender::default();
        lender.calls(Some(client));
        lender
    }

    /// Whom to call.
    pub fn calls(&self, client: Option<&Client>) {
        let before = std::mem::replace(&mut *self.client.lock().unwrap(), client.cloned());
        drop(before);
    }

    pub fn bytes(&self, bytes: impl Into<Vec<u8>>) -> Bytes {
        self.lent.fetch_add(1, Ordering::SeqCst);
        Bytes::from_owner(Owner { bytes: bytes.into(), lender: self.clone() })
    }

    pub fn text(&self, text: &str) -> Text {
        Text::from_bytes(self.bytes(text)).unwrap()
    }

    pub fn filter(&self, filter: &str) -> TopicFilter {
        TopicFilter::from_text(self.text(filter)).unwrap()
    }

    /// A SUBSCRIBE of which every part is lent.
    pub fn subscribe(&self, filter: &str, version: Version) -> Subscribe {
        let mut subscribe = Subscribe::new(self.filter(filter), QoS::ExactlyOnce);
        if version == Version::V5 {
            subscribe.user_properties.push((self.text("name"), self.text("value")));
        }
        subscribe
    }

    /// A message of which every part is lent that can be.
    pub fn publish(&self, topic: &str, size: usize, qos: QoS, version: Version) -> Publish {
        let topic = TopicName::new(topic).unwrap();
        let mut publish = Publish::new(topic, self.bytes(vec![b'x'; size])).qos(qos);
        if version == Version::V5 {
            let fields = publish.properties.edit();
            fields.content_type = Some(self.text("text/plain"));
            fields.user_properties.push((self.text("name"), self.text("value")));
        }
        publish
    }

    /// How much of what was lent has not come back.
    pub fn out(&self) -> usize {
        self.lent.load(Ordering::SeqCst) - self.back.load(Ordering::SeqCst)
    }

    #[track_caller]
    pub fn has_all(&self) {
        assert!(self.lent.load(Ordering::SeqCst) > 0, "nothing was lent");
        assert_eq!(self.out(), 0, "so much has not come back");
    }
}

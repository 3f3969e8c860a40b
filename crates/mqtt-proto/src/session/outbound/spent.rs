//! Messages that the session is done with, for a caller who has to drop them elsewhere: the end of a payload
//! may be code of the user.

use alloc::vec::Vec;

use crate::packet::Publish;

/// Where messages go that have ended. Nothing is kept before somebody says that he takes it.
#[derive(Debug, Default)]
pub(in crate::session) struct Spent(Option<Vec<Publish>>);

impl Spent {
    /// Keeps them from now on.
    pub(in crate::session) fn keep(&mut self) {
        self.0.get_or_insert_default();
    }

    /// Takes a message that has ended.
    #[inline]
    pub(in crate::session) fn put(&mut self, publish: Publish) {
        if let Some(kept) = &mut self.0 {
            kept.push(publish);
        }
    }

    /// Takes the properties of a message that goes on without them.
    pub(super) fn put_properties(&mut self, publish: &mut Publish) {
        let mut rest = Publish::new(publish.topic.clone(), "");
        rest.properties = core::mem::take(&mut publish.properties);
        self.put(rest);
    }

    /// Moves all to `into`, and keeps the capacity of what is handed in if that is empty.
    #[inline]
    pub(in crate::session) fn take(&mut self, into: &mut Vec<Publish>) {
        match &mut self.0 {
            Some(kept) if into.is_empty() => core::mem::swap(kept, into),
            Some(kept) => into.append(kept),
            None => {}
        }
    }

    #[inline]
    pub(in crate::session) fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(Vec::is_empty)
    }
}

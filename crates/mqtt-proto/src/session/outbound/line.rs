//! The line of messages that were never sent: who may be taken out of it, and whose place another one may
//! take. What was sent in a session that was lost since stands before them, and stays.

use alloc::vec::Vec;
use core::mem;

use super::{Outbound, Queued};
use crate::packet::Publish;
use crate::time::Instant;
use crate::types::Token;

impl Outbound {
    /// Returns the index of the message that has that place, if it was never sent. Places ascend.
    fn at_place(&self, place: Token) -> Option<usize> {
        let at = self.queue.partition_point(|queued| queued.sent || queued.place < place);
        (self.queue.get(at)?.place == place).then_some(at)
    }

    pub(in crate::session) fn cancel(&mut self, token: Token) -> Option<Publish> {
        let is_it = |queued: &Queued| queued.token == token && !queued.sent;
        // One that has taken the place of another one stands anywhere.
        let at = match self.at_place(token).filter(|at| self.queue.get(*at).is_some_and(is_it)) {
            Some(at) => at,
            None => self.queue.iter().position(is_it)?,
        };
        self.take_out(at).map(|(_, publish)| publish)
    }

    fn take_out(&mut self, at: usize) -> Option<(Token, Publish)> {
        let Queued { token, publish, size, id, .. } = self.queue.remove(at)?;
        self.forget(token, id);
        self.give_room(size);
        Some((token, publish))
    }

    /// Takes the message out that has waited longest, and is not at that place.
    pub(in crate::session) fn take_oldest(
        &mut self,
        except: Option<Token>,
    ) -> Option<(Token, Publish)> {
        let first = self.queue.partition_point(|queued| queued.sent);
        let spared = self.queue.get(first).is_some_and(|queued| Some(queued.place) == except);
        self.take_out(first + usize::from(spared))
    }

    /// Frees an identifier: that of the message at the place, or else of the one that has waited longest,
    /// which is taken out. False if no message has one that was never sent.
    pub(in crate::session) fn free_identifier(
        &mut self,
        place: Option<Token>,
        taken: &mut Vec<(Token, Publish)>,
    ) -> bool {
        let there = place.and_then(|place| self.at_place(place));
        if let Some(queued) = there.and_then(|at| self.queue.get_mut(at))
            && let Some(id) = queued.id.take()
        {
            let token = queued.token;
            self.forget(token, Some(id));
            return true;
        }
        let oldest = self.queue.iter().position(|queued| !queued.sent && queued.id.is_some());
        taken.extend(oldest.and_then(|at| self.take_out(at)));
        oldest.is_some()
    }

    /// Takes out all messages that are not wanted any more.
    pub(in crate::session) fn take_unwanted(
        &mut self,
        mut unwanted: impl FnMut(&Publish) -> bool,
    ) -> Vec<(Token, Publish)> {
        let mut taken = Vec::new();
        for queued in mem::take(&mut self.queue) {
            if queued.sent || !unwanted(&queued.publish) {
                self.queue.push_back(queued);
                continue;
            }
            let Queued { token, publish, size, id, .. } = queued;
            self.forget(token, id);
            self.give_room(size);
            taken.push((token, publish));
        }
        taken
    }

    /// Puts a message where another one waits, which is returned; `Err`: that one does not wait any more, or
    /// the record of the message needs an identifier and there is none.
    pub(in crate::session) fn replace(
        &mut self,
        place: Token,
        publish: Publish,
        size: usize,
        now: Instant,
    ) -> Result<(Token, Option<(Token, Publish)>), Publish> {
        let Some(at) = self.at_place(place) else { return Err(publish) };
        // At the end first, where every message is made.
        let token = self.push(publish, size, now)?;
        if let Some(mut new) = self.queue.pop_back() {
            new.place = place;
            self.queue.push_back(new);
        }
        let old = self.queue.swap_remove_back(at).map(|old| {
            self.forget(old.token, old.id);
            self.give_room(old.size);
            (old.token, old.publish)
        });
        Ok((token, old))
    }
}

//! One byte for each token, shared between the token and the state.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicU8;
use std::{array, fmt};

use mqtt_proto::Token;

use crate::shared::{Numbered, Shared};

/// How many tokens share a page: as many as a word has bits.
const PAGE: usize = 64;

/// How many pages are kept for their next use, for 16,384 tokens.
const SPARES: usize = 256;

/// The bytes of tokens whose numbers follow each other.
pub(super) struct Page {
    marks: [AtomicU8; PAGE],
    /// The state has pages, so this makes a ring. The end of the client breaks it: see [`Pages::clear`].
    pub(super) shared: Arc<Shared>,
}

impl Page {
    pub(super) fn mark(&self, token: Token) -> &AtomicU8 {
        &self.marks[token.get() as usize % PAGE]
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page").finish_non_exhaustive()
    }
}

/// A page as the state sees it.
#[derive(Debug)]
pub(super) struct Leaf {
    number: u64,
    pub(super) page: Arc<Page>,
    /// A bit for each token that has no outcome yet.
    open: u64,
}

/// The pages of tokens that have no outcome yet.
#[derive(Debug, Default)]
pub(super) struct Pages {
    /// That of the newest token.
    newest: Option<Leaf>,
    /// The others, by their numbers.
    others: Numbered<Leaf>,
    /// Pages whose tokens all have their outcomes; some of these tokens may still be alive.
    spares: VecDeque<Arc<Page>>,
}

impl Pages {
    /// Returns the page for a token that gets an outcome.
    #[inline]
    pub(super) fn open(&mut self, token: Token, shared: &Arc<Shared>) -> Arc<Page> {
        let (number, bit) = place(token);
        let mut leaf = match self.newest.take() {
            Some(leaf) if leaf.number == number => leaf,
            before => self.turn(before, number, shared),
        };
        leaf.open |= bit;
        let page = Arc::clone(&leaf.page);
        self.newest = Some(leaf);
        page
    }

    fn turn(&mut self, before: Option<Leaf>, number: u64, shared: &Arc<Shared>) -> Leaf {
        if let Some(leaf) = before {
            match leaf.open {
                0 => self.keep(leaf.page),
                _ => drop(self.others.insert(leaf.number, leaf)),
            }
        }
        // Tokens of an earlier process may come in any order.
        if let Some(leaf) = self.others.remove(&number) {
            return leaf;
        }
        let page = self.spare().unwrap_or_else(|| {
            let marks = array::from_fn(|_| AtomicU8::default());
            Arc::new(Page { marks, shared: Arc::clone(shared) })
        });
        Leaf { number, page, open: 0 }
    }

    /// Returns the page of a token, if that has no outcome yet.
    #[inline]
    pub(super) fn get(&self, token: Token) -> Option<&Page> {
        let (number, bit) = place(token);
        let leaf = match &self.newest {
            Some(leaf) if leaf.number == number => leaf,
            _ => self.others.get(&number)?,
        };
        (leaf.open & bit != 0).then_some(&leaf.page)
    }

    /// The token has its outcome.
    pub(super) fn close(&mut self, token: Token) {
        self.close_with(token, |_| ());
    }

    /// The token gets its outcome, unless it has one: `set` notes it.
    #[inline]
    pub(super) fn close_with<T>(
        &mut self,
        token: Token,
        set: impl FnOnce(&AtomicU8) -> T,
    ) -> Option<T> {
        let (number, bit) = place(token);
        let (leaf, is_newest) = match &mut self.newest {
            Some(leaf) if leaf.number == number => (leaf, true),
            _ => (self.others.get_mut(&number)?, false),
        };
        if leaf.open & bit == 0 {
            return None;
        }
        let noted = set(leaf.page.mark(token));
        leaf.open &= !bit;
        if leaf.open == 0
            && !is_newest
            && let Some(leaf) = self.others.remove(&number)
        {
            self.keep(leaf.page);
        }
        Some(noted)
    }

    /// Keeps a page for later.
    fn keep(&mut self, page: Arc<Page>) {
        if self.spares.len() < SPARES {
            self.spares.push_back(page);
        }
    }

    /// Returns the page that was kept for longest, if all of its tokens are gone by now.
    fn spare(&mut self) -> Option<Arc<Page>> {
        let mut page = self.spares.pop_front()?;
        let Some(Page { marks, .. }) = Arc::get_mut(&mut page) else {
            self.spares.push_back(page);
            return None;
        };
        marks.iter_mut().for_each(|mark| *mark.get_mut() = 0);
        Some(page)
    }

    /// Gives back what a burst needed.
    pub(super) fn relax(&mut self) {
        self.newest.take_if(|leaf| leaf.open == 0);
        self.spares = VecDeque::new();
        self.others.shrink_to_fit();
    }

    /// Returns how many pages have tokens without an outcome.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.others.len() + usize::from(self.newest.as_ref().is_some_and(|leaf| leaf.open > 0))
    }

    /// Forgets all tokens: they have no outcome any more.
    pub(super) fn clear(&mut self) {
        *self = Pages::default();
    }
}

/// Returns the number of a token's page, and its bit there.
const fn place(token: Token) -> (u64, u64) {
    (token.get() / PAGE as u64, 1 << (token.get() % PAGE as u64))
}

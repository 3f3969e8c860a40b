//! Packet Identifiers that this side gives out: MQTT 5.0 section 2.2.1.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::list::Key;
use crate::types::PacketId;

const PAGE: usize = 256;

/// Gives out identifiers and finds what they stand for.
///
/// They count up and wrap, skipping those in use, so that a late answer to a finished exchange meets
/// no stranger. The table has a page for each 256 identifiers of which one is in use: a few in flight
/// take 1 KiB, all 65,535 take 256 KiB, and finding one takes two look-ups.
#[derive(Clone, Debug, Default)]
pub(super) struct Ids {
    pages: Vec<Option<Box<Page>>>,
    /// An empty page, kept so that counting up does not allocate one for every 256 identifiers.
    spare: Option<Box<Page>>,
    last: u16,
    used: u32,
}

#[derive(Clone, Debug)]
struct Page {
    used: u16,
    keys: [Option<Key>; PAGE],
}

impl Page {
    fn new() -> Box<Page> {
        Box::new(Page { used: 0, keys: [None; PAGE] })
    }
}

const fn place(id: u16) -> (usize, usize) {
    (id as usize / PAGE, id as usize % PAGE)
}

impl Ids {
    /// Begins counting at that identifier, if none was given out yet; those that were read from records
    /// do not count.
    pub(super) const fn start_at(&mut self, first: PacketId) {
        if self.last == 0 {
            self.last = first.get() - 1;
        }
    }

    /// Tells whether there is one to give out.
    pub(super) const fn has_free(&self) -> bool {
        self.used < u16::MAX as u32
    }

    /// Gives out the next free identifier for `key`, or `None` if all are in use.
    pub(super) fn allocate(&mut self, key: Key) -> Option<PacketId> {
        if !self.has_free() {
            return None;
        }
        let mut id = self.last;
        loop {
            id = id.wrapping_add(1);
            let (page, slot) = place(id);
            if slot == 0 && self.page(page).is_some_and(|page| usize::from(page.used) == PAGE) {
                id = id.wrapping_add(PAGE as u16 - 1);
                continue;
            }
            let taken = self
                .page(page)
                .is_some_and(|page| page.keys.get(slot).is_some_and(Option::is_some));
            if let Some(packet_id) = PacketId::new(id)
                && !taken
            {
                self.put(packet_id, key);
                self.last = id;
                return Some(packet_id);
            }
        }
    }

    /// Gives out the next free identifier for something that has no place yet.
    pub(super) fn reserve(&mut self) -> Option<PacketId> {
        self.allocate(Key::NONE)
    }

    /// Enters an identifier that was given out before: reserved, or read from a record. Tells whether
    /// nothing else has it.
    pub(super) fn assign(&mut self, id: PacketId, key: Key) -> bool {
        let known = self.get(id);
        if known.is_some_and(|known| known != Key::NONE) {
            return false;
        }
        self.free(id);
        self.put(id, key);
        true
    }

    /// Keeps an identifier for what has lost its place.
    pub(super) fn reassign(&mut self, id: PacketId) {
        self.free(id);
        self.put(id, Key::NONE);
    }

    /// Enters an identifier that is known to be free.
    fn put(&mut self, id: PacketId, key: Key) {
        let (page, slot) = place(id.get());
        if self.pages.len() <= page {
            self.pages.resize_with(page + 1, || None);
        }
        let spare = &mut self.spare;
        if let Some(page) = self.pages.get_mut(page) {
            let page = page.get_or_insert_with(|| spare.take().unwrap_or_else(Page::new));
            if let Some(slot) = page.keys.get_mut(slot) {
                *slot = Some(key);
                page.used += 1;
                self.used += 1;
            }
        }
    }

    fn page(&self, page: usize) -> Option<&Page> {
        self.pages.get(page)?.as_deref()
    }

    /// Returns what the identifier stands for.
    pub(super) fn get(&self, id: PacketId) -> Option<Key> {
        let (page, slot) = place(id.get());
        *self.page(page)?.keys.get(slot)?
    }

    /// Takes an identifier back.
    pub(super) fn free(&mut self, id: PacketId) {
        let (page, slot) = place(id.get());
        let Some(place) = self.pages.get_mut(page) else { return };
        let Some(page) = place else { return };
        let Some(slot) = page.keys.get_mut(slot) else { return };
        if slot.take().is_some() {
            page.used -= 1;
            self.used -= 1;
            if page.used == 0 {
                self.spare = place.take();
            }
        }
    }

    /// Gives back what a burst needed: without any in use, the table is as small as a new one.
    pub(super) fn relax(&mut self) {
        self.spare = None;
        if self.used == 0 {
            self.pages = Vec::new();
        }
    }

    /// Returns how many identifiers are in use.
    #[cfg(test)]
    const fn used(&self) -> usize {
        self.used as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;

    fn key() -> Key {
        Key::for_tests(7)
    }

    #[test]
    fn counts_up_and_skips_what_is_in_use() {
        let mut ids = Ids::default();
        let held: Vec<PacketId> = (0..3).map(|_| ids.allocate(key()).unwrap()).collect();
        assert_eq!(held.iter().map(|id| id.get()).collect::<Vec<_>>(), [1, 2, 3]);
        ids.free(held[0]);
        ids.free(held[2]);
        assert_eq!(ids.allocate(key()).unwrap().get(), 4, "a freed id is not the next one");
        let mut seen = BTreeSet::new();
        for _ in 0..200_000 {
            let id = ids.allocate(key()).unwrap();
            assert!(id.get() != 2 && id.get() != 4, "live ids are never given out");
            seen.insert(id);
            ids.free(id);
        }
        assert_eq!(seen.len(), 65_533);
    }

    #[test]
    fn exhaustion_is_reported_and_ends() {
        let mut ids = Ids::default();
        for _ in 0..65_535 {
            ids.allocate(key()).unwrap();
        }
        assert_eq!(ids.allocate(key()), None);
        ids.free(PacketId::new(40_000).unwrap());
        assert_eq!(ids.allocate(key()).unwrap().get(), 40_000);
    }

    #[test]
    fn idle_holds_no_memory_and_a_stranger_is_harmless() {
        let mut ids = Ids::default();
        for _ in 0..1000 {
            ids.allocate(key()).unwrap();
        }
        ids.free(PacketId::new(60_000).unwrap());
        for id in 1..=1000 {
            ids.free(PacketId::new(id).unwrap());
            ids.free(PacketId::new(id).unwrap());
        }
        ids.relax();
        assert_eq!((ids.used(), ids.pages.capacity()), (0, 0));
        assert_eq!(ids.allocate(key()).unwrap().get(), 1001);
    }
}

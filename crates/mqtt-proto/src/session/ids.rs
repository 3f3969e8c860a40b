//! Packet Identifiers that this side gives out: MQTT 5.0 section 2.2.1.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::list::Key;
use crate::types::PacketId;

/// How many identifiers share a page, and how many pages there are.
const PAGE: usize = 32;
const PAGES: u16 = (u16::MAX as usize / PAGE + 1) as u16;

/// How many pages are kept for their next use: for 1,024 identifiers.
const SPARES: usize = 32;

/// Gives out identifiers and finds what they stand for.
///
/// They count up and wrap, skipping those in use, so that a late answer to a finished exchange meets
/// no stranger. The table has a page for each 32 identifiers of which one is in use, and a pointer for each
/// page from the oldest that is in use to the newest: a few in flight take 200 bytes wherever they begin, all
/// 65,535 take 300 KiB, and finding one takes two look-ups.
#[derive(Clone, Debug, Default)]
pub(super) struct Ids {
    /// The pages from `first` on; behind the last of all comes the first of all.
    pages: Vec<Option<Box<Page>>>,
    /// The number of the first page.
    first: u16,
    /// Empty pages, kept so that counting up does not allocate one for every 32 identifiers.
    #[allow(clippy::vec_box, reason = "they come from the table, and go back there")]
    spares: Vec<Box<Page>>,
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

    /// Enters a key where none is.
    fn put(&mut self, slot: usize, key: Key) {
        if let Some(slot) = self.keys.get_mut(slot) {
            *slot = Some(key);
            self.used += 1;
        }
    }
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
            let Some(packet_id) = PacketId::new(id) else { continue };
            let (page, slot) = self.place(id);
            if let Some(Some(page)) = self.pages.get_mut(page) {
                if slot == 0 && usize::from(page.used) == PAGE {
                    id = id.wrapping_add(PAGE as u16 - 1);
                    continue;
                }
                if page.keys.get(slot).is_some_and(Option::is_some) {
                    continue;
                }
                page.put(slot, key);
                self.used += 1;
            } else {
                self.put(packet_id, key);
            }
            self.last = id;
            return Some(packet_id);
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
        let (mut page, slot) = self.place(id.get());
        if page >= self.pages.len() {
            page = self.extend_to(id);
        }
        let spares = &mut self.spares;
        if let Some(page) = self.pages.get_mut(page) {
            let page = page.get_or_insert_with(|| spares.pop().unwrap_or_else(Page::new));
            page.put(slot, key);
            self.used += 1;
        }
    }

    /// Makes room for the page of an identifier; returns its place.
    #[cold]
    fn extend_to(&mut self, id: PacketId) -> usize {
        let unused = self.pages.iter().take_while(|page| page.is_none()).count();
        // Only if it is worth moving the others, so that each of them is moved once on average.
        if unused * 2 >= self.pages.len() {
            self.pages.drain(..unused);
            self.first = (self.first + unused as u16) % PAGES;
        }
        if self.pages.is_empty() {
            self.first = id.get() / PAGE as u16;
        }
        let (page, _) = self.place(id.get());
        self.pages.resize_with(page + 1, || None);
        page
    }

    /// Returns where the page of an identifier is or would be, and its place there.
    #[inline]
    const fn place(&self, id: u16) -> (usize, usize) {
        let page = (id / PAGE as u16).wrapping_sub(self.first) % PAGES;
        (page as usize, id as usize % PAGE)
    }

    /// Returns what the identifier stands for.
    pub(super) fn get(&self, id: PacketId) -> Option<Key> {
        let (page, slot) = self.place(id.get());
        *self.pages.get(page)?.as_ref()?.keys.get(slot)?
    }

    /// Takes an identifier back.
    pub(super) fn free(&mut self, id: PacketId) {
        let (page, slot) = self.place(id.get());
        let Some(place) = self.pages.get_mut(page) else { return };
        let Some(page) = place else { return };
        let Some(slot) = page.keys.get_mut(slot) else { return };
        if slot.take().is_some() {
            page.used -= 1;
            self.used -= 1;
            if page.used == 0
                && let Some(page) = place.take()
                && self.spares.len() < SPARES
            {
                self.spares.push(page);
            }
        }
    }

    /// Gives back what a burst needed: without any in use, the table is as small as a new one.
    pub(super) fn relax(&mut self) {
        self.spares = Vec::new();
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
    use alloc::collections::{BTreeMap, BTreeSet, VecDeque};

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

    /// Enters what is free.
    fn enter(model: &mut BTreeMap<PacketId, Key>, id: PacketId, key: Key) -> bool {
        let free = !model.contains_key(&id);
        model.entry(id).or_insert(key);
        free
    }

    /// Returns how many bytes the table holds.
    fn bytes(ids: &Ids) -> usize {
        let pages = ids.pages.iter().flatten().count() + ids.spares.len();
        let pointers = ids.pages.capacity() + ids.spares.capacity();
        pointers * size_of::<Option<Box<Page>>>() + pages * size_of::<Page>()
    }

    // A client begins at a random place.
    #[test]
    fn few_take_little_wherever_they_are() {
        for first in [1, 31, 32, 40_000, 65_500, 65_535] {
            let mut ids = Ids::default();
            ids.start_at(PacketId::new(first).unwrap());
            let mut held: VecDeque<PacketId> = VecDeque::new();
            // A window that moves, all around.
            for _ in 0..70_000 {
                held.push_back(ids.allocate(key()).unwrap());
                if held.len() > 2 {
                    ids.free(held.pop_front().unwrap());
                }
                assert!(bytes(&ids) < 512, "{first}: {held:?} takes {}", bytes(&ids));
            }
        }
        // One that is never answered keeps the pointers to the pages behind it.
        let mut ids = Ids::default();
        ids.allocate(key());
        for _ in 0..70_000 {
            let id = ids.allocate(key()).unwrap();
            ids.free(id);
        }
        assert!(bytes(&ids) < 17 * 1024, "{}", bytes(&ids));
    }

    #[test]
    fn many_take_no_more_than_their_pages() {
        let mut ids = Ids::default();
        ids.start_at(PacketId::new(30_000).unwrap());
        while ids.allocate(key()).is_some() {}
        assert!(bytes(&ids) < 300 * 1024, "{}", bytes(&ids));
    }

    #[test]
    fn finds_what_was_entered_whatever_the_order() {
        let mut ids = Ids::default();
        let mut model: BTreeMap<PacketId, Key> = BTreeMap::new();
        let mut random = 1u32;
        for step in 0..200_000u32 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let Some(id) = PacketId::new((random >> 16) as u16) else { continue };
            let key = Key::for_tests(step as usize);
            match random >> 8 & 7 {
                0 => assert_eq!(ids.assign(id, key), enter(&mut model, id, key)),
                1..=3 => {
                    if let Some(id) = ids.allocate(key) {
                        assert_eq!(model.insert(id, key), None);
                    }
                }
                4 if step % 1000 == 4 => ids.relax(),
                _ => {
                    // Often one that is in use.
                    let id = model.range(id..).next().map_or(id, |(id, _)| *id);
                    ids.free(id);
                    model.remove(&id);
                }
            }
            assert_eq!(ids.get(id), model.get(&id).copied());
            assert_eq!(ids.used(), model.len());
        }
        assert!((1..=u16::MAX).all(|id| {
            let id = PacketId::new(id).unwrap();
            ids.get(id) == model.get(&id).copied()
        }));
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

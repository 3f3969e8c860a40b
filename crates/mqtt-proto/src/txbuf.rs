//! The output buffer: a rope of scratch bytes and payloads that are sent from where they lie.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::{fmt, mem};

use bytes::{Buf, Bytes};

/// Payloads from this size on are referred to; smaller ones are copied beside their header.
///
/// Copying 2 KiB costs about as much as one more slice in a vectored write.
const REFER_FROM: usize = 2048;

/// How much of the scratch is taken out before what is left moves to its beginning.
const COMPACT_FROM: usize = 4 * 1024;

/// What is ready to be sent: encoded packets, in order, to be taken out through [`bytes::Buf`].
///
/// Headers and small payloads are copied into scratch memory; large payloads stay where they are and
/// come out of [`chunks_vectored`](TxBuf::chunks_vectored) as slices of their own. It starts without
/// memory, grows by use, and keeps what it needed for the next time: [`shrink`](TxBuf::shrink) gives it
/// back, and a session does so when the connection was silent for a Keep Alive. `Debug` shows no
/// bytes: a CONNECT among them has a password.
///
/// ```
/// use bytes::Buf;
/// use mqtt_proto::{Packet, TxBuf, Version, codec};
///
/// let mut out = TxBuf::new();
/// codec::encode(&Packet::PingReq, Version::V5, &mut out)?;
/// assert_eq!(out.chunk(), [0xC0, 0x00]);
/// out.advance(2);
/// assert!(out.is_empty());
/// # Ok::<(), mqtt_proto::EncodeError>(())
/// ```
pub struct TxBuf {
    /// Initialized memory, so that a whole packet is written with one look at the bounds.
    scratch: Vec<u8>,
    /// How much of `scratch` has been taken out.
    taken: usize,
    /// How much of `scratch` has been filled.
    filled: usize,
    /// Payloads, each with the place in `scratch` that it stands before; the places ascend.
    payloads: VecDeque<(usize, Bytes)>,
    /// How many bytes of payloads wait.
    referred: usize,
    limit: usize,
    /// How much was ever taken out: by it a session sees whether writing gets on.
    progress: u64,
    /// How much of what was handed over is not written yet.
    away: usize,
    /// Whether something was thrown away: it is empty then, and nothing of it was written.
    torn: bool,
}

impl fmt::Debug for TxBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TxBuf")
            .field("len", &self.len())
            .field("limit", &self.limit)
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}

impl Default for TxBuf {
    fn default() -> TxBuf {
        TxBuf::new()
    }
}

impl TxBuf {
    /// Returns an empty buffer that calls itself full at 64 KiB.
    pub const fn new() -> TxBuf {
        TxBuf::with_limit(64 * 1024)
    }

    /// Returns an empty buffer that calls itself full from `limit` bytes on.
    pub const fn with_limit(limit: usize) -> TxBuf {
        TxBuf {
            scratch: Vec::new(),
            taken: 0,
            filled: 0,
            payloads: VecDeque::new(),
            referred: 0,
            limit,
            progress: 0,
            away: 0,
            torn: false,
        }
    }

    /// Returns how many bytes wait to be sent.
    #[inline]
    pub const fn len(&self) -> usize {
        self.filled - self.taken + self.referred
    }

    /// Tells whether nothing waits to be sent.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tells whether enough waits to be sent: a session then holds further packets back.
    ///
    /// It is no bound: the packet that fills the buffer may be larger than what was left. What was handed
    /// over and is not written counts.
    #[inline]
    pub const fn is_full(&self) -> bool {
        self.unwritten() >= self.limit
    }

    /// Moves all that waits to another buffer, if that is empty, to be written from there.
    ///
    /// This is for whoever writes without holding the lock that keeps the session: the session goes on with
    /// this buffer meanwhile. Say what has been written with [`written`](TxBuf::written).
    ///
    /// ```
    /// use bytes::Buf;
    /// use mqtt_proto::{Packet, TxBuf, Version, codec};
    ///
    /// let (mut out, mut link) = (TxBuf::new(), TxBuf::new());
    /// codec::encode(&Packet::PingReq, Version::V5, &mut out)?;
    /// out.hand_over(&mut link);
    /// assert_eq!((out.len(), link.len()), (0, 2));
    /// link.advance(2);
    /// out.written(2);
    /// # Ok::<(), mqtt_proto::EncodeError>(())
    /// ```
    pub fn hand_over(&mut self, to: &mut TxBuf) {
        if to.is_empty() {
            mem::swap(&mut self.scratch, &mut to.scratch);
            mem::swap(&mut self.payloads, &mut to.payloads);
            (to.taken, to.filled) = (mem::take(&mut self.taken), mem::take(&mut self.filled));
            to.referred = mem::take(&mut self.referred);
            self.away += to.len();
        }
    }

    /// Tells that so many bytes of what was handed over have been written.
    pub fn written(&mut self, count: usize) {
        let count = count.min(self.away);
        self.away -= count;
        self.progress = self.progress.wrapping_add(count as u64);
    }

    /// Throws everything away, as when the connection is gone; also what was handed over counts as lost.
    pub fn clear(&mut self) {
        self.torn |= self.unwritten() > 0;
        self.away = 0;
        self.payloads.clear();
        self.referred = 0;
        self.run_empty();
    }

    /// Returns how much memory is held for scratch, in bytes.
    pub fn capacity(&self) -> usize {
        self.scratch.capacity()
    }

    /// Gives back the memory that nothing lies in.
    pub fn shrink(&mut self) {
        self.scratch.truncate(self.filled);
        self.scratch.shrink_to_fit();
        self.payloads.shrink_to_fit();
    }

    /// Returns how many bytes were ever taken out.
    pub(crate) const fn progress(&self) -> u64 {
        self.progress
    }

    /// Returns how many bytes are not written yet, here or where they were handed over to.
    #[inline]
    pub(crate) const fn unwritten(&self) -> usize {
        self.len() + self.away
    }

    /// Tells whether all that was ever put in has been written.
    #[inline]
    pub(crate) const fn is_written(&self) -> bool {
        self.unwritten() == 0 && !self.torn
    }

    /// Returns the place behind the last byte, counted from the first byte that was ever taken out.
    #[inline]
    pub(crate) const fn end(&self) -> u64 {
        self.progress.wrapping_add(self.unwritten() as u64)
    }

    /// Appends these bytes.
    #[inline(always)]
    pub(crate) fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        let room = self.scratch.get_mut(self.filled..).unwrap_or_default();
        if let Some(place) = room.first_chunk_mut() {
            *place = bytes;
            self.filled += N;
        } else {
            self.put_and_grow(&bytes);
        }
    }

    #[cold]
    fn put_and_grow(&mut self, bytes: &[u8]) {
        self.append(bytes.len(), |out| {
            out.put(bytes);
        });
    }

    /// Appends what `write` writes, which is at most so many bytes.
    #[inline]
    pub(crate) fn append(&mut self, at_most: usize, write: impl FnOnce(&mut Writer<'_>)) {
        let mut writer = Writer(self.room(at_most).get_mut(..at_most).unwrap_or_default());
        write(&mut writer);
        let len = at_most - writer.0.len();
        self.filled += len;
    }

    /// Appends so many bytes, for the caller to write them, and returns their place and what lies behind it.
    ///
    /// `None`: there is not as much room, and so much behind it.
    #[inline(always)]
    pub(crate) fn extend(&mut self, len: usize, behind: usize) -> Option<&mut [u8]> {
        let room = self.scratch.get_mut(self.filled..)?;
        if room.len() < len + behind {
            return None;
        }
        self.filled += len;
        Some(room)
    }

    /// Appends the beginning of so much room or more, of which `write` says how long it is; `None`: nothing.
    #[inline]
    pub(crate) fn append_some(
        &mut self,
        room: usize,
        write: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> Option<usize> {
        let room = self.room(room);
        let all = room.len();
        let len = write(room)?.min(all);
        self.filled += len;
        Some(len)
    }

    /// Returns the room behind the last byte: so much, or more.
    #[inline(always)]
    fn room(&mut self, at_least: usize) -> &mut [u8] {
        if self.scratch.len() - self.filled < at_least {
            self.grow(self.filled + at_least);
        }
        self.scratch.get_mut(self.filled..).unwrap_or_default()
    }

    /// Appends a payload without copying it.
    #[inline]
    pub(crate) fn refer(&mut self, payload: Bytes) {
        self.referred += payload.len();
        self.payloads.push_back((self.filled, payload));
    }

    #[cold]
    fn grow(&mut self, len: usize) {
        self.scratch.resize(len.max(2 * self.scratch.len()), 0);
    }

    /// Returns what remains of scratch before the next payload.
    fn head(&self) -> &[u8] {
        let end = self.payloads.front().map_or(self.filled, |(place, _)| *place);
        self.scratch.get(self.taken..end).unwrap_or_default()
    }

    fn run_empty(&mut self) {
        (self.taken, self.filled) = (0, 0);
        // Only a packet that is larger than the limit makes it so large.
        let keep = self.limit.saturating_mul(2);
        if self.scratch.len() > keep {
            self.scratch.truncate(keep);
            self.scratch.shrink_to_fit();
        }
    }
}

/// Room for a packet.
pub(crate) struct Writer<'a>(&'a mut [u8]);

impl<'a> Writer<'a> {
    pub(crate) const fn new(room: &'a mut [u8]) -> Writer<'a> {
        Writer(room)
    }

    /// Returns how much room is left; none if something did not fit.
    #[inline(always)]
    pub(crate) const fn room(&self) -> usize {
        self.0.len()
    }

    /// Writes the next bytes; `None`, here and below: there was no room for them.
    #[inline(always)]
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Option<()> {
        self.place(bytes.len())?.copy_from_slice(bytes);
        Some(())
    }

    /// Writes the first `len` of these bytes; there has to be room for all of them.
    ///
    /// What is too much is overwritten by what follows. So no branch hangs on `len`: where packets alternate, the
    /// processor cannot foretell it.
    #[inline(always)]
    pub(crate) fn put_first<const N: usize>(&mut self, len: usize, bytes: [u8; N]) -> Option<()> {
        let room = core::mem::take(&mut self.0);
        *room.first_chunk_mut()? = bytes;
        self.0 = room.get_mut(len..)?;
        Some(())
    }

    /// The same for what is short in most packets: topics and the texts of properties.
    ///
    /// The length is not known when this is compiled, and so each copy is a call. Two copies of a fixed
    /// length that overlap do as well, are none, and save a fifth of the time of a PUBLISH with properties.
    #[inline(always)]
    pub(crate) fn put_short(&mut self, bytes: &[u8]) -> Option<()> {
        copy_short(self.place(bytes.len())?, bytes);
        Some(())
    }

    /// The same with a few bytes before it, for which there has to be room as well.
    #[inline(always)]
    pub(crate) fn put_behind<const N: usize>(&mut self, head: [u8; N], bytes: &[u8]) -> Option<()> {
        let (first, rest) = self.place(N + bytes.len())?.split_first_chunk_mut()?;
        *first = head;
        copy_short(rest, bytes);
        Some(())
    }

    /// Takes the place of the next bytes. What is too much is lost: the length was computed by the code that
    /// writes, and is compared in debug builds.
    #[inline(always)]
    fn place(&mut self, len: usize) -> Option<&'a mut [u8]> {
        let (place, rest) = core::mem::take(&mut self.0).split_at_mut_checked(len)?;
        self.0 = rest;
        Some(place)
    }
}

/// Copies all bytes to a place of that length.
#[inline(always)]
fn copy_short(place: &mut [u8], bytes: &[u8]) {
    if bytes.len() > 64 {
        if place.len() == bytes.len() {
            place.copy_from_slice(bytes);
        }
        return;
    }
    let done = if bytes.len() >= 16 {
        copy_ends::<32>(place, bytes) || copy_ends::<16>(place, bytes)
    } else {
        copy_ends::<8>(place, bytes) || copy_ends::<4>(place, bytes)
    };
    if !done {
        place.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte);
    }
}

/// Copies all bytes, if there are N to 2 N of them.
#[inline(always)]
fn copy_ends<const N: usize>(place: &mut [u8], bytes: &[u8]) -> bool {
    let (Some(first), Some(last)) = (bytes.first_chunk::<N>(), bytes.last_chunk::<N>()) else {
        return false;
    };
    if let Some(place) = place.first_chunk_mut() {
        *place = *first;
    }
    if let Some(place) = place.last_chunk_mut() {
        *place = *last;
    }
    true
}

/// Tells whether a payload is copied beside its header.
#[inline]
pub(crate) const fn is_copied(payload: usize) -> bool {
    payload < REFER_FROM
}

impl Buf for TxBuf {
    #[inline]
    fn remaining(&self) -> usize {
        self.len()
    }

    fn chunk(&self) -> &[u8] {
        let head = self.head();
        match self.payloads.front() {
            Some((_, payload)) if head.is_empty() => payload,
            _ => head,
        }
    }

    /// Takes bytes out; more than there are counts as all of them.
    fn advance(&mut self, count: usize) {
        let mut count = count.min(self.len());
        self.progress = self.progress.wrapping_add(count as u64);
        while count > 0 {
            let head = self.head().len();
            if head > 0 {
                let step = head.min(count);
                self.taken += step;
                count -= step;
            } else if let Some((_, payload)) = self.payloads.front_mut() {
                let step = payload.len().min(count);
                payload.advance(step);
                self.referred -= step;
                count -= step;
                if payload.is_empty() {
                    self.payloads.pop_front();
                }
            } else {
                break;
            }
        }
        if self.is_empty() {
            self.run_empty();
        } else if self.taken >= COMPACT_FROM && self.taken * 2 >= self.filled {
            // A transport that never takes everything must not make the scratch grow for ever.
            self.scratch.copy_within(self.taken..self.filled, 0);
            self.filled -= self.taken;
            for (place, _) in &mut self.payloads {
                *place -= self.taken;
            }
            self.taken = 0;
        }
    }

    #[cfg(feature = "std")]
    fn chunks_vectored<'a>(&'a self, slices: &mut [std::io::IoSlice<'a>]) -> usize {
        let mut filled = 0;
        let mut put = |bytes: &'a [u8]| {
            if !bytes.is_empty() {
                let Some(slice) = slices.get_mut(filled) else {
                    return false;
                };
                *slice = std::io::IoSlice::new(bytes);
                filled += 1;
            }
            true
        };
        let mut at = self.taken;
        for (place, payload) in &self.payloads {
            if !put(self.scratch.get(at..*place).unwrap_or_default()) || !put(payload) {
                return filled;
            }
            at = *place;
        }
        put(self.scratch.get(at..self.filled).unwrap_or_default());
        filled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(out: &mut TxBuf, bytes: &[u8]) {
        out.append(bytes.len(), |writer| assert!(writer.put(bytes).is_some()));
    }

    fn filled() -> (TxBuf, Vec<u8>) {
        let mut out = TxBuf::new();
        let mut expected = Vec::new();
        for (header, size) in [(3, 10), (5, REFER_FROM), (0, 2 * REFER_FROM), (7, 0), (9, 4000)] {
            let (header, payload) = (alloc::vec![1; header], Bytes::from(alloc::vec![2; size]));
            put(&mut out, &header);
            match is_copied(payload.len()) {
                true => put(&mut out, &payload),
                false => out.refer(payload.clone()),
            }
            expected.extend_from_slice(&header);
            expected.extend_from_slice(&payload);
        }
        (out, expected)
    }

    #[test]
    fn comes_out_whole_in_steps_of_any_size() {
        for step in [1, 2, 7, 100, 3000, 100_000] {
            let (mut out, expected) = filled();
            let mut got = Vec::new();
            while !out.is_empty() {
                let chunk = &out.chunk()[..out.chunk().len().min(step)];
                assert!(!chunk.is_empty());
                got.extend_from_slice(chunk);
                let taken = chunk.len();
                out.advance(taken);
                assert_eq!(out.len() + got.len(), expected.len());
            }
            assert_eq!(got, expected);
        }
    }

    #[test]
    #[cfg(feature = "std")]
    fn slices_refer_to_large_payloads() {
        let (mut out, expected) = filled();
        out.advance(1);
        let mut slices = [std::io::IoSlice::new(&[]); 8];
        let filled = out.chunks_vectored(&mut slices);
        let got: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
        assert_eq!(got, expected[1..]);
        assert_eq!(filled, 5, "scratch, payload, payload, scratch, payload");
        let mut few = [std::io::IoSlice::new(&[]); 2];
        assert_eq!(out.chunks_vectored(&mut few), 2);
    }

    // Each way to copy, and each border between two of them.
    #[test]
    fn short_texts_of_all_lengths_are_written() {
        let bytes: Vec<u8> = (1..=70).collect();
        for len in 0..=bytes.len() {
            let mut out = TxBuf::new();
            // What lay there before is not what is to be there.
            put(&mut out, &[0xEE; 80]);
            out.advance(80);
            out.append(len + 9, |writer| {
                writer.put_short(&bytes[..len]);
                writer.put(&[0xFF]);
            });
            assert_eq!(out.chunk(), [&bytes[..len], &[0xFF]].concat());
        }
    }

    fn put_zeros(out: &mut TxBuf, len: usize) {
        put(out, &alloc::vec![0; len]);
    }

    #[test]
    fn a_slow_reader_does_not_make_scratch_grow() {
        let mut out = TxBuf::new();
        put_zeros(&mut out, 10);
        for _ in 0..100_000 {
            put_zeros(&mut out, 100);
            out.advance(100);
        }
        assert!(out.capacity() <= 4 * COMPACT_FROM, "{}", out.capacity());
    }

    #[test]
    fn gives_memory_back_when_empty() {
        let mut out = TxBuf::new();
        put_zeros(&mut out, 1_000_000);
        out.advance(1_000_000);
        assert!(out.capacity() <= 128 * 1024, "{}", out.capacity());
        put_zeros(&mut out, 10_000);
        out.shrink();
        assert_eq!((out.capacity(), out.len()), (10_000, 10_000));
        out.advance(10_000);
        out.shrink();
        assert_eq!(out.capacity(), 0);
    }

    #[test]
    fn advancing_too_far_empties_it() {
        let (mut out, _) = filled();
        out.advance(usize::MAX);
        assert!(out.is_empty());
        assert_eq!(out.chunk(), []);
    }
}

//! The limit: hand-written code that checks what a careful codec must, and builds as little as possible.
//!
//! It knows only the packets and properties of our streams, makes no difference between errors, and its
//! writer has properties ready-made. Nothing that is fit for use can be much faster.

use std::hint::black_box;

use bytes::{Bytes, BytesMut};

use super::feed;
use super::input::{BLOCK, Stream};
use crate::measure::Run;

struct View<'a> {
    topic: &'a [u8],
    id: u16,
    properties: &'a [u8],
    payload: &'a [u8],
    codes: usize,
}

/// What a PUBLISH keeps: one handle and ranges.
struct Owned {
    frame: Bytes,
    payload: u32,
    topic: u16,
    id: u16,
    codes: u16,
}

pub fn decode(stream: &Stream) -> Run {
    let (wire, v5) = (stream.wire.clone(), stream.version.is_v5());
    let mut buffer = BytesMut::new();
    Box::new(move || {
        let (mut sum, mut tail) = (0, Bytes::new());
        for block in wire.chunks(BLOCK) {
            buffer.reserve(BLOCK + tail.len());
            buffer.extend_from_slice(&tail);
            buffer.extend_from_slice(block);
            let block = buffer.split().freeze();
            let mut at = 0;
            while let Some((start, len)) = frame(&block[at..]) {
                let owned = black_box(own(&block, at, start, len, v5).expect("a packet"));
                if !owned.frame.is_empty() {
                    sum += (owned.frame.len() - owned.payload as usize) as u64;
                }
                sum += u64::from(owned.topic) + u64::from(owned.id) + u64::from(owned.codes);
                at += start + len;
            }
            tail = block.slice(at..);
        }
        sum
    })
}

pub fn encode(stream: &Stream) -> Run {
    let (wire, v5) = (stream.wire.clone(), stream.version.is_v5());
    let mut at = 0;
    let mut items: Vec<(u8, View<'static>)> = Vec::new();
    // The process ends soon.
    let wire: &'static [u8] = Box::leak(wire.to_vec().into_boxed_slice());
    while let Some((start, len)) = frame(&wire[at..]) {
        let body = &wire[at + start..at + start + len];
        items.push((wire[at], parse(wire[at], body, v5).expect("a packet")));
        at += start + len;
    }
    let out = Vec::with_capacity(2 * BLOCK);
    Box::new(feed::encode(items, out, move |(first, view), out| write(*first, view, v5, out)))
}

/// Returns the length of the packet in front, or `None` if it is not all there: for codecs that do not say.
#[inline]
pub fn packet_len(bytes: &[u8]) -> Option<usize> {
    frame(bytes).map(|(start, len)| start + len)
}

#[inline]
fn frame(bytes: &[u8]) -> Option<(usize, usize)> {
    let (start, len) = variable(bytes.get(1..)?)?;
    (bytes.len() > start + len).then_some((start + 1, len))
}

#[inline]
fn variable(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for index in 0..4 {
        let byte = *bytes.get(index)?;
        value |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((index + 1, value));
        }
    }
    None
}

#[inline]
fn own(block: &Bytes, at: usize, start: usize, len: usize, v5: bool) -> Option<Owned> {
    let view = parse(block[at], &block[at + start..at + start + len], v5)?;
    let publish = block[at] >> 4 == 3;
    let frame = if publish { block.slice(at..at + start + len) } else { Bytes::new() };
    let payload = (start + len - view.payload.len()) as u32;
    let (topic, codes) = (view.topic.len() as u16, view.codes as u16);
    Some(Owned { frame, payload, topic, id: view.id, codes })
}

#[inline]
fn parse(first: u8, body: &[u8], v5: bool) -> Option<View<'_>> {
    let none = View { topic: &[], id: 0, properties: &[], payload: &[], codes: 0 };
    let (topic, rest) = match first >> 4 {
        3 => text(body)?,
        4 => return Some(View { id: id(body)?.0, ..none }),
        9 => {
            let (id, codes) = id(body)?;
            return Some(View { id, codes: codes.len() - usize::from(v5), ..none });
        }
        13 => return Some(none),
        _ => return None,
    };
    let (id, rest) = if first & 0b0110 == 0 { (0, rest) } else { id(rest)? };
    let (properties, payload) = if v5 { properties(rest)? } else { (&[][..], rest) };
    Some(View { topic, id, properties, payload, codes: 0 })
}

#[inline]
fn id(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (id, rest) = bytes.split_first_chunk()?;
    let id = u16::from_be_bytes(*id);
    (id != 0).then_some((id, rest))
}

#[inline]
fn binary(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(u16::from_be_bytes(*len).into())
}

#[inline]
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (text, rest) = binary(bytes)?;
    let good = str::from_utf8(text).is_ok() && !text.contains(&0);
    good.then_some((text, rest))
}

#[inline]
fn properties(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (start, len) = variable(bytes)?;
    let (block, payload) = bytes.get(start..)?.split_at_checked(len)?;
    let mut rest = block;
    while let Some((id, value)) = rest.split_first() {
        rest = match id {
            0x01 => value.get(1..)?,
            0x02 => value.get(4..)?,
            0x03 | 0x08 => text(value)?.1,
            0x09 => binary(value)?.1,
            0x26 => text(text(value)?.1)?.1,
            _ => return None,
        };
    }
    Some((block, payload))
}

#[inline]
fn write(first: u8, view: &View<'_>, v5: bool, out: &mut Vec<u8>) {
    let id = view.id.to_be_bytes();
    match first >> 4 {
        3 => {
            let View { topic, properties, payload, .. } = view;
            let qos = first & 0b0110 != 0;
            let len = 2 + topic.len() + 2 * usize::from(qos) + payload.len();
            let len = len + usize::from(v5) * (1 + properties.len());
            out.reserve(5 + len);
            out.push(first);
            write_variable(len, out);
            out.extend_from_slice(&(topic.len() as u16).to_be_bytes());
            out.extend_from_slice(topic);
            if qos {
                out.extend_from_slice(&id);
            }
            if v5 {
                write_variable(properties.len(), out);
                out.extend_from_slice(properties);
            }
            out.extend_from_slice(payload);
        }
        4 => out.extend_from_slice(&[0x40, 2, id[0], id[1]]),
        9 => {
            // The reason codes are not kept: as many zeros do.
            let len = 2 + usize::from(v5) + view.codes;
            out.extend_from_slice(&[0x90, len as u8, id[0], id[1]]);
            out.resize(out.len() + usize::from(v5) + view.codes, 0);
        }
        _ => out.extend_from_slice(&[0xD0, 0]),
    }
}

#[inline]
fn write_variable(mut value: usize, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

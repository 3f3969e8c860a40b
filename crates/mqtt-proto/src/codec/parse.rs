//! The leaf parsers: nom's types, with leaves of our own.
//!
//! They run on one complete packet, so there is no "incomplete": what is missing is an error. The
//! error is two words, because one that is larger costs time even where nothing fails. nom's own
//! `take` and `be_u16` are not inlined across crates under cargo's default profile.

use nom::error::{ErrorKind, ParseError};

use crate::error::DecodeCause;
use crate::text;
use crate::types::PacketId;

/// Where and why a parser gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fail {
    /// How many bytes were left when it did: with the packet's length, that is the offset.
    pub(super) left: u32,
    pub(super) cause: DecodeCause,
}

impl ParseError<&[u8]> for Fail {
    fn from_error_kind(input: &[u8], _: ErrorKind) -> Fail {
        Fail { left: input.len() as u32, cause: DecodeCause::Truncated }
    }

    fn append(_: &[u8], _: ErrorKind, other: Fail) -> Fail {
        other
    }
}

pub(super) type Input<'a> = &'a [u8];
pub(super) type Parsed<'a, T> = nom::IResult<Input<'a>, T, Fail>;

/// Fails at that place.
#[cold]
#[inline(never)]
pub(super) fn fail<T>(input: Input<'_>, cause: DecodeCause) -> Parsed<'_, T> {
    Err(nom::Err::Failure(Fail { left: input.len() as u32, cause }))
}

/// Fails at that place unless the condition holds.
#[inline(always)]
pub(super) fn ensure(holds: bool, input: Input<'_>, cause: DecodeCause) -> Parsed<'_, ()> {
    if holds { Ok((input, ())) } else { fail(input, cause) }
}

#[inline(always)]
pub(super) fn be_u8(input: Input<'_>) -> Parsed<'_, u8> {
    match input.split_first() {
        Some((value, rest)) => Ok((rest, *value)),
        None => fail(input, DecodeCause::Truncated),
    }
}

#[inline(always)]
pub(super) fn be_u16(input: Input<'_>) -> Parsed<'_, u16> {
    match input.split_first_chunk() {
        Some((value, rest)) => Ok((rest, u16::from_be_bytes(*value))),
        None => fail(input, DecodeCause::Truncated),
    }
}

#[inline(always)]
pub(super) fn be_u32(input: Input<'_>) -> Parsed<'_, u32> {
    match input.split_first_chunk() {
        Some((value, rest)) => Ok((rest, u32::from_be_bytes(*value))),
        None => fail(input, DecodeCause::Truncated),
    }
}

#[inline(always)]
pub(super) fn take(input: Input<'_>, count: usize) -> Parsed<'_, Input<'_>> {
    match input.split_at_checked(count) {
        Some((taken, rest)) => Ok((rest, taken)),
        None => fail(input, DecodeCause::Truncated),
    }
}

/// Variable Byte Integer: MQTT 5.0 section 1.5.5.
#[inline(always)]
pub(super) fn variable(input: Input<'_>) -> Parsed<'_, u32> {
    // One byte in nearly every packet.
    if let Some((&byte, rest)) = input.split_first()
        && byte < 0x80
    {
        return Ok((rest, u32::from(byte)));
    }
    long_variable(input)
}

#[inline(never)]
fn long_variable(input: Input<'_>) -> Parsed<'_, u32> {
    let (mut rest, mut value) = (input, 0);
    for shift in [0, 7, 14, 21] {
        let (tail, byte) = be_u8(rest)?;
        rest = tail;
        value |= u32::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            ensure(byte != 0 || shift == 0, input, DecodeCause::VariableByteInteger)?;
            return Ok((rest, value));
        }
    }
    fail(input, DecodeCause::VariableByteInteger)
}

/// Binary Data: MQTT 5.0 section 1.5.6.
#[inline(always)]
pub(super) fn binary(input: Input<'_>) -> Parsed<'_, Input<'_>> {
    let (rest, len) = be_u16(input)?;
    take(rest, usize::from(len))
}

/// UTF-8 Encoded String: MQTT 5.0 section 1.5.4.
#[inline(always)]
pub(super) fn string(input: Input<'_>) -> Parsed<'_, Input<'_>> {
    let (rest, bytes) = binary(input)?;
    match text::check(bytes) {
        Ok(()) => Ok((rest, bytes)),
        Err(cause) => fail(input, cause),
    }
}

/// A UTF-8 Encoded String that is a Topic Name or is empty.
#[inline(always)]
pub(super) fn topic_or_empty(input: Input<'_>) -> Parsed<'_, Input<'_>> {
    let (rest, bytes) = binary(input)?;
    match text::check_topic_name(bytes) {
        Ok(()) => Ok((rest, bytes)),
        Err(cause) => fail(input, cause),
    }
}

/// A UTF-8 Encoded String that is a Topic Name.
pub(super) fn topic(input: Input<'_>) -> Parsed<'_, Input<'_>> {
    let (rest, topic) = topic_or_empty(input)?;
    ensure(!topic.is_empty(), input, DecodeCause::TopicNameEmpty)?;
    Ok((rest, topic))
}

/// Packet Identifier: MQTT 5.0 section 2.2.1.
#[inline(always)]
pub(super) fn packet_id(input: Input<'_>) -> Parsed<'_, PacketId> {
    let (rest, id) = be_u16(input)?;
    match PacketId::new(id) {
        Some(id) => Ok((rest, id)),
        None => fail(input, DecodeCause::PacketIdZero),
    }
}

/// The end of the packet.
#[inline(always)]
pub(super) fn end(input: Input<'_>) -> Parsed<'_, ()> {
    ensure(input.is_empty(), input, DecodeCause::TrailingBytes)
}

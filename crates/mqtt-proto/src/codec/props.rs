//! Checks property blocks once, so that they can be read lazily: MQTT 5.0 section 2.2.2.

use super::parse::{
    Input, Parsed, be_u8, be_u16, be_u32, binary, ensure, fail, string, take, topic, variable,
};
use crate::error::DecodeCause;
use crate::packet::PropertyKind;
use crate::packet::{Properties, PropertyId};
use crate::types::PacketType;

/// Stands for the Will Properties in the table of properties: a packet that has none of its own.
pub(super) const WILL: PacketType = PacketType::PingReq;

/// Reads a Property Length and the properties behind it, for a packet of that type.
pub(super) fn properties(input: Input<'_>, packet: PacketType) -> Parsed<'_, Properties<'_>> {
    let (rest, block) = block(input, packet, |_, _| ())?;
    Ok((rest, Properties::new(block)))
}

/// Reads the properties of a PUBLISH, with the Topic Alias, or 0.
#[inline(always)]
pub(super) fn publish_properties(input: Input<'_>) -> Parsed<'_, (Input<'_>, u16)> {
    // Most messages have none.
    if let Some((0, rest)) = input.split_first() {
        return Ok((rest, (&[], 0)));
    }
    let mut alias = 0;
    let (rest, block) = block(input, PacketType::Publish, |id, value| {
        if id == PropertyId::TopicAlias {
            alias = value;
        }
    })?;
    Ok((rest, (block, alias)))
}

/// Reads a block, checks each property, and shows those of two bytes to the caller.
#[inline(always)]
fn block(
    input: Input<'_>,
    packet: PacketType,
    mut two: impl FnMut(PropertyId, u16),
) -> Parsed<'_, Input<'_>> {
    use PropertyKind::*;
    let (rest, len) = variable(input)?;
    let (after, block) = take(rest, len as usize)?;
    let mut seen: u64 = 0;
    let mut rest = block;
    while !rest.is_empty() {
        let at = rest;
        // Offsets count from the end of the packet: what follows the block is still left.
        let result = (|| {
            let (value, number) = be_u8(at)?;
            let Some((id, kind, packets)) = PropertyId::lookup(number) else {
                return fail(at, DecodeCause::PropertyUnknown);
            };
            ensure(packets.has(packet), at, DecodeCause::PropertyMisplaced)?;
            let bit = 1 << (id as u8);
            let again = seen & bit != 0 && !id.may_repeat(packet);
            ensure(!again, at, DecodeCause::PropertyDuplicate)?;
            seen |= bit;
            let (next, good) = match kind {
                Flag => be_u8(value).map(|(next, flag)| (next, flag <= 1))?,
                Four => be_u32(value).map(|(next, _)| (next, true))?,
                FourNonZero => be_u32(value).map(|(next, number)| (next, number != 0))?,
                Variable => variable(value).map(|(next, number)| (next, number != 0))?,
                Text => string(value).map(|(next, _)| (next, true))?,
                Topic => topic(value).map(|(next, _)| (next, true))?,
                Binary => binary(value).map(|(next, _)| (next, true))?,
                Pair => {
                    let (next, _) = string(value)?;
                    string(next).map(|(next, _)| (next, true))?
                }
                Two | TwoNonZero | Alias => {
                    let (next, number) = be_u16(value)?;
                    two(id, number);
                    ensure(kind != Alias || number != 0, at, DecodeCause::TopicAliasZero)?;
                    (next, kind != TwoNonZero || number != 0)
                }
            };
            ensure(good, at, DecodeCause::PropertyValue)?;
            Ok((next, ()))
        })();
        match result {
            Ok((next, ())) => rest = next,
            Err(error) => return Err(error.map(|error| beyond(error, after.len()))),
        }
    }
    Ok((after, block))
}

/// Turns a failure inside a block into one of the packet that `left` more bytes follow in.
#[cold]
fn beyond(mut error: super::parse::Fail, left: usize) -> super::parse::Fail {
    error.left += left as u32;
    if error.cause == DecodeCause::Truncated {
        error.cause = DecodeCause::PropertyLength;
    }
    error
}

//! UTF-8 Encoded Strings: MQTT 5.0 section 1.5.4.
//!
//! Control characters and Unicode non-characters are passed on as they are: the standard permits a
//! receiver to refuse them (X5-1.5.4-a), and this library chooses not to, because real devices send them.

use alloc::string::String;
use core::fmt;

use bytes::Bytes;

use crate::error::{DecodeCause, TextError};

/// The longest string or Binary Data field, in bytes.
pub(crate) const MAX_FIELD: usize = 65_535;

/// A string as MQTT permits it: well-formed UTF-8 without U+0000, of at most 65,535 bytes.
///
/// It is a reference-counted handle: cloning copies no text, and one that came from the wire shares
/// the block that was read. Comparing and hashing work on the bytes; [`as_str`](Text::as_str) looks
/// through the bytes once more, because this crate has no `unsafe` code.
///
/// ```
/// use mqtt_proto::Text;
///
/// let text = Text::new("plant 7")?;
/// assert_eq!(text, "plant 7");
/// assert!(Text::new("a\0b").is_err());
/// # Ok::<(), mqtt_proto::TextError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(Bytes);

impl Text {
    /// Takes a string, or says why MQTT does not.
    pub fn new(text: impl Into<String>) -> Result<Text, TextError> {
        let text = text.into();
        check_len(&text)?;
        Ok(Text(Bytes::from(text.into_bytes())))
    }

    /// Takes a string that lives for ever, without copying it.
    pub fn from_static(text: &'static str) -> Result<Text, TextError> {
        check_len(text)?;
        Ok(Text(Bytes::from_static(text.as_bytes())))
    }

    /// Takes bytes without copying them, if they are such a string.
    pub fn from_bytes(bytes: Bytes) -> Result<Text, TextError> {
        if bytes.len() > MAX_FIELD {
            return Err(TextError::TooLong);
        }
        match check(&bytes) {
            Ok(()) => Ok(Text(bytes)),
            Err(DecodeCause::Nul) => Err(TextError::Nul),
            Err(_) => Err(TextError::Utf8),
        }
    }

    /// Takes bytes that a check has seen before.
    pub(crate) const fn from_checked(bytes: Bytes) -> Text {
        Text(bytes)
    }

    /// Returns the string.
    pub fn as_str(&self) -> &str {
        as_str(&self.0)
    }

    /// Returns the UTF-8 bytes.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the handle to the bytes.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// Returns a copy that shares no memory with the block it was read from.
    pub fn into_owned(self) -> Text {
        Text(Bytes::copy_from_slice(&self.0))
    }

    /// Returns the length in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn check_len(text: &str) -> Result<(), TextError> {
    if text.len() > MAX_FIELD {
        Err(TextError::TooLong)
    } else if text.as_bytes().contains(&0) {
        Err(TextError::Nul)
    } else {
        Ok(())
    }
}

/// Returns bytes that were checked before as the string that they are.
pub(crate) fn as_str(checked: &[u8]) -> &str {
    // Cannot fail for checked bytes; an empty string is the only answer left that does not panic.
    core::str::from_utf8(checked).unwrap_or_default()
}

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Sets high bits if one of the eight bytes is no ASCII character or is NUL.
#[inline(always)]
const fn odd_in_text(word: u64) -> u64 {
    // Subtracting one borrows into the high bit only for a zero byte, as long as all are ASCII.
    (word | word.wrapping_sub(LOW)) & HIGH
}

/// Sets high bits if one of the eight bytes is no ASCII character, is NUL or is a wildcard.
#[inline(always)]
const fn odd_in_topic(word: u64) -> u64 {
    let hash = (word ^ (LOW * b'#' as u64)).wrapping_sub(LOW);
    let plus = (word ^ (LOW * b'+' as u64)).wrapping_sub(LOW);
    odd_in_text(word) | ((hash | plus) & HIGH)
}

/// Looks through the bytes eight at a time; false means "look closer", not "wrong".
///
/// Measured against the standard library's check plus a search for NUL: half the time for topics.
#[inline(always)]
fn plain(bytes: &[u8], odd: impl Fn(u64) -> u64) -> bool {
    let (words, tail) = bytes.as_chunks::<8>();
    let mut found = 0;
    for word in words {
        found |= odd(u64::from_le_bytes(*word));
    }
    if !tail.is_empty() {
        // The last eight bytes overlap what was seen; shorter strings are filled up with spaces.
        let last = match bytes.last_chunk::<8>() {
            Some(last) => u64::from_le_bytes(*last),
            None => tail.iter().fold(LOW * b' ' as u64, |word, byte| word << 8 | *byte as u64),
        };
        found |= odd(last);
    }
    found == 0
}

/// Checks that the bytes are well-formed UTF-8 without U+0000.
#[inline]
pub(crate) fn check(bytes: &[u8]) -> Result<(), DecodeCause> {
    if plain(bytes, odd_in_text) { Ok(()) } else { look_closer(bytes) }
}

/// Checks the same for a Topic Name, which has no wildcards either.
#[inline]
pub(crate) fn check_topic_name(bytes: &[u8]) -> Result<(), DecodeCause> {
    if plain(bytes, odd_in_topic) { Ok(()) } else { look_closer_at_topic(bytes) }
}

#[cold]
fn look_closer(bytes: &[u8]) -> Result<(), DecodeCause> {
    if bytes.contains(&0) {
        Err(DecodeCause::Nul)
    } else if core::str::from_utf8(bytes).is_err() {
        Err(DecodeCause::Utf8)
    } else {
        Ok(())
    }
}

#[cold]
fn look_closer_at_topic(bytes: &[u8]) -> Result<(), DecodeCause> {
    look_closer(bytes)?;
    if bytes.iter().any(|byte| matches!(byte, b'#' | b'+')) {
        return Err(DecodeCause::TopicNameWildcard);
    }
    Ok(())
}

impl TryFrom<&str> for Text {
    type Error = TextError;

    fn try_from(text: &str) -> Result<Text, TextError> {
        Text::new(text)
    }
}

impl TryFrom<String> for Text {
    type Error = TextError;

    fn try_from(text: String) -> Result<Text, TextError> {
        Text::new(text)
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

//! Topic Names and Topic Filters: MQTT 5.0 section 4.7, and Shared Subscriptions: section 4.8.2.

use alloc::string::String;
use core::fmt;

use bytes::Bytes;

use crate::error::{DecodeCause, TextError, TopicError};
use crate::text::{self, Text};

mod tree;

pub use tree::FilterTree;

/// A Topic Name: where a message is published to.
///
/// At least one character, at most 65,535 bytes, no U+0000 and no wildcards. Cloning copies no text.
/// Case counts, spaces are allowed, and a leading or trailing `/` makes a different topic.
///
/// ```
/// use mqtt_proto::{TopicError, TopicName};
///
/// let topic = TopicName::new("plant/7/temperature")?;
/// assert_eq!(topic.as_str(), "plant/7/temperature");
/// assert_eq!(TopicName::new("plant/+"), Err(TopicError::Wildcard));
/// # Ok::<(), TopicError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Text);

impl TopicName {
    /// Takes a Topic Name, or says why it is none.
    pub fn new(name: impl Into<String>) -> Result<TopicName, TopicError> {
        let name = Text::new(name)?;
        check_name(name.as_bytes())?;
        Ok(TopicName(name))
    }

    /// Takes a Topic Name that lives for ever, without copying it.
    pub fn from_static(name: &'static str) -> Result<TopicName, TopicError> {
        let name = Text::from_static(name)?;
        check_name(name.as_bytes())?;
        Ok(TopicName(name))
    }

    /// Takes bytes that [`text::check_topic_name`] has seen, and that are not empty.
    pub(crate) const fn from_checked(bytes: Bytes) -> TopicName {
        TopicName(Text::from_checked(bytes))
    }

    /// Returns the name; see [`Text::as_str`] for what it costs.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Returns the UTF-8 bytes.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Returns the name as a string field.
    pub const fn as_text(&self) -> &Text {
        &self.0
    }

    /// Returns a copy that shares no memory with the block it was read from.
    pub fn into_owned(self) -> TopicName {
        TopicName(self.0.into_owned())
    }
}

fn check_name(name: &[u8]) -> Result<(), TopicError> {
    match text::check_topic_name(name) {
        _ if name.is_empty() => Err(TopicError::Empty),
        Ok(()) => Ok(()),
        Err(_) => Err(TopicError::Wildcard),
    }
}

/// A Topic Filter: what is subscribed to; with wildcards, and perhaps a `$share/name/` in front.
///
/// ```
/// use mqtt_proto::{TopicFilter, TopicName};
///
/// let filter = TopicFilter::new("plant/+/temperature")?;
/// assert!(filter.matches(&TopicName::new("plant/7/temperature")?));
///
/// let shared = TopicFilter::new("$share/workers/jobs/#")?;
/// assert_eq!(shared.share_name(), Some("workers"));
/// assert_eq!(shared.filter(), "jobs/#");
/// # Ok::<(), mqtt_proto::TopicError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicFilter {
    text: Text,
    /// Where the filter itself begins: behind `$share/name/`, else 0.
    start: u32,
}

/// What a Shared Subscription begins with.
const SHARE: &[u8] = b"$share/";

impl TopicFilter {
    /// Takes a Topic Filter, or says why it is none.
    pub fn new(filter: impl Into<String>) -> Result<TopicFilter, TopicError> {
        TopicFilter::from_text(Text::new(filter)?)
    }

    /// Takes a Topic Filter that lives for ever, without copying it.
    pub fn from_static(filter: &'static str) -> Result<TopicFilter, TopicError> {
        TopicFilter::from_text(Text::from_static(filter)?)
    }

    /// Takes a string field as a Topic Filter, or says why it is none.
    pub fn from_text(text: Text) -> Result<TopicFilter, TopicError> {
        let start = check_filter(text.as_bytes())?;
        Ok(TopicFilter { text, start })
    }

    /// Returns the whole filter as it stands on the wire, with `$share/name/`.
    pub fn as_str(&self) -> &str {
        self.text.as_str()
    }

    /// Returns the UTF-8 bytes of the whole filter.
    pub fn as_bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// Returns the whole filter as a string field.
    pub const fn as_text(&self) -> &Text {
        &self.text
    }

    /// Returns the ShareName of a Shared Subscription.
    pub fn share_name(&self) -> Option<&str> {
        let start = self.start as usize;
        let name = self.as_bytes().get(SHARE.len()..start.checked_sub(1)?)?;
        Some(text::as_str(name))
    }

    /// Tells whether this is a Shared Subscription.
    pub const fn is_shared(&self) -> bool {
        self.start != 0
    }

    /// Returns the filter that topics are compared with: what follows `$share/name/`.
    pub fn filter(&self) -> &str {
        text::as_str(self.filter_bytes())
    }

    pub(crate) fn filter_bytes(&self) -> &[u8] {
        self.as_bytes().get(self.start as usize..).unwrap_or_default()
    }

    /// Tells whether it has a wildcard.
    pub fn has_wildcards(&self) -> bool {
        self.filter_bytes().iter().any(|byte| matches!(byte, b'#' | b'+'))
    }

    /// Tells whether the topic matches; see [`matches()`].
    pub fn matches(&self, topic: &TopicName) -> bool {
        matches(self.filter_bytes(), topic.as_bytes())
    }

    /// Returns a copy that shares no memory with the block it was read from.
    pub fn into_owned(self) -> TopicFilter {
        TopicFilter { text: self.text.into_owned(), start: self.start }
    }
}

/// Returns where the filter behind `$share/name/` begins, or 0.
fn check_filter(filter: &[u8]) -> Result<u32, TopicError> {
    let Some(shared) = filter.strip_prefix(SHARE) else {
        return check_levels(filter).map(|()| 0);
    };
    let slash = shared.iter().position(|byte| *byte == b'/').ok_or(TopicError::Share)?;
    let (name, rest) = shared.split_at_checked(slash).ok_or(TopicError::Share)?;
    if name.is_empty() || name.iter().any(|byte| matches!(byte, b'#' | b'+')) || rest.len() < 2 {
        return Err(TopicError::Share);
    }
    let start = SHARE.len() + slash + 1;
    check_levels(filter.get(start..).unwrap_or_default())?;
    Ok(start as u32)
}

fn check_levels(filter: &[u8]) -> Result<(), TopicError> {
    if filter.is_empty() {
        return Err(TopicError::Empty);
    }
    let mut levels = filter.split(|byte| *byte == b'/').peekable();
    while let Some(level) = levels.next() {
        if level.contains(&b'#') && (level.len() != 1 || levels.peek().is_some()) {
            return Err(TopicError::MultiLevel);
        }
        if level.contains(&b'+') && level.len() != 1 {
            return Err(TopicError::SingleLevel);
        }
    }
    Ok(())
}

/// Tells whether a topic matches a filter, both as bytes and without `$share/name/`.
///
/// `+` stands for one level, `#` for any number of them and for the level above; neither matches a
/// topic that begins with `$` when it stands first (MQTT-4.7.2-1). Takes time linear in the shorter
/// of the two and never recurses. An invalid filter matches something or nothing, but never panics.
///
/// ```
/// use mqtt_proto::matches;
///
/// assert!(matches(b"sport/#", b"sport"));
/// assert!(matches(b"+/+", b"/finance"));
/// assert!(!matches(b"#", b"$SYS/uptime"));
/// ```
pub fn matches(filter: &[u8], topic: &[u8]) -> bool {
    if topic.first() == Some(&b'$') && matches!(filter.first(), Some(b'#' | b'+')) {
        return false;
    }
    let mut topic_levels = topic.split(|byte| *byte == b'/');
    for level in filter.split(|byte| *byte == b'/') {
        if level == b"#" {
            return true;
        }
        match topic_levels.next() {
            Some(name) if level == b"+" || level == name => {}
            _ => return false,
        }
    }
    topic_levels.next().is_none()
}

impl From<TextError> for TopicError {
    fn from(error: TextError) -> TopicError {
        match error {
            TextError::TooLong => TopicError::TooLong,
            // A topic is made from a `&str` or from text, so ill-formed UTF-8 cannot get here.
            TextError::Nul | TextError::Utf8 => TopicError::Nul,
        }
    }
}

impl From<TopicError> for DecodeCause {
    fn from(error: TopicError) -> DecodeCause {
        match error {
            TopicError::Share => DecodeCause::ShareName,
            TopicError::Wildcard => DecodeCause::TopicNameWildcard,
            TopicError::Nul => DecodeCause::Nul,
            _ => DecodeCause::TopicFilter,
        }
    }
}

macro_rules! topic_traits {
    ($($name:ident)*) => {$(
        impl TryFrom<&str> for $name {
            type Error = TopicError;

            fn try_from(topic: &str) -> Result<$name, TopicError> {
                $name::new(topic)
            }
        }

        impl TryFrom<String> for $name {
            type Error = TopicError;

            fn try_from(topic: String) -> Result<$name, TopicError> {
                $name::new(topic)
            }
        }

        impl TryFrom<&String> for $name {
            type Error = TopicError;

            fn try_from(topic: &String) -> Result<$name, TopicError> {
                $name::new(topic.as_str())
            }
        }

        impl TryFrom<&$name> for $name {
            type Error = TopicError;

            fn try_from(topic: &$name) -> Result<$name, TopicError> {
                Ok(topic.clone())
            }
        }

        impl core::str::FromStr for $name {
            type Err = TopicError;

            fn from_str(topic: &str) -> Result<$name, TopicError> {
                $name::new(topic)
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.as_bytes() == other.as_bytes()
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                self.as_bytes() == other.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }
    )*};
}

topic_traits!(TopicName TopicFilter);

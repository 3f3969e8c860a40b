//! How a message is printed.

use std::fmt::Write as _;
use std::str::FromStr;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::ValueEnum;
use mqtt_async::{Message, Property};
use serde_json::{Map, Value, json};

/// What is printed for `--help`.
pub(crate) const TEMPLATE_HELP: &str = "\
%t topic, %p payload, %x and %X payload in hexadecimal, %b payload in base 64, %l its length, %q QoS, \
%r retained (1 or 0), %d sent before (1 or 0), %I the time of now (RFC 3339), %U the same in seconds since 1970, \
%C Content Type, %R Response Topic, %D Correlation Data, %E seconds until it expires, %P User Properties, \
%j all of it as JSON, %% a percent sign; \\n, \\t, \\0 and \\\\ as usual";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Style {
    /// The payload.
    Plain,
    /// The topic and the payload.
    Topic,
    /// One JSON object for each message.
    Json,
    /// The topic, and the payload in hexadecimal.
    Hex,
}

/// A parsed format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(Vec<u8>),
    Topic,
    Payload,
    Hex { upper: bool },
    Base64,
    Length,
    Qos,
    Retain,
    Dup,
    Rfc3339,
    Unix,
    ContentType,
    ResponseTopic,
    CorrelationData,
    Expiry,
    UserProperties,
    Json,
}

impl From<Style> for Template {
    fn from(style: Style) -> Template {
        let space = || Part::Literal(b" ".to_vec());
        Template(match style {
            Style::Plain => vec![Part::Payload],
            Style::Topic => vec![Part::Topic, space(), Part::Payload],
            Style::Json => vec![Part::Json],
            Style::Hex => vec![Part::Topic, space(), Part::Hex { upper: false }],
        })
    }
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Template, String> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut chars = text.chars();
        while let Some(char) = chars.next() {
            let part = match char {
                '%' => match part(chars.next())? {
                    Some(part) => part,
                    None => {
                        literal.push('%');
                        continue;
                    }
                },
                '\\' => {
                    literal.push(escape(chars.next())?);
                    continue;
                }
                other => {
                    literal.push(other);
                    continue;
                }
            };
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal).into_bytes()));
            }
            parts.push(part);
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal.into_bytes()));
        }
        Ok(Template(parts))
    }
}

/// Reads what stands behind a percent sign; `None` is the sign itself.
fn part(char: Option<char>) -> Result<Option<Part>, String> {
    Ok(Some(match char {
        Some('%') => return Ok(None),
        Some('t') => Part::Topic,
        Some('p') => Part::Payload,
        Some('x') => Part::Hex { upper: false },
        Some('X') => Part::Hex { upper: true },
        Some('b') => Part::Base64,
        Some('l') => Part::Length,
        Some('q') => Part::Qos,
        Some('r') => Part::Retain,
        Some('d') => Part::Dup,
        Some('I') => Part::Rfc3339,
        Some('U') => Part::Unix,
        Some('C') => Part::ContentType,
        Some('R') => Part::ResponseTopic,
        Some('D') => Part::CorrelationData,
        Some('E') => Part::Expiry,
        Some('P') => Part::UserProperties,
        Some('j') => Part::Json,
        Some(other) => return Err(format!("there is no %{other}")),
        None => return Err("a % stands at the end: %% is a percent sign".to_owned()),
    }))
}

fn escape(char: Option<char>) -> Result<char, String> {
    match char {
        Some('n') => Ok('\n'),
        Some('t') => Ok('\t'),
        Some('r') => Ok('\r'),
        Some('0') => Ok('\0'),
        Some('\\') => Ok('\\'),
        Some(other) => Err(format!("there is no \\{other}")),
        None => Err("a \\ stands at the end: \\\\ is a backslash".to_owned()),
    }
}

impl Template {
    /// Appends the message. `now` is when it came. What others have put into it can be escaped, for a terminal; the
    /// format itself is one's own.
    pub(crate) fn write(
        &self,
        message: &Message,
        now: SystemTime,
        escaped: bool,
        out: &mut Vec<u8>,
    ) {
        for part in &self.0 {
            if escaped && !matches!(part, Part::Literal(_)) {
                let mut theirs = Vec::new();
                part.write(message, now, &mut theirs);
                out.extend(visible(&theirs));
            } else {
                part.write(message, now, out);
            }
        }
    }
}

impl Part {
    fn write(&self, message: &Message, now: SystemTime, out: &mut Vec<u8>) {
        let payload = message.payload_bytes();
        let text = match self {
            Part::Literal(bytes) => return out.extend_from_slice(bytes),
            Part::Topic => return out.extend_from_slice(message.topic().as_bytes()),
            Part::Payload => return out.extend_from_slice(payload),
            Part::Hex { upper } => hex(payload, *upper),
            Part::Base64 => STANDARD.encode(payload),
            Part::Length => payload.len().to_string(),
            Part::Qos => (message.qos() as u8).to_string(),
            Part::Retain => u8::from(message.retain()).to_string(),
            Part::Dup => u8::from(message.dup()).to_string(),
            Part::Rfc3339 => humantime::format_rfc3339_millis(now).to_string(),
            Part::Unix => unix(now),
            Part::Json => json(message, now).to_string(),
            Part::UserProperties => user_properties(message),
            property => return property.write_property(message, out),
        };
        out.extend_from_slice(text.as_bytes());
    }

    /// Appends the property, or nothing if the message has none.
    fn write_property(&self, message: &Message, out: &mut Vec<u8>) {
        for property in message.properties() {
            match (self, property) {
                (Part::ContentType, Property::ContentType(text))
                | (Part::ResponseTopic, Property::ResponseTopic(text)) => {
                    out.extend_from_slice(text.as_bytes());
                }
                (Part::CorrelationData, Property::CorrelationData(data)) => {
                    out.extend_from_slice(data);
                }
                (Part::Expiry, Property::MessageExpiryInterval(seconds)) => {
                    out.extend_from_slice(seconds.to_string().as_bytes());
                }
                _ => {}
            }
        }
    }
}

/// Makes visible what a terminal would obey. What is no UTF-8 becomes a replacement character.
fn visible(bytes: &[u8]) -> Vec<u8> {
    let mut text = String::with_capacity(bytes.len());
    for char in String::from_utf8_lossy(bytes).chars() {
        match char {
            '\n' | '\t' => text.push(char),
            char if char.is_control() => text.extend(char.escape_default()),
            char => text.push(char),
        }
    }
    text.into_bytes()
}

fn hex(bytes: &[u8], upper: bool) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = if upper { write!(text, "{byte:02X}") } else { write!(text, "{byte:02x}") };
        text
    })
}

fn unix(now: SystemTime) -> String {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("{}.{:03}", since.as_secs(), since.subsec_millis())
}

fn user_properties(message: &Message) -> String {
    let pairs = message.properties().filter_map(|property| match property {
        Property::UserProperty(name, value) => Some(format!("{name}={value}")),
        _ => None,
    });
    pairs.collect::<Vec<_>>().join(" ")
}

/// Returns the message as JSON: a payload that is no UTF-8 is `payload_base64` instead of `payload`.
fn json(message: &Message, now: SystemTime) -> Value {
    let mut object = Map::new();
    let mut set = |name: &str, value: Value| object.insert(name.to_owned(), value);
    set("time", json!(humantime::format_rfc3339_millis(now).to_string()));
    set("topic", json!(message.topic()));
    match std::str::from_utf8(message.payload_bytes()) {
        Ok(text) => set("payload", json!(text)),
        Err(_) => set("payload_base64", json!(STANDARD.encode(message.payload_bytes()))),
    };
    set("qos", json!(message.qos() as u8));
    set("retain", json!(message.retain()));
    if message.dup() {
        set("dup", json!(true));
    }
    let mut users = Vec::new();
    for property in message.properties() {
        match property {
            Property::PayloadFormatIndicator(is_text) => {
                set("payload_format_indicator", json!(u8::from(is_text)));
            }
            Property::MessageExpiryInterval(seconds) => {
                set("message_expiry_interval", json!(seconds));
            }
            Property::ContentType(text) => {
                set("content_type", json!(text));
            }
            Property::ResponseTopic(text) => {
                set("response_topic", json!(text));
            }
            Property::CorrelationData(data) => {
                match std::str::from_utf8(data) {
                    Ok(text) => set("correlation_data", json!(text)),
                    Err(_) => set("correlation_data_base64", json!(STANDARD.encode(data))),
                };
            }
            // A name may stand more than once, so this is no object.
            Property::UserProperty(name, value) => users.push(json!([name, value])),
            _ => {}
        }
    }
    if !users.is_empty() {
        set("user_properties", Value::Array(users));
    }
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_read() {
        let template: Template = r"a%%b %t\t%p\n".parse().unwrap();
        let literal = |text: &str| Part::Literal(text.as_bytes().to_vec());
        let parts = [literal("a%b "), Part::Topic, literal("\t"), Part::Payload, literal("\n")];
        assert_eq!(template.0, parts);
        assert_eq!("".parse::<Template>().unwrap().0, []);
        for bad in ["%", "%z", "\\", r"\q", "x%"] {
            assert!(bad.parse::<Template>().is_err(), "{bad}");
        }
    }

    #[test]
    fn hexadecimal_has_two_digits_a_byte() {
        assert_eq!(hex(&[0, 10, 255], false), "000aff");
        assert_eq!(hex(&[0, 10, 255], true), "000AFF");
    }

    #[test]
    fn a_terminal_obeys_no_payload() {
        assert_eq!(visible(b"a\tb\n\x1b[2J\x07\xff"), "a\tb\n\\u{1b}[2J\\u{7}\u{fffd}".as_bytes());
    }
}

//! Taking a URL apart: RFC 3986, as far as it concerns us.

use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use mqtt_proto::{Text, Version};
use percent_encoding::percent_decode_str;

use super::{Address, Options, Place, Scheme, TlsOptions, Url, UrlError, UrlPart};

pub(super) fn parse(url: &str) -> Result<Url, UrlError> {
    let (scheme, rest) = split_scheme(url)?;
    let known = Scheme::ALL.into_iter().find(|known| known.name().eq_ignore_ascii_case(scheme));
    let scheme =
        known.ok_or(UrlError::part(UrlPart::Scheme, "is none of mqtt, mqtts, ws, wss and unix"))?;
    if rest.contains('#') {
        let problem = "means nothing here: a # elsewhere is written as %23";
        return Err(UrlError::part(UrlPart::Fragment, problem));
    }
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (user, host) = split_user(authority);
    let place = match scheme {
        Scheme::Unix => socket(host, path)?,
        _ => Place::Host(address(host, scheme.port())?),
    };
    let path = match (scheme, path) {
        (Scheme::Ws | Scheme::Wss, "") => "/mqtt".to_owned(),
        (Scheme::Ws | Scheme::Wss, path) => path.to_owned(),
        (Scheme::Mqtt | Scheme::Mqtts, "" | "/") | (Scheme::Unix, _) => String::new(),
        (Scheme::Mqtt | Scheme::Mqtts, _) => {
            let problem = "is not empty, and only WebSockets and Unix sockets have one";
            return Err(UrlError::part(UrlPart::Path, problem));
        }
    };
    let options = options(query, scheme)?;
    let (user_name, password) = match user {
        None => (None, None),
        Some(user) => {
            let (name, password) = credentials(user);
            let name = Some(name?).filter(|name| !name.is_empty());
            let name = name.map(|name| checked(UrlPart::UserName, name)).transpose()?;
            (name, password.map(Bytes::from))
        }
    };
    if password.is_some() && user_name.is_none() && !options.version.is_v5() {
        let problem = "stands without a user name, which MQTT 3.x does not permit";
        return Err(UrlError::part(UrlPart::Password, problem));
    }
    Ok(Url { scheme, place, path, user_name, password, options })
}

pub(in crate::connect) fn split_scheme(url: &str) -> Result<(&str, &str), UrlError> {
    let problem = "is missing: a URL begins as mqtt://";
    url.split_once("://").ok_or(UrlError::part(UrlPart::Scheme, problem))
}

/// Splits user and host. An @ in a password should have been %40, but there is no doubt about which one is
/// the last.
pub(in crate::connect) fn split_user(authority: &str) -> (Option<&str>, &str) {
    match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    }
}

/// Reads `user:password`. A password is bytes, and need not be UTF-8.
pub(in crate::connect) fn credentials(user: &str) -> (Result<String, UrlError>, Option<Vec<u8>>) {
    let (name, password) = match user.split_once(':') {
        Some((name, password)) => (name, Some(percent_decode_str(password).collect())),
        None => (user, None),
    };
    (decode(UrlPart::UserName, name), password)
}

fn socket(host: &str, path: &str) -> Result<Place, UrlError> {
    if !host.is_empty() {
        let problem = "is not empty, and a Unix socket has none: unix:///run/mqtt.sock";
        return Err(UrlError::part(UrlPart::Host, problem));
    }
    let path = decode(UrlPart::Path, path)?;
    if path.len() < 2 || path.contains('\0') {
        return Err(UrlError::part(UrlPart::Path, "is no path of a socket"));
    }
    Ok(Place::Socket(path.into()))
}

/// Reads a host, and a port if it is another one.
pub(in crate::connect) fn address(text: &str, port: u16) -> Result<Address, UrlError> {
    let bad_host = |problem| UrlError::part(UrlPart::Host, problem);
    let (host, other) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or(bad_host("has no closing bracket"))?;
            if host.parse::<Ipv6Addr>().is_err() {
                return Err(bad_host("has no IPv6 address in its brackets"));
            }
            let port = match rest {
                "" => None,
                rest => Some(rest.strip_prefix(':').ok_or(bad_host("goes on behind its bracket"))?),
            };
            (host, port)
        }
        None => {
            let (host, port) =
                text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
            if host.is_empty() {
                return Err(bad_host("is missing"));
            }
            if !host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_')) {
                return Err(bad_host("has characters that no host has (IPv6 stands in brackets)"));
            }
            (host, port)
        }
    };
    let port = match other {
        None => port,
        Some(other) => match other.parse() {
            Ok(port @ 1..) => port,
            _ => return Err(UrlError::part(UrlPart::Port, "is no number from 1 to 65535")),
        },
    };
    Ok(Address::new(host, port))
}

fn options(query: &str, scheme: Scheme) -> Result<Options, UrlError> {
    let mut options = Options {
        version: Version::V5,
        client_id: None,
        keep_alive: None,
        clean_start: None,
        session_expiry: None,
        connect_timeout: None,
        #[cfg(feature = "proxy")]
        proxy: None,
        #[cfg(feature = "srv")]
        srv: false,
        tls: TlsOptions::default(),
    };
    let tls = &mut options.tls;
    let mut seen = Vec::new();
    for option in query.split('&').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let part = || UrlPart::Option(name.to_owned());
        if seen.contains(&name) && name != "alpn" {
            return Err(UrlError::part(part(), "stands there twice"));
        }
        seen.push(name);
        match name {
            "client_id" => options.client_id = Some(text(part(), value)?),
            "version" => {
                options.version = match value {
                    "5" | "5.0" => Version::V5,
                    "3.1.1" => Version::V311,
                    "3.1" => Version::V31,
                    _ => return Err(UrlError::part(part(), "is none of 5, 3.1.1 and 3.1")),
                }
            }
            "keep_alive" => options.keep_alive = Some(number(part(), value)?),
            "session_expiry" => options.session_expiry = Some(number(part(), value)?),
            "connect_timeout" => {
                let seconds: u32 = number(part(), value)?;
                options.connect_timeout = Some(Duration::from_secs(seconds.into()));
            }
            "clean_start" => options.clean_start = Some(truth(part(), value)?),
            #[cfg(feature = "srv")]
            "srv" => options.srv = truth(part(), value)?,
            #[cfg(not(feature = "srv"))]
            "srv" => return Err(UrlError::part(part(), "needs the feature `srv`")),
            #[cfg(feature = "proxy")]
            "proxy" => {
                let proxy = crate::connect::Proxy::new(&decode(part(), value)?);
                let problem = "is no URL of a proxy, as socks5h://user:password@host:1080";
                options.proxy = Some(proxy.map_err(|_| UrlError::part(part(), problem))?);
            }
            #[cfg(not(feature = "proxy"))]
            "proxy" => return Err(UrlError::part(part(), "needs the feature `proxy`")),
            "ca" => tls.ca = Some(path(part(), value)?),
            "cert" => tls.cert = Some(path(part(), value)?),
            "key" => tls.key = Some(path(part(), value)?),
            "server_name" => tls.server_name = Some(decode(part(), value)?),
            "alpn" => tls.alpn.push(decode(part(), value)?),
            _ => {
                // What is no name may be a part of a password that was not written as it should be.
                let named = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
                let name = if named { name } else { "?" };
                let part = UrlPart::Option(name.to_owned());
                return Err(UrlError::part(part, "is not known"));
            }
        }
        if matches!(name, "ca" | "cert" | "key" | "server_name" | "alpn") && !scheme.has_tls() {
            return Err(UrlError::part(part(), "is for mqtts and wss only"));
        }
        if name == "proxy" && scheme == Scheme::Unix {
            return Err(UrlError::part(part(), "is for hosts, and no Unix socket"));
        }
        if name == "srv" && !matches!(scheme, Scheme::Mqtt | Scheme::Mqtts) {
            return Err(UrlError::part(part(), "is for mqtt and mqtts only"));
        }
    }
    let option = |name: &str| UrlPart::Option(name.to_owned());
    if options.session_expiry.is_some() && !options.version.is_v5() {
        return Err(UrlError::part(option("session_expiry"), "is for MQTT 5.0 only"));
    }
    match (&options.tls.cert, &options.tls.key) {
        (Some(_), None) => Err(UrlError::part(option("key"), "is missing beside `cert`")),
        (None, Some(_)) => Err(UrlError::part(option("cert"), "is missing beside `key`")),
        _ => Ok(options),
    }
}

fn truth(part: UrlPart, value: &str) -> Result<bool, UrlError> {
    value.parse().map_err(|_| UrlError::part(part, "is neither true nor false"))
}

fn number<T: FromStr>(part: UrlPart, value: &str) -> Result<T, UrlError> {
    value.parse().map_err(|_| UrlError::part(part, "is no number of seconds in its range"))
}

fn path(part: UrlPart, value: &str) -> Result<PathBuf, UrlError> {
    match decode(part.clone(), value)? {
        path if path.is_empty() => Err(UrlError::part(part, "is no path of a file")),
        path => Ok(path.into()),
    }
}

fn text(part: UrlPart, value: &str) -> Result<Text, UrlError> {
    checked(part.clone(), decode(part, value)?)
}

fn checked(part: UrlPart, value: String) -> Result<Text, UrlError> {
    let error = UrlError::part(part, "has a U+0000 or is longer than 65,535 bytes");
    Text::new(value).map_err(|_| error)
}

fn decode(part: UrlPart, value: &str) -> Result<String, UrlError> {
    let decoded = percent_decode_str(value).decode_utf8();
    Ok(decoded.map_err(|_| UrlError::part(part, "is no UTF-8"))?.into_owned())
}

//! Proxies that the environment names.

use std::net::IpAddr;

use super::{Address, Proxy, UrlError};

/// The same as [`Proxy::from_env`], with the environment as a function.
pub(super) fn proxy(
    server: &Address,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<Proxy>, UrlError> {
    let first = |names: &[&str]| {
        names.iter().filter_map(|name| variable(name)).find(|value| !value.trim().is_empty())
    };
    let excepted = first(&["no_proxy", "NO_PROXY"]).unwrap_or_default();
    if excepted.split(',').any(|entry| names(entry.trim(), server)) {
        return Ok(None);
    }
    let url = first(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]);
    url.map(|url| Proxy::new(url.trim())).transpose()
}

/// Tells whether an entry of the list is for that server.
fn names(entry: &str, server: &Address) -> bool {
    let host = server.host();
    if entry.is_empty() {
        return false;
    }
    if entry == "*" || entry == host || Address::new(entry, 0).host() == host {
        return true;
    }
    if let Some((network, bits)) = entry.split_once('/') {
        return is_in(host, network, bits);
    }
    let (name, port) = match entry.rsplit_once(':') {
        // A colon in the name is one of an IPv6 address without brackets.
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => (name, Some(port)),
        _ => (entry, None),
    };
    if port.is_some_and(|port| port.parse() != Ok(server.port())) {
        return false;
    }
    let name = Address::new(name.strip_prefix('.').unwrap_or(name), 0);
    let (name, host) = (name.host().to_ascii_lowercase(), host.to_ascii_lowercase());
    match host.strip_suffix(&*name) {
        Some("") => true,
        Some(below) => below.ends_with('.') && !name.is_empty(),
        None => false,
    }
}

/// Tells whether a host is an address of which so many bits are those of a network.
fn is_in(host: &str, network: &str, bits: &str) -> bool {
    let (Ok(host), Ok(bits)) = (host.parse(), bits.parse::<u32>()) else { return false };
    let network = network.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(network);
    match (host, network.parse()) {
        (IpAddr::V4(host), Ok(IpAddr::V4(network))) => {
            bits <= 32 && (host.to_bits() ^ network.to_bits()).leading_zeros() >= bits
        }
        (IpAddr::V6(host), Ok(IpAddr::V6(network))) => {
            bits <= 128 && (host.to_bits() ^ network.to_bits()).leading_zeros() >= bits
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(server: &str, variables: &[(&str, &str)]) -> Option<String> {
        let server = Address::new("", 1883).other(server).unwrap();
        let find = |name: &str| {
            let found = variables.iter().find(|(it, _)| *it == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        proxy(&server, find).unwrap().map(|proxy| proxy.address().host().to_owned())
    }

    #[test]
    fn the_first_variable_that_says_something_counts() {
        let all = [
            ("https_proxy", "http://a:1"),
            ("HTTPS_PROXY", "http://b:1"),
            ("all_proxy", "socks5://c"),
            ("ALL_PROXY", "socks5h://d/"),
        ];
        for (at, host) in ["a", "b", "c", "d"].into_iter().enumerate() {
            assert_eq!(from("h", &all[at..]).as_deref(), Some(host));
        }
        assert_eq!(from("h", &[("https_proxy", " "), all[3]]).as_deref(), Some("d"));
        // It is for what is fetched by HTTP, and is set from outside where CGI is.
        assert_eq!(from("h", &[("HTTP_PROXY", "http://e:1"), ("http_proxy", "http://e:1")]), None);
    }

    #[test]
    fn what_is_no_proxy_is_an_error() {
        let error = proxy(&Address::new("h", 1), |name| {
            (name == "ALL_PROXY").then(|| "ftp://u:secret@x".to_owned())
        });
        let shown = format!("{error:?} {}", error.as_ref().unwrap_err());
        assert!(shown.contains("scheme") && !shown.contains("secret"), "{shown}");
    }

    #[test]
    fn servers_are_excepted() {
        for (list, server, excepted) in [
            ("*", "h", true),
            ("h", "h", true),
            ("H", "h", true),
            ("h", "hh", false),
            ("other, h ,", "h", true),
            (",", "h", false),
            ("example.com", "example.com", true),
            ("example.com", "mqtt.example.com", true),
            (".example.com", "mqtt.example.com", true),
            ("example.com", "notexample.com", false),
            ("example.com:1883", "mqtt.example.com:1883", true),
            ("example.com:8883", "mqtt.example.com:1883", false),
            ("example.com:x", "mqtt.example.com:1883", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("::1", "[::1]:1883", true),
            ("[::1]", "[::1]:1883", true),
            ("[::1]:1883", "[::1]:1883", true),
            ("[::1]:1884", "[::1]:1883", false),
            (".", "h.", false),
            ("10.0.0.0/8", "10.255.3.4:1883", true),
            ("x, 10.0.0.0/8", "11.0.0.0", false),
            ("192.168.12.34/23", "192.168.13.1", true),
            ("192.168.12.34/23", "192.168.14.1", false),
            ("10.1.2.3/32", "10.1.2.3", true),
            ("10.1.2.3/32", "10.1.2.2", false),
            ("0.0.0.0/0", "10.1.2.3", true),
            ("0.0.0.0/0", "[::1]:1883", false),
            ("0.0.0.0/0", "h", false),
            ("10.0.0.0/33", "10.0.0.0", false),
            ("10.0.0.0/-8", "10.0.0.0", false),
            ("10.0.0.0/", "10.0.0.0", false),
            ("h/8", "10.0.0.0", false),
            ("fd00::/8", "[fdff::1]:1883", true),
            ("[fd00::]/8", "[fdff::1]:1883", true),
            ("fd00::/8", "[fe00::1]:1883", false),
            ("::1/128", "[::1]:1883", true),
            ("::/129", "[::1]:1883", false),
        ] {
            let variables = [("ALL_PROXY", "http://p:1"), ("NO_PROXY", list)];
            assert_eq!(from(server, &variables).is_none(), excepted, "{list} {server}");
        }
    }
}

//! Proxies: what they are asked, what they may answer, and messages that pass through them.
#![cfg(all(feature = "async-io", feature = "proxy"))]

mod common;

use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex};

use common::layers::{Dial, exercise};
use common::pipe::{Pipe, Shape};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use mqtt_async::{
    Address, Client, Config, ConnectStage, Connector, Error, Progress, Proxied, Proxy, ProxyError,
    Tcp, Url, UrlError, UrlPart, Version,
};

// ---- a proxy that follows a script ----

/// What is expected, and what is answered to it.
type Script = &'static [(&'static [u8], &'static [u8])];

/// Plays a script, and then reads to the end; notes what came in another way.
fn dial(script: Script) -> (Dial, Arc<Mutex<Option<Vec<u8>>>>) {
    let other = Arc::new(Mutex::new(None));
    let noted = Arc::clone(&other);
    let dial = Dial::new(None, Shape::default(), move |mut pipe| {
        let noted = Arc::clone(&noted);
        async move {
            for (expected, answer) in script {
                let mut bytes = vec![0; expected.len()];
                let read = pipe.read_exact(&mut bytes).await;
                if read.is_err() || bytes != *expected {
                    *noted.lock().unwrap() = Some(bytes);
                    return;
                }
                pipe.write_all(answer).await.unwrap();
            }
            pipe.close().await.unwrap();
            let _ = pipe.read_to_end(&mut Vec::new()).await;
        }
    });
    (dial, other)
}

/// Asks a proxy with that script for a server; returns what comes through it, to the end.
fn ask(script: Script, proxy: Proxy, host: &str, port: u16) -> io::Result<Vec<u8>> {
    let (dial, other) = dial(script);
    let mut proxied = Proxied::new(dial.clone(), proxy, Address::new(host, port));
    let progress = Progress::default();
    let result = dial.connect(&mut proxied, &progress, async |mut io: Pipe| {
        let mut rest = Vec::new();
        io.read_to_end(&mut rest).await.unwrap();
        rest
    });
    let other = other.lock().unwrap().take();
    assert!(other.is_none(), "the proxy got {:?}", other.as_deref().map(String::from_utf8_lossy));
    result
}

#[track_caller]
fn refused(result: io::Result<Vec<u8>>) -> (ErrorKind, String) {
    let error = result.unwrap_err();
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<ProxyError>());
    (error.kind(), told(inner.unwrap_or_else(|| panic!("{error:?}"))))
}

fn told(error: &ProxyError) -> String {
    format!("{error:?}")
}

fn http() -> Proxy {
    Proxy::http("proxy", 3128)
}

fn socks() -> Proxy {
    Proxy::socks5("proxy", 1080)
}

// ---- HTTP ----

#[test]
fn an_http_proxy_is_asked_to_connect() {
    let plain: Script = &[(
        b"CONNECT mqtt.example.com:1883 HTTP/1.1\r\nHost: mqtt.example.com:1883\r\n\r\n",
        // What the server says at once is not the proxy's.
        b"HTTP/1.1 200 Connection established\r\nX-Y: z\r\n\r\nfirst bytes",
    )];
    assert_eq!(ask(plain, http(), "mqtt.example.com", 1883).unwrap(), b"first bytes");
    let known: Script = &[(
        b"CONNECT [::1]:8883 HTTP/1.1\r\nHost: [::1]:8883\r\n\
          Proxy-Authorization: Basic dXNlcjpwYTpzczo=\r\n\r\n",
        b"HTTP/1.0 204\r\n\r\n",
    )];
    assert_eq!(ask(known, http().credentials("user", "pa:ss:"), "::1", 8883).unwrap(), b"");
}

#[test]
fn what_an_http_proxy_refuses_is_told() {
    const ASKED: &[u8] = b"CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n";
    const LONG: &[u8] = &[b'x'; 20_000];
    // Who was to mend what is asked for is not asked again.
    let mends = ErrorKind::InvalidInput;
    let cases: [(Script, ErrorKind, ProxyError); 11] = [
        (
            &[(ASKED, b"HTTP/1.1 403 Forbidden\r\nA: b\r\n\r\nbody")],
            ErrorKind::ConnectionRefused,
            ProxyError::Status(403),
        ),
        (
            &[(ASKED, b"HTTP/1.0 502 Bad\r\n\r\n")],
            ErrorKind::ConnectionRefused,
            ProxyError::Status(502),
        ),
        (
            &[(ASKED, b"HTTP/1.1 407 P\r\nProxy-Authenticate: Basic\r\n\r\n")],
            mends,
            ProxyError::Credentials,
        ),
        (&[(ASKED, b"HTTP/1.1 401 U\r\n\r\n")], mends, ProxyError::Credentials),
        (&[(ASKED, b"SSH-2.0-x\r\n")], ErrorKind::InvalidData, ProxyError::NotSpoken("HTTP")),
        (
            &[(ASKED, b"HTTP/2 200 OK\r\n\r\n")],
            ErrorKind::InvalidData,
            ProxyError::NotSpoken("HTTP"),
        ),
        (&[(ASKED, b"HTTP/1.1 20\r\n\r\n")], ErrorKind::InvalidData, ProxyError::NotSpoken("HTTP")),
        (
            &[(ASKED, b"HTTP/1.1 2000 OK\r\n\r\n")],
            ErrorKind::InvalidData,
            ProxyError::NotSpoken("HTTP"),
        ),
        (&[(ASKED, b"")], ErrorKind::UnexpectedEof, ProxyError::Eof),
        (&[(ASKED, b"HTTP/1.1 200 OK\r\n")], ErrorKind::UnexpectedEof, ProxyError::Eof),
        (
            &[(ASKED, b"HTTP/1.1 200 OK\r\n"), (b"", LONG)],
            ErrorKind::InvalidData,
            ProxyError::TooLong,
        ),
    ];
    for (script, kind, error) in cases {
        assert_eq!(refused(ask(script, http(), "h", 1)), (kind, told(&error)));
    }
}

// ---- SOCKS ----

#[test]
fn a_socks_proxy_is_asked_for_names_and_addresses() {
    let name: Script = &[
        (b"\x05\x01\x00", b"\x05\x00"),
        (b"\x05\x01\x00\x03\x01h\x07\x5b", b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x07first bytes"),
    ];
    assert_eq!(ask(name, socks(), "h", 1883).unwrap(), b"first bytes");
    let v4: Script = &[
        (b"\x05\x01\x00", b"\x05\x00"),
        (b"\x05\x01\x00\x01\x0a\x00\x00\x01\x22\xb3", b"\x05\x00\x00\x03\x02ab\x00\x07first"),
    ];
    assert_eq!(ask(v4, socks(), "10.0.0.1", 8883).unwrap(), b"first");
    let v6: Script = &[
        (b"\x05\x01\x00", b"\x05\x00"),
        (
            b"\x05\x01\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x00\x01",
            b"\x05\x00\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x00\x07first",
        ),
    ];
    assert_eq!(ask(v6, socks(), "::1", 1).unwrap(), b"first");
}

#[test]
fn a_socks_proxy_gets_credentials_if_it_wants_them() {
    let ours = || socks().credentials("user", "pass");
    let wants: Script = &[
        (b"\x05\x02\x00\x02", b"\x05\x02"),
        (b"\x01\x04user\x04pass", b"\x01\x00"),
        (b"\x05\x01\x00\x03\x01h\x00\x01", b"\x05\x00\x00\x01\0\0\0\0\0\0x"),
    ];
    assert_eq!(ask(wants, ours(), "h", 1).unwrap(), b"x");
    let does_not: Script = &[
        (b"\x05\x02\x00\x02", b"\x05\x00"),
        (b"\x05\x01\x00\x03\x01h\x00\x01", b"\x05\x00\x00\x01\0\0\0\0\0\0x"),
    ];
    assert_eq!(ask(does_not, ours(), "h", 1).unwrap(), b"x");
    let refuses: Script =
        &[(b"\x05\x02\x00\x02", b"\x05\x02"), (b"\x01\x04user\x04pass", b"\x01\x01")];
    let wants_others: Script = &[(b"\x05\x02\x00\x02", b"\x05\xff")];
    for script in [refuses, wants_others] {
        let refused = refused(ask(script, ours(), "h", 1));
        assert_eq!(refused, (ErrorKind::InvalidInput, told(&ProxyError::Credentials)));
    }
    // One that wants them, of a client that has none; and one that takes what was not offered.
    let none: Script = &[(b"\x05\x01\x00", b"\x05\xff")];
    let not_offered: Script = &[(b"\x05\x01\x00", b"\x05\x02")];
    for script in [none, not_offered] {
        let refused = refused(ask(script, socks(), "h", 1));
        assert_eq!(refused, (ErrorKind::InvalidInput, told(&ProxyError::Credentials)));
    }
}

#[test]
fn what_a_socks_proxy_refuses_is_told() {
    const HELLO: (&[u8], &[u8]) = (b"\x05\x01\x00", b"\x05\x00");
    const ASKED: &[u8] = b"\x05\x01\x00\x03\x01h\x00\x01";
    let refusal = ErrorKind::ConnectionRefused;
    let cases: [(Script, ErrorKind, ProxyError); 8] = [
        (&[HELLO, (ASKED, b"\x05\x02\x00\x01\0\0\0\0\0\0")], refusal, ProxyError::Reply(2)),
        (&[HELLO, (ASKED, b"\x05\x05")], refusal, ProxyError::Reply(5)),
        (&[HELLO, (ASKED, b"\x05\xff")], refusal, ProxyError::Reply(255)),
        (
            &[HELLO, (ASKED, b"\x04\x5a\x00\x00")],
            ErrorKind::InvalidData,
            ProxyError::NotSpoken("SOCKS 5"),
        ),
        (
            &[HELLO, (ASKED, b"\x05\x00\x00\x02\x00")],
            ErrorKind::InvalidData,
            ProxyError::NotSpoken("SOCKS 5"),
        ),
        (
            &[(b"\x05\x01\x00", b"HTTP/1.1 400 Bad Request\r\n\r\n")],
            ErrorKind::InvalidData,
            ProxyError::NotSpoken("SOCKS 5"),
        ),
        (&[(b"\x05\x01\x00", b"")], ErrorKind::UnexpectedEof, ProxyError::Eof),
        (&[HELLO, (ASKED, b"\x05\x00\x00\x01\0")], ErrorKind::UnexpectedEof, ProxyError::Eof),
    ];
    for (script, kind, error) in cases {
        assert_eq!(refused(ask(script, socks(), "h", 1)), (kind, told(&error)));
    }
    let mut all: Vec<String> = (1..=9).map(|reply| ProxyError::Reply(reply).to_string()).collect();
    all.dedup();
    assert_eq!(all.len(), 9);
}

// ---- what the caller says ----

#[test]
fn what_no_proxy_can_be_told_is_refused() {
    let hello: Script = &[(b"\x05\x02\x00\x02", b"\x05\x02")];
    let long = "x".repeat(256);
    let asked = |script, proxy: Proxy, host: &str| refused(ask(script, proxy, host, 1)).1;
    for (name, password, error) in [
        ("", "p", ProxyError::UserName),
        (long.as_str(), "p", ProxyError::UserName),
        ("u", "", ProxyError::Password),
        ("u", long.as_str(), ProxyError::Password),
    ] {
        assert_eq!(asked(hello, socks().credentials(name, password), "h"), told(&error));
    }
    assert_eq!(asked(&[], http().credentials("a:b", "p"), "h"), told(&ProxyError::UserName));
    for host in ["", "a b", "h\r\nX: y", "h/x", "user@h", "a:b:c", long.as_str()] {
        for proxy in [http(), socks()] {
            assert_eq!(asked(&[], proxy, host), told(&ProxyError::Host(host.to_owned())));
        }
    }
}

#[test]
fn the_server_can_be_selected_and_the_proxy_stays() {
    let script: Script =
        &[(b"CONNECT other:7 HTTP/1.1\r\nHost: other:7\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n")];
    let (dial, other) = dial(script);
    let mut proxied = Proxied::new(dial.clone(), http(), Address::new("own", 1883));
    assert_eq!(proxied.address(), Some(Address::new("own", 1883)));
    proxied.select("other:7").unwrap();
    assert!(proxied.select("a b").is_err());
    // What TLS around it checks the certificate against.
    assert_eq!(proxied.address(), Some(Address::new("other", 7)));
    let progress = Progress::default();
    dial.connect(&mut proxied, &progress, async |_| ()).unwrap();
    assert_eq!(progress.stage(), Some(ConnectStage::Proxy));
    assert_eq!(proxied.address(), Some(Address::new("own", 1883)));
    assert!(other.lock().unwrap().is_none());
    let via = Tcp::new("own", 1883).via(http()).address();
    assert_eq!(via, Some(Address::new("own", 1883)));
}

#[test]
fn a_proxy_is_read_from_a_url() {
    for (url, same) in [
        ("http://h", Proxy::http("h", 80)),
        ("HTTP://h:3128/", Proxy::http("h", 3128)),
        ("socks5://[::1]", Proxy::socks5("::1", 1080)),
        ("socks5h://h:1", Proxy::socks5("h", 1)),
    ] {
        assert_eq!(format!("{:?}", Proxy::new(url).unwrap()), format!("{same:?}"), "{url}");
    }
    let script: Script = &[
        (b"\x05\x02\x00\x02", b"\x05\x02"),
        (b"\x01\x03u@x\x03p:w", b"\x01\x00"),
        (b"\x05\x01\x00\x03\x01h\x00\x01", b"\x05\x00\x00\x01\0\0\0\0\0\0"),
    ];
    ask(script, Proxy::new("socks5h://u%40x:p%3Aw@h").unwrap(), "h", 1).unwrap();
    for (url, expected) in [
        ("h:3128", UrlPart::Scheme),
        ("https://u:secret@h", UrlPart::Scheme),
        ("socks4://h", UrlPart::Scheme),
        ("http://u:secret@", UrlPart::Host),
        ("http://u:secret@h:0", UrlPart::Port),
        ("http://u:secret@h/path", UrlPart::Path),
        ("http://u:secret@h?x", UrlPart::Path),
        ("http://%FF:secret@h", UrlPart::UserName),
        ("http://u:%FFsecret@h", UrlPart::Password),
    ] {
        let error = Proxy::new(url).unwrap_err();
        let UrlError::Part { part, .. } = &error else { panic!("{url}: {error:?}") };
        assert_eq!(*part, expected, "{url}");
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    }
}

#[test]
fn a_url_of_a_server_may_name_a_proxy() {
    let url = "mqtt://h?proxy=socks5h://u:secret@localhost:1080&client_id=x";
    let url = Url::new(url).unwrap();
    assert_eq!(url.connector().unwrap().address(), Some(Address::new("h", 1883)));
    assert!(!format!("{url:?}").contains("secret"));
    for bad in [
        "mqtt://h?proxy=localhost",
        "mqtt://h?proxy=ftp://:secret@h",
        "unix:///s?proxy=http://:secret@h",
    ] {
        let error = Url::new(bad).unwrap_err();
        let UrlError::Part { part, .. } = &error else { panic!("{bad}: {error:?}") };
        assert_eq!(*part, UrlPart::Option("proxy".to_owned()));
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    }
}

#[test]
fn no_password_is_shown() {
    let proxy = socks().credentials("user", "secret");
    let proxied = Tcp::new("h", 1).via(proxy.clone());
    let shown = format!("{proxy:?} {proxied:?}");
    assert!(!shown.contains("secret") && !shown.contains("user"), "{shown}");
    // Nor does the error of a client.
    let script: Script =
        &[(b"\x05\x02\x00\x02", b"\x05\x02"), (b"\x01\x04user\x06secret", b"\x01\x01")];
    let (dial, _) = dial(script);
    let mut proxied = Proxied::new(dial.clone(), proxy, Address::new("h", 1));
    let error = dial.connect(&mut proxied, &Progress::default(), async |_| ()).unwrap_err();
    let error = Error::Connect(Arc::new(error));
    assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    assert!(!error.is_retryable() && error.to_string().contains("user name and password"));
}

// ---- messages ----

/// Takes any request of HTTP or SOCKS, and lets the server be at the other end of the same pipe.
async fn accept(mut pipe: Pipe) -> Pipe {
    let mut first = [0; 3];
    pipe.read_exact(&mut first).await.unwrap();
    let mut byte = [0];
    if first == *b"CON" {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            pipe.read_exact(&mut byte).await.unwrap();
            head.extend(byte);
        }
        pipe.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    } else {
        pipe.write_all(b"\x05\x00").await.unwrap();
        pipe.read_exact(&mut [0; 4 + 2 + 2]).await.unwrap();
        pipe.write_all(b"\x05\x00\x00\x01\0\0\0\0\0\0").await.unwrap();
    }
    pipe
}

#[test]
fn messages_pass_through_an_http_proxy() {
    exercise("h", 1, |dial| Proxied::new(dial, http(), Address::new("h", 1)), accept);
}

#[test]
fn messages_pass_through_a_socks_proxy() {
    exercise("h", 1, |dial| Proxied::new(dial, socks(), Address::new("h", 1)), accept);
}

#[test]
fn a_proxy_that_is_not_there_is_told_as_such() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let tcp = Tcp::new("mqtt.example.com", 1883).via(Proxy::http("127.0.0.1", port));
    let mut config = Config::new(Version::V5);
    config.reconnect = None;
    let (_client, driver) = Client::new(config, tcp);
    let error = async_io::block_on(driver).unwrap_err();
    let Error::Connect(source) = &error else { panic!("{error:?}") };
    assert_eq!(source.kind(), ErrorKind::ConnectionRefused);
    assert!(error.to_string().contains("cannot connect to the proxy"), "{error}");
    assert!(error.is_retryable());
}

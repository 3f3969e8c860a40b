//! URLs: what they say, what is wrong with them, and that they tell no secrets.
#![cfg(all(
    feature = "url",
    feature = "async-io",
    feature = "srv",
    feature = "tls-ring",
    feature = "tokio",
    feature = "websocket"
))]

use std::time::Duration;

use mqtt_async::{
    Address, AnyConnector, Client, Connector, Servers, SrvError, Tcp, Tls, TlsConfig, Url,
    UrlError, UrlPart, Version, WebSocket,
};

fn address(url: &str) -> Option<Address> {
    let url = Url::new(url).unwrap();
    let address = url.connector().unwrap().address();
    assert_eq!(url.address(), address.as_ref());
    address
}

#[test]
fn a_url_says_where_to_go() {
    for (url, host, port, shown) in [
        ("mqtt://h", "h", 1883, "mqtt://h:1883"),
        ("MQTT://h/", "h", 1883, "mqtt://h:1883"),
        ("mqtt://h:7", "h", 7, "mqtt://h:7"),
        ("mqtts://mqtt.example.com", "mqtt.example.com", 8883, "mqtts://mqtt.example.com:8883"),
        ("ws://h", "h", 80, "ws://h:80"),
        ("wss://h/path?client_id=x", "h", 443, "wss://h:443"),
        ("mqtt://127.0.0.1:1", "127.0.0.1", 1, "mqtt://127.0.0.1:1"),
        ("mqtt://[::1]", "::1", 1883, "mqtt://[::1]:1883"),
        ("mqtt://u:p@[2001:db8::1]:65535", "2001:db8::1", 65535, "mqtt://[2001:db8::1]:65535"),
        ("mqtt://u@h", "h", 1883, "mqtt://h:1883"),
    ] {
        assert_eq!(address(url), Some(Address::new(host, port)), "{url}");
        assert_eq!(Url::new(url).unwrap().to_string(), shown);
    }
    assert_eq!(address("unix:///run/mqtt.sock"), None);
    let socket: Url = "unix://u:p@/run/a%20b.sock?client_id=x".parse().unwrap();
    assert_eq!(socket.to_string(), "unix:///run/a b.sock");
}

#[test]
fn a_url_says_what_connect_says() {
    let all = "mqtt://us%3Aer:pass%40%FF:word@h?client_id=a%20b%26&keep_alive=0&clean_start=false\
        &session_expiry=4294967295&connect_timeout=5&version=5.0";
    let config = Url::new(all).unwrap().config();
    let connect = &config.session.connect;
    assert_eq!(connect.user_name.as_ref().unwrap().as_str(), "us:er");
    assert_eq!(connect.password.as_ref().unwrap(), b"pass@\xFF:word".as_slice());
    assert_eq!(connect.client_id.as_str(), "a b&");
    assert_eq!((connect.keep_alive, connect.clean_start), (0, false));
    assert_eq!(connect.session_expiry_interval, Some(u32::MAX));
    assert_eq!(config.connect_timeout, Duration::from_secs(5));
    assert_eq!(config.session.version, Version::V5);

    let config = Url::new("mqtt://h").unwrap().config();
    let connect = &config.session.connect;
    assert!(connect.user_name.is_none() && connect.password.is_none());
    assert_eq!((connect.keep_alive, connect.clean_start), (60, true));
    assert_eq!(config.connect_timeout, Duration::from_secs(30));

    for (url, user, password) in [
        ("mqtt://u@h", Some("u"), None),
        ("mqtt://u:@h", Some("u"), Some("")),
        ("mqtt://:p@h", None, Some("p")),
        ("mqtt://@h", None, None),
        // It should have been %40; there is no doubt, though.
        ("mqtt://u:p@q@h", Some("u"), Some("p@q")),
    ] {
        let config = Url::new(url).unwrap().config();
        let connect = &config.session.connect;
        assert_eq!(connect.user_name.as_ref().map(|name| name.as_str()), user, "{url}");
        assert_eq!(connect.password.as_deref(), password.map(str::as_bytes), "{url}");
    }
    for (value, version) in [("5", Version::V5), ("3.1.1", Version::V311), ("3.1", Version::V31)] {
        let url = Url::new(&format!("mqtt://h?version={value}")).unwrap();
        assert_eq!(url.config().session.version, version);
    }
}

#[test]
fn a_bad_url_names_the_part_that_is_wrong() {
    let option = |name: &str| UrlPart::Option(name.to_owned());
    let long = format!("mqtt://h?client_id={}", "x".repeat(65_536));
    for (url, expected) in [
        ("", UrlPart::Scheme),
        ("h:1883", UrlPart::Scheme),
        ("http://h", UrlPart::Scheme),
        ("://h", UrlPart::Scheme),
        ("mqtt://", UrlPart::Host),
        ("mqtt://u:p@", UrlPart::Host),
        ("mqtt://:1883", UrlPart::Host),
        ("mqtt://a b", UrlPart::Host),
        ("mqtt://a%20b", UrlPart::Host),
        ("mqtt://h\r\n", UrlPart::Host),
        ("mqtt://[::1", UrlPart::Host),
        ("mqtt://[::g]", UrlPart::Host),
        ("mqtt://[::1]x", UrlPart::Host),
        ("unix://h/run/mqtt.sock", UrlPart::Host),
        ("mqtt://::1", UrlPart::Host),
        ("mqtt://h:", UrlPart::Port),
        ("mqtt://h:0", UrlPart::Port),
        ("mqtt://h:65536", UrlPart::Port),
        ("mqtt://h:1883x", UrlPart::Port),
        ("mqtt://h:1:2", UrlPart::Port),
        ("mqtt://h/path", UrlPart::Path),
        ("unix://", UrlPart::Path),
        ("unix:///", UrlPart::Path),
        ("unix:///a%00", UrlPart::Path),
        ("unix:///a%FF", UrlPart::Path),
        ("mqtt://h#x", UrlPart::Fragment),
        ("mqtt://%FF@h", UrlPart::UserName),
        ("mqtt://%00@h", UrlPart::UserName),
        ("mqtt://:p@h?version=3.1.1", UrlPart::Password),
        ("mqtt://h?version=4", option("version")),
        ("mqtt://h?keep_alive=65536", option("keep_alive")),
        ("mqtt://h?keep_alive", option("keep_alive")),
        ("mqtt://h?keep_alive=-1", option("keep_alive")),
        ("mqtt://h?session_expiry=x", option("session_expiry")),
        ("mqtt://h?session_expiry=1&version=3.1.1", option("session_expiry")),
        ("mqtt://h?connect_timeout=1.5", option("connect_timeout")),
        ("mqtt://h?clean_start=yes", option("clean_start")),
        ("mqtt://h?srv=1", option("srv")),
        ("ws://h?srv=true", option("srv")),
        ("unix:///s?srv=true", option("srv")),
        ("mqtt://h?client_id=%FF", option("client_id")),
        (&long, option("client_id")),
        ("mqtt://h?client_id=a&client_id=b", option("client_id")),
        ("mqtt://h?clientid=a", option("clientid")),
        ("mqtt://h?ca=/ca.pem", option("ca")),
        ("mqtts://h?ca=", option("ca")),
        ("mqtts://h?cert=/client.pem", option("key")),
        ("mqtts://h?key=/client.key", option("cert")),
    ] {
        let error = Url::new(url).unwrap_err();
        let UrlError::Part { part, .. } = &error else { panic!("{url}: {error:?}") };
        assert_eq!(*part, expected, "{url}: {error}");
        assert!(error.to_string().contains(&part.to_string()), "{error}");
    }
}

#[test]
fn no_password_is_shown() {
    let good = Url::new("wss://user:secret@h/?client_id=x").unwrap();
    for shown in [format!("{good:?}"), format!("{good}"), format!("{:?}", good.config())] {
        assert!(!shown.contains("secret"), "{shown}");
    }
    assert!(!format!("{good:?}").contains("user"));
    // A password with characters that should have been written in another way ends up in other parts.
    for url in [
        "http://u:secret@h",
        "mqtt://u:secret/x@h",
        "mqtt://u:secret?x@h",
        "mqtt://u:secret#x@h",
        "mqtt://u:1/secret@h",
        "mqtt://u:1?secret@h",
        "mqtt://u:1?a=secret@h",
        "mqtt://u:1?secret@h=1",
        "ws://u:1?keep_alive=secret",
        "mqtt://secret u:p",
        "mqtt://:secret@h?version=3.1",
        "secret",
        "secret://u",
    ] {
        let error = Url::new(url).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    }
}

#[test]
fn a_url_may_have_its_host_looked_up() {
    // A domain that has no room for the service before it, so that nobody is asked.
    let domain = vec!["x".repeat(62); 4].join(".");
    for (scheme, service) in [("mqtt", "_mqtt._tcp"), ("mqtts", "_secure-mqtt._tcp")] {
        let url = Url::new(&format!("{scheme}://{domain}?srv=true")).unwrap();
        for mut connector in [url.connector().unwrap(), url.tokio_connector().unwrap()] {
            let connecting = connector.connect(&mqtt_async::Progress::default());
            let error = async_io::block_on(connecting).map(drop).unwrap_err();
            let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<SrvError>());
            let Some(SrvError::Name(name)) = inner else { panic!("{error:?}") };
            assert_eq!(*name, format!("{service}.{domain}"));
        }
    }
}

#[test]
fn files_that_are_missing_are_named() {
    for url in ["mqtts://h?ca=/no/such.pem", "wss://h?cert=/no/such.pem&key=/no/such.key"] {
        let error = Client::connect(url).map(drop).unwrap_err();
        assert!(matches!(error, UrlError::Tls(_)), "{error:?}");
        assert!(error.to_string().contains("/no/such.pem"), "{error}");
        assert!(std::error::Error::source(&error).is_some());
    }
    let error = Client::connect("mqtts://h?server_name=a%20b").map(drop).unwrap_err();
    assert!(error.to_string().contains("a b"), "{error}");
}

/// What the driver sees passes through all layers.
#[test]
fn servers_are_selected_through_the_layers() {
    let mut connector = Url::new("wss://h").unwrap().connector().unwrap();
    connector.select("other:7").unwrap();
    assert_eq!(connector.address(), Some(Address::new("other", 7)));
}

/// A redirect does as well, and stays another thing than a choice of the application.
#[test]
fn redirects_pass_through_the_layers() {
    fn check(mut layer: impl Connector) {
        layer.select("b").unwrap();
        assert_eq!(layer.address(), Some(Address::new("host-b", 2)));
        layer.redirect("b").unwrap();
        assert_eq!(layer.address(), Some(Address::new("b", 1)), "by the entry that was used last");
    }
    let servers = || Servers::new("a", Tcp::new("host-a", 1)).and("b", Tcp::new("host-b", 2));
    let trust = TlsConfig::dangerous_without_verification().build().unwrap();
    check(servers());
    check(AnyConnector::new(servers()));
    check(Tls::new(servers(), trust));
    check(WebSocket::new(servers()));
    check(Servers::new("all", servers()));
}

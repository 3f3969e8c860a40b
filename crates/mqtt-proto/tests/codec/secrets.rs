//! What must not stand in a log: nothing that is printed with `Debug` shows a password.

use std::fmt::Debug;

use bytes::Bytes;
use mqtt_proto::{
    Auth, Client, ClientConfig, Connect, Event, Instant, Packet, Server, ServerConfig, Session,
    TxBuf,
};

use crate::hex::{ALL_VERSIONS, encode, text};

const SECRET: &[u8] = b"open sesame";

/// Tells whether the secret can be read in it: as text, or as a list of numbers.
fn reveals(printed: &impl Debug) -> bool {
    let numbers = |base: fn(&u8) -> String| SECRET.iter().map(base).collect::<Vec<_>>().join(",");
    let text = String::from_utf8(SECRET.to_vec()).unwrap();
    [format!("{printed:?}"), format!("{printed:#?}")].iter().any(|printed| {
        let dense: String = printed.chars().filter(|c| !c.is_whitespace()).collect();
        printed.contains(&text)
            || dense.contains(&numbers(u8::to_string))
            || dense.to_lowercase().contains(&numbers(|byte| format!("{byte:x}")))
    })
}

fn connect() -> Connect {
    Connect {
        client_id: text("c"),
        user_name: Some(text("user")),
        password: Some(Bytes::from_static(SECRET)),
        ..Connect::default()
    }
}

#[test]
fn the_check_finds_what_is_shown() {
    assert!(reveals(&SECRET) && reveals(&Bytes::from_static(SECRET)));
    assert!(reveals(&text("open sesame")) && !reveals(&text("open")));
}

#[test]
fn no_password_is_printed_with_what_holds_it() {
    for version in ALL_VERSIONS {
        let packet = Packet::Connect(Box::new(connect()));
        assert!(!reveals(&packet), "{version}");
        let mut config = ClientConfig::new(version);
        config.connect = connect();
        assert!(!reveals(&config), "{version}");
        let mut session = Session::<Client>::new(config);
        assert!(!reveals(&session), "{version}");
        session.handle_open(Instant::EPOCH);
        assert!(!reveals(&session), "CONNECT waits: {version}");
        let mut out = TxBuf::new();
        session.poll_transmit(&mut out, Instant::EPOCH);
        assert!(!out.is_empty() && !reveals(&out), "{version}");
        assert!(!reveals(&session), "CONNECT is sent: {version}");

        // The other side has it as well.
        let mut server = Session::<Server>::new(ServerConfig::default());
        server.handle_open(Instant::EPOCH);
        let mut input = encode(&packet, version).unwrap()[..].into();
        server.handle_input(&mut input, Instant::EPOCH);
        let event = server.poll_event().unwrap();
        assert!(matches!(&event, Event::Connect(connect) if connect.password.is_some()));
        assert!(!reveals(&event) && !reveals(&server), "{version}");
    }
}

#[test]
fn no_authentication_data_is_printed_with_what_holds_it() {
    let method = Some(text("PLAIN"));
    let data = Some(Bytes::from_static(SECRET));
    let auth = Auth {
        authentication_method: method.clone(),
        authentication_data: data.clone(),
        ..Auth::default()
    };
    assert!(!reveals(&Packet::Auth(Box::new(auth.clone()))));
    assert!(!reveals(&Event::Auth(Box::new(auth))));
    assert!(!reveals(&Connect {
        authentication_method: method,
        authentication_data: data,
        ..Connect::default()
    }));
}

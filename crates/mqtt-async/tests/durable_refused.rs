//! A durable client that cannot be: configurations, hooks and stores that do not fit, with the reason.

mod common;

use bytes::Bytes;
use common::bench::{Bench, VERSIONS, lasting, now};
use common::pipe::Shape;
use common::server::{Seen, Server};
use common::store::Scripted;
use mqtt_async::{
    Attempt, Change, Client, Config, Error, MemoryStore, QoS, Store, StoreError, Text, Version,
};

fn start(config: Config, server: &Server, store: &Scripted) -> Bench {
    Bench::durable(config, server, store.clone()).unwrap().0
}

fn refused(config: Config, store: &Scripted) -> StoreError {
    Bench::durable(config, &Server::new(), store.clone()).map(|_| ()).unwrap_err()
}

#[test]
fn a_configuration_that_cannot_be_durable_is_refused() {
    let store = Scripted::default();
    for version in VERSIONS {
        let mut config = Config::new(version);
        config.session.connect.clean_start = false;
        config.session.connect.session_expiry_interval = version.is_v5().then_some(1);
        let error = refused(config.clone(), &store);
        assert!(matches!(error, StoreError::NoClientId), "{error:?}");
        assert!(error.to_string().contains("Config::client_id"));
        Bench::durable(config.client_id("x").unwrap(), &Server::new(), store.clone()).unwrap();
    }
    for expiry in [None, Some(0)] {
        let mut config = lasting(Version::V5);
        config.session.connect.session_expiry_interval = expiry;
        assert!(matches!(refused(config, &store), StoreError::NoSessionExpiry));
    }
    let mut config = lasting(Version::V311);
    config.session.connect.clean_start = true;
    assert!(matches!(refused(config, &store), StoreError::CleanStart));
    let mut config = lasting(Version::V5);
    config.session.connect.clean_start = true;
    config.fall_back_to_v311 = true;
    assert!(matches!(refused(config, &store), StoreError::CleanStart));
}

#[test]
fn what_is_no_session_of_this_client_is_refused() {
    let (server, config) = (Server::new(), lasting(Version::V5));
    let store = Scripted::default();
    store.script(|script| script.failure = Some("no disk"));
    let error = refused(config.clone(), &store);
    assert!(matches!(&error, StoreError::Failed(error) if error.to_string() == "no disk"));
    store.script(|script| script.failure = None);

    let mut bench = start(config.clone(), &server, &store);
    drop(bench.client().publish("up", "x", QoS::AtLeastOnce).unwrap());
    server.script(|script| script.hold_acks = true);
    bench.settle();
    bench.crash();
    let error = refused(config.clone().client_id("other").unwrap(), &store);
    let StoreError::OtherClient { stored, configured } = &error else { panic!("{error:?}") };
    assert_eq!((&**stored, &**configured), ("bench", "other"));

    let records = store.memory.records();
    let [(message, record), (identity, name)] = &records[..] else { panic!() };
    let with = |records: Vec<([u8; 9], Bytes)>| {
        let mut memory = MemoryStore::new();
        let batch = records.into_iter().map(|(key, record)| Change::Put { key, record }).collect();
        now(memory.write(batch)).unwrap();
        Bench::durable(config.clone(), &Server::new(), memory).map(|_| ()).unwrap_err()
    };
    let damaged = record.slice(..record.len() - 1);
    let error = with(vec![(*identity, name.clone()), (*message, damaged)]);
    assert!(matches!(error, StoreError::Record(_)), "{error:?}");
    let later: Bytes = [&[2], &name[1..]].concat().into();
    for unknown in [
        vec![(*message, record.clone())],
        vec![(*identity, name.clone()), ([7; 9], record.clone())],
        vec![(*identity, later)],
        vec![(*identity, Bytes::new())],
    ] {
        let error = with(unknown);
        assert!(matches!(error, StoreError::Unknown), "{error:?}");
    }
}

#[test]
fn a_session_that_is_stored_is_never_cleaned() {
    let (server, store) = (Server::new(), Scripted::default());
    let mut config = lasting(Version::V5);
    config.session.connect.clean_start = true;
    let cleans = |server: &Server| -> Vec<bool> {
        let mut all = Vec::new();
        for seen in server.seen() {
            if let Seen::Connect { clean_start, .. } = seen {
                all.push(clean_start);
            }
        }
        all
    };
    // A run that reaches no server begins nothing.
    drop(start(config.clone(), &server, &store));
    for run in 0..3 {
        let mut bench = start(config.clone(), &server, &store);
        bench.settle();
        let resumed = bench.client().status().connected.unwrap().resumed;
        assert_eq!(resumed, run > 0);
        bench.crash();
    }
    assert_eq!(cleans(&server), [true, false, false]);
}

#[test]
fn a_hook_does_not_lead_away_from_the_stored_session() {
    let (server, store) = (Server::new(), Scripted::default());
    type Edit = fn(&mut Attempt);
    type Expected = fn(&StoreError) -> bool;
    let changes: [(Edit, Expected); 4] = [
        (
            |attempt| attempt.connect.client_id = Text::new("other").unwrap(),
            |error| matches!(error, StoreError::OtherClient { .. }),
        ),
        (
            |attempt| attempt.connect.clean_start = true,
            |error| matches!(error, StoreError::CleanStart),
        ),
        (
            |attempt| attempt.connect.session_expiry_interval = None,
            |error| matches!(error, StoreError::NoSessionExpiry),
        ),
        (
            |attempt| {
                attempt.version = Version::V311;
                attempt.connect.clean_start = true;
            },
            |error| matches!(error, StoreError::CleanStart),
        ),
    ];
    let mut bench = start(lasting(Version::V5), &server, &store);
    bench.settle();
    bench.crash();
    for (change, expected) in changes {
        let store = store.clone();
        let (mut bench, _) = Bench::with(server.clone(), Shape::default(), |connector, clock| {
            let made =
                now(Client::durable_with_timer(lasting(Version::V5), connector, clock, store));
            made.map(|(client, driver, recovered)| {
                let hook = move |mut attempt| async move {
                    change(&mut attempt);
                    Ok(attempt)
                };
                (client, driver.before_connect(hook), recovered)
            })
        })
        .unwrap();
        let error = bench.end().unwrap_err();
        assert!(matches!(&error, Error::Store(error) if expected(error)), "{error:?}");
    }
    assert_eq!(server.count(|seen| matches!(seen, Seen::Connect { .. })), 1);
}

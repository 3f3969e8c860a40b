//! What a side may hold: between any two operations, and in the end.

use mqtt_proto::{Bounds, Role, StoreKey};

use crate::model::Messages;
use crate::side::Side;

/// A side holds what has no outcome, but for messages of QoS 0 that lie in the output buffer.
pub fn within<R: Role>(side: &Side<R>, bounds: Bounds, messages: &Messages) {
    let stats = side.session.stats();
    let held = stats.queued + stats.in_flight;
    let open = side.open.values().flatten();
    let (unsent, answered): (Vec<usize>, Vec<usize>) =
        open.partition(|number| messages.is_qos_0(**number));
    let requests = side.open.len() - unsent.len() - answered.len();
    let expected = answered.len()..=answered.len() + unsent.len();
    assert!(expected.contains(&held) && stats.requests == requests, "{stats:?} {expected:?}");
    assert!(held <= bounds.messages && requests <= bounds.requests, "{stats:?}");
    assert!(held <= 1 || stats.held_bytes <= bounds.bytes, "{stats:?}");
    assert!(!side.session.is_idle() || side.open.is_empty());
}

/// Nothing is left but the identifiers that either side keeps for messages which have failed.
pub fn at_rest<R: Role>(side: &Side<R>, kept: usize, kept_by_other: usize) {
    assert!(side.session.is_idle());
    let stats = side.session.stats();
    let rest = (stats.queued, stats.in_flight, stats.held_bytes, stats.requests);
    assert_eq!(rest, (0, 0, 0, 0));
    assert!((kept..=side.given_up.len()).contains(&stats.given_up), "{stats:?}, {kept} are kept");
    assert!(stats.unfinished_inbound <= kept_by_other, "{stats:?}, and {kept_by_other} are kept");
    assert!(!side.full, "Writable never came");
    let mut inbound = 0;
    for key in side.disk.iter().map(|bytes| StoreKey::from_bytes(*bytes).expect("a key")) {
        match key {
            StoreKey::Outbound(token) => assert!(side.given_up.contains(&token), "left on disk"),
            StoreKey::Inbound(_) => inbound += 1,
        }
    }
    assert!(inbound <= kept_by_other, "left on disk");
}

//! What happens to a pair of sessions, one thing at a time.

use std::time::Duration;

use arbitrary::{Arbitrary, Result, Unstructured};
use mqtt_proto::QoS;

/// One of the two sides: the client if true.
pub type FromClient = bool;

#[derive(Clone, Copy, Debug)]
pub enum Operation {
    Publish {
        from: FromClient,
        qos: QoS,
        topic: u8,
        alias: u8,
        len: u8,
        expiry: Option<u32>,
    },
    Ack {
        by: FromClient,
        which: u8,
        error: bool,
    },
    Cancel {
        by: FromClient,
        which: u8,
    },
    Subscribe {
        filters: u8,
    },
    Unsubscribe {
        filters: u8,
    },
    Grant {
        which: u8,
        error: bool,
        wrong: bool,
    },
    Cut,
    Open,
    Advance(Duration),
    Deliver {
        from: FromClient,
        bytes: usize,
    },
    Disconnect {
        by: FromClient,
    },
    Accept,
    Refuse,
    Sync {
        by: FromClient,
        writes: usize,
    },
    /// The server forgets the session before the next connection.
    Forget,
    /// The next connection has other limits.
    Change {
        client: u16,
        server: u16,
        aliases: u16,
        clean: bool,
    },
    /// The next connection has other limits on messages, or another version.
    Narrow {
        /// What the client and the server take at most.
        client: u8,
        server: u8,
        maximum_qos: QoS,
        version: bool,
    },
    /// All that is under way arrives.
    Settle,
}

impl<'a> Arbitrary<'a> for Operation {
    /// Three bytes for each, so that the fuzzer can move, drop and splice whole operations.
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Operation> {
        let [kind, a, b]: [u8; 3] = u.arbitrary()?;
        let by = a & 1 == 0;
        Ok(match kind % 32 {
            0..=6 => Operation::Publish {
                from: by,
                qos: [QoS::ExactlyOnce, QoS::AtLeastOnce, QoS::AtMostOnce, QoS::ExactlyOnce]
                    [usize::from(a >> 1 & 3)],
                topic: a >> 3 & 3,
                alias: a >> 5 & 3,
                len: b & 63,
                expiry: [None, None, Some(1), Some(5)][usize::from(b >> 6)],
            },
            7..=9 => Operation::Ack { by, which: b, error: a & 6 == 6 },
            10 => Operation::Cancel { by, which: b },
            11 => Operation::Subscribe { filters: a % 3 + 1 },
            12 => Operation::Unsubscribe { filters: a % 3 + 1 },
            13 | 14 => Operation::Grant { which: b, error: a & 1 == 1, wrong: a & 6 == 6 },
            15 => Operation::Cut,
            16 | 17 => Operation::Open,
            18 => Operation::Advance(Duration::from_millis(u64::from(a & 7) * u64::from(b) * 10)),
            19..=22 => Operation::Deliver { from: by, bytes: usize::from(b) + 1 },
            23 => Operation::Deliver { from: by, bytes: usize::MAX },
            24 => Operation::Disconnect { by },
            25 => Operation::Accept,
            26 => Operation::Refuse,
            27 | 28 => Operation::Sync { by, writes: usize::from(b) + 1 },
            29 => Operation::Forget,
            30 => Operation::Change {
                client: u16::from(a & 3) + 1,
                server: u16::from(a >> 2 & 3) + 1,
                aliases: u16::from(a >> 4 & 3),
                clean: b & 1 == 1,
            },
            // Messages that were taken before are too large now, or of too high a QoS.
            31 if a & 1 == 1 => Operation::Narrow {
                client: a >> 1 & 3,
                server: a >> 3 & 3,
                maximum_qos: if b & 3 == 3 { QoS::AtLeastOnce } else { QoS::ExactlyOnce },
                version: b & 12 == 12,
            },
            _ => Operation::Settle,
        })
    }
}

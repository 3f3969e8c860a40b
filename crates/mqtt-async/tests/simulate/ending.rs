//! The ways in which a client ends, and what is left then.

use std::time::Duration;

use mqtt_async::{Closing, Report, Shutdown};
use mqtt_proto::{CloseReason, ReasonCode};

use crate::net::TICK;
use crate::oracle::{Check, Fault, ensure};
use crate::sleeper::Sleeper;
use crate::world::{ROUNDS, World};

/// The ways in which a client can end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Disconnect,
    Drain,
    Shutdown,
    Abort,
    WithWill,
    DropHandles,
    DropDriver,
}

const WAYS: [Way; 7] = [
    Way::Disconnect,
    Way::Drain,
    Way::Shutdown,
    Way::Abort,
    Way::WithWill,
    Way::DropHandles,
    Way::DropDriver,
];

/// A client that is to end, and who waits for it.
pub struct Ending {
    way: Way,
    closing: Option<(Closing, Sleeper)>,
    shutdown: Option<(Shutdown, Sleeper)>,
    report: Option<Report>,
}

impl World {
    pub fn begin_to_end(&mut self) -> Check {
        let way = self.random.pick(&WAYS);
        if self.loud {
            eprintln!("{} {:?}: {way:?}", self.steps, self.now);
        }
        let seconds = self.random.pick(&[0, 1, 20]);
        let Some(client) = self.app.client.clone() else { return Ok(()) };
        let mut ending = Ending { way, closing: None, shutdown: None, report: None };
        self.oracle.ends.closed |= way != Way::DropDriver;
        let closing = match way {
            Way::Disconnect => Some(client.disconnect()),
            Way::Drain => Some(client.drain()),
            Way::Abort => Some(client.abort()),
            Way::WithWill => Some(client.disconnect_with_will()),
            Way::Shutdown => {
                let shutdown = client.shutdown(Duration::from_secs(seconds));
                ending.shutdown = Some((shutdown, Sleeper::default()));
                None
            }
            Way::DropHandles => {
                drop(client);
                self.app.drop_streams_and_handles();
                None
            }
            Way::DropDriver => {
                self.oracle.ends.driver_dropped = self.driver.is_some();
                self.driver = None;
                None
            }
        };
        ending.closing = closing.map(|closing| (closing, Sleeper::default()));
        self.ending = Some(ending);
        Ok(())
    }

    pub fn poll_ending(&mut self) -> bool {
        let Some(Ending { closing, shutdown, report, .. }) = &mut self.ending else { return false };
        let mut any = false;
        if let Some((future, sleeper)) = closing
            && sleeper.future(&mut self.random, future).is_some()
        {
            *closing = None;
            any = true;
        }
        if let Some((future, sleeper)) = shutdown
            && let Some(left) = sleeper.future(&mut self.random, future)
        {
            *shutdown = None;
            *report = Some(left);
            any = true;
        }
        any
    }

    /// The client ends, and everybody who waits for something is told.
    pub fn end(&mut self) -> Check {
        for round in 0.. {
            ensure!(round < ROUNDS, "the_client_ends", "{}", self.describe());
            if self.driver.is_none() {
                break;
            }
            if !self.round()? && self.driver.is_some() {
                let Some(left) = self.next_deadline() else {
                    let detail = format!("and waits for nothing: {}", self.describe());
                    return Err(Fault { rule: "the_client_ends", detail });
                };
                self.pass(left.max(TICK));
            }
        }
        let unconsumed = self.app.client.as_ref().map(|client| client.status().inbound);
        self.app.watch(&mut self.random)?;
        self.poll_ending();
        if let Some(Ending { closing, shutdown, report, .. }) = &self.ending {
            let told = closing.is_none() && shutdown.is_none();
            ensure!(told, "no_token_hangs", "who closed it was not told");
            if let Some(report) = report {
                let same = unconsumed.is_none_or(|count| count == report.unconsumed);
                ensure!(same, "the_report_counts_all", "{unconsumed:?} {report:?}");
                self.app.unsent(&report.unsent, &mut self.oracle)?;
                if let Some(client) = &self.app.client {
                    let same = client.stats().dropped == report.dropped;
                    ensure!(same, "the_report_counts_all", "{report:?}");
                }
            }
        }
        self.app.ended(self.now, &mut self.random, &mut self.oracle)?;
        if let Some(report) = self.ending.as_ref().and_then(|ending| ending.report.as_ref()) {
            self.oracle.left(report.unsent.len() + report.unacked)?;
        }
        // The server learns it.
        for _ in 0..ROUNDS {
            if !self.serve(usize::MAX)? {
                break;
            }
        }
        Ok(())
    }

    /// A client that ends at rest says so, or does not, as it was told.
    pub fn was_polite(&self) -> Check {
        let Some(Ending { way, .. }) = &self.ending else { return Ok(()) };
        if self.result.as_ref().is_some_and(Result::is_err) {
            // The driver had given up before.
            return Ok(());
        }
        let rule = "the_end_is_as_it_was_asked_for";
        let v5 = self.app.version.is_v5();
        let said = match &self.broker.last_end {
            Some(CloseReason::Disconnected(disconnect)) => Some(disconnect.reason),
            Some(CloseReason::Eof) => None,
            other => return Err(Fault { rule, detail: format!("{way:?}: {other:?}") }),
        };
        let expected = match way {
            Way::Disconnect | Way::Drain | Way::Shutdown | Way::DropHandles => {
                Some(ReasonCode::SUCCESS)
            }
            Way::WithWill if v5 => Some(ReasonCode::DISCONNECT_WITH_WILL),
            Way::WithWill | Way::Abort | Way::DropDriver => None,
        };
        ensure!(said == expected, rule, "{way:?}: {said:?}");
        Ok(())
    }

    /// All is gone: nobody keeps a payload.
    pub fn leave_nothing(&mut self) -> Check {
        self.ending = None;
        self.driver = None;
        let payloads = self.app.payloads.clone();
        self.app.forget_all();
        let alive = payloads.alive();
        ensure!(alive == 0, "nothing_is_kept", "{alive} payloads");
        Ok(())
    }
}

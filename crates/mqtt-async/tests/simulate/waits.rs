//! Messages that wait for room.

use std::time::Duration;

use mqtt_async::{Publish, PublishError, QoS, SendWait};

use crate::app::App;
use crate::habits;
use crate::oracle::{Check, Fault, Oracle, ensure};
use crate::random::Random;
use crate::sleeper::Sleeper;

/// A message that waits for room, or was not polled yet.
pub struct Line {
    number: u64,
    publish: Publish,
    expires: Option<Duration>,
    wait: SendWait,
    sleeper: Sleeper,
    /// Whether it stands in line: it was polled, and not woken since.
    stands: bool,
}

impl App {
    pub fn send_wait(&mut self, number: u64, now: Duration, random: &mut Random) {
        let Some(client) = &self.client else { return };
        let publish = habits::publish(number, random, Some(&self.payloads));
        let seconds = publish.properties.get().and_then(|fields| fields.message_expiry_interval);
        let expires = seconds.map(|seconds| now + Duration::from_secs(seconds.into()));
        let wait = client.send_wait(publish.clone());
        let (sleeper, stands) = (Sleeper::default(), false);
        self.line.push(Line { number, publish, expires, wait, sleeper, stands });
    }

    /// Polls those who wait and were woken.
    pub fn waits(&mut self, random: &mut Random, oracle: &mut Oracle) -> Result<bool, Fault> {
        let mut any = false;
        let mut at = 0;
        // Who was woken has left the line, whether it is polled yet or not.
        self.line.iter_mut().for_each(|line| line.stands &= !line.sleeper.is_awake());
        while let Some(line) = self.line.get_mut(at) {
            let polled = line.sleeper.is_awake();
            match line.sleeper.future(random, &mut line.wait) {
                None => {
                    line.stands |= polled;
                    at += 1;
                }
                Some(result) => {
                    any = true;
                    let line = self.line.remove(at);
                    let earlier = self.line.iter().take(at).find(|earlier| earlier.stands);
                    // What may leave at once takes no room.
                    let needs_room = result.is_ok() && line.publish.qos != QoS::AtMostOnce;
                    if let Some(earlier) = earlier.filter(|_| needs_room) {
                        let detail = format!("{} before {}", line.number, earlier.number);
                        return Err(Fault { rule: "who_waits_has_its_turn", detail });
                    }
                    self.waited(line, result, random, oracle)?;
                }
            }
        }
        Ok(any)
    }

    fn waited(
        &mut self,
        line: Line,
        result: Result<mqtt_async::Publishing, PublishError>,
        random: &mut Random,
        oracle: &mut Oracle,
    ) -> Check {
        let Line { number, publish, expires, .. } = line;
        match result {
            Ok(token) => {
                self.tally.waited += 1;
                self.accepted(number, &publish, expires, token, random, oracle);
                Ok(())
            }
            Err(PublishError::Full(_)) => {
                let detail = format!("{number} was refused for want of room");
                Err(Fault { rule: "who_waits_has_its_turn", detail })
            }
            Err(error) => self.refused(number, &publish, error, oracle),
        }
    }

    /// Gives up waiting; what was not accepted comes back.
    pub fn give_up_waiting(&mut self, random: &mut Random) -> Check {
        if self.line.is_empty() {
            return Ok(());
        }
        let Line { number, publish, wait, .. } = self.line.remove(random.index(self.line.len()));
        if random.chance(50) {
            let back = wait.into_publish();
            ensure!(back == Some(publish), "who_gives_up_has_its_message", "{number}");
        }
        Ok(())
    }
}

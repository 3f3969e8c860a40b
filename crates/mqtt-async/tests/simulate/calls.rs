//! Requests and responses: what the application asks, what the server's application answers, and what has to hold
//! of both.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use mqtt_async::{
    CommandError, Failure, Property, Publish, PublishError, PublishPacket, QoS, RequestError,
    Requesting, TokenError, TopicName,
};

use crate::app::App;
use crate::habits;
use crate::oracle::{Check, Endings, Fault, Oracle, ensure, number_of, payload};
use crate::random::Random;
use crate::sleeper::Sleeper;

/// What response topics begin with, and what stands before one in a topic.
const PREFIX: &str = "response/";
const MARK: &str = "/$response/";

/// Tells whether responses come to that topic, or whether that filter is for them.
pub fn is_for_responses(topic: &str) -> bool {
    topic.starts_with(PREFIX)
}

/// A request that waits for its response.
pub struct Calling {
    pub number: u64,
    requesting: Requesting,
    sleeper: Sleeper,
}

/// A request as the server's application sees it.
pub struct Asked {
    pub number: u64,
    response_topic: TopicName,
    correlation_data: Option<Bytes>,
}

impl Asked {
    /// Reads a request; `None`: the message is none.
    pub fn read(packet: &PublishPacket) -> Result<Option<Asked>, Fault> {
        let (mut topic, mut correlation_data) = (None, None);
        for property in packet.properties() {
            match property {
                Property::ResponseTopic(name) => topic = Some(name.to_owned()),
                Property::CorrelationData(data) => {
                    correlation_data = Some(Bytes::copy_from_slice(data))
                }
                _ => {}
            }
        }
        let named = packet.topic().split_once(MARK).map(|(_, topic)| topic.to_owned());
        let Some(topic) = topic.or(named) else { return Ok(None) };
        ensure!(is_for_responses(&topic), "requests_name_a_response_topic", "{topic}");
        let response_topic = TopicName::new(topic).expect("a topic");
        let number = number_of(packet.payload_bytes())?;
        Ok(Some(Asked { number, response_topic, correlation_data }))
    }

    /// The response: the number of the request, and something more.
    pub fn response(self, qos: QoS) -> Publish {
        let bytes = payload(self.number, 20);
        let mut response = Publish::new(self.response_topic, bytes).qos(qos);
        if self.correlation_data.is_some() {
            response.properties.edit().correlation_data = self.correlation_data;
        }
        response
    }
}

// ---- what has to hold ----

/// A request in the ledger.
#[derive(Debug)]
struct Call {
    deadline: Duration,
    qos: QoS,
    /// Whether the server's application has it, and has answered it.
    arrived: bool,
    answered: bool,
    /// When the client had the response, as far as the server can tell.
    told: Option<Duration>,
    /// Whether the session was lost meanwhile.
    lost: bool,
    ended: bool,
}

#[derive(Debug, Default)]
pub struct Calls(BTreeMap<u64, Call>);

impl Calls {
    pub fn has(&self, number: u64) -> bool {
        self.0.contains_key(&number)
    }

    fn get(&mut self, number: u64) -> Result<&mut Call, Fault> {
        let unknown = || Fault { rule: "a_request_is_kept", detail: format!("{number}") };
        self.0.get_mut(&number).ok_or_else(unknown)
    }

    fn made(&mut self, number: u64, qos: QoS, deadline: Duration) {
        let (arrived, answered, told, lost, ended) = (false, false, None, false, false);
        self.0.insert(number, Call { deadline, qos, arrived, answered, told, lost, ended });
    }

    pub fn arrived(&mut self, number: u64) -> Check {
        self.get(number)?.arrived = true;
        Ok(())
    }

    pub fn answered(&mut self, number: u64) -> Check {
        self.get(number)?.answered = true;
        Ok(())
    }

    /// The client has acknowledged the response.
    pub fn told(&mut self, number: u64, now: Duration) -> Check {
        self.get(number)?.told.get_or_insert(now);
        Ok(())
    }

    pub fn session_lost(&mut self) {
        self.0.values_mut().for_each(|call| call.lost = true);
    }

    fn resolved(
        &mut self,
        number: u64,
        result: &Result<mqtt_async::Message, RequestError>,
        now: Duration,
        ends: Endings,
    ) -> Check {
        let call = self.get(number)?;
        ensure!(!call.ended, "every_request_ends_once", "{number} {call:?}");
        call.ended = true;
        let late = call.deadline <= now;
        let over = ends.closed || ends.driver_failed || ends.driver_dropped;
        let caused = match result {
            Ok(response) => {
                let same = response.payload_bytes() == payload(number, 20);
                ensure!(same, "a_response_has_its_request", "{number} {response:?}");
                call.answered
            }
            Err(RequestError::TimedOut) => {
                let told = call.told.is_some_and(|told| told < call.deadline);
                ensure!(!told || call.lost, "a_response_is_handed_over", "{number} {call:?}");
                late
            }
            Err(RequestError::Full(_)) => !call.arrived,
            Err(RequestError::NotAccepted(error)) => {
                let caused = match error {
                    PublishError::Full(_) | PublishError::TooLarge { .. } => true,
                    PublishError::Closed(_) => over,
                    _ => false,
                };
                caused && !call.arrived
            }
            Err(RequestError::NotSubscribed(error)) => {
                let caused =
                    *error == CommandError::Full || (*error == CommandError::Closed && over);
                caused && !call.arrived
            }
            Err(RequestError::Refused(error)) => match error {
                TokenError::Rejected(_) => true,
                // Nothing is subscribed to anew by a client that ends.
                TokenError::SubscriptionLost => call.lost && ends.closed,
                _ => false,
            },
            Err(RequestError::NotDelivered(error)) => match error {
                TokenError::Rejected(_) => call.arrived,
                TokenError::Failed(Failure::SessionLost) => {
                    call.lost && call.qos == QoS::ExactlyOnce
                }
                TokenError::Failed(Failure::NotWritten) => call.qos == QoS::AtMostOnce,
                TokenError::Failed(Failure::Expired) => late,
                TokenError::Failed(Failure::TooLarge { size, limit }) => *size > *limit as usize,
                TokenError::Dropped(_) => !call.arrived,
                _ => false,
            },
            Err(RequestError::Ended(error)) => match error {
                TokenError::Closed => ends.closed,
                TokenError::DriverGone => ends.driver_dropped,
                TokenError::Ended(_) => ends.driver_failed,
                _ => false,
            },
            Err(_) => false,
        };
        ensure!(caused, "a_request_ends_for_a_reason", "{number} {call:?} {result:?} {ends:?}");
        Ok(())
    }
}

// ---- what the application does ----

impl App {
    pub fn call(&mut self, number: u64, now: Duration, random: &mut Random, oracle: &mut Oracle) {
        let Some(client) = &self.client else { return };
        let request = habits::publish(number, random, None);
        let timeout = Duration::from_millis(random.pick(&[0, 700, 30_000, 300_000, 300_000]));
        oracle.calls.made(number, request.qos, now + timeout);
        // Nobody sees the token of its message.
        oracle.unseen();
        self.tally.calls += 1;
        let requesting = client.request_with(request, timeout);
        self.calls.push(Calling { number, requesting, sleeper: Sleeper::default() });
    }

    /// Polls the requests that were woken.
    pub fn answers(
        &mut self,
        now: Duration,
        random: &mut Random,
        oracle: &mut Oracle,
    ) -> Result<bool, Fault> {
        let mut any = false;
        let mut at = 0;
        while let Some(Calling { number, requesting, sleeper }) = self.calls.get_mut(at) {
            let Some(result) = sleeper.future(random, requesting) else {
                at += 1;
                continue;
            };
            any = true;
            self.tally.answers += u64::from(result.is_ok());
            oracle.calls.resolved(*number, &result, now, oracle.ends)?;
            self.calls.remove(at);
        }
        Ok(any)
    }

    pub fn drop_call(&mut self, random: &mut Random) {
        if !self.calls.is_empty() {
            self.calls.remove(random.index(self.calls.len()));
        }
    }
}

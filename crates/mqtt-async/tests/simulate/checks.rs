//! What has to hold for the application: all the time, at rest, and when the client has ended.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use futures_lite::Stream;
use mqtt_async::{Inbound, OutboundOverflow, Overflow, Phase, Publish, Resubscribe, Version};

use crate::app::{App, Listening};
use crate::calls::is_for_responses;
use crate::oracle::{Check, Oracle, ensure, number_of};
use crate::random::Random;

impl App {
    /// What the client holds stays within what it was told.
    pub fn bounded(&self, window: usize, sessions: u64, overflow: OutboundOverflow) -> Check {
        // MQTT 3.1 does not tell whether the server sends again what is still there.
        let sessions = match self.version {
            Version::V31 => self.tally.connections,
            _ => sessions,
        };
        let Some(client) = &self.client else { return Ok(()) };
        let rule = "memory_is_bounded";
        let stats = client.stats();
        let messages = stats.queued + stats.in_flight;
        // Where others give way, one may wait beside as many as were sent, whatever their size.
        let one =
            matches!(overflow, OutboundOverflow::DropOldest | OutboundOverflow::LatestPerTopic);
        let most = self.outbound.messages.max(1) + usize::from(one);
        ensure!(messages <= most, rule, "{stats:?}");
        let bytes = stats.held_bytes <= self.outbound.bytes || messages == 1 || one;
        ensure!(bytes, rule, "{stats:?}");
        ensure!(stats.requests <= self.outbound.requests, rule, "{stats:?}");
        // What a lost session has left is still there to be taken.
        let window = window * (sessions as usize + 1);
        let most = |bounds: &Inbound| match bounds.overflow {
            Overflow::Block => bounds.messages.max(1) + window,
            _ => bounds.messages.max(1),
        };
        let all: usize = self.streams.iter().map(|it| most(&it.bounds)).sum();
        let inbound = client.status().inbound;
        let bound = all + most(&self.bounds);
        ensure!(inbound <= bound, rule, "{inbound} messages, and {bound} are permitted");
        let alive = self.payloads.alive();
        // Besides, the output buffer may hold some that need no answer.
        let messages = messages + self.line.len();
        ensure!(alive <= messages + 64, rule, "{alive} payloads for {messages} messages");
        Ok(())
    }

    /// Nobody waits for anything.
    pub fn at_rest(&self) -> Check {
        let rule = "every_token_resolves";
        let numbers: Vec<u64> = self.tokens.iter().map(|waiting| waiting.number).collect();
        ensure!(numbers.is_empty(), rule, "{numbers:?}");
        let filters: Vec<&String> = self.requests.iter().map(|(filter, ..)| filter).collect();
        ensure!(filters.is_empty(), rule, "requests for {filters:?}");
        ensure!(self.ready.is_none(), "ready_follows_full", "nobody was told");
        let waits = self.line.len();
        ensure!(waits == 0, "who_waits_has_its_turn", "{waits} wait, and there is room");
        if let Some(client) = &self.client {
            let status = client.status();
            let inbound = status.inbound;
            ensure!(inbound == 0, "what_comes_in_is_told", "{inbound} are left, and nobody knows");
            let phase = status.phase;
            let told = self.phase == Some(phase);
            ensure!(told, "the_last_status_is_told", "{:?} {phase:?}", self.phase);
            let stats = client.stats();
            let left = stats.queued + stats.in_flight + stats.requests + stats.held_bytes;
            ensure!(left == 0, "it_comes_to_rest", "{stats:?}");
        }
        Ok(())
    }

    /// What is subscribed to is what the application wants, as far as it has been granted.
    pub fn subscribed(&self, table: &BTreeMap<String, Option<u32>>) -> Check {
        let Some(client) = &self.client else { return Ok(()) };
        let status = client.status();
        let refused =
            |filter: &str| status.not_resubscribed.iter().any(|(it, _)| it.as_str() == filter);
        let listened = self.streams.iter().map(|it| it.filter.as_str());
        let wanted = self.wanted.keys().map(String::as_str);
        for filter in listened.clone().chain(wanted) {
            let there = table.contains_key(filter)
                || refused(filter)
                || self.resubscribe == Resubscribe::Never;
            ensure!(there, "subscriptions_survive", "{filter} of {:?}: {table:?}", self.wanted);
        }
        for filter in table.keys().filter(|filter| !is_for_responses(filter)) {
            let wanted =
                self.wanted.contains_key(filter) || listened.clone().any(|other| other == filter);
            ensure!(wanted, "nothing_is_subscribed_to_that_nobody_wants", "{filter}");
        }
        for (filter, _) in status.not_resubscribed.iter() {
            let filter = filter.as_str();
            let wanted =
                self.wanted.contains_key(filter) || listened.clone().any(|other| other == filter);
            ensure!(wanted, "nothing_is_refused_that_nobody_wants", "{filter}");
        }
        Ok(())
    }

    /// The client has ended: whatever is waited for resolves at the next poll.
    pub fn ended(&mut self, now: Duration, random: &mut Random, oracle: &mut Oracle) -> Check {
        while self.tokens(now, random, oracle)? {}
        while self.waits(random, oracle)? | self.answers(now, random, oracle)? {}
        while self.take(random, oracle)? {}
        while self.watch(random)? {}
        let left = self.tokens.len() + self.requests.len() + self.line.len() + self.calls.len();
        ensure!(left == 0, "no_token_hangs", "{left} after the end");
        ensure!(self.ready.is_none(), "no_token_hangs", "ready() after the end");
        ensure!(self.events.is_none(), "no_stream_hangs", "events() after the end");
        ensure!(self.changes.is_none(), "no_stream_hangs", "status_changes() after the end");
        ensure!(self.phase == Some(Phase::Ended), "the_last_status_is_told", "{:?}", self.phase);
        for listening in &mut self.streams {
            let Listening { stream, sleeper, .. } = listening;
            let next = sleeper.poll(random, |cx| Pin::new(&mut *stream).poll_next(cx));
            let ended = matches!(next, Some(None));
            ensure!(ended, "no_stream_hangs", "{}", listening.name);
        }
        if let Some((messages, sleeper)) = &mut self.rest {
            let next = sleeper.poll(random, |cx| Pin::new(&mut *messages).poll_next(cx));
            ensure!(matches!(next, Some(None)), "no_stream_hangs", "messages()");
        }
        Ok(())
    }

    pub fn forget_all(&mut self) {
        self.drop_streams_and_handles();
        self.tokens.clear();
        self.requests.clear();
        self.line.clear();
        self.calls.clear();
        self.held.clear();
        (self.ready, self.events, self.changes) = (None, None, None);
    }

    pub fn unsent(&self, unsent: &[Publish], oracle: &mut Oracle) -> Check {
        let mut last = 0;
        for publish in unsent {
            if oracle.calls.has(number_of(&publish.payload)?) {
                continue;
            }
            let place = oracle.unsent(publish)?;
            let in_order = place > last || oracle.replaces();
            ensure!(in_order, "what_is_unsent_is_in_order", "{place} after {last}");
            last = place;
        }
        Ok(())
    }
}

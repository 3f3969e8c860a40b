//! What is subscribed to, to be subscribed to anew when the server has lost the session.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use mqtt_proto::{
    Client as ClientRole, ReasonCode, Session, Subscribe, Subscription, Token, TopicFilter,
    Unsubscribe, UserProperties,
};

use crate::router::{Router, has_identifiers};

/// How many filters one SUBSCRIBE renews; some servers take no more.
const FILTERS: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    /// What was granted, in the order in which it was first granted.
    kept: BTreeMap<u64, Kept>,
    places: HashMap<TopicFilter, u64>,
    next: u64,
    requests: HashMap<u64, Request>,
    /// What has still to be subscribed to anew.
    to_renew: VecDeque<Subscribe>,
    /// The message that has to be sent before that.
    behind: Option<Token>,
    refused: Vec<(TopicFilter, ReasonCode)>,
    /// What the server said to what was asked for anew, until it is taken.
    renewed: Vec<(TopicFilter, ReasonCode)>,
}

#[derive(Debug)]
struct Kept {
    subscription: Subscription,
    identifier: Option<u32>,
    user_properties: Arc<UserProperties>,
}

#[derive(Debug)]
enum Request {
    Subscribe(Subscribe),
    Renew(Subscribe),
    Unsubscribe(Unsubscribe),
}

impl Subscriptions {
    pub(super) fn asked(&mut self, token: Token, subscribe: Subscribe) {
        self.requests.insert(token.get(), Request::Subscribe(subscribe));
    }

    pub(super) fn asked_to_end(&mut self, token: Token, unsubscribe: Unsubscribe) {
        self.forget(&unsubscribe.filters);
        self.requests.insert(token.get(), Request::Unsubscribe(unsubscribe));
    }

    /// From now on nobody wants them, whatever the server says and whenever.
    pub(super) fn forget(&mut self, filters: &[TopicFilter]) {
        self.remove(filters);
        for subscribe in &mut self.to_renew {
            subscribe.subscriptions.retain(|it| !filters.contains(&it.filter));
        }
        self.to_renew.retain(|subscribe| !subscribe.subscriptions.is_empty());
    }

    /// The server has answered a SUBSCRIBE.
    pub(super) fn answered(&mut self, token: Token, reasons: &[ReasonCode]) {
        match self.requests.remove(&token.get()) {
            Some(Request::Subscribe(subscribe)) => {
                let user_properties = Arc::new(subscribe.user_properties);
                for (subscription, reason) in subscribe.subscriptions.into_iter().zip(reasons) {
                    if !reason.is_error() {
                        self.keep(Kept {
                            subscription,
                            identifier: subscribe.subscription_identifier,
                            user_properties: Arc::clone(&user_properties),
                        });
                    }
                }
            }
            Some(Request::Renew(subscribe)) => {
                let filters = subscribe.subscriptions.into_iter().map(|it| it.filter);
                self.note(filters.zip(reasons.iter().copied()));
            }
            Some(Request::Unsubscribe(_)) | None => {}
        }
    }

    /// The server has answered an UNSUBSCRIBE.
    pub(super) fn ended(&mut self, token: Token) {
        if let Some(Request::Unsubscribe(unsubscribe)) = self.requests.remove(&token.get()) {
            // A SUBSCRIBE that was under way may have been granted meanwhile.
            self.remove(&unsubscribe.filters);
        }
    }

    /// A request came to nothing.
    pub(super) fn failed(&mut self, token: Token) {
        if let Some(Request::Renew(subscribe)) = self.requests.remove(&token.get()) {
            self.note_failure(subscribe);
        }
    }

    /// What was asked for anew has its answers.
    fn note(&mut self, answers: impl Iterator<Item = (TopicFilter, ReasonCode)>) {
        for (filter, reason) in answers {
            if reason.is_error() {
                self.refused.push((filter.clone(), reason));
            }
            self.renewed.push((filter, reason));
        }
    }

    fn note_failure(&mut self, subscribe: Subscribe) {
        let filters = subscribe.subscriptions.into_iter().map(|it| it.filter);
        self.note(filters.map(|filter| (filter, ReasonCode::UNSPECIFIED_ERROR)));
    }

    /// Takes the answers to what was asked for anew since the last call.
    pub(super) fn take_renewed(&mut self) -> Vec<(TopicFilter, ReasonCode)> {
        std::mem::take(&mut self.renewed)
    }

    /// The server has no session, and nothing is to be asked for anew.
    pub(super) fn forget_all(&mut self) {
        self.kept.clear();
        self.places.clear();
    }

    /// The server has no session: all that was granted has to be asked for anew, in its order.
    ///
    /// What is being asked for already is left out; the session sees to it that it arrives. It is done when
    /// the messages up to `behind` have been sent.
    pub(super) fn lost(&mut self, behind: Option<Token>) {
        self.behind = behind;
        self.refused.clear();
        self.to_renew.clear();
        let mut under_way = HashSet::new();
        for request in self.requests.values() {
            if let Request::Subscribe(subscribe) | Request::Renew(subscribe) = request {
                under_way.extend(subscribe.subscriptions.iter().map(|it| &it.filter));
            }
        }
        for kept in self.kept.values() {
            if under_way.contains(&kept.subscription.filter) {
                continue;
            }
            let subscription = kept.subscription.clone();
            let fits = |last: &&mut Subscribe| {
                last.subscriptions.len() < FILTERS
                    && last.subscription_identifier == kept.identifier
                    && last.user_properties == *kept.user_properties
            };
            match self.to_renew.back_mut().filter(fits) {
                Some(last) => last.subscriptions.push(subscription),
                None => self.to_renew.push_back(Subscribe {
                    subscriptions: vec![subscription],
                    subscription_identifier: kept.identifier,
                    user_properties: UserProperties::clone(&kept.user_properties),
                }),
            }
        }
    }

    /// Asks anew for what is to be renewed, as far as the session has room for requests.
    ///
    /// Streams have Subscription Identifiers only where the server has them.
    pub(super) fn renew(&mut self, session: &mut Session<ClientRole>, router: &Router) {
        if let (Some(behind), Some((first, _))) = (self.behind, session.waiting())
            && first <= behind
        {
            return;
        }
        self.behind = None;
        while let Some(mut subscribe) = self.to_renew.pop_front() {
            if !has_identifiers(session)
                && subscribe.subscription_identifier.is_some_and(|id| router.knows(id))
            {
                subscribe.subscription_identifier = None;
            }
            match session.subscribe(subscribe.clone()) {
                Ok(token) => {
                    self.requests.insert(token.get(), Request::Renew(subscribe));
                }
                Err(mqtt_proto::CommandError::Full | mqtt_proto::CommandError::NotConnected) => {
                    self.to_renew.push_front(subscribe);
                    break;
                }
                Err(_) => self.note_failure(subscribe),
            }
        }
    }

    pub(super) fn refused(&self) -> Arc<[(TopicFilter, ReasonCode)]> {
        self.refused.as_slice().into()
    }

    fn keep(&mut self, kept: Kept) {
        let filter = &kept.subscription.filter;
        let place = *self.places.entry(filter.clone()).or_insert_with(|| {
            self.next += 1;
            self.next
        });
        self.kept.insert(place, kept);
    }

    fn remove(&mut self, filters: &[TopicFilter]) {
        for filter in filters {
            if let Some(place) = self.places.remove(filter) {
                self.kept.remove(&place);
            }
        }
    }
}

//! What is subscribed to, to be subscribed to anew when the server has lost the session.

use std::borrow::Borrow;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use mqtt_proto::{
    Client as ClientRole, ReasonCode, Session, Subscribe, Subscription, Text, Token, TopicFilter,
    Unsubscribe, UserProperties,
};

use super::Numbered;
use crate::router::{Router, has_identifiers};

/// How many filters one SUBSCRIBE renews; some servers take no more.
const FILTERS: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    /// What was granted, by its filter.
    kept: HashSet<Box<Kept>>,
    /// The place of what is granted next.
    next: u64,
    /// What has no answer yet, by its token. Tokens count up, so they tell which request is the newer one;
    /// answers need not come in that order.
    requests: Numbered<Box<Request>>,
    /// What has still to be subscribed to anew.
    to_renew: VecDeque<Subscribe>,
    /// The message that has to be sent before that.
    behind: Option<Token>,
    /// What the server did not want to have anew, until somebody asks for it again or wants it no more.
    refused: Vec<(TopicFilter, ReasonCode)>,
    /// Whether something of that was taken out since the last time somebody asked.
    pardoned: bool,
    /// What the server said to what was asked for anew, until it is taken.
    renewed: Vec<(TopicFilter, ReasonCode)>,
}

#[derive(Debug)]
struct Kept {
    subscription: Subscription,
    identifier: Option<u32>,
    /// What all filters of a SUBSCRIBE share, if it has any.
    user_properties: Option<Arc<UserProperties>>,
    /// It is subscribed to anew in the order in which it was first granted.
    place: u64,
    /// The token of the SUBSCRIBE.
    token: u64,
}

impl Borrow<TopicFilter> for Box<Kept> {
    fn borrow(&self) -> &TopicFilter {
        &self.subscription.filter
    }
}

impl Hash for Kept {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.subscription.filter.hash(state);
    }
}

impl PartialEq for Kept {
    fn eq(&self, other: &Kept) -> bool {
        self.subscription.filter == other.subscription.filter
    }
}

impl Eq for Kept {}

impl Kept {
    fn user_properties(&self) -> &[(Text, Text)] {
        self.user_properties.as_deref().map_or(&[], Vec::as_slice)
    }
}

#[derive(Debug)]
enum Request {
    Subscribe(Asked),
    Renew(Asked),
    Unsubscribe(Unsubscribe),
}

/// A SUBSCRIBE that has no answer.
#[derive(Debug)]
struct Asked {
    subscribe: Subscribe,
    /// What nobody wants of it any more, whatever the answer is.
    unwanted: Vec<TopicFilter>,
}

impl Asked {
    fn new(subscribe: Subscribe) -> Asked {
        Asked { subscribe, unwanted: Vec::new() }
    }

    fn filters(&self) -> impl Iterator<Item = &TopicFilter> {
        self.subscribe.subscriptions.iter().map(|it| &it.filter)
    }
}

impl Request {
    fn filters(&self) -> impl Iterator<Item = &TopicFilter> {
        let (asked, ended) = match self {
            Request::Subscribe(asked) | Request::Renew(asked) => (Some(asked), None),
            Request::Unsubscribe(unsubscribe) => (None, Some(&unsubscribe.filters)),
        };
        asked.into_iter().flat_map(Asked::filters).chain(ended.into_iter().flatten())
    }
}

impl Subscriptions {
    /// Gives back what a burst of requests needed.
    pub(super) fn relax(&mut self) {
        self.requests.shrink_to_fit();
        self.kept.shrink_to_fit();
        self.to_renew.shrink_to_fit();
    }

    pub(super) fn asked(&mut self, token: Token, subscribe: Subscribe) {
        self.ask(token, Request::Subscribe(Asked::new(subscribe)));
    }

    pub(super) fn asked_to_end(&mut self, token: Token, unsubscribe: Unsubscribe) {
        self.forget(&unsubscribe.filters);
        self.ask(token, Request::Unsubscribe(unsubscribe));
    }

    fn ask(&mut self, token: Token, request: Request) {
        self.requests.insert(token.get(), Box::new(request));
    }

    /// Takes out what has its answer. Most clients ask once: no memory is kept for the next time.
    fn take(&mut self, token: Token) -> Option<Request> {
        let request = self.requests.remove(&token.get())?;
        if self.requests.is_empty() {
            self.requests = Numbered::default();
        }
        Some(*request)
    }

    /// From now on nobody wants them, whatever the server says and whenever.
    pub(super) fn forget(&mut self, filters: &[TopicFilter]) {
        for filter in filters {
            self.kept.remove(filter);
        }
        self.pardon(filters);
        for request in self.requests.values_mut() {
            if let Request::Subscribe(asked) | Request::Renew(asked) = &mut **request {
                for filter in filters {
                    if !asked.unwanted.contains(filter) && asked.filters().any(|it| it == filter) {
                        asked.unwanted.push(filter.clone());
                    }
                }
            }
        }
        for subscribe in &mut self.to_renew {
            subscribe.subscriptions.retain(|it| !filters.contains(&it.filter));
        }
        self.to_renew.retain(|subscribe| !subscribe.subscriptions.is_empty());
    }

    /// That the server had refused them is of the past.
    fn pardon(&mut self, filters: &[TopicFilter]) {
        let before = self.refused.len();
        self.refused.retain(|(refused, _)| !filters.contains(refused));
        self.pardoned |= self.refused.len() < before;
    }

    /// Tells whether there are fewer refused filters than the last time.
    pub(super) fn take_pardoned(&mut self) -> bool {
        std::mem::take(&mut self.pardoned)
    }

    /// Returns why the server refused a filter when it was asked for anew, if it did.
    pub(super) fn refusal(&self, filter: &TopicFilter) -> Option<ReasonCode> {
        self.refused.iter().find(|(refused, _)| refused == filter).map(|(_, reason)| *reason)
    }

    /// The server has answered a SUBSCRIBE; returns the filters that it was late for.
    ///
    /// That is where an UNSUBSCRIBE behind it had its answer, but not the SUBSCRIBE, which then went out again
    /// on another connection.
    pub(super) fn answered(&mut self, token: Token, reasons: &[ReasonCode]) -> Vec<TopicFilter> {
        let (asked, anew) = match self.take(token) {
            Some(Request::Subscribe(asked)) => (asked, false),
            Some(Request::Renew(asked)) => (asked, true),
            Some(Request::Unsubscribe(_)) | None => return Vec::new(),
        };
        let Asked { subscribe, unwanted } = asked;
        let granted = |it: &&TopicFilter| {
            let mut answers = subscribe.subscriptions.iter().zip(reasons);
            answers.any(|(other, reason)| other.filter == **it && !reason.is_error())
        };
        let late = unwanted.iter().filter(granted).filter(|it| self.is_left_alone(it, token));
        let late = late.cloned().collect();
        let user_properties = subscribe.user_properties;
        let user_properties = (!user_properties.is_empty()).then(|| Arc::new(user_properties));
        for (subscription, reason) in subscribe.subscriptions.into_iter().zip(reasons) {
            let wanted = !unwanted.contains(&subscription.filter);
            if anew {
                self.note(subscription.filter, *reason, wanted);
            } else if !reason.is_error() && wanted {
                self.keep(Kept {
                    subscription,
                    identifier: subscribe.subscription_identifier,
                    user_properties: user_properties.clone(),
                    place: 0,
                    token: token.get(),
                });
            }
        }
        late
    }

    /// Tells whether it is not subscribed to, and nothing was asked about it since.
    fn is_left_alone(&self, filter: &TopicFilter, since: Token) -> bool {
        let newer = self.requests.iter().filter(|(token, _)| **token > since.get());
        let asked = newer.flat_map(|(_, request)| request.filters()).any(|it| it == filter);
        !asked && !self.kept.contains(filter)
    }

    /// The server has answered an UNSUBSCRIBE.
    pub(super) fn ended(&mut self, token: Token) {
        self.take(token);
    }

    /// A request came to nothing.
    pub(super) fn failed(&mut self, token: Token) {
        if let Some(Request::Renew(asked)) = self.take(token) {
            self.note_failure(asked);
        }
    }

    /// What was asked for anew has its answer.
    fn note(&mut self, filter: TopicFilter, reason: ReasonCode, wanted: bool) {
        if reason.is_error() && wanted {
            self.refused.push((filter.clone(), reason));
        }
        self.renewed.push((filter, reason));
    }

    fn note_failure(&mut self, asked: Asked) {
        for Subscription { filter, .. } in asked.subscribe.subscriptions {
            let wanted = !asked.unwanted.contains(&filter);
            self.note(filter, ReasonCode::UNSPECIFIED_ERROR, wanted);
        }
    }

    /// Takes the answers to what was asked for anew since the last call.
    pub(super) fn take_renewed(&mut self) -> Vec<(TopicFilter, ReasonCode)> {
        std::mem::take(&mut self.renewed)
    }

    /// The server has no session, and nothing is to be asked for anew.
    pub(super) fn forget_all(&mut self) {
        self.kept.clear();
        self.to_renew.clear();
        // Those that have no answer yet go out again.
        for request in self.requests.values_mut() {
            if let Request::Renew(asked) = &mut **request {
                asked.unwanted = asked.filters().cloned().collect();
            }
        }
    }

    /// The server has no session: all that was granted has to be asked for anew, in its order, when the
    /// messages up to `behind` have been sent.
    pub(super) fn lost(&mut self, behind: Option<Token>) {
        self.behind = behind;
        self.refused.clear();
        self.to_renew.clear();
        self.ask_anew(|_| true);
    }

    /// The server goes on with the session; the requests that have no answer go out again, and so does what it
    /// refused the last time.
    pub(super) fn resumed(&mut self) {
        let refused = std::mem::take(&mut self.refused);
        self.pardoned |= !refused.is_empty();
        let refused: HashSet<TopicFilter> = refused.into_iter().map(|(filter, _)| filter).collect();
        self.ask_anew(|filter| refused.contains(filter));
    }

    /// Notes what is to be asked for anew: what was granted and is `missing`, and what the requests that go out
    /// again would undo because they are older.
    ///
    /// What newer ones ask for is left out; the session sees to it that they arrive.
    fn ask_anew(&mut self, missing: impl Fn(&TopicFilter) -> bool) {
        let mut newest: HashMap<&TopicFilter, u64> = HashMap::new();
        for (token, request) in &self.requests {
            for filter in request.filters() {
                let newest = newest.entry(filter).or_default();
                *newest = (*newest).max(*token);
            }
        }
        // What waits since an earlier connection still does.
        let waiting = self.to_renew.iter().flat_map(|it| &it.subscriptions);
        let waiting: HashSet<TopicFilter> = waiting.map(|it| it.filter.clone()).collect();
        let mut all_kept: Vec<&Kept> = self.kept.iter().map(Box::as_ref).collect();
        all_kept.sort_unstable_by_key(|kept| kept.place);
        for kept in all_kept {
            let asked = match newest.get(&kept.subscription.filter) {
                Some(newest) => *newest < kept.token,
                None => missing(&kept.subscription.filter),
            };
            if !asked || waiting.contains(&kept.subscription.filter) {
                continue;
            }
            let subscription = kept.subscription.clone();
            let fits = |last: &&mut Subscribe| {
                last.subscriptions.len() < FILTERS
                    && last.subscription_identifier == kept.identifier
                    && last.user_properties == kept.user_properties()
            };
            match self.to_renew.back_mut().filter(fits) {
                Some(last) => last.subscriptions.push(subscription),
                None => self.to_renew.push_back(Subscribe {
                    subscriptions: vec![subscription],
                    subscription_identifier: kept.identifier,
                    user_properties: kept.user_properties().to_vec(),
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
                    self.ask(token, Request::Renew(Asked::new(subscribe)));
                }
                Err(mqtt_proto::CommandError::Full | mqtt_proto::CommandError::NotConnected) => {
                    self.to_renew.push_front(subscribe);
                    break;
                }
                Err(_) => self.note_failure(Asked::new(subscribe)),
            }
        }
    }

    pub(super) fn refused(&self) -> Arc<[(TopicFilter, ReasonCode)]> {
        self.refused.as_slice().into()
    }

    fn keep(&mut self, mut kept: Kept) {
        let known = self.kept.get(&kept.subscription.filter);
        // Of a filter that stands twice in a SUBSCRIBE, the server has the later one: MQTT 5.0 section 3.8.4.
        if known.is_some_and(|known| known.token > kept.token) {
            return;
        }
        kept.place = known.map_or(self.next, |known| known.place);
        self.pardon(std::slice::from_ref(&kept.subscription.filter));
        self.next = self.next.max(kept.place + 1);
        self.kept.replace(Box::new(kept));
    }
}

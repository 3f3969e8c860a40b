//! Who may do what, and who comes and goes.

use std::collections::HashMap;

use mqtt_async::{CloseReason, FilterSubscription, PublishPacket, ReasonCode, TopicFilter};
use mqtt_broker::{ClientInfo, Connecting, Deciding, Hooks, Peer, Verdict, decided};

use super::settings::{Filter, User};

/// Knows the users, and tells who comes and goes, and who is refused.
pub(super) struct Access {
    users: HashMap<String, User>,
    quiet: bool,
}

impl Access {
    /// Without users, everybody may do everything.
    pub(super) fn new(users: Vec<User>, quiet: bool) -> Access {
        Access { users: users.into_iter().map(|user| (user.name.clone(), user)).collect(), quiet }
    }

    /// Tells that somebody was refused: the names may be anybody's.
    fn refused(&self, connecting: &Connecting, reason: ReasonCode) -> Verdict {
        if !self.quiet {
            let Connecting { connect, peer, .. } = connecting;
            let (id, from) = (connect.client_id.as_str(), from(peer));
            let user = connect.user_name.as_ref();
            let user = user.map_or(String::new(), |name| format!(", user {:?}", name.as_str()));
            anstream::eprintln!("! {id:?}{from}{user}: {reason}");
        }
        Verdict::refuse(reason)
    }

    fn user(&self, client: &ClientInfo) -> Option<&User> {
        self.users.get(client.user_name.as_ref()?.as_str())
    }
}

fn from(peer: &Peer) -> String {
    peer.address.map_or(String::new(), |address| format!(" from {address}"))
}

fn permitted(is: bool) -> Result<(), ReasonCode> {
    if is { Ok(()) } else { Err(ReasonCode::NOT_AUTHORIZED) }
}

impl Hooks for Access {
    fn authenticate(&self, connecting: Connecting) -> Deciding {
        let connect = &connecting.connect;
        if connect.authentication_method.is_some() {
            return decided(self.refused(&connecting, ReasonCode::BAD_AUTHENTICATION_METHOD));
        }
        if self.users.is_empty() {
            return decided(Verdict::accept());
        }
        let name = connect.user_name.as_ref().map_or("", |name| name.as_str());
        let known = self.users.get(name).map(|user| user.password.as_bytes());
        decided(match known.is_some() && known == connect.password.as_deref() {
            true => Verdict::accept(),
            false => self.refused(&connecting, ReasonCode::BAD_USER_NAME_OR_PASSWORD),
        })
    }

    fn may_publish(&self, client: &ClientInfo, publish: &PublishPacket) -> Result<(), ReasonCode> {
        let rights = self.user(client).and_then(|user| user.publish.as_ref());
        permitted(rights.is_none_or(|filters| covered(filters, publish.topic())))
    }

    fn may_subscribe(
        &self,
        client: &ClientInfo,
        subscription: &FilterSubscription,
    ) -> Result<(), ReasonCode> {
        let rights = self.user(client).and_then(|user| user.subscribe.as_ref());
        permitted(rights.is_none_or(|filters| covered(filters, subscription.filter.filter())))
    }

    fn connected(&self, client: &ClientInfo, resumed: bool) {
        if self.quiet {
            return;
        }
        let from = from(&client.peer);
        let how = if resumed { ", goes on with its session" } else { "" };
        let (id, version) = (client.client_id.as_str(), client.version);
        anstream::eprintln!("+ {id:?}{from}, {version}{how}");
    }

    fn disconnected(&self, client: &ClientInfo, reason: &CloseReason) {
        if !self.quiet {
            anstream::eprintln!("- {:?}: {reason}", client.client_id.as_str());
        }
    }
}

/// Tells whether one of the filters covers all that a topic, or another filter, stands for.
fn covered(filters: &[Filter], wanted: &str) -> bool {
    filters.iter().any(|Filter(filter)| covers(filter, wanted))
}

fn covers(filter: &TopicFilter, wanted: &str) -> bool {
    let filter = filter.filter();
    // As with messages: a wildcard at the beginning does not stand for `$SYS`.
    if wanted.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let (mut filter, mut wanted) = (filter.split('/'), wanted.split('/'));
    loop {
        match (filter.next(), wanted.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(level)) if level != "#" => {}
            (Some(one), Some(other)) if one == other => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_covers_what_it_always_matches() {
        let covers =
            |filter: &str, wanted| super::covers(&TopicFilter::new(filter).unwrap(), wanted);
        for (filter, wanted) in [
            ("#", "a"),
            ("#", "#"),
            ("#", "+/a"),
            ("a/#", "a"),
            ("a/#", "a/#"),
            ("a/#", "a/+/b"),
            ("a/+", "a/b"),
            ("a/+", "a/+"),
            ("+/b", "a/b"),
            ("a", "a"),
            ("$SYS/#", "$SYS/broker"),
        ] {
            assert!(covers(filter, wanted), "{filter} {wanted}");
        }
        for (filter, wanted) in [
            ("a", "b"),
            ("a", "a/b"),
            ("a/b", "a"),
            ("a/b", "a/+"),
            ("a/b", "a/#"),
            ("a/+", "a/#"),
            ("a/+", "#"),
            ("+", "#"),
            ("a/+", "a"),
            ("a/+/c", "a/#"),
            ("a/#", "#"),
            ("a/#", "+"),
            ("#", "$SYS/#"),
            ("+/broker", "$SYS/broker"),
        ] {
            assert!(!covers(filter, wanted), "{filter} {wanted}");
        }
    }
}

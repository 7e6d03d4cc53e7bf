//! Who may connect, to which tenant, and what they may do there.
use std::{net::SocketAddr, sync::Arc};

use uuid::Uuid;

/// Decides from memory: it is called in a connection's task, and a wait would hold up others.
pub trait Authenticator: Send + Sync + 'static {
    /// # Errors
    /// Why the client is not let in; it is told so in its protocol's words.
    fn authenticate(&self, attempt: &Attempt<'_>) -> Result<Grant, Refusal>;
}

/// What a client presented. A CONNECT without a user name or password shows an empty one.
#[derive(Clone, Copy)]
pub struct Attempt<'a> {
    pub username: &'a str,
    pub password: &'a [u8],
    pub client_id: &'a str,
    pub peer: SocketAddr,
}

impl std::fmt::Debug for Attempt<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attempt")
            .field("username", &self.username)
            .field("client_id", &self.client_id)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Clone)]
pub struct Grant {
    pub tenant: Uuid,
    /// `None`: everything in the tenant.
    pub rules: Option<Arc<TopicRules>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    BadCredentials,
    NotAuthorized,
    /// For the moment, as after too many failures.
    Busy,
}

/// Topic filters: `None` is everything, an empty list nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicRules {
    pub publish: Option<Vec<String>>,
    pub subscribe: Option<Vec<String>>,
}

impl TopicRules {
    #[must_use]
    pub fn may_publish(&self, topic: &str) -> bool {
        allows(self.publish.as_deref(), topic)
    }

    /// A shared subscription is judged by the filter behind its group.
    #[must_use]
    pub fn may_subscribe(&self, filter: &str) -> bool {
        let shared = filter
            .strip_prefix("$share/")
            .and_then(|rest| rest.split_once('/'));
        let filter = shared.map_or(filter, |(_, filter)| filter);
        allows(self.subscribe.as_deref(), filter)
    }
}

fn allows(rules: Option<&[String]>, filter: &str) -> bool {
    rules.is_none_or(|rules| rules.iter().any(|rule| covers(rule, filter)))
}

/// Whether each topic that `filter` matches is matched by `rule` too. A topic name is a filter that matches itself.
#[must_use]
pub fn covers(rule: &str, filter: &str) -> bool {
    let wild = |text: &str| text.starts_with(['+', '#']);
    if wild(rule) && filter.starts_with('$') {
        return false; // wildcards do not reach topics that begin with $
    }
    let mut filter = filter.split('/');
    for rule in rule.split('/') {
        match (rule, filter.next()) {
            ("#", _) => return true, // the parent level too
            ("+", Some(level)) if level != "#" => {}
            (rule, Some(level)) if rule == level => {}
            _ => return false,
        }
    }
    filter.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::{TopicRules, covers};

    #[test]
    fn a_rule_covers_what_it_matches_and_no_more() {
        let table = [
            ("#", "#", true),
            ("#", "a/b", true),
            ("#", "+/#", true),
            ("#", "$SYS/#", false),
            ("+/a", "$SYS/a", false),
            ("$SYS/#", "$SYS/a", true),
            ("a/#", "a", true),
            ("a/#", "a/+/b", true),
            ("a/#", "#", false),
            ("a/#", "+/b", false),
            ("a/#", "ab", false),
            ("a/+", "a/b", true),
            ("a/+", "a/+", true),
            ("a/+", "a/#", false),
            ("a/+", "a", false),
            ("a/+", "a/b/c", false),
            ("+", "#", false),
            ("a", "a", true),
            ("a", "a/", false),
            ("a/", "a/", true),
            ("", "a", false),
        ];
        for (rule, filter, expected) in table {
            assert_eq!(covers(rule, filter), expected, "{rule} covers {filter}");
        }
    }

    #[test]
    fn no_list_is_everything_and_an_empty_one_nothing() {
        let rules = TopicRules {
            publish: None,
            subscribe: Some(Vec::new()),
        };
        assert!(rules.may_publish("a") && !rules.may_subscribe("a"));
    }

    #[test]
    fn a_shared_subscription_is_judged_by_its_filter() {
        let rules = TopicRules {
            publish: None,
            subscribe: Some(vec!["a/#".to_owned()]),
        };
        assert!(rules.may_subscribe("$share/g/a/b"));
        assert!(!rules.may_subscribe("$share/a/#"));
        assert!(!rules.may_subscribe("$share/g/#"));
    }
}

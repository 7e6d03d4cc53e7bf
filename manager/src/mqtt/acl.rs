//! A client's rules in the words of EMQX (5.8 and later): rules in order, the
//! first that fits decides, none leaves it to `authorization.no_match`.
use serde::Serialize;

use super::Rules;

#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct AclRule {
    permission: &'static str,
    action: &'static str,
    topics: Vec<String>,
}

/// The rules of a client, for EMQX. For each restricted action: what is allowed,
/// then deny all.
pub(super) fn acl(rules: &Rules) -> Vec<AclRule> {
    let mut acl = Vec::new();
    if let Some(patterns) = &rules.publish {
        add(&mut acl, "allow", "publish", patterns.clone());
        add(&mut acl, "deny", "publish", vec!["#".to_owned()]);
    }
    if let Some(patterns) = &rules.subscribe {
        // EMQX compares the filter of a SUBSCRIBE level by level as if it were
        // a topic: an allowed `a/+` would allow `a/#` as well.
        let (one_level, rest): (Vec<_>, Vec<_>) = patterns
            .iter()
            .cloned()
            .partition(|it| it == "+" || it.ends_with("/+"));
        let too_wide = one_level.iter().filter_map(|it| whole_below(it)).collect();
        add(&mut acl, "allow", "subscribe", rest);
        add(&mut acl, "deny", "subscribe", too_wide);
        add(&mut acl, "allow", "subscribe", one_level);
        add(&mut acl, "deny", "subscribe", vec!["#".to_owned()]);
    }
    acl
}

/// `eq a/#` of `a/+`: EMQX's way to name this very filter. With another `+` in
/// front there are too many to name.
fn whole_below(pattern: &str) -> Option<String> {
    let prefix = pattern.strip_suffix('+')?;
    (!prefix.contains('+')).then(|| format!("eq {prefix}#"))
}

fn add(
    acl: &mut Vec<AclRule>,
    permission: &'static str,
    action: &'static str,
    topics: Vec<String>,
) {
    if !topics.is_empty() {
        acl.push(AclRule {
            permission,
            action,
            topics,
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_restricted_ends_with_deny_all() {
        let list = |patterns: &[&str]| -> Option<Vec<String>> {
            Some(patterns.iter().map(|it| (*it).to_owned()).collect())
        };
        let rule = |permission, action, topics: &[&str]| json!({"permission": permission, "action": action, "topics": topics});
        let deny_all = |action| rule("deny", action, &["#"]);
        for (publish, subscribe, expected) in [
            (
                list(&["a/+", "b"]),
                None,
                vec![rule("allow", "publish", &["a/+", "b"]), deny_all("publish")],
            ),
            (list(&[]), None, vec![deny_all("publish")]),
            (
                None,
                list(&["c/#"]),
                vec![rule("allow", "subscribe", &["c/#"]), deny_all("subscribe")],
            ),
            (
                None,
                list(&["a/+", "x/#", "+/y", "+/+"]),
                vec![
                    rule("allow", "subscribe", &["x/#", "+/y"]),
                    rule("deny", "subscribe", &["eq a/#"]),
                    rule("allow", "subscribe", &["a/+", "+/+"]),
                    deny_all("subscribe"),
                ],
            ),
            (
                list(&[]),
                list(&["+"]),
                vec![
                    deny_all("publish"),
                    rule("deny", "subscribe", &["eq #"]),
                    rule("allow", "subscribe", &["+"]),
                    deny_all("subscribe"),
                ],
            ),
        ] {
            let rules = Rules { publish, subscribe };
            assert_eq!(json!(acl(&rules)), json!(expected), "{rules:?}");
        }
    }
}

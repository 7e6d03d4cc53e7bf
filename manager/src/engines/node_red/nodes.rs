use std::collections::HashSet;

use serde_json::Value;

use crate::engines::is_tab;

/// More than anybody draws.
const NODES_MAX: usize = 100_000;

/// The nodes of a flow file: objects with an id, each once, and a type. Fails
/// with the reason, for a person.
pub(super) fn nodes(text: &str) -> Result<Vec<Value>, String> {
    let bad = |what: &str| Err(format!("flows.json is not a list of nodes: {what}"));
    let Ok(Value::Array(nodes)) = serde_json::from_str(text) else {
        return bad("it is not a JSON array");
    };
    if NODES_MAX < nodes.len() {
        return bad("it has more than 100000 of them");
    }
    let mut ids = HashSet::with_capacity(nodes.len());
    for node in &nodes {
        let (Some(id), Some(_)) = (node["id"].as_str(), node["type"].as_str()) else {
            return bad("one has no id or no type");
        };
        if !ids.insert(id) {
            return bad("an id is there twice");
        }
    }
    Ok(nodes)
}

/// How many nodes (configuration nodes too; not what only frames them) and
/// how many tabs.
pub(super) fn counts(nodes: &[Value]) -> (usize, usize) {
    let tabs = nodes.iter().filter(|it| is_tab(it)).count();
    let frames = |it: &&Value| matches!(it["type"].as_str(), Some("subflow" | "group"));
    (
        nodes.len() - tabs - nodes.iter().filter(frames).count(),
        tabs,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_and_what_is_no_flow_file() {
        for (text, why) in [
            ("[]", None),
            (r#"[{"id": "1", "type": "tab"}]"#, None),
            ("", Some("array")),
            ("{}", Some("array")),
            ("[1]", Some("no id")),
            (r#"[{"id": "1"}]"#, Some("no type")),
            (r#"[{"id": 1, "type": "tab"}]"#, Some("no id")),
            (
                r#"[{"id": "1", "type": "a"}, {"id": "1", "type": "b"}]"#,
                Some("twice"),
            ),
        ] {
            let got = nodes(text).err();
            assert_eq!(got.is_some(), why.is_some(), "{text}");
            assert!(got.unwrap_or_default().contains(why.unwrap_or_default()));
        }
    }

    #[test]
    fn tabs_and_frames_are_not_counted_as_nodes() {
        let types = ["tab", "subflow", "group", "inject", "mqtt-broker"];
        let nodes: Vec<Value> = types
            .iter()
            .map(|it| serde_json::json!({"id": it, "type": it}))
            .collect();
        assert_eq!(counts(&nodes), (2, 1));
    }
}

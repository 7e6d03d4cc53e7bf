//! n8n's workflows as tabs with nodes on them, so that they are told apart and
//! counted like any other flows. Credentials, tags and variables are nodes on
//! no tab.
use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value, json};

/// More than anybody draws.
const NODES_MAX: usize = 100_000;
/// Of a workflow, what is not said of it as a tab.
const ELSEWHERE: [&str; 4] = ["id", "name", "nodes", "connections"];
const STICKY_NOTE: &str = "n8n-nodes-base.stickyNote";

/// Fails with the reason, for a person.
pub(super) fn nodes(flows: &str) -> Result<Vec<Value>, String> {
    let bad = |what: &str| Err(format!("n8n's content is not readable: {what}"));
    let Ok(content) = serde_json::from_str::<Value>(flows) else {
        return bad("it is not JSON");
    };
    if !content.is_object() {
        return bad("it is not an object");
    }
    let lists = ["workflows", "credentials", "tags", "variables"].map(|it| list(&content, it));
    let nodes_of = list(&content, "workflows")
        .iter()
        .map(|it| list(it, "nodes"));
    let mut items = lists.into_iter().chain(nodes_of).flatten();
    if !items.all(Value::is_object) {
        return bad("something in its lists is not an object");
    }
    let mut all = Vec::new();
    for workflow in list(&content, "workflows") {
        let Some(id) = workflow["id"].as_str() else {
            return bad("a workflow has no id");
        };
        all.push(tab(id, workflow));
        on_tab(id, workflow, &mut all);
        if NODES_MAX < all.len() {
            return bad("it has more than 100000 nodes");
        }
    }
    for credential in list(&content, "credentials") {
        all.push(credential.clone());
    }
    for (field, kind) in [("tags", "tag"), ("variables", "variable")] {
        for it in list(&content, field) {
            let mut it = it.clone();
            if field == "variables" {
                it["id"] = format!("variable {}", text(&it, "key")).into();
                it["name"] = it["key"].clone();
                it["valueType"] = it["type"].clone();
            }
            it["type"] = kind.into();
            all.push(it);
        }
    }
    let mut ids = HashSet::with_capacity(all.len());
    match all
        .iter()
        .all(|it| it["id"].as_str().is_some_and(|id| ids.insert(id)))
    {
        true => Ok(all),
        false => bad("something has no id, or one that is there twice"),
    }
}

/// How many nodes and workflows; notes are no nodes, and what is archived is
/// out of sight.
pub(super) fn counts(all: &[Value]) -> (usize, usize) {
    let tabs: HashSet<&str> = all
        .iter()
        .filter(|it| it["type"] == "tab" && it["isArchived"] != true)
        .filter_map(|it| it["id"].as_str())
        .collect();
    let counted = |it: &&Value| {
        let on_tab = it["z"].as_str().is_some_and(|z| tabs.contains(z));
        on_tab && it["type"] != STICKY_NOTE
    };
    (all.iter().filter(counted).count(), tabs.len())
}

fn tab(id: &str, workflow: &Value) -> Value {
    let mut tab = Map::new();
    for (field, value) in workflow.as_object().into_iter().flatten() {
        if !ELSEWHERE.contains(&&**field) {
            tab.insert(field.clone(), value.clone());
        }
    }
    tab.insert("id".to_owned(), id.into());
    tab.insert("type".to_owned(), "tab".into());
    tab.insert("label".to_owned(), workflow["name"].clone());
    Value::Object(tab)
}

/// Within a workflow connections go by names, which people change, and ids may
/// be those of the workflow that it was copied from.
fn on_tab(id: &str, workflow: &Value, all: &mut Vec<Value>) {
    let nodes = list(workflow, "nodes");
    let mut used = HashSet::new();
    let own_ids = nodes.iter().enumerate().map(|(at, node)| {
        let own = node["id"].as_str().filter(|own| used.insert(*own));
        own.map_or(format!("{id}/#{at}"), |own| format!("{id}/{own}"))
    });
    let own_ids: Vec<String> = own_ids.collect();
    let by_name: HashMap<&str, &str> = nodes
        .iter()
        .zip(&own_ids)
        .filter_map(|(node, own)| Some((node["name"].as_str()?, own.as_str())))
        .collect();
    for (node, own) in nodes.iter().zip(&own_ids) {
        let mut made = node.clone();
        made["id"] = own.as_str().into();
        made["z"] = id.into();
        if let Some(place) = made.as_object_mut().and_then(|it| it.remove("position")) {
            made["x"] = place[0].clone();
            made["y"] = place[1].clone();
        }
        let name = node["name"].as_str().unwrap_or_default();
        connect(&mut made, &workflow["connections"][name], &by_name);
        all.push(made);
    }
}

/// Plain connections are wires; those to a further input, and those of other
/// kinds (a model or a tool of an agent), are a field.
fn connect(node: &mut Value, connections: &Value, by_name: &HashMap<&str, &str>) {
    let mut wires: Vec<Value> = Vec::new();
    let mut others: Vec<Value> = Vec::new();
    for (kind, outputs) in connections.as_object().into_iter().flatten() {
        for (port, ends) in outputs.as_array().into_iter().flatten().enumerate() {
            let mut plain = Vec::new();
            for end in ends.as_array().into_iter().flatten() {
                let name = end["node"].as_str().unwrap_or_default();
                let to = by_name.get(name).copied().unwrap_or(name);
                match kind == "main" && end["index"].as_u64().unwrap_or(0) == 0 {
                    true => plain.push(json!(to)),
                    false => others.push(
                        json!({"output": port, "kind": kind, "to": to, "input": end["index"]}),
                    ),
                }
            }
            if kind == "main" {
                wires.push(plain.into());
            }
        }
    }
    node["wires"] = wires.into();
    if !others.is_empty() {
        node["connections"] = others.into();
    }
}

fn list<'a>(of: &'a Value, field: &str) -> &'a [Value] {
    of[field].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text<'a>(it: &'a Value, field: &str) -> &'a str {
    it[field].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workflows_are_tabs_with_wired_nodes() {
        let content = json!({
            "workflows": [{"id": "w", "name": "Shop", "active": true,
                "nodes": [
                    {"id": "1", "name": "Hook", "type": "webhook", "position": [10, 20], "parameters": {"path": "a"}},
                    {"id": "2", "name": "Merge", "type": "merge", "position": [30, 40]},
                    {"name": "Note", "type": STICKY_NOTE},
                    {"id": "3", "name": "Model", "type": "model"},
                ],
                "connections": {
                    "Hook": {"main": [[{"node": "Merge", "type": "main", "index": 0}, {"node": "Merge", "type": "main", "index": 1}]]},
                    "Model": {"ai_model": [[{"node": "Merge", "type": "ai_model", "index": 0}]]},
                }}],
            "credentials": [{"id": "c", "name": "Key", "type": "httpHeaderAuth"}],
            "tags": [{"id": "t", "name": "prod"}],
            "variables": [{"key": "A", "type": "string", "value": "1"}],
        });
        let all = nodes(&content.to_string()).unwrap();
        assert_eq!(counts(&all), (3, 1));
        assert_eq!(
            all[0],
            json!({"id": "w", "type": "tab", "label": "Shop", "active": true})
        );
        assert_eq!(
            all[1],
            json!({"id": "w/1", "z": "w", "name": "Hook", "type": "webhook", "x": 10, "y": 20,
                "parameters": {"path": "a"}, "wires": [["w/2"]],
                "connections": [{"output": 0, "kind": "main", "to": "w/2", "input": 1}]})
        );
        assert_eq!(all[4]["connections"][0]["kind"], "ai_model");
        assert_eq!(all[5]["type"], "httpHeaderAuth");
        assert_eq!(all[6]["type"], "tag");
        assert_eq!(all[7]["id"], "variable A");
    }

    #[test]
    fn what_cannot_be_told_apart_is_refused() {
        for bad in [
            json!({"workflows": [{"name": "no id"}]}),
            json!({"workflows": [{"id": "w"}, {"id": "w"}]}),
            json!({"credentials": [{"name": "no id"}]}),
            json!({"tags": [1]}),
            json!({"variables": [1]}),
            json!({"workflows": [{"id": "w", "nodes": [1]}]}),
            json!([]),
        ] {
            assert!(nodes(&bad.to_string()).is_err(), "{bad}");
        }
        assert!(nodes("{").is_err());
        let twice = json!({"workflows": [{"id": "w", "nodes": [{"id": "1"}, {"id": "1"}]}]});
        let all = nodes(&twice.to_string()).unwrap();
        assert_eq!(all[2]["id"], "w/#1");
        assert_eq!(nodes("{}"), Ok(Vec::new()));
    }
}

//! What a new instance's data folder begins with: the template's flows, and
//! the broker node that `settings-shim/node-red/broker.json` describes.
//! Here, because the folder is made once and whole: what a user removes later
//! stays removed, and nobody has to remember that it was there.
use serde_json::Value;

use super::{FLOWS, credentials};
use crate::{
    engines::{Credentials, FirstFile},
    kernel::Secret,
};

/// The shim's tests use the same file. Its address and credentials are names of
/// environment variables; there is no secret in it.
const BROKER: &str = include_str!("../../../../settings-shim/node-red/broker.json");

pub(super) fn of(flows: Option<&Value>, key: &Secret) -> Vec<FirstFile> {
    let broker: Value = serde_json::from_str(BROKER).unwrap_or_default();
    with_broker(flows, &broker, key)
}

/// A template may bring the broker node itself: an editor's export has it,
/// without its credentials, since Node-RED exports none. They are added where
/// they lead to the instance's own broker. Anything else under its id is the
/// template's affair.
fn with_broker(flows: Option<&Value>, broker: &Value, key: &Secret) -> Vec<FirstFile> {
    let own = &broker["node"];
    let mut nodes = flows.and_then(Value::as_array).cloned().unwrap_or_default();
    let at_home = match nodes.iter().find(|it| it["id"] == own["id"]) {
        Some(brought) => brought["type"] == own["type"] && brought["broker"] == own["broker"],
        None => {
            nodes.push(own.clone());
            true
        }
    };
    let mut files = vec![flows_file(&Value::Array(nodes))];
    if at_home && let Some(id) = own["id"].as_str() {
        let all = Credentials::from_iter([(id.to_owned(), broker["credentials"].clone())]);
        files.push((credentials::FILE, credentials::seal(key, &all)));
    }
    files
}

fn flows_file(flows: &Value) -> FirstFile {
    (FLOWS, flows.to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn made(flows: Option<Value>) -> (Vec<&'static str>, Value) {
        let files = of(flows.as_ref(), &Secret::new("x"));
        let flows = files
            .first()
            .map(|(_, content)| serde_json::from_slice(content).unwrap())
            .unwrap_or_default();
        (files.into_iter().map(|(name, _)| name).collect(), flows)
    }

    #[test]
    fn the_broker_node_is_merged_once_and_never_over_a_templates_own() {
        let own = serde_json::from_str::<Value>(BROKER).unwrap()["node"].clone();
        let id = own["id"].clone();
        let tab = json!({"id": "1", "type": "tab"});
        let mut renamed = own.clone();
        renamed["name"] = json!("Ours");
        let elsewhere = json!({"id": id, "type": "mqtt-broker", "broker": "mqtt://plant:1883"});
        let other_type = json!({"id": id, "type": "tab"});
        let both = vec!["flows.json", "flows_cred.json"];
        let one = vec!["flows.json"];
        for (flows, names, nodes) in [
            (None, &both, json!([own])),
            (Some(json!([tab])), &both, json!([tab, own])),
            (Some(json!([own, tab])), &both, json!([own, tab])),
            (Some(json!([renamed])), &both, json!([renamed])),
            (Some(json!([elsewhere])), &one, json!([elsewhere])),
            (Some(json!([other_type])), &one, json!([other_type])),
        ] {
            assert_eq!(made(flows), (names.clone(), nodes));
        }
    }
}

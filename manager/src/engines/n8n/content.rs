//! What the shim inside n8n gives and takes (docs/wire.md, "n8n's content"),
//! and what of it is the flows of a snapshot: all but the credentials' data,
//! the modules, and what n8n writes into workflows while they run.
use std::{collections::BTreeMap, io};

use serde_json::{Map, Value, json};

use super::{credentials, nodes};
use crate::{
    crypto::sha256_hex,
    engines::{Credentials, CredentialsError, Installed, ReadError, Sealed, Staged},
    kernel::Secret,
};

const FORMAT: u64 = 1;
const WHAT: &str = "n8n's list of credentials";
/// Changes with every run or save, or is said elsewhere.
const VOLATILE: [&str; 6] = [
    "staticData",
    "versionId",
    "activeVersionId",
    "triggerCount",
    "createdAt",
    "updatedAt",
];
const ID_CHARS: usize = 16;

/// Credentials by id, encrypted as n8n has them.
type Data = BTreeMap<String, String>;

pub(super) fn take_apart(text: &[u8]) -> Result<Sealed, ReadError> {
    let bad = |what: &str| ReadError::Unreadable(format!("n8n's content has {what}"));
    let mut all: Value = serde_json::from_slice(text).map_err(|_| bad("no JSON"))?;
    nodes::nodes(&all.to_string()).map_err(ReadError::Unreadable)?;
    if all["format"] != FORMAT {
        return Err(bad("another format: build the n8n image anew"));
    }
    let mut data = Data::new();
    for credential in items(&mut all, "credentials") {
        let (id, sealed) = (credential["id"].as_str(), credential["data"].as_str());
        if let (Some(id), Some(sealed)) = (id, sealed.filter(|it| !it.is_empty())) {
            data.insert(id.to_owned(), sealed.to_owned());
        }
        remove(credential, &["data", "createdAt", "updatedAt"]);
    }
    for workflow in items(&mut all, "workflows") {
        remove(workflow, &VOLATILE);
    }
    let modules = items(&mut all, "modules").iter().filter_map(|it| {
        Some(Installed {
            name: it["name"].as_str()?.to_owned(),
            version: it["version"].as_str().unwrap_or_default().to_owned(),
            local: false,
        })
    });
    let modules = modules.filter(|it| it.wanted().is_plain()).collect();
    remove(&mut all, &["modules", "version"]);
    Ok(Sealed {
        flows: all.to_string(),
        credentials: serde_json::to_vec(&data).unwrap_or_default(),
        modules,
    })
}

pub(super) fn open(key: &Secret, all: &[u8]) -> Result<Credentials, CredentialsError> {
    let all: Data = serde_json::from_slice(all).map_err(|_| CredentialsError::Damaged(WHAT))?;
    let opened = all
        .into_iter()
        .map(|(id, sealed)| Ok((id, credentials::open(key, &sealed)?)));
    opened.collect()
}

/// What the shim is asked to take. A credential without fields is left out:
/// what the instance has under its id stays.
pub(super) fn put_together(it: &Staged<'_>) -> io::Result<Value> {
    let mut all: Value = serde_json::from_str(it.flows).map_err(io::Error::other)?;
    if let Some(list) = all["credentials"].as_array_mut() {
        list.retain_mut(|credential| {
            let fields = credential["id"]
                .as_str()
                .and_then(|id| it.credentials.get(id));
            let Some(fields) = fields else {
                return false;
            };
            credential["data"] = credentials::seal(it.key, fields).into();
            true
        });
    }
    let active = if it.inactive { "clear" } else { "keep" };
    all["options"] = json!({ "active": active });
    Ok(all)
}

/// Workflows as n8n's editor exports them: one, or an array of them.
pub(super) fn of_template(flows: &Value) -> Result<Value, String> {
    let mut workflows = match flows {
        Value::Array(all) => all.clone(),
        one => vec![one.clone()],
    };
    for workflow in &mut workflows {
        let whole = workflow["name"].is_string()
            && workflow["nodes"].is_array()
            && workflow["connections"].is_object();
        if !whole {
            return Err(
                "Flows are workflows as n8n's editor exports them: objects with name, nodes and connections."
                    .to_owned(),
            );
        }
        if !workflow["id"].is_string() {
            let hash = sha256_hex(&workflow.to_string());
            workflow["id"] = hash[..ID_CHARS].into();
        }
        // Of the place where it was exported.
        remove(workflow, &["tags", "homeProject", "shared"]);
    }
    let content = json!({"format": FORMAT, "workflows": workflows, "credentials": [], "tags": [],
        "variables": [], "options": {"active": "keep"}});
    nodes::nodes(&content.to_string())?;
    Ok(content)
}

fn items<'a>(all: &'a mut Value, field: &str) -> &'a mut [Value] {
    all.get_mut(field)
        .and_then(Value::as_array_mut)
        .map(Vec::as_mut_slice)
        .unwrap_or_default()
}

fn remove(it: &mut Value, fields: &[&str]) {
    let nothing = &mut Map::new();
    let it = it.as_object_mut().unwrap_or(nothing);
    for field in fields {
        it.remove(*field);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content() -> Value {
        let data = credentials::seal(&Secret::new("k"), &json!({"value": "s3cret"}));
        json!({
            "format": 1, "version": "2.41.1",
            "workflows": [{"id": "w1", "name": "One", "active": true, "nodes": [], "connections": {},
                "staticData": {"lastPoll": 1}, "updatedAt": "2026-01-01"}],
            "credentials": [{"id": "c1", "name": "Key", "type": "httpHeaderAuth", "data": data}],
            "tags": [], "variables": [],
            "modules": [{"name": "n8n-nodes-x", "version": "1.0.0"}, {"name": "../x", "version": "1"}],
        })
    }

    #[test]
    fn what_is_taken_apart_is_put_together_for_another_key() {
        let sealed = take_apart(content().to_string().as_bytes()).unwrap();
        assert_eq!(sealed.modules.len(), 1);
        for gone in ["lastPoll", "2026", "U2FsdGVk", "2.41.1", "n8n-nodes-x"] {
            assert!(!sealed.flows.contains(gone), "{gone}");
        }
        let opened = open(&Secret::new("k"), &sealed.credentials).unwrap();
        assert_eq!(opened["c1"], json!({"value": "s3cret"}));
        let wrong = open(&Secret::new("other"), &sealed.credentials);
        assert!(matches!(wrong, Err(CredentialsError::WrongKey(_))));

        let put = put_together(&Staged {
            flows: &sealed.flows,
            credentials: &opened,
            key: &Secret::new("target"),
            owner: (0, 0),
            inactive: true,
        })
        .unwrap();
        assert_eq!(put["options"]["active"], "clear");
        let data = put["credentials"][0]["data"].as_str().unwrap();
        let fields = credentials::open(&Secret::new("target"), data).unwrap();
        assert_eq!(fields, json!({"value": "s3cret"}));

        let without = put_together(&Staged {
            flows: &sealed.flows,
            credentials: &Credentials::new(),
            key: &Secret::new("target"),
            owner: (0, 0),
            inactive: false,
        })
        .unwrap();
        assert_eq!(without["credentials"], json!([]));
    }

    #[test]
    fn what_is_no_content_is_told() {
        for bad in ["", "[]", r#"{"format": 2}"#] {
            assert!(take_apart(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_template_is_one_workflow_or_several() {
        let one = json!({"name": "A", "nodes": [], "connections": {}, "tags": [{"id": "t"}]});
        let made = of_template(&one).unwrap();
        assert_eq!(made["workflows"][0]["id"].as_str().unwrap().len(), ID_CHARS);
        assert!(made["workflows"][0].get("tags").is_none());
        assert_eq!(of_template(&json!([one])).unwrap(), made);
        assert!(of_template(&json!({"id": "1", "type": "tab"})).is_err());
        assert!(of_template(&json!([one, one])).is_err(), "the same twice");
    }
}

//! Data folders as Node-RED would write them.
use std::fs;

use openflow_manager::{
    engines::{Credentials, node_red::credentials as node_red},
    kernel::Secret,
};
use serde_json::{Value, json};

use crate::support::{
    Answer,
    instances::{Bench, It, eventually},
};

/// A tab with an inject node and an http request that has a password.
pub(crate) fn flows(topic: &str) -> Value {
    json!([
        {"id": "t1", "type": "tab", "label": "Line", "disabled": false},
        {"id": "n1", "type": "inject", "z": "t1", "name": "start", "topic": topic, "x": 10, "y": 20, "wires": [["n2"]]},
        {"id": "n2", "type": "http request", "z": "t1", "name": "ask", "x": 30, "y": 20, "wires": [[]]},
    ])
}

pub(crate) fn secret(bench: &Bench, it: &It) -> Secret {
    Secret::new(bench.env_of(it, "OPENFLOW_CREDENTIAL_SECRET").unwrap())
}

/// What a deploy leaves in the data folder.
pub(crate) fn deploy(bench: &Bench, it: &It, flows: &Value, credentials: &Value) {
    let folder = bench.folder(it);
    let file = node_red::seal(&secret(bench, it), credentials.as_object().unwrap());
    fs::write(folder.join("flows_cred.json"), file).unwrap();
    fs::write(folder.join("flows.json"), flows.to_string()).unwrap();
}

pub(crate) fn install(bench: &Bench, it: &It, modules: &[(&str, &str)]) {
    let folder = bench.folder(it);
    let mut dependencies = json!({});
    for (name, version) in modules {
        dependencies[name] = json!(format!("~{version}"));
        let at = folder.join("node_modules").join(name);
        fs::create_dir_all(&at).unwrap();
        let package = json!({"name": name, "version": version});
        fs::write(at.join("package.json"), package.to_string()).unwrap();
    }
    let package = json!({"name": "project", "dependencies": dependencies});
    fs::write(folder.join("package.json"), package.to_string()).unwrap();
}

/// What the data folder has: flows, and the credentials as the instance itself
/// can decrypt them.
pub(crate) fn found(bench: &Bench, it: &It) -> (Value, Value) {
    let folder = bench.folder(it);
    let flows = fs::read(folder.join("flows.json")).unwrap();
    let file = fs::read(folder.join("flows_cred.json")).unwrap();
    let credentials: Credentials = node_red::open(&secret(bench, it), &file).unwrap();
    (
        serde_json::from_slice(&flows).unwrap(),
        Value::Object(credentials),
    )
}

pub(crate) fn password(text: &str) -> Value {
    json!({"n2": {"user": "ada", "password": text}})
}

pub(crate) async fn take(bench: &Bench, it: &It, name: &str) -> Value {
    let body = json!({"name": name});
    bench.post(&it.path("snapshots"), body).await.expect(201)
}

pub(crate) fn path_of(snapshot: &Value, below: &str) -> String {
    format!(
        "/api/v1/snapshots/{}{below}",
        snapshot["id"].as_str().unwrap()
    )
}

pub(crate) async fn restore(bench: &Bench, snapshot: &Value, body: Value) -> Answer {
    bench.post(&path_of(snapshot, "/restore"), body).await
}

pub(crate) async fn plan(bench: &Bench, snapshot: &Value, body: Value) -> Value {
    let path = path_of(snapshot, "/restore?dryRun=true");
    bench.post(&path, body).await.expect(200)
}

/// Until the restore is over.
pub(crate) async fn over(bench: &Bench, restore: &Value) -> Value {
    let path = format!("/api/v1/restores/{}", restore["id"].as_str().unwrap());
    eventually("the restore is over", async || {
        let seen = bench.get(&path).await.expect(200);
        (!seen["finishedAt"].is_null()).then_some(seen)
    })
    .await
}

pub(crate) async fn list(bench: &Bench, it: &It, query: &str) -> Vec<Value> {
    let path = it.path(&format!("snapshots{query}"));
    let page = bench.get(&path).await.expect(200);
    page["items"].as_array().unwrap().clone()
}

use serde_json::{Value, json};
use sqlx::PgPool;

use crate::{
    flows::{deploy, flows, install, password, path_of, take},
    support::instances::Bench,
};

/// What differs, without what does not.
fn told(diff: &Value) -> Value {
    let mut told = json!({});
    for (part, content) in diff.as_object().unwrap() {
        for (what, items) in content.as_object().into_iter().flatten() {
            if items.as_array().is_some_and(|it| !it.is_empty()) {
                told[format!("{part}.{what}")] = items.clone();
            }
        }
    }
    told
}

fn edited(change: impl FnOnce(&mut Vec<Value>)) -> Value {
    let mut all = flows("a").as_array().unwrap().clone();
    change(&mut all);
    Value::Array(all)
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn what_a_diff_tells_of_flows_and_credentials(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    deploy(&bench, &it, &flows("a"), &password("x"));
    let before = take(&bench, &it, "before").await;
    let inject =
        json!({"id": "n1", "type": "inject", "name": "start", "tab": "t1", "tabLabel": "Line"});
    let with = |mut node: Value, more: Value| {
        for (name, value) in more.as_object().unwrap() {
            node[name] = value.clone();
        }
        node
    };
    let wire = |to: &str, port: u8| json!({"from": "n1", "port": port, "to": to});
    let cases = [
        ("nothing", flows("a"), password("x"), json!({})),
        (
            "a field",
            flows("b"),
            password("x"),
            json!({"nodes.changed": [with(inject.clone(), json!({"moved": false, "fields": [{"field": "topic", "from": "a", "to": "b"}]}))]}),
        ),
        (
            "a field that comes",
            edited(|it| it[1]["once"] = json!(true)),
            password("x"),
            json!({"nodes.changed": [with(inject.clone(), json!({"moved": false, "fields": [{"field": "once", "from": null, "to": true}]}))]}),
        ),
        (
            "only its place",
            edited(|it| it[1]["x"] = json!(99)),
            password("x"),
            json!({"nodes.changed": [with(inject.clone(), json!({"moved": true, "fields": [{"field": "x", "from": 10, "to": 99}]}))]}),
        ),
        (
            "a wire, and not the node",
            edited(|it| it[1]["wires"] = json!([[], ["n2"]])),
            password("x"),
            json!({"wires.added": [wire("n2", 1)], "wires.removed": [wire("n2", 0)]}),
        ),
        (
            "a node gone, with its wire and credentials",
            edited(|it| {
                it.pop();
                it[1]["wires"] = json!([[]]);
            }),
            json!({}),
            json!({
                "nodes.removed": [{"id": "n2", "type": "http request", "name": "ask", "tab": "t1", "tabLabel": "Line"}],
                "wires.removed": [wire("n2", 0)],
                "credentials.changed": ["n2"],
            }),
        ),
        (
            "a configuration node",
            edited(|it| it.push(json!({"id": "b", "type": "mqtt-broker", "broker": "x"}))),
            password("x"),
            json!({"nodes.added": [{"id": "b", "type": "mqtt-broker", "name": "", "tab": null, "tabLabel": null}]}),
        ),
        (
            "tabs",
            edited(|it| {
                it[0]["disabled"] = json!(true);
                it.push(json!({"id": "t2", "type": "tab", "label": "Alarms"}));
            }),
            password("x"),
            json!({
                "tabs.added": [{"id": "t2", "label": "Alarms"}],
                "tabs.changed": [{"id": "t1", "label": "Line", "fields": [{"field": "disabled", "from": false, "to": true}]}],
            }),
        ),
        (
            "a password",
            flows("a"),
            password("y"),
            json!({"credentials.changed": ["n2"]}),
        ),
        (
            "no password",
            flows("a"),
            json!({}),
            json!({"credentials.changed": ["n2"]}),
        ),
    ];
    for (what, after, credentials, expected) in cases {
        deploy(&bench, &it, &after, &credentials);
        let diff = bench.get(&path_of(&before, "/diff")).await.expect(200);
        assert_eq!(told(&diff), expected, "{what}");
        assert_eq!(diff["identical"], expected == json!({}), "{what}");
        assert_eq!(diff["from"]["id"], before["id"]);
        assert_eq!(diff["to"]["id"], Value::Null);
        let snapshot = take(&bench, &it, what).await;
        let id = snapshot["id"].as_str().unwrap();
        let path = path_of(&before, &format!("/diff?to={id}"));
        let diff = bench.get(&path).await.expect(200);
        assert_eq!(told(&diff), expected, "{what}, as a snapshot");
        assert_eq!(diff["to"]["name"], what);
    }
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn what_a_diff_tells_of_modules_and_variables(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    let env = async |vars: Value| {
        let body = json!({"items": vars});
        bench.call("PUT", &it.path("env"), body).await.expect(200);
    };
    env(json!([{"name": "A", "value": "1"}, {"name": "B", "value": "1"}, {"name": "S", "value": "1", "secret": true}])).await;
    install(&bench, &it, &[("a", "1.0.0"), ("b", "1.0.0")]);
    let before = take(&bench, &it, "before").await;
    env(json!([{"name": "B", "value": "2"}, {"name": "C", "value": "1"}, {"name": "S", "value": "2", "secret": true}])).await;
    install(&bench, &it, &[("b", "2.0.0"), ("c", "1.0.0")]);
    let diff = bench
        .get(&path_of(&before, "/diff?to=current"))
        .await
        .expect(200);
    let expected = json!({
        "modules.added": [{"name": "c", "version": "1.0.0"}],
        "modules.removed": [{"name": "a", "version": "1.0.0"}],
        "modules.changed": [{"name": "b", "from": "1.0.0", "to": "2.0.0"}],
        "env.added": ["C"], "env.removed": ["A"], "env.changed": ["B"],
    });
    assert_eq!(told(&diff), expected);
    let nowhere = bench.get(&path_of(&before, "/diff?to=nonsense")).await;
    assert_eq!(nowhere.refusal(), (404, "snapshot.not_found"));
}

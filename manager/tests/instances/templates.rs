use std::os::unix::fs::MetadataExt as _;

use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::instances::Bench;

fn flows() -> Value {
    json!([{"id": "1", "type": "tab", "label": "Line"}, {"id": "2", "type": "inject", "z": "1"}])
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn an_instance_starts_as_its_template_says(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let root = bench.t.admin("Root").await;
    let stack = bench.stack("openflow/node-red:4").await;
    let template = json!({
        "name": "Line", "stackId": stack, "flows": flows(), "resources": {"memoryMb": 300, "cpus": 0.5},
        "env": [{"name": "A", "value": "template"}, {"name": "B", "value": "template"},
                {"name": "KEY", "value": "hunter2", "secret": true}],
    });
    let made = bench
        .t
        .post("/api/v1/templates", &root.who, template)
        .await
        .expect(201);
    assert_eq!(
        made["env"][2],
        json!({"name": "KEY", "value": null, "secret": true})
    );

    let more = json!({"template": made["id"], "env": [{"name": "B", "value": "own"}], "resources": {"cpus": 2.0}});
    let it = bench.create_with("wf1", more).await;
    let view = bench.until(&it, "running").await;
    assert_eq!(view["stackId"], json!(stack));
    assert_eq!(view["resources"], json!({"memoryMb": 300, "cpus": 2.0}));
    let spec = bench.runtime.spec(it.key()).unwrap();
    assert_eq!(spec.image, "openflow/node-red:4");
    for (name, value) in [("A", "template"), ("B", "own"), ("KEY", "hunter2")] {
        assert_eq!(bench.env_of(&it, name).as_deref(), Some(value));
    }
    let file = bench.folder(&it).join("flows.json");
    let written: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let nodes = written.as_array().unwrap();
    let (broker, own) = nodes.split_last().unwrap();
    assert_eq!(own, flows().as_array().unwrap());
    assert_eq!(broker["id"], "openflow-broker");
    let credentials = bench.folder(&it).join("flows_cred.json");
    let sealed: Value = serde_json::from_slice(&std::fs::read(&credentials).unwrap()).unwrap();
    assert!(sealed["$"].is_string() && !sealed.to_string().contains("OPENFLOW"));
    for file in [&file, &credentials] {
        let meta = file.metadata().unwrap();
        assert_eq!(meta.mode() & 0o777, 0o600);
        assert_eq!((meta.uid(), meta.gid()), spec.user);
    }
    assert_eq!(bench.folder(&it).metadata().unwrap().mode() & 0o777, 0o700);

    // What the user did since is not overwritten, whatever is started.
    std::fs::write(&file, "[]").unwrap();
    bench.ask(&it, "restart", "running").await;
    bench.ask(&it, "stop", "stopped").await;
    bench.ask(&it, "start", "running").await;
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "[]");

    // The template is a starting point: changing it changes no instance.
    let path = format!("/api/v1/templates/{}", made["id"].as_str().unwrap());
    let body = json!({"env": [{"name": "A", "value": "new"}], "resources": {"memoryMb": 400}});
    bench
        .t
        .call("PATCH", &path, &root.who, body)
        .await
        .expect(200);
    bench
        .t
        .call("DELETE", &path, &root.who, Value::Null)
        .await
        .expect(204);
    bench.ask(&it, "restart", "running").await;
    assert_eq!(bench.env_of(&it, "A").as_deref(), Some("template"));
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_templates_secrets_are_write_only(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let root = bench.t.admin("Root").await;
    let stack = bench.stack("openflow/node-red:4").await;
    let secret = json!([{"name": "KEY", "value": "hunter2", "secret": true}]);
    let body = json!({"name": "Line", "stackId": stack, "env": secret});
    let made = bench
        .t
        .post("/api/v1/templates", &root.who, body)
        .await
        .expect(201);
    let path = format!("/api/v1/templates/{}", made["id"].as_str().unwrap());
    let kept = json!({"env": [{"name": "KEY", "secret": true}], "description": "Packs."});
    let patched = bench
        .t
        .call("PATCH", &path, &root.who, kept)
        .await
        .expect(200);
    assert_eq!(patched["description"], "Packs.");
    let shown = json!({"env": [{"name": "KEY", "secret": false}]});
    let refused = bench.t.call("PATCH", &path, &root.who, shown).await;
    assert_eq!(refused.refusal(), (422, "env.invalid"));
    for path in [path.as_str(), "/api/v1/templates", "/api/v1/audit"] {
        let answer = bench.t.get(path, &root.who).await.expect(200);
        assert!(!answer.to_string().contains("hunter2"), "{path}");
    }
    let more = json!({"template": made["id"]});
    let it = bench.create_with("wf1", more).await;
    bench.until(&it, "running").await;
    assert_eq!(bench.env_of(&it, "KEY").as_deref(), Some("hunter2"));
    let stored: Vec<Vec<u8>> = sqlx::query_scalar(
        "select env_sealed from templates where env_sealed is not null union all select env_sealed from instances",
    )
    .fetch_all(&bench.t.pool)
    .await
    .unwrap();
    assert_eq!(stored.len(), 2);
    assert!(
        stored
            .iter()
            .all(|it| !it.windows(7).any(|part| part == b"hunter2"))
    );
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn the_ways_a_template_is_refused(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let root = bench.t.admin("Root").await;
    let stack = bench.get("/api/v1/stacks").await.expect(200)["items"][0]["id"].clone();
    let invalid = "template.invalid";
    #[rustfmt::skip]
    let table = [
        (json!({"name": " "}), 422, "stack.bad_name", "name"),
        (json!({"name": "Webhook"}), 409, "stack.name_taken", ""),
        (json!({"stackId": uuid::Uuid::now_v7()}), 404, "stack.not_found", ""),
        (json!({"description": "x".repeat(1001)}), 422, invalid, "description"),
        (json!({"resources": {"memoryMb": 63}}), 422, invalid, "resources"),
        (json!({"resources": {"cpus": 0.05}}), 422, invalid, "resources"),
        (json!({"modules": [{"name": "../evil"}]}), 422, invalid, "modules"),
        (json!({"modules": [{"name": "a", "version": "latest; rm -rf"}]}), 422, invalid, "modules"),
        (json!({"flows": {}}), 422, invalid, "flows"),
        (json!({"flows": [{"id": "1"}]}), 422, invalid, "flows"),
        (json!({"flows": [{"id": "1", "type": "x".repeat(1 << 20)}]}), 422, invalid, "flows"),
        (json!({"env": [{"name": "OPENFLOW_X", "value": "1"}]}), 422, "env.invalid", "env"),
        (json!({"extra": 1}), 422, "request.malformed", ""),
    ];
    for (more, status, code, field) in table {
        let mut body = json!({"name": "Line", "stackId": stack});
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        let answer = bench.t.post("/api/v1/templates", &root.who, body).await;
        assert_eq!(answer.refusal(), (status, code), "{}", answer.json);
        if !field.is_empty() {
            assert!(answer.json["errors"][field].is_array(), "{}", answer.json);
        }
    }
    let count = bench.t.count("select count(*) from templates").await;
    assert_eq!(count, 2);
}

/// Nobody answers where the n8n would be.
#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn of_what_could_not_be_put_in_all_is_said(pool: PgPool) {
    let bench = Bench::new(pool).await;
    bench.runtime.start_on_this_host();
    let root = bench.t.admin("Root").await;
    let stack = bench.made_stack("n8n", "openflow/n8n:1", "ready").await;
    let template = json!({
        "name": "Line", "stackId": stack, "modules": [{"name": "n8n-nodes-x", "version": "1.0.0"}],
        "flows": {"name": "A", "nodes": [], "connections": {}},
    });
    let made = bench
        .t
        .post("/api/v1/templates", &root.who, template)
        .await
        .expect(201);
    let it = bench
        .create_with("wf1", json!({"template": made["id"]}))
        .await;
    bench
        .until_it(&it, "both are said", |view| {
            let said = view["statusDetail"].as_str().unwrap_or_default();
            said.contains("modules could be installed (n8n-nodes-x:")
                && said.contains("flows could not be put in (")
        })
        .await;
}

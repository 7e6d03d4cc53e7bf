use openflow_manager::runtime::{Error, Op};
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use crate::support::{
    Person,
    instances::{Bench, eventually},
};

fn path(stack: &Value) -> String {
    format!("/api/v1/stacks/{}", stack["id"].as_str().unwrap())
}

async fn add(bench: &Bench, root: &Person, name: &str, image: &str) -> Value {
    let body = json!({"name": name, "engine": "node-red", "image": image});
    bench
        .t
        .post("/api/v1/stacks", &root.who, body)
        .await
        .expect(201)
}

async fn until(bench: &Bench, stack: &Value, status: &str) -> Value {
    eventually("the stack has that status", async || {
        let stack = bench.get(&path(stack)).await.expect(200);
        (stack["status"] == status).then_some(stack)
    })
    .await
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn the_first_stack_and_templates_are_made_once(pool: PgPool) {
    let mut bench = Bench::new(pool).await;
    let stacks = bench.get("/api/v1/stacks").await.expect(200);
    let first = &stacks["items"][0];
    assert_eq!(first["name"], "Node-RED");
    assert_eq!(first["image"], "openflow/node-red:5");
    assert_eq!(first["isDefault"], true);
    let templates = bench.get("/api/v1/templates").await.expect(200);
    assert_eq!(templates["items"].as_array().unwrap().len(), 2);
    // Changed ones stay as they are when a manager starts again.
    let root = bench.t.admin("Root").await;
    let body = json!({"name": "Ours"});
    bench
        .t
        .call("PATCH", &path(first), &root.who, body)
        .await
        .expect(200);
    bench.kill_and_start_anew().await;
    let stacks = bench.get("/api/v1/stacks").await.expect(200);
    assert_eq!(stacks["items"].as_array().unwrap().len(), 1);
    assert_eq!(stacks["items"][0]["name"], "Ours");
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn an_image_is_pulled_and_looked_at(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let root = bench.t.admin("Root").await;
    // It is on the host, and says what it is.
    let labels = [
        ("openflow.engine", "node-red"),
        ("openflow.version", "4.1.0"),
    ];
    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
    bench.runtime.add_image("local:1", labels.into());
    let made = add(&bench, &root, "Local", "local:1").await;
    assert_eq!(made["status"], "pulling");
    assert_eq!(made["isDefault"], false);
    assert_eq!(until(&bench, &made, "ready").await["version"], "4.1.0");
    let pulls = || {
        bench
            .runtime
            .calls()
            .iter()
            .filter(|it| it.op == Op::Pull)
            .count()
    };
    assert_eq!(pulls(), 0);

    bench.runtime.remove_image("far:1");
    let made = add(&bench, &root, "Far", "far:1").await;
    until(&bench, &made, "ready").await;
    assert_eq!(pulls(), 1);

    // It is nowhere; a person sees why, and it heals when it is brought.
    bench.runtime.remove_image("nowhere:1");
    let refused = Error::Refused("pull access denied for nowhere".into());
    bench.runtime.fail_next(Op::Pull, refused);
    let nowhere = add(&bench, &root, "Nowhere", "nowhere:1").await;
    let failed = until(&bench, &nowhere, "failed").await;
    assert!(
        failed["statusDetail"]
            .as_str()
            .unwrap()
            .contains("access denied")
    );
    bench.runtime.add_image("nowhere:1", Default::default());
    let wake = add(&bench, &root, "Wake", "wake:1").await;
    until(&bench, &nowhere, "ready").await;
    until(&bench, &wake, "ready").await;

    // It is made for something else.
    let labels = [("openflow.engine".to_owned(), "n8n".to_owned())];
    bench.runtime.add_image("n8n:1", labels.into());
    let made = add(&bench, &root, "Wrong", "n8n:1").await;
    let failed = until(&bench, &made, "failed").await;
    assert_eq!(
        failed["statusDetail"],
        "The image is made for n8n, not for node-red."
    );
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn an_engine_that_is_away_does_not_fail_a_stack(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let root = bench.t.admin("Root").await;
    bench.runtime.set_away(true);
    let images = || {
        bench
            .runtime
            .calls()
            .iter()
            .filter(|it| it.op == Op::Image)
            .count()
    };
    let before = images();
    let made = add(&bench, &root, "Later", "later:1").await;
    eventually("it was looked for", async || {
        (images() > before).then_some(())
    })
    .await;
    assert_eq!(
        bench.get(&path(&made)).await.expect(200)["status"],
        "pulling"
    );
    let refused = bench.try_create("wf1", json!({"stack": made["id"]})).await;
    assert_eq!(refused.refusal(), (409, "stack.not_ready"));
    bench.runtime.set_away(false);
    add(&bench, &root, "Wake", "wake:1").await;
    until(&bench, &made, "ready").await;
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn one_stack_is_the_default(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let root = bench.t.admin("Root").await;
    let made = add(&bench, &root, "Newer", "newer:1").await;
    until(&bench, &made, "ready").await;
    let body = json!({"isDefault": true});
    let patched = bench
        .t
        .call("PATCH", &path(&made), &root.who, body)
        .await
        .expect(200);
    assert_eq!(patched["isDefault"], true);
    let stacks = bench.get("/api/v1/stacks").await.expect(200);
    let defaults = stacks["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|it| it["isDefault"] == true);
    assert_eq!(defaults.count(), 1);
    let it = bench.create("wf1").await;
    assert_eq!(bench.until(&it, "running").await["stackId"], made["id"]);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_stack_in_use_is_not_deleted(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let root = bench.t.admin("Root").await;
    let it = bench.running("wf1").await;
    let delete = async |stack: &Value| {
        bench
            .t
            .call("DELETE", &path(stack), &root.who, Value::Null)
            .await
    };
    let first = bench.get("/api/v1/stacks").await.expect(200)["items"][0].clone();
    let refused = delete(&first).await;
    assert_eq!(refused.refusal(), (409, "stack.in_use"));
    // The one that an upgrade would go back to is in use as well.
    let made = add(&bench, &root, "Newer", "newer:1").await;
    until(&bench, &made, "ready").await;
    bench.patch(&it, json!({"stackId": made["id"]})).await;
    eventually("it is upgraded", async || {
        let image = bench.runtime.spec(it.key())?.image;
        (image == "newer:1").then_some(())
    })
    .await;
    bench.until(&it, "running").await;
    assert_eq!(delete(&made).await.refusal(), (409, "stack.in_use"));
    bench
        .call("DELETE", &it.path(""), Value::Null)
        .await
        .expect(202);
    bench.until_gone(&it).await;
    delete(&made).await.expect(204);
    let gone = bench.get(&path(&made)).await;
    assert_eq!(gone.refusal(), (404, "stack.not_found"));
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn the_ways_a_stack_is_refused(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let root = bench.t.admin("Root").await;
    let engine = "node-red";
    #[rustfmt::skip]
    let table = [
        (json!({"name": "", "engine": engine, "image": "a"}), 422, "stack.bad_name", "name"),
        (json!({"name": "A", "engine": engine, "image": ""}), 422, "stack.bad_image", "image"),
        (json!({"name": "A", "engine": engine, "image": "--privileged"}), 422, "stack.bad_image", "image"),
        (json!({"name": "A", "engine": engine, "image": "a b"}), 422, "stack.bad_image", "image"),
        (json!({"name": "Node-RED", "engine": engine, "image": "a"}), 409, "stack.name_taken", ""),
        (json!({"name": "A", "engine": engine, "image": "a", "storage": "postgres"}), 422, "stack.no_postgres", "storage"),
        (json!({"name": "A", "engine": "n8n", "image": "a", "storage": "postgres"}), 409, "stack.database_server", "storage"),
        (json!({"name": "A", "engine": "n8n", "image": "a", "storage": "sqlite"}), 422, "request.malformed", ""),
        (json!({"name": "A", "engine": "bash", "image": "a"}), 422, "request.malformed", ""),
        (json!({"name": "A", "engine": engine, "image": "a", "status": "ready"}), 422, "request.malformed", ""),
    ];
    for (body, status, code, field) in table {
        let answer = bench
            .t
            .post("/api/v1/stacks", &root.who, body.clone())
            .await;
        assert_eq!(answer.refusal(), (status, code), "{body}");
        assert!(
            field.is_empty() || answer.json["errors"][field].is_array(),
            "{body}"
        );
    }
    let missing = json!({"id": Uuid::now_v7()});
    for method in ["GET", "PATCH", "DELETE"] {
        let body = if method == "PATCH" {
            json!({"name": "B"})
        } else {
            Value::Null
        };
        let answer = bench.t.call(method, &path(&missing), &root.who, body).await;
        assert_eq!(answer.refusal(), (404, "stack.not_found"), "{method}");
    }
}

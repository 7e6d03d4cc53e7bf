use serde_json::{Value, json};
use sqlx::PgPool;

use crate::{
    flows::{deploy, flows, install, list, password, path_of, take},
    support::instances::Bench,
};

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_snapshot_says_what_there_was_and_holds_no_secret_in_the_open(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let env = json!([{"name": "LINE", "value": "7"}, {"name": "KEY", "value": "hush-hush", "secret": true}]);
    let it = bench.create_with("wf1", json!({"env": env})).await;
    bench.until(&it, "running").await;
    deploy(&bench, &it, &flows("a"), &password("open sesame"));
    install(
        &bench,
        &it,
        &[("node-red-node-random", "1.2.3"), ("@a/b", "4.5.6")],
    );
    let body = json!({"name": " First ", "description": "of two\nlines"});
    let taken = bench.post(&it.path("snapshots"), body).await.expect(201);
    for (field, expected) in [
        ("instanceId", json!(it.id)),
        ("projectId", json!(bench.project)),
        ("kind", json!("manual")),
        ("name", json!("First")),
        ("description", json!("of two\nlines")),
        ("author", json!("Ada")),
        ("engine", json!("node-red")),
        ("nodes", json!(2)),
        ("tabs", json!(1)),
        ("credentials", json!(1)),
        (
            "modules",
            json!([{"name": "@a/b", "version": "4.5.6"}, {"name": "node-red-node-random", "version": "1.2.3"}]),
        ),
        (
            "env",
            json!([{"name": "LINE", "value": "7", "secret": false}, {"name": "KEY", "value": null, "secret": true}]),
        ),
    ] {
        assert_eq!(taken[field], expected, "{field}");
    }
    let whole = bench.get(&path_of(&taken, "")).await.expect(200);
    assert_eq!(whole["flows"], flows("a"));
    assert_eq!(whole["id"], taken["id"]);

    // Not in an answer, not in the row, not in the log.
    let row: String = sqlx::query_scalar(
        "select encode(flows || env_sealed || credentials_sealed, 'escape') || to_jsonb(it)::text
         || (select jsonb_agg(to_jsonb(a))::text from audit_log a) from snapshots it",
    )
    .fetch_one(&bench.t.pool)
    .await
    .unwrap();
    for text in [row, whole.to_string(), taken.to_string()] {
        assert!(!text.contains("sesame") && !text.contains("hush"), "{text}");
    }
    let audit = bench.get("/api/v1/audit?action=snapshot").await.expect(200);
    assert_eq!(audit["items"][0]["action"], "snapshot.create");
    assert_eq!(audit["items"][0]["target"]["name"], "First");
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn snapshots_are_listed_renamed_and_removed(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    let mut taken = Vec::new();
    for name in ["one", "two", "three"] {
        taken.push(take(&bench, &it, name).await);
    }
    let names = |items: &[Value]| -> Vec<String> {
        let name = |it: &Value| it["name"].as_str().unwrap().to_owned();
        items.iter().map(name).collect()
    };
    assert_eq!(names(&list(&bench, &it, "").await), ["three", "two", "one"]);
    assert_eq!(
        names(&list(&bench, &it, "?kind=manual&limit=1").await),
        ["three"]
    );
    assert!(list(&bench, &it, "?kind=before-restore").await.is_empty());
    let page = bench.get(&it.path("snapshots?limit=2")).await.expect(200);
    let cursor = page["nextCursor"].as_str().unwrap();
    let next = list(&bench, &it, &format!("?limit=2&cursor={cursor}")).await;
    assert_eq!(names(&next), ["one"]);

    let path = path_of(&taken[0], "");
    let body = json!({"name": "first", "description": "why"});
    let renamed = bench.call("PATCH", &path, body).await.expect(200);
    assert_eq!(
        (&renamed["name"], &renamed["description"]),
        (&json!("first"), &json!("why"))
    );
    bench.call("DELETE", &path, Value::Null).await.expect(204);
    assert_eq!(
        bench.get(&path).await.refusal(),
        (404, "snapshot.not_found")
    );
    let unnamed = bench
        .post(&it.path("snapshots"), Value::Null)
        .await
        .expect(201);
    assert!(
        unnamed["name"]
            .as_str()
            .unwrap()
            .starts_with("Snapshot of 20")
    );

    // They go with their instance.
    bench
        .call("DELETE", &it.path(""), Value::Null)
        .await
        .expect(202);
    bench.until_gone(&it).await;
    assert_eq!(bench.t.count("select count(*) from snapshots").await, 0);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_stopped_instance_can_be_kept_and_a_new_one_has_only_its_first_flows(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    assert_eq!(
        take(&bench, &it, "new").await["nodes"],
        1,
        "the broker node"
    );
    bench.ask(&it, "stop", "stopped").await;
    take(&bench, &it, "stopped").await;
    std::fs::remove_file(bench.folder(&it).join("flows.json")).unwrap();
    std::fs::remove_file(bench.folder(&it).join("flows_cred.json")).unwrap();
    let empty = take(&bench, &it, "empty").await;
    assert_eq!(
        (&empty["nodes"], &empty["credentials"]),
        (&json!(0), &json!(0))
    );
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn the_ways_taking_is_refused(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    for (body, field, code) in [
        (
            json!({"name": "x".repeat(101)}),
            "name",
            "snapshot.bad_name",
        ),
        (json!({"name": "a\nb"}), "name", "snapshot.bad_name"),
        (
            json!({"description": "x".repeat(2001)}),
            "description",
            "snapshot.bad_description",
        ),
    ] {
        let answer = bench.post(&it.path("snapshots"), body).await;
        assert_eq!(answer.refusal(), (422, code));
        assert!(!answer.json["errors"][field].is_null(), "{}", answer.json);
    }
    let row = bench.t.instance_row(bench.project).await;
    let path = format!("/api/v1/instances/{row}/snapshots");
    assert_eq!(
        bench.post(&path, Value::Null).await.refusal(),
        (409, "snapshot.no_data")
    );

    take(&bench, &it, "one").await;
    sqlx::query(
        "insert into snapshots select gen_random_uuid(), instance_id, project_id, kind, name, description, author, engine,
           engine_version, nodes, tabs, modules, flows, null, credentials_sealed, credential_digests, content_digest, credentials,
           size_bytes, created_at from snapshots, generate_series(1, 199)",
    )
    .execute(&bench.t.pool)
    .await
    .unwrap();
    let answer = bench.post(&it.path("snapshots"), Value::Null).await;
    assert_eq!(answer.refusal(), (403, "snapshot.too_many"));
}

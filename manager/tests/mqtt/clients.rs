//! Credentials of devices, as people handle them.
use openflow_manager::crypto::sha256;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::{
    asking::{clients_path, new_client},
    support::{TestApp, instances::Bench},
};

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_client_is_made_changed_and_removed(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let new = json!({"name": "  Boiler ", "subscribe": ["down/+", "all/#"]});
    let made = bench.post(&clients_path(&bench), new).await;
    let path = made.headers["location"].to_str().unwrap().to_owned();
    let mut made = made.expect(201);
    let password = made["password"].as_str().unwrap().to_owned();
    assert_eq!(password.len(), 43, "256 bits as base64url");
    made.as_object_mut().unwrap().remove("password");
    assert_eq!(made["name"], "Boiler");
    assert_eq!(made["username"], made["id"]);
    assert_eq!(made["projectId"], json!(bench.project));
    assert_eq!(made["publish"], Value::Null);
    assert_eq!(made["subscribe"], json!(["down/+", "all/#"]));
    assert_eq!(
        (&made["disabled"], &made["lastSeenAt"]),
        (&json!(false), &Value::Null)
    );

    // The password shows nowhere else, and only its hash is kept.
    let shown = bench.get(&path).await.expect(200);
    for (field, value) in made.as_object().unwrap() {
        // Times are kept to the microsecond.
        if !field.ends_with("At") {
            assert_eq!(&shown[field], value, "{field}");
        }
    }
    assert_eq!(shown.get("password"), None);
    let list = bench.get(&clients_path(&bench)).await.expect(200);
    assert_eq!(list, json!({"items": [shown], "nextCursor": null}));
    let stored = async || -> Vec<u8> {
        sqlx::query_scalar("select password_hash from mqtt_clients")
            .fetch_one(&bench.t.pool)
            .await
            .unwrap()
    };
    assert_eq!(stored().await, sha256(&password));

    let change = json!({"name": "Boiler 2", "publish": [], "subscribe": null, "disabled": true});
    let changed = bench.call("PATCH", &path, change).await.expect(200);
    assert_eq!(changed["name"], "Boiler 2");
    assert_eq!(
        (&changed["publish"], &changed["subscribe"]),
        (&json!([]), &Value::Null)
    );
    assert_eq!(changed["disabled"], true);
    // What is not named stays.
    let same = bench.call("PATCH", &path, json!({})).await.expect(200);
    assert_eq!(
        (&same["name"], &same["publish"]),
        (&changed["name"], &json!([]))
    );

    let rotated = bench
        .post(&format!("{path}/rotate"), Value::Null)
        .await
        .expect(200);
    assert_ne!(rotated["password"], json!(password));
    assert_eq!(
        stored().await,
        sha256(rotated["password"].as_str().unwrap())
    );

    bench.call("DELETE", &path, Value::Null).await.expect(204);
    assert_eq!(
        bench.get(&path).await.refusal(),
        (404, "mqtt_client.not_found")
    );
    let id = made["id"].as_str().unwrap();
    let lines: Vec<(String, Value)> =
        sqlx::query_as("select action, detail from audit_log where target_id = $1 order by id")
            .bind(id)
            .fetch_all(&bench.t.pool)
            .await
            .unwrap();
    let actions: Vec<&str> = lines.iter().map(|it| it.0.as_str()).collect();
    let expected = ["create", "update", "update", "rotate", "delete"];
    assert_eq!(actions, expected.map(|it| format!("mqtt_client.{it}")));
    assert_eq!(lines[1].1["disabled"], true);
    assert!(!json!(lines).to_string().contains(&password));
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn refusals(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let taken = new_client(&bench, json!({"name": "Taken"})).await;
    let other = new_client(&bench, json!({"name": "Other"})).await;
    let long = "x".repeat(101);
    let many = vec!["a"; 51];
    let name = (422, "mqtt_client.bad_name", "name");
    let pattern = |field| (422, "mqtt_client.bad_pattern", field);
    for (fields, (status, code, field)) in [
        (json!({"name": ""}), name),
        (json!({"name": " \n "}), name),
        (json!({"name": "a\u{0}b"}), name),
        (json!({"name": long}), name),
        (
            json!({"name": "Taken"}),
            (409, "mqtt_client.name_taken", ""),
        ),
        (json!({"publish": ["a/#/b"]}), pattern("publish")),
        (json!({"publish": [""]}), pattern("publish")),
        (
            json!({"subscribe": ["a", "$share/g/a"]}),
            pattern("subscribe"),
        ),
        (json!({"subscribe": ["a\u{0}"]}), pattern("subscribe")),
        (
            json!({"subscribe": ["x".repeat(513)]}),
            pattern("subscribe"),
        ),
        (json!({"subscribe": many}), pattern("subscribe")),
        (json!({"publish": "a"}), (422, "request.malformed", "")),
        (json!({"password": "mine"}), (422, "request.malformed", "")),
    ] {
        let mut new = json!({"name": "New"});
        for (field, value) in fields.as_object().unwrap() {
            new[field] = value.clone();
        }
        for answer in [
            bench.post(&clients_path(&bench), new.clone()).await,
            bench.call("PATCH", &other.path(""), fields.clone()).await,
        ] {
            assert_eq!(answer.refusal(), (status, code), "{fields:.200}");
            let errors = answer.json["errors"].as_object();
            let named = errors.and_then(|it| it.keys().next()).map_or("", |it| it);
            assert_eq!(named, field, "{fields:.200}");
        }
    }
    // A name belongs to its project alone, and to the client that has it.
    bench
        .call("PATCH", &taken.path(""), json!({"name": "Taken"}))
        .await
        .expect(200);
    let second = bench.t.project(&bench.ada).await;
    let elsewhere = format!("/api/v1/projects/{second}/mqtt-clients");
    bench
        .post(&elsewhere, json!({"name": "Taken"}))
        .await
        .expect(201);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_project_has_so_many_clients_in_pages(pool: PgPool) {
    let t = TestApp::new(pool).await;
    let ada = t.person("Ada").await;
    let project = t.project(&ada).await;
    let path = format!("/api/v1/projects/{project}/mqtt-clients");
    sqlx::query(
        "insert into mqtt_clients (id, project_id, name, password_hash, created_at, updated_at)
         select gen_random_uuid(), $1, n::text, sha256('x'), now(), now() from generate_series(1, 999) as n",
    )
    .bind(project)
    .execute(&t.pool)
    .await
    .unwrap();
    t.post(&path, &ada.who, json!({"name": "last"}))
        .await
        .expect(201);
    let one_more = t.post(&path, &ada.who, json!({"name": "one more"})).await;
    assert_eq!(one_more.refusal(), (403, "mqtt_client.too_many"));
    let (mut n, mut cursor) = (0, String::new());
    loop {
        let page = t
            .get(&format!("{path}?limit=200&cursor={cursor}"), &ada.who)
            .await;
        let page = page.expect(200);
        n += page["items"].as_array().unwrap().len();
        match page["nextCursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(n, 1000);
}

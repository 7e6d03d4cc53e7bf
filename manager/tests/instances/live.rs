//! The live view and the followed log: streams over HTTP.
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::{instances::Bench, stream::Stream};

fn events(bench: &Bench) -> String {
    format!("/api/v1/projects/{}/events", bench.project)
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_reader_sees_what_is_and_then_what_changes(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    let mut stream = Stream::open(&bench.t, &events(&bench), &bench.ada.who).await;
    let (name, first) = stream.event().await.unwrap();
    assert_eq!((name.as_str(), &first), ("instance", &bench.see(&it).await));

    // Another project's are none of this reader's business.
    let other = bench.t.project(&bench.ada).await;
    let body = json!({"name": "Other", "subdomain": "other"});
    let path = format!("/api/v1/projects/{other}/instances");
    bench.post(&path, body).await.expect(201);

    bench.post(&it.path("stop"), Value::Null).await.expect(202);
    stream
        .event_that(|name, data| {
            assert_eq!((name, &data["id"]), ("instance", &json!(it.id)));
            data["status"] == "stopped"
        })
        .await;
    bench
        .post(&it.path("aliases"), json!({"name": "shop"}))
        .await
        .expect(201);
    stream
        .event_that(|_, data| data["aliases"] == json!(["shop"]))
        .await;
    let new = bench.create("wf2").await;
    stream
        .event_that(|_, data| data["id"] == json!(new.id) && data["status"] == "running")
        .await;
    bench
        .call("DELETE", &it.path(""), Value::Null)
        .await
        .expect(202);
    let deleted = stream.event_that(|name, _| name == "deleted").await;
    assert_eq!(deleted, json!({"id": it.id}));
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn the_view_ends_for_whoever_may_no_longer_look(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    let root = bench.t.admin("Root").await;
    let logs = it.path("logs?follow=true");
    let mut people = Vec::new();
    for name in ["Removed", "Disabled", "SignedOut"] {
        let person = bench.t.person(name).await;
        bench.t.add_member(bench.project, &person, "viewer").await;
        let mut stream = Stream::open(&bench.t, &events(&bench), &person.who).await;
        stream.event().await.unwrap();
        let log = Stream::open(&bench.t, &logs, &person.who).await;
        people.push((person, stream, log));
    }
    let path = format!(
        "/api/v1/projects/{}/members/{}",
        bench.project, people[0].0.id
    );
    bench.call("DELETE", &path, Value::Null).await.expect(204);
    let path = format!("/api/v1/users/{}", people[1].0.id);
    let body = json!({"disabled": true});
    bench
        .t
        .call("PATCH", &path, &root.who, body)
        .await
        .expect(200);
    let who = people[2].0.who.clone();
    bench
        .t
        .post("/api/v1/auth/logout", &who, Value::Null)
        .await
        .expect(204);
    // Nobody sees what happens now.
    let new = bench.create("wf2").await;
    for (person, mut stream, mut log) in people {
        while let Some((_, data)) = stream.event().await {
            assert_ne!(data["id"], json!(new.id), "{}", person.email);
        }
        assert_eq!(log.until("\n").await, None);
    }
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_followed_log_goes_on_until_the_container_ends(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    bench.runtime.write_log(it.key(), "before");
    let path = it.path("logs?tail=1&follow=true");
    let mut stream = Stream::open(&bench.t, &path, &bench.ada.who).await;
    assert_eq!(stream.until("\n").await.unwrap(), "before");
    bench.runtime.write_log(it.key(), "after");
    assert_eq!(stream.until("\n").await.unwrap(), "after");
    bench.ask(&it, "stop", "stopped").await;
    assert_eq!(stream.until("\n").await, None);
}

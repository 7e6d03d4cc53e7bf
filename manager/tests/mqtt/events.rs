//! What people of a project see of what happened at the broker.
use openflow_manager::mqtt::{ClientIds, ConnectAttempt, Denial, Verdict, Who};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::{
    asking::{allow, connect, connection, deny, new_client, until},
    support::instances::{Bench, eventually},
};

fn path(bench: &Bench) -> String {
    format!("/api/v1/projects/{}/mqtt/events", bench.project)
}

async fn events(bench: &Bench) -> Vec<Value> {
    let page = bench.get(&path(bench)).await.expect(200);
    page["items"].as_array().unwrap().clone()
}

/// Until there is an event that fits.
async fn until_event(bench: &Bench, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
    eventually(what, async || events(bench).await.into_iter().find(&fits)).await
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_denial_says_why_to_members_only(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let client = new_client(&bench, json!({"name": "Boiler"})).await;
    until(&bench, &client.body, allow(&bench)).await;
    let mut foreign = client.body.clone();
    foreign["clientid"] = json!("boiler\u{e9}");
    assert_eq!(connect(&bench, &foreign).await, deny());
    let event = until_event(&bench, "the denial", |it| it["kind"] == "denied").await;
    assert!(
        event["reason"]
            .as_str()
            .unwrap()
            .contains("clientid_override")
    );
    assert!(event["at"].is_string());
    assert_eq!(
        (
            &event["username"],
            &event["name"],
            &event["clientId"],
            &event["address"]
        ),
        (
            &json!(client.id),
            &json!("Boiler"),
            &json!("boiler\u{e9}"),
            &json!("192.0.2.7")
        )
    );
    // EMQX's prefix is not the client's choice.
    let mut wrong = client.body.clone();
    wrong["password"] = json!("wrong");
    assert_eq!(connect(&bench, &wrong).await, deny());
    let event = until_event(&bench, "the wrong password", |it| {
        it["reason"] == "The password is wrong."
    })
    .await;
    assert_eq!(event["clientId"], "device-1");

    let (viewer, stranger) = (bench.t.person("Viewer").await, bench.t.person("Eve").await);
    bench.t.add_member(bench.project, &viewer, "viewer").await;
    let seen = bench.t.get(&path(&bench), &viewer.who).await.expect(200);
    assert!(seen["items"].as_array().unwrap().len() >= 2);
    let refused = bench.t.get(&path(&bench), &stranger.who).await;
    assert_eq!(refused.refusal(), (404, "project.not_found"));
    // Nobody's user name is nobody's event.
    let mut unknown = client.body.clone();
    unknown["username"] = json!("nobody");
    let before = events(&bench).await.len();
    assert_eq!(connect(&bench, &unknown).await, deny());
    assert_eq!(connect(&bench, &wrong).await, deny());
    until_event(&bench, "the next one", |_| true).await;
    assert!(
        events(&bench)
            .await
            .iter()
            .all(|it| it["username"] != "nobody")
    );
    assert!(before <= events(&bench).await.len());
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn connects_and_kicks_are_told_and_when_a_client_was_there(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let client = new_client(&bench, json!({"name": "Boiler"})).await;
    until(&bench, &client.body, allow(&bench)).await;
    let event = until_event(&bench, "the connect", |it| it["kind"] == "connected").await;
    assert_eq!(
        (&event["clientId"], &event["reason"]),
        (&json!("device-1"), &Value::Null)
    );
    eventually("it was seen", async || {
        let view = bench.get(&client.path("")).await.expect(200);
        view["lastSeenAt"].is_string().then_some(())
    })
    .await;
    let live = connection(&client.id.to_string());
    bench.t.broker.set_connections(bench.project, vec![live]);
    bench
        .call("PATCH", &client.path(""), json!({"disabled": true}))
        .await
        .expect(200);
    let event = until_event(&bench, "the kick", |it| it["kind"] == "kicked").await;
    assert_eq!(
        (&event["name"], &event["clientId"]),
        (&json!("Boiler"), &json!(""))
    );
    assert!(event["reason"].as_str().unwrap().contains("disabled"));
}

/// The built-in broker's side.
#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_broker_in_this_process_asks_and_tells(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let new = json!({"name": "Boiler", "publish": ["up/#"]});
    let client = new_client(&bench, new).await;
    let username = client.id.to_string();
    let attempt = |password, address: &str| ConnectAttempt {
        username: &username,
        password,
        client_id: "any id",
        address: address.parse().ok(),
    };
    let password = client.body["password"].as_str().unwrap();
    let credentials = &bench.t.mqtt.credentials;
    let from = |address, password| {
        credentials.authenticate(&attempt(password, address), ClientIds::PerProject)
    };
    let ask = |password| from("192.0.2.7", password);
    let rules = eventually("it is let in", async || match from("192.0.2.8", password) {
        Verdict::Allow { project, rules } => {
            assert_eq!(project, bench.project);
            rules
        }
        Verdict::Deny(_) => None,
    })
    .await;
    assert_eq!(rules.publish.as_deref(), Some(&["up/#".to_owned()][..]));
    assert_eq!(rules.subscribe, None);
    for _ in 0..20 {
        assert_eq!(ask("wrong"), Verdict::Deny(Denial::WrongPassword));
    }
    assert_eq!(ask(password), Verdict::Deny(Denial::TooManyAttempts));

    let who = Who {
        project: bench.project,
        username: &username,
        // No broker lets that through; the list would not break by it.
        client_id: "any\0id",
        address: None,
    };
    let sink = &bench.t.mqtt.events;
    sink.connected(who);
    sink.dropped(who, "12 messages did not fit into its queue.");
    sink.disconnected(who, Some("It did not answer."));
    until_event(&bench, "the disconnect", |it| it["kind"] == "disconnected").await;
    let told: Vec<Value> = events(&bench).await;
    let kinds: Vec<&str> = told.iter().map(|it| it["kind"].as_str().unwrap()).collect();
    // Newest first; of the same denial over and over, some.
    assert_eq!(&kinds[..3], ["disconnected", "dropped", "connected"]);
    assert_eq!(told[0]["reason"], "It did not answer.");
    assert_eq!(told[2]["clientId"], "any\u{fffd}id");
    let denials = kinds.iter().filter(|it| **it == "denied").count();
    assert!((2..20).contains(&denials), "{denials}");
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn the_newest_five_hundred_are_kept_and_listed_in_pages(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let second = bench.t.project(&bench.ada).await;
    let sink = &bench.t.mqtt.events;
    let tell = |project, n: usize| {
        let username = format!("user-{n}");
        sink.connected(Who {
            project,
            username: &username,
            client_id: "x",
            address: None,
        });
    };
    tell(second, 0);
    for n in 0..1200 {
        tell(bench.project, n);
    }
    // Of a project that is gone: left out, and nothing else with it.
    tell(uuid::Uuid::now_v7(), 0);
    until_event(&bench, "the last one", |it| it["username"] == "user-1199").await;
    let mut seen = Vec::new();
    let mut next = String::new();
    loop {
        let page = bench
            .get(&format!("{}?limit=200&cursor={next}", path(&bench)))
            .await;
        let page = page.expect(200);
        let items = page["items"].as_array().unwrap();
        seen.extend(
            items
                .iter()
                .map(|it| it["username"].as_str().unwrap().to_owned()),
        );
        match page["nextCursor"].as_str() {
            Some(cursor) => next = cursor.to_owned(),
            None => break,
        }
    }
    let expected: Vec<String> = (700..1200).rev().map(|n| format!("user-{n}")).collect();
    assert_eq!(seen, expected);
    let all = bench.t.count("select count(*) from mqtt_events").await;
    assert_eq!(all, 501, "another project's are its own");
}

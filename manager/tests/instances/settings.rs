//! What can be changed on an instance, and when it takes effect.
use serde_json::json;
use sqlx::PgPool;

use crate::support::instances::{Bench, eventually};

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_new_name_takes_effect_at_once_and_in_the_container_with_a_restart(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    let view = bench
        .patch(&it, json!({"name": "Packing", "subdomain": "packing"}))
        .await;
    assert_eq!(view["name"], "Packing");
    assert_eq!(view["url"], "http://packing.localhost:8080");

    let view = bench
        .until_it(&it, "a restart is needed", |it| it["restartNeeded"] == true)
        .await;
    assert_eq!(view["status"], "running");
    eventually("the running container has the new name", async || {
        (bench.runtime.container(it.key())?.name == "nodered-packing").then_some(())
    })
    .await;
    assert_eq!(bench.env_of(&it, "OPENFLOW_SUBDOMAIN").unwrap(), "wf1");
    // The old name is free, and the new one is not.
    bench.running("wf1").await;
    let taken = bench.try_create("packing", json!({})).await;
    assert_eq!(taken.refusal(), (409, "instance.hostname_taken"));

    let view = bench.ask(&it, "restart", "running").await;
    assert_eq!(view["restartNeeded"], false);
    assert_eq!(bench.env_of(&it, "OPENFLOW_SUBDOMAIN").unwrap(), "packing");
    assert_eq!(bench.env_of(&it, "OPENFLOW_NAME").unwrap(), "Packing");
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_stopped_instance_that_is_renamed_gives_its_old_name_away(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    bench.ask(&it, "stop", "stopped").await;
    bench.patch(&it, json!({"subdomain": "wf2"})).await;
    bench.running("wf1").await;
    bench.ask(&it, "start", "running").await;
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn resources_take_effect_with_a_restart(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let more = json!({"resources": {"memoryMb": 128}});
    let it = bench.create_with("wf1", more).await;
    let view = bench.until(&it, "running").await;
    assert_eq!(view["resources"], json!({"memoryMb": 128, "cpus": 1.0}));
    assert_eq!(
        bench.env_of(&it, "NODE_OPTIONS").unwrap(),
        "--max-old-space-size=79"
    );
    let view = bench
        .patch(&it, json!({"resources": {"memoryMb": 512, "cpus": 0.5}}))
        .await;
    assert_eq!(view["resources"], json!({"memoryMb": 512, "cpus": 0.5}));
    bench
        .until_it(&it, "a restart is needed", |it| it["restartNeeded"] == true)
        .await;
    assert_eq!(
        bench.runtime.spec(it.key()).unwrap().memory_bytes,
        128 << 20
    );
    bench.ask(&it, "restart", "running").await;
    let spec = bench.runtime.spec(it.key()).unwrap();
    assert_eq!((spec.memory_bytes, spec.cpus), (512 << 20, 0.5));

    // Back to what the container has: no restart is needed any more.
    for (memory, needed) in [(256, true), (512, false)] {
        let body = json!({"resources": {"memoryMb": memory}});
        bench.patch(&it, body).await;
        bench
            .until_it(&it, "that is noticed", |it| it["restartNeeded"] == needed)
            .await;
    }
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn secret_variables_are_write_only(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let env = json!([
        {"name": "PLAIN", "value": "1"},
        {"name": "KEY", "value": "hunter2", "secret": true},
        {"name": "NODE_OPTIONS", "value": "--trace-warnings"},
    ]);
    let it = bench.create_with("wf1", json!({"env": env})).await;
    bench.until(&it, "running").await;
    assert_eq!(bench.env_of(&it, "PLAIN").unwrap(), "1");
    assert_eq!(bench.env_of(&it, "KEY").unwrap(), "hunter2");
    assert_eq!(
        bench.env_of(&it, "NODE_OPTIONS").unwrap(),
        "--max-old-space-size=158 --trace-warnings"
    );
    let shown = bench.get(&it.path("env")).await.expect(200);
    assert_eq!(
        shown["items"][1],
        json!({"name": "KEY", "value": null, "secret": true})
    );

    // A secret without a value keeps it; what is left out goes.
    let items = json!([
        {"name": "KEY", "secret": true},
        {"name": "PLAIN", "value": "2"},
    ]);
    let body = json!({"items": items});
    let shown = bench.call("PUT", &it.path("env"), body).await.expect(200);
    assert_eq!(
        shown["items"],
        json!([{"name": "KEY", "value": null, "secret": true}, {"name": "PLAIN", "value": "2", "secret": false}])
    );
    let view = bench
        .until_it(&it, "a restart is needed", |it| it["restartNeeded"] == true)
        .await;
    assert_eq!(view["status"], "running");
    assert_eq!(bench.env_of(&it, "PLAIN").unwrap(), "1");
    let view = bench.ask(&it, "restart", "running").await;
    assert_eq!(view["restartNeeded"], false);
    assert_eq!(bench.env_of(&it, "PLAIN").unwrap(), "2");
    assert_eq!(bench.env_of(&it, "KEY").unwrap(), "hunter2");

    // A secret cannot be turned into something that is shown.
    let body = json!({"items": [{"name": "KEY", "secret": false}]});
    let refused = bench.call("PUT", &it.path("env"), body).await;
    assert_eq!(refused.refusal(), (422, "env.invalid"));
    let body = json!({"items": [{"name": "KEY", "value": "new", "secret": true}]});
    bench.call("PUT", &it.path("env"), body).await.expect(200);
    bench.ask(&it, "restart", "running").await;
    assert_eq!(bench.env_of(&it, "KEY").unwrap(), "new");
    assert_eq!(bench.env_of(&it, "PLAIN"), None);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn webhook_access_reaches_the_proxy_and_its_secret_nobody(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    let sha = |text: &str| openflow_manager::crypto::sha256_hex(text);
    let basic = json!({"mode": "basic", "username": "hooks", "secret": "hunter2 hunter2"});
    // Request, then what the API and the feed show.
    for (asked, shown, hash) in [
        (
            basic,
            json!({"mode": "basic", "username": "hooks"}),
            Some(sha("hunter2 hunter2")),
        ),
        // The stored secret is kept.
        (
            json!({"mode": "basic", "username": "other"}),
            json!({"mode": "basic", "username": "other"}),
            Some(sha("hunter2 hunter2")),
        ),
        (
            json!({"mode": "bearer", "secret": "a key of mine"}),
            json!({"mode": "bearer", "username": null}),
            Some(sha("a key of mine")),
        ),
        (
            json!({"mode": "open"}),
            json!({"mode": "open", "username": null}),
            None,
        ),
    ] {
        let view = bench.patch(&it, json!({"webhookAccess": asked})).await;
        assert_eq!(view["webhookAccess"], shown);
        let feed = bench
            .until_feed("the proxy is told", |feed| {
                feed["routes"][0]["webhookAccess"] == shown["mode"]
                    && feed["routes"][0]["webhookUsername"] == shown["username"]
            })
            .await;
        assert_eq!(feed["routes"][0]["webhookSecretHash"], json!(hash));
    }
    // Neither does another mode take over the secret of the one before.
    for asked in [
        json!({"mode": "bearer"}),
        json!({"mode": "basic", "username": "hooks"}),
        json!({"mode": "basic", "secret": "long enough"}),
        json!({"mode": "basic", "username": "a:b", "secret": "long enough"}),
        json!({"mode": "bearer", "secret": "short"}),
        json!({"mode": "bearer", "secret": "x".repeat(257)}),
    ] {
        let body = json!({"webhookAccess": asked});
        let answer = bench.call("PATCH", &it.path(""), body).await;
        assert_eq!(
            answer.refusal(),
            (422, "instance.bad_webhook_access"),
            "{asked}"
        );
        assert!(answer.json["errors"]["webhookAccess"].is_array());
    }
    // No container was touched for all that.
    let view = bench.see(&it).await;
    assert_eq!(view["restartNeeded"], false);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn an_alias_needs_a_restart_only_behind_nginx(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    let body = json!({"name": "shop"});
    let made = bench.post(&it.path("aliases"), body).await.expect(201);
    let url = "http://shop.localhost:8080";
    assert_eq!(
        made,
        json!({"name": "shop", "url": url, "restartNeeded": false})
    );
    let view = bench.see(&it).await;
    assert_eq!(view["aliases"], json!(["shop"]));
    let list = bench.get(&it.path("aliases")).await.expect(200);
    assert_eq!(list["items"], json!([made]));
    bench
        .call("DELETE", &it.path("aliases/shop"), json!(null))
        .await
        .expect(204);
    assert_eq!(bench.see(&it).await["aliases"], json!([]));
    let again = bench
        .call("DELETE", &it.path("aliases/shop"), json!(null))
        .await;
    assert_eq!(again.refusal(), (404, "instance.alias_not_found"));
    // The subdomain is no alias.
    let own = bench
        .call("DELETE", &it.path("aliases/wf1"), json!(null))
        .await;
    assert_eq!(own.refusal(), (404, "instance.alias_not_found"));
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn behind_nginx_an_alias_waits_for_a_restart(pool: PgPool) {
    let bench = Bench::with_flags(pool, &["--routing=nginx"]).await;
    let it = bench.running("wf1").await;
    let body = json!({"name": "shop"});
    let made = bench.post(&it.path("aliases"), body).await.expect(201);
    assert_eq!(made["restartNeeded"], true);
    bench
        .until_it(&it, "a restart is needed", |it| it["restartNeeded"] == true)
        .await;
    bench.ask(&it, "restart", "running").await;
    let spec = bench.runtime.spec(it.key()).unwrap();
    assert_eq!(spec.network_aliases, ["nodered-shop"]);
    let list = bench.get(&it.path("aliases")).await.expect(200);
    assert_eq!(list["items"][0]["restartNeeded"], false);
}

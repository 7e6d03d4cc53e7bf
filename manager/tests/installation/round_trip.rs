use std::{fs, os::unix::fs::PermissionsExt as _, sync::Arc};

use openflow_manager::{
    installation::{self, Silent, refuse_unfinished},
    kernel::SystemClock,
    runtime::Op,
};
use serde_json::Value;
use sqlx::PgPool;

use crate::{
    bench::{Bare, Home, names_in},
    support::instances::eventually,
};

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn all_that_ran_runs_again_and_what_was_stopped_is_stopped(pool: PgPool) {
    let home = Home::new(pool.clone()).await;
    let made = home.back_up("all.tar").await;
    assert_eq!(made.manifest.remarks(), Vec::<String>::new());
    let feed = home.bench.feed().await;
    home.bench.t.kill().await;

    let bare = Bare::new(&pool).await;
    bare.restore(&home.file("all.tar")).await.unwrap();
    assert_eq!(bare.names(), ["instances", "keys", "mqtt", "settings.env"]);
    refuse_unfinished(&bare.config.data).unwrap();
    let t = bare.start().await;
    let see = async |it: &crate::support::instances::It| {
        t.get(&it.path(""), &home.token).await.expect(200)
    };
    for it in &home.running {
        eventually("it runs again", async || {
            (see(it).await["status"] == "running").then_some(())
        })
        .await;
        assert!(t.runtime.container(it.key()).is_some());
    }
    assert_eq!(see(&home.stopped).await["status"], "stopped");
    assert!(t.runtime.container(home.stopped.key()).is_none());
    // The session's cookie and the token of before.
    let me = t.get("/api/v1/auth/me", &home.bench.ada.who).await;
    me.expect(200);
    for it in home.running.iter().chain([&home.stopped]) {
        let folder = t.data.path().join("instances").join(it.id.to_string());
        let mark = fs::read_to_string(folder.join("work/mark.txt")).unwrap();
        assert_eq!(mark, it.id.to_string());
    }
    let retained = t.data.path().join("mqtt/tenant/retained.json");
    assert_eq!(fs::read_to_string(retained).unwrap(), "{}");
    // Editor cookies are signed with the same key.
    let again = openflow_feed(&t).await;
    assert_eq!(again["access"]["cookieKeys"], feed["access"]["cookieKeys"]);
    assert!(!feed["access"]["cookieKeys"].is_null());
}

async fn openflow_feed(t: &crate::support::TestApp) -> Value {
    let headers = [("x-openflow-proxy-secret", t.settings.secrets.proxy.expose())];
    let who = crate::support::Who::Nobody;
    let answer = t
        .call_with("GET", "/internal/v1/routes?", &who, Value::Null, &headers)
        .await;
    answer.expect(200)
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_container_that_is_left_from_before_is_replaced(pool: PgPool) {
    let home = Home::new(pool.clone()).await;
    home.back_up("all.tar").await;
    home.bench.t.kill().await;
    // The disk was lost, and the engine runs on: its containers hold files
    // that are gone.
    let bare = Bare::new(&pool).await;
    bare.restore(&home.file("all.tar")).await.unwrap();
    let it = &home.running[0];
    let made_before = home.bench.runtime.count(Op::Create, it.key());
    let rates = openflow_manager::identity::SignInRates::DEFAULT;
    let runtime = home.bench.runtime.clone();
    let t = crate::support::TestApp::with_data(bare.pool, rates, runtime, &[], bare.data).await;
    t.run().await;
    eventually("it runs in a new container", async || {
        let view = t.get(&it.path(""), &home.token).await.expect(200);
        let made = home.bench.runtime.count(Op::Create, it.key());
        (view["status"] == "running" && made_before < made).then_some(())
    })
    .await;
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn running_instances_are_frozen_for_their_copy_and_go_on(pool: PgPool) {
    let home = Home::new(pool).await;
    let made = home.back_up("all.tar").await;
    for it in &home.running {
        assert!(home.bench.runtime.count(Op::Pause, it.key()) > 0);
        let info = made.manifest.instances.iter().find(|i| i.id == it.id);
        assert!(info.unwrap().data.as_ref().unwrap().consistent);
        home.bench.until(it, "running").await;
        let observed = home.bench.runtime.container(it.key()).unwrap();
        assert_eq!(format!("{:?}", observed.state), "Running");
    }
    assert_eq!(home.bench.runtime.count(Op::Pause, home.stopped.key()), 0);

    home.bench.runtime.clear_calls();
    let hot = openflow_manager::installation::BackUp {
        hot: true,
        ..home.job("hot.tar")
    };
    installation::back_up(hot, Arc::new(Silent)).await.unwrap();
    for it in &home.running {
        assert_eq!(home.bench.runtime.count(Op::Pause, it.key()), 0);
    }
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn only_its_owner_may_read_the_file_and_nothing_is_left_beside(pool: PgPool) {
    let home = Home::new(pool).await;
    home.back_up("all.tar").await;
    let mode = fs::metadata(home.file("all.tar")).unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    assert_eq!(names_in(home.shelf.path()), ["all.tar"]);

    // Nothing is overwritten, and a failed one leaves nothing.
    let again = installation::back_up(home.job("all.tar"), Arc::new(Silent)).await;
    let error = again.err().unwrap().to_string();
    assert!(error.contains("is there already"), "{error}");
    fs::remove_dir_all(home.bench.folder(&home.running[0])).unwrap();
    fs::write(home.bench.folder(&home.running[0]), "no folder").unwrap();
    let failed = installation::back_up(home.job("second.tar"), Arc::new(Silent)).await;
    assert!(failed.is_err());
    assert_eq!(names_in(home.shelf.path()), ["all.tar"]);
}

/// Ends it as soon as it copies the first instance.
struct Impatient(std::sync::atomic::AtomicBool);

impl openflow_manager::installation::Watch for Impatient {
    fn begin(&self, what: &str, _: u64) {
        let now = what.starts_with("Copying one") || what.starts_with("Loading");
        self.0.fetch_or(now, std::sync::atomic::Ordering::Relaxed);
    }

    fn done(&self, _: u64) {}

    fn is_cancelled(&self) -> bool {
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn what_is_cancelled_leaves_nothing(pool: PgPool) {
    let home = Home::new(pool.clone()).await;
    let cancelled = installation::back_up(home.job("all.tar"), Arc::new(Impatient(false.into())));
    assert!(cancelled.await.is_err());
    assert_eq!(names_in(home.shelf.path()), Vec::<String>::new());

    home.back_up("all.tar").await;
    let bare = Bare::new(&pool).await;
    let archive = installation::Archive::open(&home.file("all.tar"), &Silent).unwrap();
    let watch = Impatient(false.into());
    let loaded = installation::load(&bare.db, &archive, &SystemClock, &watch).await;
    assert!(loaded.is_err());
    assert!(bare.is_empty().await);
}

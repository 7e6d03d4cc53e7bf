use openflow_manager::runtime::{ContainerState, Op};
use serde_json::json;
use sqlx::PgPool;

use crate::support::instances::{Bench, It, eventually};

const CHANGES: [Op; 7] = [
    Op::Create,
    Op::Start,
    Op::Stop,
    Op::Pause,
    Op::Unpause,
    Op::Remove,
    Op::Rename,
];

/// How often the engine was told to change something.
fn changes(bench: &Bench) -> usize {
    let calls = bench.runtime.calls();
    calls.iter().filter(|it| CHANGES.contains(&it.op)).count()
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_created_instance_runs_on_the_default_stack(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let answer = bench.try_create("wf1", json!({"name": " Line 1 "})).await;
    let location = answer.headers["location"].to_str().unwrap().to_owned();
    let made = answer.expect(201);
    assert_eq!(made["status"], "creating");
    assert_eq!(made["name"], "Line 1");
    assert_eq!(made["url"], "http://wf1.localhost:8080");
    let it = It::of(&made);
    assert_eq!(location, it.path(""));
    let stacks = bench.get("/api/v1/stacks").await.expect(200);

    let view = bench.until(&it, "running").await;
    assert_eq!(view["engine"], "node-red");
    assert_eq!(view["projectId"], json!(bench.project));
    assert_eq!(view["stackId"], stacks["items"][0]["id"]);
    assert_eq!(view["resources"], json!({"memoryMb": 256, "cpus": 1.0}));
    assert_eq!(view["statusDetail"], json!(null));
    assert_eq!(view["restartNeeded"], false);
    assert_eq!(view["sleep"], json!(null));
    assert!(view["startedAt"].is_string());

    let spec = bench.runtime.spec(it.key()).unwrap();
    assert_eq!(spec.name, "nodered-wf1");
    assert_eq!(spec.image, "openflow/node-red:5");
    assert_eq!((spec.memory_bytes, spec.cpus), (256 << 20, 1.0));
    assert_eq!(spec.data_dir, bench.folder(&it));
    assert!(bench.folder(&it).is_dir());
    for (name, value) in [
        ("OPENFLOW_INSTANCE_ID", it.id.to_string().as_str()),
        ("OPENFLOW_SUBDOMAIN", "wf1"),
        ("OPENFLOW_NAME", "Line 1"),
        ("OPENFLOW_URL", "http://wf1.localhost:8080"),
        ("OPENFLOW_LAUNCH_URL", "http://localhost:8080/launch/wf1"),
        ("OPENFLOW_MANAGER_URL", "http://host.docker.internal:4071"),
        ("OPENFLOW_MQTT_USERNAME", it.id.to_string().as_str()),
    ] {
        assert_eq!(bench.env_of(&it, name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(bench.env_of(&it, "OPENFLOW_SAFE_MODE"), None);
    for op in [Op::Create, Op::Start] {
        assert_eq!(bench.runtime.count(op, it.key()), 1, "{op:?}");
    }
    assert_eq!(bench.audited(&it).await, ["instance.create"]);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn stop_start_and_restart(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    let magic = bench.env_of(&it, "OPENFLOW_MAGIC_TOKEN").unwrap();
    let first = bench.runtime.container(it.key()).unwrap();

    let asked = bench.post(&it.path("stop"), json!(null)).await.expect(202);
    assert_eq!(asked["status"], "stopping");
    let stopped = bench.until(&it, "stopped").await;
    assert_eq!(stopped["startedAt"], json!(null));
    assert_eq!(stopped["statusDetail"], json!(null));
    let container = bench.runtime.container(it.key()).unwrap();
    assert_eq!(container.state, ContainerState::Exited);
    assert!(bench.folder(&it).is_dir());
    // Once more is fine, and changes nothing.
    let before = changes(&bench);
    bench.ask(&it, "stop", "stopped").await;
    assert_eq!(changes(&bench), before);

    let asked = bench.post(&it.path("start"), json!(null)).await.expect(202);
    assert_eq!(asked["status"], "starting");
    bench.until(&it, "running").await;
    let second = bench.runtime.container(it.key()).unwrap();
    assert!(first.started_at < second.started_at);
    // One that runs is left alone.
    let before = changes(&bench);
    bench.ask(&it, "start", "running").await;
    assert_eq!(changes(&bench), before);

    let asked = bench
        .post(&it.path("restart"), json!(null))
        .await
        .expect(202);
    assert_eq!(asked["status"], "starting");
    bench.until(&it, "running").await;
    let third = bench.runtime.container(it.key()).unwrap();
    assert!(second.started_at < third.started_at);
    assert_eq!(bench.env_of(&it, "OPENFLOW_MAGIC_TOKEN"), Some(magic));
    let actions = ["create", "stop", "stop", "start", "start", "restart"];
    assert_eq!(
        bench.audited(&it).await,
        actions.map(|it| format!("instance.{it}"))
    );
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_stopped_instance_can_be_restarted(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    bench.ask(&it, "stop", "stopped").await;
    bench.ask(&it, "restart", "running").await;
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_deleted_instance_leaves_nothing_behind(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    let alias = json!({"name": "shop"});
    bench
        .post(&it.path("aliases"), alias.clone())
        .await
        .expect(201);
    std::fs::write(bench.folder(&it).join("flows.json"), "[]").unwrap();

    let asked = bench
        .call("DELETE", &it.path(""), json!(null))
        .await
        .expect(202);
    assert_eq!(asked["status"], "deleting");
    bench.until_gone(&it).await;
    let folder = bench.t.data.path().join("instances");
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0);
    assert_eq!(bench.t.count("select count(*) from hostnames").await, 0);
    let list = bench.get(&bench.instances_path()).await.expect(200);
    assert_eq!(list["items"], json!([]));

    // Both names are free again.
    let again = bench.running("wf1").await;
    bench.post(&again.path("aliases"), alias).await.expect(201);
    assert_ne!(again.id, it.id);
    assert_eq!(
        bench.audited(&it).await,
        ["instance.create", "instance.alias_add", "instance.delete"]
    );
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn an_instance_is_deleted_in_the_middle_of_its_creation(pool: PgPool) {
    use openflow_manager::runtime::FakeProbe;
    let bench = Bench::new(pool).await;
    bench.runtime.set_probes(FakeProbe::Never);
    let it = bench.create("wf1").await;
    eventually("it is being probed", async || {
        (bench.runtime.count(Op::Probe, it.key()) > 0).then_some(())
    })
    .await;
    bench
        .call("DELETE", &it.path(""), json!(null))
        .await
        .expect(202);
    bench.until_gone(&it).await;

    // And before the reconciler came to it at all.
    let it = bench.create("wf2").await;
    bench
        .call("DELETE", &it.path(""), json!(null))
        .await
        .expect(202);
    bench.until_gone(&it).await;
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_deleted_projects_instances_go_with_it(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    let path = format!("/api/v1/projects/{}", bench.project);
    bench.call("DELETE", &path, json!(null)).await.expect(202);
    bench.until_gone(&it).await;
    eventually("the project is gone", async || {
        (bench.get(&path).await.status == 404).then_some(())
    })
    .await;
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_new_manager_adopts_what_runs_without_touching_it(pool: PgPool) {
    let mut bench = Bench::new(pool).await;
    let (up, down) = (bench.running("wf1").await, bench.running("wf2").await);
    bench.ask(&down, "stop", "stopped").await;
    let before = bench.runtime.container(up.key()).unwrap();
    let seen = (bench.see(&up).await, bench.see(&down).await);
    let revision = bench.feed().await["revision"].clone();

    bench.t.kill().await;
    bench.runtime.clear_calls();
    bench.kill_and_start_anew().await;
    eventually("both were looked at", async || {
        let probed = bench.runtime.count(Op::Probe, up.key()) > 0;
        (probed && bench.runtime.count(Op::Observe, down.key()) > 0).then_some(())
    })
    .await;
    // A change of the third is done after the looks at the first two.
    bench.running("wf3").await;

    assert_eq!(bench.runtime.container(up.key()).unwrap(), before);
    assert_eq!((bench.see(&up).await, bench.see(&down).await), seen);
    for it in [&up, &down] {
        for op in CHANGES {
            assert_eq!(bench.runtime.count(op, it.key()), 0, "{op:?}");
        }
    }
    bench
        .until_feed("the third is routed", |feed| feed["revision"] != revision)
        .await;
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn what_was_asked_for_while_no_manager_ran_is_done_by_the_next(pool: PgPool) {
    let mut bench = Bench::new(pool).await;
    let it = bench.running("wf1").await;
    bench.t.kill().await;
    // The router still answers: requests write down what should be.
    bench.post(&it.path("stop"), json!(null)).await.expect(202);
    let new = bench.create("wf2").await;
    bench.kill_and_start_anew().await;
    bench.until(&it, "stopped").await;
    bench.until(&new, "running").await;
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn flows_that_never_start_do_not_keep_the_editor_away(pool: PgPool) {
    use openflow_manager::runtime::FakeProbe;
    let bench = Bench::new(pool).await;
    bench.runtime.set_probes(FakeProbe::FlowsNever);
    let it = bench.create("wf1").await;
    let view = bench.until(&it, "running").await;
    let detail = view["statusDetail"].as_str().unwrap();
    assert!(detail.contains("flows do not run"), "{detail}");
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_slow_start_is_waited_for(pool: PgPool) {
    use openflow_manager::runtime::FakeProbe;
    let bench = Bench::new(pool).await;
    bench.runtime.set_probes(FakeProbe::Healthy { after: 20 });
    let it = bench.create("wf1").await;
    bench.until(&it, "starting").await;
    bench.until(&it, "running").await;
    assert!(bench.runtime.count(Op::Probe, it.key()) > 20);
    assert_eq!(bench.runtime.count(Op::Start, it.key()), 1);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn lists_are_paged(pool: PgPool) {
    let bench = Bench::new(pool).await;
    for n in 0..5 {
        bench.create(&format!("wf{n}")).await;
    }
    let mut names = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("{}?limit=2&cursor={cursor}", bench.instances_path());
        let page = bench.get(&path).await.expect(200);
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 2);
        names.extend(items.iter().map(|it| it["subdomain"].clone()));
        match page["nextCursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    assert_eq!(names, ["wf0", "wf1", "wf2", "wf3", "wf4"]);
}

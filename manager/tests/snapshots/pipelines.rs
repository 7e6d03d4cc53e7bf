use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use crate::{
    flows::{deploy, flows, found, list, over, password, path_of, take},
    support::instances::{Bench, It},
};

fn stages(all: &[(&It, bool)]) -> Value {
    let stage =
        |(it, needs_owner): &(&It, bool)| json!({"instanceId": it.id, "needsOwner": needs_owner});
    Value::Array(all.iter().map(stage).collect())
}

fn pipelines(bench: &Bench) -> String {
    format!("/api/v1/projects/{}/pipelines", bench.project)
}

async fn made(bench: &Bench, all: &[(&It, bool)]) -> String {
    let body = json!({"name": "Release", "stages": stages(all)});
    let made = bench.post(&pipelines(bench), body).await.expect(201);
    format!("/api/v1/pipelines/{}", made["id"].as_str().unwrap())
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn flows_go_stage_by_stage_in_one_call_each(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let (dev, test, prod) = (
        bench.running("dev").await,
        bench.running("test").await,
        bench.running("prod").await,
    );
    let path = made(&bench, &[(&dev, false), (&test, false), (&prod, false)]).await;
    deploy(&bench, &dev, &flows("new"), &password("sesame"));
    let promote = format!("{path}/promote");
    let from = |it: &It| json!({"instanceId": it.id});
    let told = bench
        .post(&format!("{promote}?dryRun=true"), from(&dev))
        .await
        .expect(200);
    assert_eq!(told["instanceId"], json!(test.id));
    assert_eq!(told["credentials"]["carried"], 1);
    assert!(list(&bench, &dev, "").await.is_empty());
    for (source, target) in [(&dev, &test), (&test, &prod)] {
        let promoted = bench.post(&promote, from(source)).await.expect(202);
        assert_eq!(promoted["snapshot"]["instanceId"], json!(source.id));
        assert_eq!(promoted["restore"]["instanceId"], json!(target.id));
        assert_eq!(promoted["restore"]["sourceId"], promoted["snapshot"]["id"]);
        assert_eq!(over(&bench, &promoted["restore"]).await["state"], "done");
        assert_eq!(found(&bench, target), (flows("new"), password("sesame")));
    }
    let name = list(&bench, &dev, "").await[0]["name"].clone();
    assert_eq!(name, "Release: dev to test");
    let last = bench.post(&promote, from(&prod)).await;
    assert_eq!(last.refusal(), (409, "pipeline.last_stage"));
    let other = bench.running("other").await;
    let answer = bench.post(&promote, from(&other)).await;
    assert_eq!(answer.refusal(), (422, "pipeline.not_a_stage"));

    // A deleted instance leaves the list.
    bench
        .call("DELETE", &test.path(""), Value::Null)
        .await
        .expect(202);
    bench.until_gone(&test).await;
    let seen = bench.get(&path).await.expect(200);
    let left: Vec<&Value> = seen["stages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["subdomain"])
        .collect();
    assert_eq!(left, ["dev", "prod"]);
    bench.call("DELETE", &path, Value::Null).await.expect(204);
    assert_eq!(
        bench.get(&path).await.refusal(),
        (404, "pipeline.not_found")
    );
    let audit = bench.get("/api/v1/audit?action=pipeline").await.expect(200);
    let actions: Vec<&Value> = audit["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["action"])
        .collect();
    assert_eq!(
        actions,
        [
            "pipeline.delete",
            "pipeline.promote",
            "pipeline.promote",
            "pipeline.create"
        ]
    );
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_stage_can_demand_an_owner(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let (dev, test, prod) = (
        bench.running("dev").await,
        bench.running("test").await,
        bench.running("prod").await,
    );
    let path = made(&bench, &[(&dev, false), (&test, false), (&prod, true)]).await;
    let member = bench.t.person("Mo").await;
    bench.t.add_member(bench.project, &member, "member").await;
    for query in ["?dryRun=true", ""] {
        let promote = format!("{path}/promote{query}");
        let body = json!({"instanceId": test.id});
        let answer = bench.t.post(&promote, &member.who, body).await;
        assert_eq!(answer.refusal(), (403, "project.role_required"));
    }
    assert!(list(&bench, &test, "").await.is_empty());
    let promote = format!("{path}/promote");
    let body = json!({"instanceId": dev.id});
    let promoted = bench.t.post(&promote, &member.who, body).await.expect(202);
    over(&bench, &promoted["restore"]).await;
    let body = json!({"instanceId": test.id});
    let promoted = bench.post(&promote, body).await.expect(202);
    over(&bench, &promoted["restore"]).await;
    // A member does not lift the demand.
    let body = json!({"name": "Release", "stages": stages(&[(&dev, false), (&prod, false)])});
    let answer = bench.t.call("PUT", &path, &member.who, body).await;
    assert_eq!(answer.refusal(), (403, "project.role_required"));
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn there_is_no_way_round_the_owner(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let (dev, prod) = (bench.running("dev").await, bench.running("prod").await);
    made(&bench, &[(&dev, false), (&prod, true)]).await;
    // Another pipeline to the same instance, which demands nothing.
    let body = json!({"name": "Fast", "stages": stages(&[(&dev, false), (&prod, false)])});
    let fast = bench.post(&pipelines(&bench), body).await.expect(201);
    let fast = format!("/api/v1/pipelines/{}/promote", fast["id"].as_str().unwrap());
    deploy(&bench, &dev, &flows("new"), &password("sesame"));
    deploy(&bench, &prod, &flows("old"), &password("prod"));
    let (foreign, own) = (
        take(&bench, &dev, "new").await,
        take(&bench, &prod, "old").await,
    );
    let member = bench.t.person("Mo").await;
    bench.t.add_member(bench.project, &member, "member").await;
    let (to_prod, from_dev) = (
        json!({"instanceId": prod.id}),
        json!({"instanceId": dev.id}),
    );
    let into = path_of(&foreign, "/restore");
    for query in ["?dryRun=true", ""] {
        for (path, body) in [(&into, &to_prod), (&fast, &from_dev)] {
            let path = format!("{path}{query}");
            let answer = bench.t.post(&path, &member.who, body.clone()).await;
            assert_eq!(answer.refusal(), (403, "project.role_required"), "{path}");
        }
    }
    assert_eq!(found(&bench, &prod).0, flows("old"));
    // Its own snapshots are a member's, and so is an instance without the demand.
    for (snapshot, body) in [
        (&own, Value::Null),
        (&own, to_prod.clone()),
        (&own, from_dev),
    ] {
        let path = path_of(snapshot, "/restore");
        let begun = bench.t.post(&path, &member.who, body).await.expect(202);
        assert_eq!(over(&bench, &begun).await["state"], "done");
    }
    let begun = bench.post(&into, to_prod).await.expect(202);
    assert_eq!(over(&bench, &begun).await["state"], "done");
    assert_eq!(found(&bench, &prod).0, flows("new"));
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn the_ways_a_pipeline_is_refused(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let (dev, prod) = (bench.running("dev").await, bench.running("prod").await);
    let elsewhere = bench.t.project(&bench.ada).await;
    let foreign = json!({"instanceId": bench.t.instance_row(elsewhere).await});
    let [dev_stage, prod_stage] = [&dev, &prod].map(|it| json!({"instanceId": it.id}));
    let nowhere = json!({"instanceId": Uuid::now_v7()});
    let many: Vec<Value> = (0..21)
        .map(|_| json!({"instanceId": Uuid::now_v7()}))
        .collect();
    for (name, stages, refusal) in [
        (
            "",
            json!([dev_stage, prod_stage]),
            (422, "snapshot.bad_name"),
        ),
        ("x", json!([dev_stage]), (422, "pipeline.bad_stages")),
        ("x", json!(many), (422, "pipeline.bad_stages")),
        (
            "x",
            json!([dev_stage, dev_stage]),
            (422, "pipeline.bad_stages"),
        ),
        (
            "x",
            json!([dev_stage, foreign]),
            (422, "pipeline.bad_stages"),
        ),
        (
            "x",
            json!([dev_stage, nowhere]),
            (422, "pipeline.bad_stages"),
        ),
    ] {
        let body = json!({"name": name, "stages": stages});
        let answer = bench.post(&pipelines(&bench), body).await;
        assert_eq!(answer.refusal(), refusal, "{stages}");
    }
    let path = made(&bench, &[(&dev, false), (&prod, true)]).await;
    let body = json!({"name": "Release", "stages": stages(&[(&dev, false), (&prod, true)])});
    let answer = bench.post(&pipelines(&bench), body).await;
    assert_eq!(answer.refusal(), (409, "pipeline.name_taken"));
    let body = json!({"name": "Back", "stages": stages(&[(&prod, false), (&dev, true)])});
    let put = bench.call("PUT", &path, body).await.expect(200);
    assert_eq!(put["stages"][0]["instanceName"], "prod");
    let listed = bench.get(&pipelines(&bench)).await.expect(200);
    assert_eq!(listed["items"], json!([put]));
}

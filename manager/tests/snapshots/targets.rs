//! A snapshot that goes into another instance.
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::{
    flows::{deploy, flows, found, install, over, password, plan, restore, secret, take},
    support::{
        hold::Hold,
        instances::{Bench, It},
    },
};

/// An instance of another project of Ada's.
async fn elsewhere(bench: &mut Bench, subdomain: &str) -> It {
    let here = bench.project;
    bench.project = bench.t.project(&bench.ada.clone()).await;
    let it = bench.running(subdomain).await;
    bench.project = here;
    it
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn another_projects_instance_gets_credentials_under_its_own_secret(pool: PgPool) {
    let mut bench = Bench::new(pool).await;
    let dev = bench.running("dev").await;
    let prod = elsewhere(&mut bench, "prod").await;
    assert_ne!(secret(&bench, &dev), secret(&bench, &prod));
    deploy(&bench, &dev, &flows("new"), &password("sesame"));
    deploy(&bench, &prod, &flows("old"), &json!({"n9": {"token": "x"}}));
    let taken = take(&bench, &dev, "release").await;
    let body = json!({"instanceId": prod.id});
    let told = plan(&bench, &taken, body.clone()).await;
    assert_eq!(told["instanceId"], json!(prod.id));
    assert_eq!(
        told["credentials"],
        json!({"carried": 1, "kept": 0, "missing": []})
    );
    let begun = restore(&bench, &taken, body).await.expect(202);
    assert_eq!(begun["instanceId"], json!(prod.id));
    assert_eq!(over(&bench, &begun).await["state"], "done");
    assert_eq!(found(&bench, &prod), (flows("new"), password("sesame")));
    let file = std::fs::read(bench.folder(&prod).join("flows_cred.json")).unwrap();
    assert!(!String::from_utf8_lossy(&file).contains("sesame"));
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn kept_credentials_win_where_there_are_some(pool: PgPool) {
    let mut bench = Bench::new(pool).await;
    let dev = bench.running("dev").await;
    let prod = elsewhere(&mut bench, "prod").await;
    let both = json!({"n1": {"token": "dev"}, "n2": {"password": "dev"}});
    deploy(&bench, &dev, &flows("new"), &both);
    deploy(
        &bench,
        &prod,
        &flows("old"),
        &json!({"n2": {"password": "prod"}}),
    );
    let taken = take(&bench, &dev, "release").await;
    let body = json!({"instanceId": prod.id, "credentials": "keep"});
    let told = plan(&bench, &taken, body.clone()).await;
    assert_eq!(
        told["credentials"],
        json!({"carried": 1, "kept": 1, "missing": []})
    );
    let begun = restore(&bench, &taken, body).await.expect(202);
    over(&bench, &begun).await;
    let expected = json!({"n1": {"token": "dev"}, "n2": {"password": "prod"}});
    assert_eq!(found(&bench, &prod), (flows("new"), expected));

    // Without them, a node that has some here is named.
    deploy(&bench, &dev, &flows("new"), &json!({}));
    let bare = take(&bench, &dev, "bare").await;
    let told = plan(&bench, &bare, json!({"instanceId": prod.id})).await;
    let missing: Vec<&Value> = told["credentials"]["missing"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["id"])
        .collect();
    assert_eq!(missing, ["n1", "n2"]);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn the_credentials_that_are_kept_are_those_of_the_last_moment(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let (dev, prod) = (bench.running("dev").await, bench.running("prod").await);
    deploy(
        &bench,
        &dev,
        &flows("new"),
        &json!({"n1": {"token": "dev"}}),
    );
    deploy(&bench, &prod, &flows("old"), &password("before"));
    let taken = take(&bench, &dev, "release").await;
    // It is planned, and not yet begun.
    let hold = Hold::at(&bench.t.pool, "insert on restores").await;
    let body = json!({"instanceId": prod.id, "credentials": "keep"});
    let (begun, ()) = tokio::join!(restore(&bench, &taken, body), async {
        hold.reached().await;
        deploy(&bench, &prod, &flows("late"), &password("changed"));
        hold.release().await;
    });
    assert_eq!(over(&bench, &begun.expect(202)).await["state"], "done");
    let mut expected = password("changed");
    expected["n1"] = json!({"token": "dev"});
    assert_eq!(found(&bench, &prod), (flows("new"), expected));
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn missing_variables_are_named_and_set_when_asked_for(pool: PgPool) {
    let mut bench = Bench::new(pool).await;
    let dev = bench.running("dev").await;
    let prod = elsewhere(&mut bench, "prod").await;
    let env = async |it: &It, vars: Value| {
        let body = json!({"items": vars});
        bench.call("PUT", &it.path("env"), body).await.expect(200);
    };
    let secret = json!({"name": "KEY", "value": "hush", "secret": true});
    env(
        &dev,
        json!([{"name": "LINE", "value": "7"}, {"name": "URL", "value": "dev"}, secret]),
    )
    .await;
    env(
        &prod,
        json!([{"name": "URL", "value": "prod"}, {"name": "OWN", "value": "x", "secret": true}]),
    )
    .await;
    let taken = take(&bench, &dev, "release").await;
    let body = json!({"instanceId": prod.id, "addEnv": true});
    let told = plan(&bench, &taken, body.clone()).await;
    let missing = json!([{"name": "LINE", "secret": false}, {"name": "KEY", "secret": true}]);
    assert_eq!(told["env"], json!({"missing": missing, "differ": ["URL"]}));
    let begun = restore(&bench, &taken, body).await.expect(202);
    over(&bench, &begun).await;
    let env = bench.get(&prod.path("env")).await.expect(200);
    let names: Vec<&str> = env["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["URL", "OWN", "LINE"]);
    // In force with the start that the restore made, and nothing else changed.
    bench.until(&prod, "running").await;
    for (name, value) in [
        ("LINE", Some("7")),
        ("URL", Some("prod")),
        ("OWN", Some("x")),
        ("KEY", None),
    ] {
        assert_eq!(bench.env_of(&prod, name).as_deref(), value, "{name}");
    }
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn what_hinders_a_restore_is_told_before_anything_is_touched(pool: PgPool) {
    let mut bench = Bench::new(pool).await;
    let version = |it: &str| [("openflow.version".to_owned(), it.to_owned())].into();
    bench
        .runtime
        .add_image("openflow/node-red:4", version("4.1.0"));
    bench
        .runtime
        .add_image("openflow/node-red:5", version("5.0.7"));
    bench
        .runtime
        .add_image("openflow/node-red:next", version("5.1.0"));
    let (four, next) = (
        bench.stack("openflow/node-red:4").await,
        bench.stack("openflow/node-red:next").await,
    );
    let on = async |name: &str, stack| {
        let it = bench.create_with(name, json!({"stack": stack})).await;
        bench.until(&it, "running").await;
        it
    };
    let five = bench.stack("openflow/node-red:5").await;
    let (old, dev, new) = (
        on("old", four).await,
        on("dev", five).await,
        on("new", next).await,
    );
    install(&bench, &new, &[("a", "1.0.0"), ("b", "2.0.0")]);
    install(&bench, &dev, &[("b", "1.0.0")]);
    let into = async |from: &Value, it: &It| {
        let body = json!({"instanceId": it.id});
        let told = plan(&bench, from, body.clone()).await;
        let answer = restore(&bench, from, body).await;
        if told["blockers"] != json!([]) {
            assert_eq!(answer.refusal(), (409, "snapshot.blocked"));
        }
        told
    };
    let taken = take(&bench, &new, "new").await;
    let told = into(&taken, &old).await;
    assert_eq!(
        told["engine"],
        json!({"here": "4.1.0", "snapshot": "5.1.0", "compatible": false})
    );
    assert!(
        told["blockers"][0]
            .as_str()
            .unwrap()
            .contains("same major version")
    );
    let told = into(&take(&bench, &old, "old").await, &dev).await;
    assert_eq!(told["engine"]["compatible"], false);

    // Modules need a running instance, and a registry that has them.
    bench.ask(&dev, "stop", "stopped").await;
    let told = into(&taken, &dev).await;
    assert_eq!(told["engine"]["compatible"], true);
    assert!(told["warnings"].to_string().contains("newer than 5.0.7"));
    assert_eq!(
        told["modules"]["install"],
        json!([{"name": "a", "version": "1.0.0"}])
    );
    assert_eq!(
        told["modules"]["differ"],
        json!([{"name": "b", "here": "1.0.0", "snapshot": "2.0.0"}])
    );
    assert!(
        told["blockers"][0]
            .as_str()
            .unwrap()
            .contains("start it first")
    );
    let package = json!({"dependencies": {"c": "file:../c.tgz", "../d": "1.0.0"}});
    std::fs::write(bench.folder(&new).join("package.json"), package.to_string()).unwrap();
    let told = into(&take(&bench, &new, "local").await, &dev).await;
    assert!(
        told["blockers"][0]
            .as_str()
            .unwrap()
            .contains("npm registry")
    );
    assert_eq!(
        told["modules"]["install"],
        json!([{"name": "c", "version": ""}])
    );

    for it in [&old, &dev] {
        let none = bench.get(&it.path("restores")).await.expect(200);
        assert_eq!(none["items"], json!([]));
    }
    let _ = &mut bench;
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn it_takes_a_member_of_both_projects(pool: PgPool) {
    let mut bench = Bench::new(pool).await;
    let dev = bench.running("dev").await;
    let prod = elsewhere(&mut bench, "prod").await;
    let taken = take(&bench, &dev, "release").await;
    let there: uuid::Uuid = bench.see(&prod).await["projectId"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let path = crate::flows::path_of(&taken, "/restore");
    for (here_as, there_as, expected) in [
        (None, Some("member"), (404, "snapshot.not_found")),
        (
            Some("viewer"),
            Some("owner"),
            (403, "project.role_required"),
        ),
        (Some("member"), None, (404, "instance.not_found")),
        (
            Some("owner"),
            Some("viewer"),
            (403, "project.role_required"),
        ),
        (Some("member"), Some("member"), (202, "")),
    ] {
        let person = bench.t.person("Bo").await;
        for (project, role) in [(bench.project, here_as), (there, there_as)] {
            if let Some(role) = role {
                bench.t.add_member(project, &person, role).await;
            }
        }
        for query in ["?dryRun=true", ""] {
            let body = json!({"instanceId": prod.id});
            let answer = bench
                .t
                .post(&format!("{path}{query}"), &person.who, body)
                .await;
            let dry = (expected.0 == 202 && !query.is_empty()).then_some((200, ""));
            assert_eq!(
                answer.refusal(),
                dry.unwrap_or(expected),
                "{here_as:?} {there_as:?}"
            );
        }
    }
}

use openflow_manager::installation::{Archive, Silent};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::bench::{Bare, Home, Parts};

/// What a restore sets anew.
const FORGOTTEN: [&str; 13] = [
    "status",
    "status_detail",
    "upstream",
    "crashes_seen",
    "crash_count",
    "last_crash_at",
    "attempts",
    "retry_at",
    "started_at",
    "frozen_until",
    "restart_needed",
    "restart_wanted",
    "restart_done",
];

/// All rows of all tables, in an order.
async fn rows(pool: &PgPool) -> Vec<(String, Vec<Value>)> {
    let tables: Vec<String> = sqlx::query_scalar(
        "select tablename::text from pg_tables where schemaname = 'public' and tablename <> '_sqlx_migrations' order by 1",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    let mut all = Vec::new();
    for table in tables {
        let text = format!("select to_jsonb(t) from \"{table}\" t order by t::text collate \"C\"");
        let mut rows: Vec<Value> = sqlx::query_scalar(sqlx::AssertSqlSafe(text))
            .fetch_all(pool)
            .await
            .unwrap();
        if table == "instances" {
            for row in &mut rows {
                let row = row.as_object_mut().unwrap();
                FORGOTTEN.iter().for_each(|it| _ = row.remove(*it));
            }
            rows.sort_by_key(|it| it["id"].to_string());
        }
        rows.retain(|it| it["action"] != "installation.restore");
        all.push((table, rows));
    }
    all
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn every_row_of_every_table_comes_back(pool: PgPool) {
    let home = Home::new(pool.clone()).await;
    home.bench.t.kill().await;
    let made = home.back_up("all.tar").await;
    let before = rows(&pool).await;
    let dumped = &made.manifest.database.tables;
    assert_eq!(dumped.len(), before.len(), "no table is forgotten");
    assert!(before.iter().any(|(_, rows)| rows.len() > 3));

    let bare = Bare::new(&pool).await;
    bare.restore(&home.file("all.tar")).await.unwrap();
    for ((table, old), (also, new)) in before.into_iter().zip(rows(&bare.pool).await) {
        assert_eq!((table, old), (also, new));
    }
    // What the rows set off when they were new is not set off again, and
    // later it is.
    let noted = "select count(*) from audit_log where action = 'installation.restore'";
    let noted: i64 = sqlx::query_scalar(noted)
        .fetch_one(&bare.pool)
        .await
        .unwrap();
    assert_eq!(noted, 1);
    let off = "select count(*) from pg_trigger where tgenabled <> 'O'";
    let off: i64 = sqlx::query_scalar(off).fetch_one(&bare.pool).await.unwrap();
    assert_eq!(off, 0);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_restore_that_was_under_way_is_over(pool: PgPool) {
    let home = Home::new(pool.clone()).await;
    home.bench.t.kill().await;
    sqlx::query(
        "insert into restores (id, instance_id, project_id, source_kind, source_id, source_name, state, requested_by, created_at, touched_at)
         values (gen_random_uuid(), $1, $2, 'backup', gen_random_uuid(), 'x', 'stopping', 'Ada', now(), now())",
    )
    .bind(home.running[0].id)
    .bind(home.bench.project)
    .execute(&pool)
    .await
    .unwrap();
    home.back_up("all.tar").await;
    let bare = Bare::new(&pool).await;
    bare.restore(&home.file("all.tar")).await.unwrap();
    let state: String =
        sqlx::query_scalar("select state from restores where finished_at is not null")
            .fetch_one(&bare.pool)
            .await
            .unwrap();
    assert_eq!(state, "failed");
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_used_database_is_refused_and_left_alone(pool: PgPool) {
    let home = Home::new(pool.clone()).await;
    home.back_up("all.tar").await;
    let file = home.file("all.tar");

    let bare = Bare::new(&pool).await;
    bare.restore(&file).await.unwrap();
    let before = rows(&bare.pool).await;
    let again = Bare {
        data: tempfile::tempdir().unwrap(),
        ..bare
    };
    let mut config = again.config.clone();
    config.data.dir = again.data.path().to_owned();
    let again = Bare { config, ..again };
    let error = again.restore(&file).await.unwrap_err().to_string();
    assert!(error.contains("has users already"), "{error}");
    assert_eq!(rows(&again.pool).await, before);
    assert!(again.names().is_empty());

    let other = Bare::new(&pool).await;
    sqlx::raw_sql("create table theirs (it text)")
        .execute(&other.pool)
        .await
        .unwrap();
    let error = other.restore(&file).await.unwrap_err().to_string();
    assert!(error.contains("not Openflow's"), "{error}");
    assert!(other.names().is_empty());
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_newer_schema_is_refused_with_the_version_to_install(pool: PgPool) {
    let home = Home::new(pool).await;
    home.back_up("all.tar").await;
    let file = home.file("all.tar");
    for (version, expected) in [(9_999, "Install Openflow 7.8.9"), (-1, "never had")] {
        let mut parts = Parts::of(&file);
        parts.agree(|it| {
            it["openflow"] = json!("7.8.9");
            it["database"]["schemaVersion"] = json!(version);
        });
        parts.write(&home.file("newer.tar"));
        let error = match Archive::open(&home.file("newer.tar"), &Silent) {
            Err(error) => format!("{error:#}"),
            Ok(_) => panic!("version {version} was taken"),
        };
        assert!(error.contains(expected), "{error}");
    }
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_lying_list_of_tables_is_refused_and_taken_back(pool: PgPool) {
    let home = Home::new(pool.clone()).await;
    home.back_up("all.tar").await;
    let bare = Bare::new(&pool).await;
    let lies: [fn(&mut Value); 3] = [
        |it| it["database"]["tables"][0]["rows"] = json!(1_000_000),
        |it| it["database"]["tables"][0]["columns"][0] = json!("id\") from program 'id' --"),
        |it| it["database"]["tables"][0]["bytes"] = json!(1),
    ];
    for lie in lies {
        let mut parts = Parts::of(&home.file("all.tar"));
        parts.agree(|it| {
            // The first that has rows, so that its size matters.
            let tables = it["database"]["tables"].as_array_mut().unwrap();
            let at = tables.iter().position(|it| it["name"] == "audit_log");
            tables.swap(0, at.unwrap());
            lie(it);
        });
        parts.write(&home.file("lying.tar"));
        let error = bare.restore(&home.file("lying.tar")).await.unwrap_err();
        assert!(!error.to_string().is_empty());
        assert!(bare.names().is_empty());
        assert!(bare.is_empty().await, "{error:#}");
    }
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_dump_of_an_older_schema_is_migrated_on(pool: PgPool) {
    let home = Home::new(pool.clone()).await;
    home.back_up("all.tar").await;
    // As an Openflow would have made it that knew of people and projects only.
    let kept = ["users", "sessions", "projects", "project_members"];
    let mut parts = Parts::of(&home.file("all.tar"));
    parts.0.retain(|(name, _)| {
        let table = name.strip_prefix("database/");
        let table = table.and_then(|it| it.strip_suffix(".copy.gz"));
        table.is_none_or(|it| kept.contains(&it)) && !name.starts_with("instances/")
    });
    parts.agree(|it| {
        it["database"]["schemaVersion"] = json!(2);
        it["instances"] = json!([]);
        let tables = it["database"]["tables"].as_array_mut().unwrap();
        tables.retain(|it| kept.contains(&it["name"].as_str().unwrap()));
    });
    parts.write(&home.file("older.tar"));
    let bare = Bare::new(&pool).await;
    bare.restore(&home.file("older.tar")).await.unwrap();
    let version = bare.db.schema_version().await.unwrap();
    assert_eq!(version, home.bench.t.db.schema_version().await.unwrap());
    let t = bare.start().await;
    t.get("/api/v1/auth/me", &home.bench.ada.who)
        .await
        .expect(200);
}

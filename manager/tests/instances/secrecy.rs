use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::{Who, instances::Bench};

/// What nobody but the container is told.
const SECRETS: [&str; 4] = [
    "OPENFLOW_MAGIC_TOKEN",
    "OPENFLOW_CREDENTIAL_SECRET",
    "OPENFLOW_MQTT_PASSWORD",
    "KEY",
];

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn an_instances_secrets_are_in_its_container_and_nowhere_else(pool: PgPool) {
    let bench = Bench::new(pool).await;
    let root = bench.t.admin("Root").await;
    let env = json!([{"name": "KEY", "value": "hunter2-hunter2", "secret": true}]);
    let it = bench.create_with("wf1", json!({"env": env})).await;
    bench.until(&it, "running").await;
    let webhook = json!({"mode": "bearer", "secret": "hunter3-hunter3"});
    bench.patch(&it, json!({"webhookAccess": webhook})).await;
    bench.ask(&it, "restart", "running").await;
    bench
        .post(&it.path("launch"), Value::Null)
        .await
        .expect(200);
    let spec = bench.runtime.spec(it.key()).unwrap();
    let mut secrets: Vec<&str> = SECRETS
        .iter()
        .map(|name| spec.env[*name].expose())
        .collect();
    secrets.push("hunter3-hunter3");
    assert!(secrets.iter().all(|it| it.len() > 10));
    assert!(!format!("{spec:?}").contains(secrets[0]));

    for path in [
        it.path(""),
        it.path("env"),
        it.path("aliases"),
        it.path("stats"),
        bench.instances_path(),
        "/api/v1/audit".to_owned(),
        format!("/api/v1/audit?projectId={}", bench.project),
        "/api/v1/stacks".to_owned(),
        "/api/v1/templates".to_owned(),
        "/api/v1/health/ready".to_owned(),
    ] {
        for who in [&bench.ada.who, &root.who, &Who::Nobody] {
            let text = bench.t.get(&path, who).await.json.to_string();
            assert!(
                secrets.iter().all(|it| !text.contains(it)),
                "{path}: {text}"
            );
        }
    }
    let feed = bench.feed().await.to_string();
    assert!(secrets.iter().all(|it| !feed.contains(it)));
    // Nor in any row: text as it stands, and what is sealed.
    let tables: Vec<String> =
        sqlx::query_scalar("select tablename::text from pg_tables where schemaname = 'public'")
            .fetch_all(&bench.t.pool)
            .await
            .unwrap();
    assert!(tables.len() > 10);
    for table in tables {
        let query = format!("select t::text from {table} t");
        let rows: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(query))
            .fetch_all(&bench.t.pool)
            .await
            .unwrap();
        for secret in &secrets {
            let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
            let shown = |row: &String| row.contains(secret) || row.contains(&hex);
            assert!(!rows.iter().any(shown), "{table}");
        }
    }
}

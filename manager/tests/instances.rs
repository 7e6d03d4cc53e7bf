//! Instances on the fake engine: what requests ask for, and what the
//! reconciler makes of it.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
mod support;

use std::time::Duration;

use serde_json::json;
use sqlx::PgPool;
use support::TestApp;

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_created_instance_runs(pool: PgPool) {
    let t = TestApp::new(pool).await;
    t.run().await;
    let ada = t.person("Ada").await;
    let project = t.project(&ada).await;
    let mut last = json!(null);
    for _ in 0..200 {
        let answer = t
            .post(
                &format!("/api/v1/projects/{project}/instances"),
                &ada.who,
                json!({"name": "wf1", "subdomain": "wf1"}),
            )
            .await;
        last = answer.json.clone();
        if answer.status == 201 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let id = last["id"]
        .as_str()
        .unwrap_or_else(|| panic!("{last}"))
        .to_owned();
    for _ in 0..300 {
        last = t
            .get(&format!("/api/v1/instances/{id}"), &ada.who)
            .await
            .expect(200);
        if last["status"] == "running" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(last["status"], "running", "{last}");
    t.kill().await;
}

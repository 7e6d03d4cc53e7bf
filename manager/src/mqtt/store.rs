use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::model::{Credential, Owner, Rules};

/// User name and credential, or the id of a row that cannot be one.
pub(super) type Loaded = Result<(String, Credential), Uuid>;

/// Those of every instance that is not being removed.
pub(super) async fn instances(conn: &mut PgConnection) -> sqlx::Result<Vec<Loaded>> {
    let rows = sqlx::query!(
        r#"select id, project_id, name, mqtt_password_hash, desired = 'running' as "enabled!"
           from instances where desired <> 'absent'"#
    )
    .fetch_all(conn)
    .await?;
    let loaded = rows.into_iter().map(|row| {
        let credential = Credential {
            project: row.project_id,
            owner: Owner::Instance(row.id),
            name: row.name,
            password_hash: row.mqtt_password_hash.try_into().map_err(|_| row.id)?,
            enabled: row.enabled,
            rules: None,
        };
        Ok((row.id.to_string(), credential))
    });
    Ok(loaded.collect())
}

/// Those of every MQTT client whose project is not being deleted.
pub(super) async fn clients(conn: &mut PgConnection) -> sqlx::Result<Vec<Loaded>> {
    let rows = sqlx::query!(
        "select c.id, c.project_id, c.name, c.password_hash, c.disabled, c.publish, c.subscribe
         from mqtt_clients c join projects p on p.id = c.project_id where p.deleting_at is null"
    )
    .fetch_all(conn)
    .await?;
    let loaded = rows.into_iter().map(|row| {
        let restricted = row.publish.is_some() || row.subscribe.is_some();
        let rules = Rules {
            publish: row.publish,
            subscribe: row.subscribe,
        };
        let credential = Credential {
            project: row.project_id,
            owner: Owner::Client(row.id),
            name: row.name,
            password_hash: row.password_hash.try_into().map_err(|_| row.id)?,
            enabled: !row.disabled,
            rules: restricted.then(|| Arc::new(rules)),
        };
        Ok((row.id.to_string(), credential))
    });
    Ok(loaded.collect())
}

/// All projects that are there to stay.
pub(super) async fn projects(conn: &mut PgConnection) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!("select id from projects where deleting_at is null order by id")
        .fetch_all(conn)
        .await
}

/// A deleted project that the broker has still to forget.
pub(super) struct PendingPurge {
    pub(super) project: Uuid,
    pub(super) attempts: i32,
}

pub(super) async fn due_purges(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<PendingPurge>> {
    sqlx::query_as!(
        PendingPurge,
        "select project_id as project, attempts from mqtt_purges where retry_at <= $1 order by retry_at limit $2",
        now,
        limit,
    )
    .fetch_all(conn)
    .await
}

pub(super) async fn purged(conn: &mut PgConnection, project: Uuid) -> sqlx::Result<()> {
    sqlx::query!("delete from mqtt_purges where project_id = $1", project)
        .execute(conn)
        .await?;
    Ok(())
}

pub(super) async fn purge_failed(
    conn: &mut PgConnection,
    it: &PendingPurge,
    retry_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update mqtt_purges set attempts = $2, retry_at = $3 where project_id = $1",
        it.project,
        it.attempts.saturating_add(1),
        retry_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Event, EventKind, model::PER_PROJECT_MAX};
use crate::kernel::{MqttEventId, PageRequest, ProjectId};

/// Events of projects that are gone are left out.
pub(super) async fn insert(conn: &mut PgConnection, events: &[Event]) -> sqlx::Result<()> {
    let ids: Vec<Uuid> = events.iter().map(|it| it.id.0).collect();
    let projects: Vec<Uuid> = events.iter().map(|it| it.project.0).collect();
    let times: Vec<DateTime<Utc>> = events.iter().map(|it| it.at).collect();
    let kinds: Vec<String> = events.iter().map(|it| it.kind.as_str().into()).collect();
    let usernames: Vec<String> = events.iter().map(|it| it.username.clone()).collect();
    let names: Vec<Option<String>> = events.iter().map(|it| it.name.clone()).collect();
    let client_ids: Vec<String> = events.iter().map(|it| it.client_id.clone()).collect();
    let addresses: Vec<Option<String>> = events.iter().map(|it| it.address.clone()).collect();
    let reasons: Vec<Option<String>> = events.iter().map(|it| it.reason.clone()).collect();
    sqlx::query!(
        "insert into mqtt_events (id, project_id, at, kind, username, name, client_id, address, reason)
         select e.id, e.project_id, e.at, e.kind, e.username, e.name, e.client_id, e.address, e.reason
         from unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::text[], $5::text[], $6::text[], $7::text[],
                     $8::text[], $9::text[])
              as e (id, project_id, at, kind, username, name, client_id, address, reason)
         join projects p on p.id = e.project_id",
        &ids,
        &projects,
        &times,
        &kinds,
        &usernames,
        &names as &[Option<String>],
        &client_ids,
        &addresses as &[Option<String>],
        &reasons as &[Option<String>],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Removes what is too old, in the projects of these events.
pub(super) async fn trim(conn: &mut PgConnection, events: &[Event]) -> sqlx::Result<()> {
    let mut projects: Vec<Uuid> = events.iter().map(|it| it.project.0).collect();
    projects.sort_unstable();
    projects.dedup();
    sqlx::query!(
        "with oldest as materialized (
           select p.id as project_id,
                  (select id from mqtt_events e where e.project_id = p.id order by id desc offset $2 limit 1) as id
           from unnest($1::uuid[]) as p (id))
         delete from mqtt_events e using oldest o where e.project_id = o.project_id and e.id <= o.id",
        &projects,
        PER_PROJECT_MAX,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes when clients were last there. Several managers may tell: a minute
/// apart is enough.
pub(super) async fn saw(
    conn: &mut PgConnection,
    seen: &HashMap<Uuid, DateTime<Utc>>,
) -> sqlx::Result<()> {
    let clients: Vec<Uuid> = seen.keys().copied().collect();
    let times: Vec<DateTime<Utc>> = seen.values().copied().collect();
    sqlx::query!(
        "update mqtt_clients c set last_seen_at = s.at
         from unnest($1::uuid[], $2::timestamptz[]) as s (id, at)
         where c.id = s.id and (c.last_seen_at is null or c.last_seen_at < s.at - interval '30 seconds')",
        &clients,
        &times,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Newest first.
pub(super) async fn list(
    conn: &mut PgConnection,
    project: ProjectId,
    page: PageRequest,
) -> sqlx::Result<Vec<Event>> {
    let rows = sqlx::query!(
        "select id, at, kind, username, name, client_id, address, reason from mqtt_events
         where project_id = $1 and ($2::uuid is null or id < $2) order by id desc limit $3",
        project.0,
        page.after,
        page.fetch(),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let kind = EventKind::parse(&row.kind)
                .ok_or_else(|| sqlx::Error::Decode("mqtt_events.kind".into()))?;
            Ok(Event {
                id: MqttEventId(row.id),
                project,
                at: row.at,
                kind,
                username: row.username,
                name: row.name,
                client_id: row.client_id,
                address: row.address,
                reason: row.reason,
            })
        })
        .collect()
}

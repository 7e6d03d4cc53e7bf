use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Entry, Event, Filter};
use crate::kernel::{Actor, AuditId, PageRequest, ProjectId};

pub(super) async fn insert(
    conn: &mut PgConnection,
    actor: &Actor,
    at: DateTime<Utc>,
    event: &Event,
) -> sqlx::Result<()> {
    let (kind, id, name) = match actor {
        Actor::User(user) => ("user", Some(user.id.0), user.name.as_str()),
        Actor::Setup { .. } => ("setup", None, "setup link"),
        Actor::System(job) => ("system", None, *job),
    };
    sqlx::query!(
        "insert into audit_log (id, at, actor_kind, actor_id, actor_name, action, project_id,
                                target_type, target_id, target_name, detail, address)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        AuditId::new().0,
        at,
        kind,
        id,
        name,
        event.action,
        event.project.map(|it| it.0),
        event.target.kind,
        event.target.id,
        event.target.name,
        event.detail,
        actor.address().map(|it| it.to_string()),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Newest first; `page.after` is the last id of the page before.
pub(super) async fn list(
    conn: &mut PgConnection,
    filter: &Filter,
    page: PageRequest,
) -> sqlx::Result<Vec<Entry>> {
    let rows = sqlx::query!(
        r#"select id, at, actor_kind, actor_id, actor_name, action, project_id as "project_id: uuid::Uuid",
                  target_type, target_id, target_name, detail, address
           from audit_log
           where ($1::uuid is null or project_id = $1)
             and ($2::uuid is null or actor_id = $2)
             and ($3::text is null or action = $3 or split_part(action, '.', 1) = $3)
             and ($4::timestamptz is null or at < $4)
             and ($5::uuid is null or id < $5)
           order by id desc limit $6"#,
        filter.project.map(|it| it.0),
        filter.actor.map(|it| it.0),
        filter.action,
        filter.before,
        page.after,
        page.fetch(),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Entry {
            id: AuditId(row.id),
            at: row.at,
            actor_kind: row.actor_kind,
            actor_id: row.actor_id,
            actor_name: row.actor_name,
            action: row.action,
            project: row.project_id.map(ProjectId),
            target_type: row.target_type,
            target_id: row.target_id,
            target_name: row.target_name,
            detail: row.detail,
            address: row.address,
        })
        .collect())
}

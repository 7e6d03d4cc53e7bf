use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

/// What the feed says of one instance, as it stands on the rows.
pub(super) struct RouteRow {
    pub(super) id: Uuid,
    pub(super) project_id: Uuid,
    pub(super) engine: String,
    /// The subdomain first, then the aliases.
    pub(super) names: Vec<String>,
    pub(super) desired: String,
    pub(super) restarting: bool,
    pub(super) status: String,
    pub(super) upstream: Option<String>,
    pub(super) webhook_access: String,
    pub(super) webhook_username: Option<String>,
    pub(super) webhook_secret_hash: Option<String>,
    pub(super) magic_token_sealed: Vec<u8>,
}

/// Every instance that is not being removed, in order.
pub(super) async fn routes(conn: &mut PgConnection) -> sqlx::Result<Vec<RouteRow>> {
    sqlx::query_as!(
        RouteRow,
        r#"select id, project_id, engine,
                  array(select h.name from hostnames h where h.instance_id = instances.id
                        order by h.kind desc, h.created_at, h.name) as "names!",
                  desired, restart_done < restart_wanted as "restarting!", status, upstream, webhook_access,
                  webhook_username, webhook_secret_hash, magic_token_sealed
           from instances where desired <> 'absent' order by id"#
    )
    .fetch_all(conn)
    .await
}

/// Project → user → role, of people who may sign in.
pub(super) async fn members(
    conn: &mut PgConnection,
) -> sqlx::Result<BTreeMap<Uuid, BTreeMap<Uuid, String>>> {
    let rows = sqlx::query!(
        "select project_id, user_id, role from project_members
         join users on users.id = user_id and users.disabled_at is null"
    )
    .fetch_all(conn)
    .await?;
    let mut members: BTreeMap<Uuid, BTreeMap<Uuid, String>> = BTreeMap::new();
    for row in rows {
        members
            .entry(row.project_id)
            .or_default()
            .insert(row.user_id, row.role);
    }
    Ok(members)
}

pub(super) async fn admins(conn: &mut PgConnection) -> sqlx::Result<BTreeSet<Uuid>> {
    let ids = sqlx::query_scalar!("select id from users where is_admin and disabled_at is null")
        .fetch_all(conn)
        .await?;
    Ok(ids.into_iter().collect())
}

/// Editor sessions that ended before their cookie does.
pub(super) async fn revoked(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
) -> sqlx::Result<BTreeSet<Uuid>> {
    let ids = sqlx::query_scalar!(
        "select id from editor_sessions where revoked_at is not null and expires_at > $1",
        now
    )
    .fetch_all(conn)
    .await?;
    Ok(ids.into_iter().collect())
}

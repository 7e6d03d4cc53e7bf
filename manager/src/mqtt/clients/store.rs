use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::Client;
use crate::{
    db,
    kernel::{MqttClientId, PageRequest, ProjectId},
    mqtt::Error,
};

struct Row {
    id: Uuid,
    project_id: Uuid,
    name: String,
    publish: Option<Vec<String>>,
    subscribe: Option<Vec<String>>,
    disabled: bool,
    last_seen_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<Row> for Client {
    fn from(row: Row) -> Self {
        Self {
            id: MqttClientId(row.id),
            project: ProjectId(row.project_id),
            name: row.name,
            publish: row.publish,
            subscribe: row.subscribe,
            disabled: row.disabled,
            last_seen_at: row.last_seen_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

pub(super) async fn get(conn: &mut PgConnection, id: MqttClientId) -> sqlx::Result<Option<Client>> {
    let row = sqlx::query_as!(
        Row,
        "select id, project_id, name, publish, subscribe, disabled, last_seen_at, created_at, updated_at
         from mqtt_clients where id = $1",
        id.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(Client::from))
}

pub(super) async fn list(
    conn: &mut PgConnection,
    project: ProjectId,
    page: PageRequest,
) -> sqlx::Result<Vec<Client>> {
    let rows = sqlx::query_as!(
        Row,
        "select id, project_id, name, publish, subscribe, disabled, last_seen_at, created_at, updated_at
         from mqtt_clients where project_id = $1 and ($2::uuid is null or $2 < id) order by id limit $3",
        project.0,
        page.after,
        page.fetch(),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(Client::from).collect())
}

/// Locks the row, so that requests for one client come one after the other.
pub(super) async fn lock(conn: &mut PgConnection, id: MqttClientId) -> sqlx::Result<()> {
    sqlx::query!("select id from mqtt_clients where id = $1 for update", id.0)
        .fetch_optional(conn)
        .await?;
    Ok(())
}

/// How many the project has. Holds a lock until the transaction ends, so that
/// two creations at once cannot both pass the limit.
pub(super) async fn count(conn: &mut PgConnection, project: ProjectId) -> sqlx::Result<i64> {
    sqlx::query!(
        "select pg_advisory_xact_lock(hashtextextended('mqtt_clients.count/' || $1::text, 0))",
        project.to_string()
    )
    .fetch_one(&mut *conn)
    .await?;
    sqlx::query_scalar!(
        r#"select count(*) as "n!" from mqtt_clients where project_id = $1"#,
        project.0,
    )
    .fetch_one(conn)
    .await
}

pub(super) async fn insert(
    conn: &mut PgConnection,
    it: &Client,
    password_hash: [u8; 32],
) -> Result<(), Error> {
    let result = sqlx::query!(
        "insert into mqtt_clients (id, project_id, name, password_hash, publish, subscribe, disabled, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        it.id.0,
        it.project.0,
        it.name,
        password_hash.as_slice(),
        it.publish.as_deref(),
        it.subscribe.as_deref(),
        it.disabled,
        it.created_at,
        it.updated_at,
    )
    .execute(conn)
    .await;
    written(result)
}

/// Writes all but the password.
pub(super) async fn update(conn: &mut PgConnection, it: &Client) -> Result<(), Error> {
    let result = sqlx::query!(
        "update mqtt_clients set name = $2, publish = $3, subscribe = $4, disabled = $5, updated_at = $6 where id = $1",
        it.id.0,
        it.name,
        it.publish.as_deref(),
        it.subscribe.as_deref(),
        it.disabled,
        it.updated_at,
    )
    .execute(conn)
    .await;
    written(result)
}

fn written(result: sqlx::Result<sqlx::postgres::PgQueryResult>) -> Result<(), Error> {
    match result {
        Err(error) if db::is_violation(&error, "mqtt_clients_name_key") => Err(Error::NameTaken),
        other => Ok(other.map(|_| ())?),
    }
}

pub(super) async fn set_password(
    conn: &mut PgConnection,
    it: &Client,
    password_hash: [u8; 32],
) -> sqlx::Result<()> {
    sqlx::query!(
        "update mqtt_clients set password_hash = $2, updated_at = $3 where id = $1",
        it.id.0,
        password_hash.as_slice(),
        it.updated_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn delete(conn: &mut PgConnection, id: MqttClientId) -> sqlx::Result<()> {
    sqlx::query!("delete from mqtt_clients where id = $1", id.0)
        .execute(conn)
        .await?;
    Ok(())
}

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Error, Stack, StackStatus};
use crate::{
    db,
    engines::{Engine, Storage},
    kernel::{PageRequest, StackId},
};

struct Row {
    id: uuid::Uuid,
    name: String,
    engine: String,
    version: String,
    image: String,
    storage: String,
    status: String,
    status_detail: Option<String>,
    is_default: bool,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl TryFrom<Row> for Stack {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> sqlx::Result<Self> {
        Ok(Self {
            id: StackId(row.id),
            name: row.name,
            engine: Engine::parse(&row.engine)
                .ok_or_else(|| sqlx::Error::Decode("stacks.engine".into()))?,
            version: row.version,
            image: row.image,
            storage: Storage::parse(&row.storage)
                .ok_or_else(|| sqlx::Error::Decode("stacks.storage".into()))?,
            status: StackStatus::parse(&row.status)
                .ok_or_else(|| sqlx::Error::Decode("stacks.status".into()))?,
            status_detail: row.status_detail,
            is_default: row.is_default,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

/// Fails with [`Error::NameTaken`] where there is one of that name.
pub(super) async fn insert(conn: &mut PgConnection, it: &Stack) -> Result<(), Error> {
    let result = sqlx::query!(
        "insert into stacks (id, name, engine, version, image, storage, status, status_detail, is_default, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10)",
        it.id.0,
        it.name,
        it.engine.as_str(),
        it.version,
        it.image,
        it.storage.as_str(),
        it.status.as_str(),
        it.status_detail,
        it.is_default,
        it.created_at,
    )
    .execute(conn)
    .await;
    match result {
        Err(error) if db::is_violation(&error, "stacks_name_key") => Err(Error::NameTaken),
        other => Ok(other.map(|_| ())?),
    }
}

pub(super) async fn get(conn: &mut PgConnection, id: StackId) -> sqlx::Result<Option<Stack>> {
    sqlx::query_as!(
        Row,
        "select id, name, engine, version, image, storage, status, status_detail, is_default, created_at, updated_at
         from stacks where id = $1",
        id.0
    )
    .fetch_optional(conn)
    .await?
    .map(Stack::try_from)
    .transpose()
}

pub(super) async fn default_of(
    conn: &mut PgConnection,
    engine: Engine,
) -> sqlx::Result<Option<Stack>> {
    sqlx::query_as!(
        Row,
        "select id, name, engine, version, image, storage, status, status_detail, is_default, created_at, updated_at
         from stacks where engine = $1 and is_default",
        engine.as_str()
    )
    .fetch_optional(conn)
    .await?
    .map(Stack::try_from)
    .transpose()
}

pub(super) async fn default_for(
    conn: &mut PgConnection,
    engine: Engine,
    storage: Storage,
) -> sqlx::Result<Option<Stack>> {
    sqlx::query_as!(
        Row,
        "select id, name, engine, version, image, storage, status, status_detail, is_default, created_at, updated_at
         from stacks where engine = $1 and storage = $2 order by is_default desc, (status = 'ready') desc, id desc limit 1",
        engine.as_str(),
        storage.as_str()
    )
    .fetch_optional(conn)
    .await?
    .map(Stack::try_from)
    .transpose()
}

pub(super) async fn list(conn: &mut PgConnection, page: PageRequest) -> sqlx::Result<Vec<Stack>> {
    sqlx::query_as!(
        Row,
        "select id, name, engine, version, image, storage, status, status_detail, is_default, created_at, updated_at
         from stacks where $1::uuid is null or $1 < id order by id limit $2",
        page.after,
        page.fetch(),
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(Stack::try_from)
    .collect()
}

/// What the image check found; writes only what differs.
pub(super) async fn set_status(
    conn: &mut PgConnection,
    id: StackId,
    status: StackStatus,
    detail: Option<&str>,
    version: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update stacks set status = $2, status_detail = $3, version = $4, updated_at = now()
         where id = $1 and (status, status_detail, version) is distinct from ($2, $3, $4)",
        id.0,
        status.as_str(),
        detail,
        version,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes it the one default of its engine.
pub(super) async fn set_default(conn: &mut PgConnection, it: &Stack) -> sqlx::Result<()> {
    sqlx::query!(
        "update stacks set is_default = false where engine = $1 and is_default",
        it.engine.as_str()
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "update stacks set is_default = true, updated_at = now() where id = $1",
        it.id.0
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn rename(conn: &mut PgConnection, id: StackId, name: &str) -> Result<(), Error> {
    let result = sqlx::query!(
        "update stacks set name = $2, updated_at = now() where id = $1",
        id.0,
        name
    )
    .execute(conn)
    .await;
    match result {
        Err(error) if db::is_violation(&error, "stacks_name_key") => Err(Error::NameTaken),
        other => Ok(other.map(|_| ())?),
    }
}

/// Fails with [`Error::InUse`] while instances or templates name it.
pub(super) async fn delete(conn: &mut PgConnection, id: StackId) -> Result<(), Error> {
    let result = sqlx::query!("delete from stacks where id = $1", id.0)
        .execute(conn)
        .await;
    match result {
        Err(error) if db::is_violation(&error, "templates_stack_id_fkey") => {
            Err(Error::InUse("a template".to_owned()))
        }
        Err(sqlx::Error::Database(db)) if db.is_foreign_key_violation() => {
            Err(Error::InUse("an instance".to_owned()))
        }
        other => Ok(other.map(|_| ())?),
    }
}

/// One transaction at a time seeds.
pub(super) async fn lock(conn: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!("lock table stacks in share row exclusive mode")
        .execute(conn)
        .await?;
    Ok(())
}

/// Whether there was ever a stack.
pub(super) async fn seeded(conn: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar!(r#"select exists (select 1 from stacks) as "seeded!""#)
        .fetch_one(conn)
        .await
}

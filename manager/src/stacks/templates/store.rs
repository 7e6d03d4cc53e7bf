use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    super::{Env, Error},
    Resources, Template,
};
use crate::{
    crypto::KeyRing,
    db,
    kernel::{PageRequest, StackId, TemplateId},
};

struct Row {
    id: Uuid,
    stack_id: Uuid,
    name: String,
    description: String,
    env_sealed: Option<Vec<u8>>,
    modules: Value,
    flows: Option<Value>,
    memory_mb: Option<i32>,
    cpus: Option<f64>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl Row {
    fn open(self, keys: &KeyRing) -> Result<Template, Error> {
        let id = TemplateId(self.id);
        Ok(Template {
            id,
            stack: StackId(self.stack_id),
            name: self.name,
            description: self.description,
            env: open_env(keys, id, self.env_sealed.as_deref())?,
            modules: serde_json::from_value(self.modules)
                .map_err(|_| sqlx::Error::Decode("templates.modules".into()))?,
            flows: self.flows,
            resources: Resources {
                memory_mb: self.memory_mb,
                cpus: self.cpus,
            },
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }
}

fn place(id: TemplateId) -> String {
    format!("templates/{id}/env")
}

fn open_env(keys: &KeyRing, id: TemplateId, sealed: Option<&[u8]>) -> Result<Env, Error> {
    let Some(sealed) = sealed else {
        return Ok(Env::default());
    };
    let json = keys.open(&place(id), sealed)?;
    serde_json::from_slice(&json)
        .map_err(|_| sqlx::Error::Decode("templates.env_sealed".into()).into())
}

fn seal_env(keys: &KeyRing, it: &Template) -> Option<Vec<u8>> {
    if it.env.is_empty() {
        return None;
    }
    let json = serde_json::to_vec(&it.env).unwrap_or_default();
    Some(keys.seal(&place(it.id), &json))
}

/// Without an environment: for the first templates.
pub(in super::super) async fn insert(conn: &mut PgConnection, it: &Template) -> Result<(), Error> {
    insert_row(conn, it, None).await
}

pub(super) async fn insert_sealed(
    conn: &mut PgConnection,
    keys: &KeyRing,
    it: &Template,
) -> Result<(), Error> {
    insert_row(conn, it, seal_env(keys, it)).await
}

async fn insert_row(
    conn: &mut PgConnection,
    it: &Template,
    env: Option<Vec<u8>>,
) -> Result<(), Error> {
    let result = sqlx::query!(
        "insert into templates (id, name, description, stack_id, env_sealed, modules, flows, memory_mb, cpus, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10)",
        it.id.0,
        it.name,
        it.description,
        it.stack.0,
        env,
        serde_json::json!(it.modules),
        it.flows,
        it.resources.memory_mb,
        it.resources.cpus,
        it.created_at,
    )
    .execute(conn)
    .await;
    written(result)
}

/// `false` when it is gone.
pub(super) async fn update(
    conn: &mut PgConnection,
    keys: &KeyRing,
    it: &Template,
) -> Result<(), Error> {
    let result = sqlx::query!(
        "update templates set name = $2, description = $3, stack_id = $4, env_sealed = $5, modules = $6, flows = $7,
                memory_mb = $8, cpus = $9, updated_at = $10 where id = $1",
        it.id.0,
        it.name,
        it.description,
        it.stack.0,
        seal_env(keys, it),
        serde_json::json!(it.modules),
        it.flows,
        it.resources.memory_mb,
        it.resources.cpus,
        it.updated_at,
    )
    .execute(conn)
    .await;
    written(result)
}

fn written(result: sqlx::Result<sqlx::postgres::PgQueryResult>) -> Result<(), Error> {
    match result {
        Err(error) if db::is_violation(&error, "templates_name_key") => Err(Error::NameTaken),
        Err(error) if db::is_violation(&error, "templates_stack_id_fkey") => {
            Err(Error::StackNotFound)
        }
        other => Ok(other.map(|_| ())?),
    }
}

/// The template with its environment opened.
pub async fn get(
    conn: &mut PgConnection,
    keys: &KeyRing,
    id: TemplateId,
) -> Result<Template, Error> {
    sqlx::query_as!(
        Row,
        "select id, stack_id, name, description, env_sealed, modules, flows, memory_mb, cpus, created_at, updated_at
         from templates where id = $1",
        id.0
    )
    .fetch_optional(conn)
    .await?
    .ok_or(Error::TemplateNotFound)?
    .open(keys)
}

pub(super) async fn list(
    conn: &mut PgConnection,
    keys: &KeyRing,
    page: PageRequest,
) -> Result<Vec<Template>, Error> {
    sqlx::query_as!(
        Row,
        "select id, stack_id, name, description, env_sealed, modules, flows, memory_mb, cpus, created_at, updated_at
         from templates where $1::uuid is null or $1 < id order by id limit $2",
        page.after,
        page.fetch(),
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(|row| row.open(keys))
    .collect()
}

pub(super) async fn delete(conn: &mut PgConnection, id: TemplateId) -> sqlx::Result<()> {
    sqlx::query!("delete from templates where id = $1", id.0)
        .execute(conn)
        .await?;
    Ok(())
}

//! What only the container gets to see, sealed on the row: environment and
//! keys, and what it begins with.
use sqlx::PgConnection;

use super::{Error, model::Inside, store::bad};
use crate::{access::SealedInstanceKeys, crypto::KeyRing, kernel::InstanceId, stacks::Env};

fn env_place(id: InstanceId) -> String {
    format!("instances/{id}/env")
}

pub(super) fn seal_env(keys: &KeyRing, id: InstanceId, env: &Env) -> Option<Vec<u8>> {
    if env.is_empty() {
        return None;
    }
    let json = serde_json::to_vec(env).unwrap_or_default();
    Some(keys.seal(&env_place(id), &json))
}

pub(super) async fn env(
    conn: &mut PgConnection,
    keys: &KeyRing,
    id: InstanceId,
) -> Result<Env, Error> {
    let sealed = sqlx::query_scalar!("select env_sealed from instances where id = $1", id.0)
        .fetch_one(conn)
        .await?;
    open_env(keys, id, sealed.as_deref())
}

fn open_env(keys: &KeyRing, id: InstanceId, sealed: Option<&[u8]>) -> Result<Env, Error> {
    let Some(sealed) = sealed else {
        return Ok(Env::default());
    };
    let json = keys.open(&env_place(id), sealed)?;
    serde_json::from_slice(&json).map_err(|_| bad("env_sealed").into())
}

pub(super) async fn set_env(
    conn: &mut PgConnection,
    keys: &KeyRing,
    id: InstanceId,
    env: &Env,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update instances set env_sealed = $2, updated_at = now() where id = $1",
        id.0,
        seal_env(keys, id, env),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What goes into the container, opened.
pub(super) async fn get(
    conn: &mut PgConnection,
    keys: &KeyRing,
    id: InstanceId,
) -> Result<Inside, Error> {
    let row = sqlx::query!(
        "select env_sealed, modules, flows, magic_token_sealed, credential_secret_sealed, mqtt_password_sealed
         from instances where id = $1",
        id.0
    )
    .fetch_one(conn)
    .await?;
    Ok(Inside {
        keys: SealedInstanceKeys::open(
            keys,
            id,
            &row.magic_token_sealed,
            &row.credential_secret_sealed,
            &row.mqtt_password_sealed,
        )?,
        env: open_env(keys, id, row.env_sealed.as_deref())?,
        modules: serde_json::from_value(row.modules).map_err(|_| bad("modules"))?,
        flows: row.flows,
    })
}

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Error, Snapshot, SnapshotKind, model::Digests};
use crate::{
    crypto::KeyRing,
    db,
    engines::Engine,
    kernel::{InstanceId, PageRequest, ProjectId, SnapshotId},
    stacks::EnvVar,
};

struct Row {
    id: Uuid,
    instance_id: Uuid,
    project_id: Uuid,
    kind: String,
    name: String,
    description: String,
    author: String,
    engine: String,
    engine_version: String,
    nodes: i32,
    tabs: i32,
    modules: Value,
    env_sealed: Option<Vec<u8>>,
    credentials: i32,
    size_bytes: i64,
    created_at: DateTime<Utc>,
}

fn bad(column: &'static str) -> sqlx::Error {
    sqlx::Error::Decode(format!("snapshots.{column}").into())
}

fn env_place(id: SnapshotId) -> String {
    format!("snapshots/{id}/env")
}

pub(super) fn credentials_place(id: SnapshotId) -> String {
    format!("snapshots/{id}/credentials")
}

impl Row {
    fn opened(self, keys: &KeyRing) -> Result<Snapshot, Error> {
        let id = SnapshotId(self.id);
        Ok(Snapshot {
            id,
            instance: InstanceId(self.instance_id),
            project: ProjectId(self.project_id),
            kind: SnapshotKind::parse(&self.kind).ok_or_else(|| bad("kind"))?,
            name: self.name,
            description: self.description,
            author: self.author,
            engine: Engine::parse(&self.engine).ok_or_else(|| bad("engine"))?,
            engine_version: self.engine_version,
            nodes: self.nodes,
            tabs: self.tabs,
            modules: serde_json::from_value(self.modules).map_err(|_| bad("modules"))?,
            env: match self.env_sealed {
                None => Vec::new(),
                Some(sealed) => serde_json::from_slice(&keys.open(&env_place(id), &sealed)?)
                    .map_err(|_| bad("env_sealed"))?,
            },
            credentials: self.credentials,
            size_bytes: self.size_bytes,
            created_at: self.created_at,
        })
    }
}

/// `select` of [`Row`] with the given rest: the query macros take literals only.
macro_rules! select {
    ($rest:literal, $($arg:expr),* $(,)?) => {
        sqlx::query_as!(
            Row,
            "select id, instance_id, project_id, kind, name, description, author, engine, engine_version, nodes, tabs, modules,
                    env_sealed, credentials, size_bytes, created_at
             from snapshots " + $rest,
            $($arg),*
        )
    };
}

/// What only a new snapshot's row is given besides.
pub(super) struct Stored {
    /// Compressed.
    pub(super) flows: Vec<u8>,
    pub(super) credentials_sealed: Vec<u8>,
    pub(super) digests: Digests,
    pub(super) content_digest: [u8; 32],
}

pub(super) async fn insert(
    conn: &mut PgConnection,
    keys: &KeyRing,
    it: &Snapshot,
    stored: &Stored,
) -> Result<(), Error> {
    let env = (!it.env.is_empty()).then(|| seal_env(keys, it.id, &it.env));
    let result = sqlx::query!(
        "insert into snapshots (id, instance_id, project_id, kind, name, description, author, engine, engine_version, nodes, tabs,
                                modules, flows, env_sealed, credentials_sealed, credential_digests, content_digest, credentials,
                                size_bytes, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)",
        it.id.0,
        it.instance.0,
        it.project.0,
        it.kind.as_str(),
        it.name,
        it.description,
        it.author,
        it.engine.as_str(),
        it.engine_version,
        it.nodes,
        it.tabs,
        serde_json::json!(it.modules),
        stored.flows,
        env,
        stored.credentials_sealed,
        serde_json::json!(stored.digests),
        stored.content_digest.as_slice(),
        it.credentials,
        it.size_bytes,
        it.created_at,
    )
    .execute(conn)
    .await;
    match result {
        Err(error) if db::is_violation(&error, "snapshots_instance_id_fkey") => {
            Err(crate::instances::Error::NotFound.into())
        }
        other => Ok(other.map(|_| ())?),
    }
}

fn seal_env(keys: &KeyRing, id: SnapshotId, env: &[EnvVar]) -> Vec<u8> {
    let json = serde_json::to_vec(env).unwrap_or_default();
    keys.seal(&env_place(id), &json)
}

pub(super) async fn get(
    conn: &mut PgConnection,
    keys: &KeyRing,
    id: SnapshotId,
) -> Result<Option<Snapshot>, Error> {
    let row = select!("where id = $1", id.0).fetch_optional(conn).await?;
    row.map(|it| it.opened(keys)).transpose()
}

/// Newest first.
pub(super) async fn list(
    conn: &mut PgConnection,
    keys: &KeyRing,
    instance: InstanceId,
    kind: Option<SnapshotKind>,
    page: PageRequest,
) -> Result<Vec<Snapshot>, Error> {
    let rows = select!(
        "where instance_id = $1 and ($2::text is null or kind = $2) and ($3::uuid is null or id < $3)
         order by id desc limit $4",
        instance.0,
        kind.map(SnapshotKind::as_str),
        page.after,
        page.fetch(),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(|it| it.opened(keys)).collect()
}

/// The heavy part of a snapshot.
pub(super) struct Heavy {
    /// Compressed.
    pub(super) flows: Vec<u8>,
    pub(super) credentials_sealed: Vec<u8>,
    pub(super) digests: Digests,
}

pub(super) async fn heavy(conn: &mut PgConnection, id: SnapshotId) -> sqlx::Result<Option<Heavy>> {
    let row = sqlx::query!(
        "select flows, credentials_sealed, credential_digests from snapshots where id = $1",
        id.0
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| {
        let digests = serde_json::from_value(row.credential_digests);
        Ok(Heavy {
            flows: row.flows,
            credentials_sealed: row.credentials_sealed,
            digests: digests.map_err(|_| bad("credential_digests"))?,
        })
    })
    .transpose()
}

/// The newest snapshot, when its content is that.
pub(super) async fn newest_if(
    conn: &mut PgConnection,
    instance: InstanceId,
    content_digest: &[u8; 32],
) -> sqlx::Result<Option<SnapshotId>> {
    let newest = sqlx::query!(
        "select id, content_digest from snapshots where instance_id = $1 order by id desc limit 1",
        instance.0
    )
    .fetch_optional(conn)
    .await?;
    let same = newest.filter(|it| it.content_digest == content_digest);
    Ok(same.map(|it| SnapshotId(it.id)))
}

pub(super) async fn count(
    conn: &mut PgConnection,
    instance: InstanceId,
    kind: SnapshotKind,
) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"select count(*) as "n!" from snapshots where instance_id = $1 and kind = $2"#,
        instance.0,
        kind.as_str()
    )
    .fetch_one(conn)
    .await
}

/// Removes all of that kind but the newest, and `spare`.
pub(super) async fn trim(
    conn: &mut PgConnection,
    instance: InstanceId,
    kind: SnapshotKind,
    keep: i64,
    spare: Option<SnapshotId>,
) -> sqlx::Result<u64> {
    let result = sqlx::query!(
        "delete from snapshots where instance_id = $1 and kind = $2 and id is distinct from $4
           and id not in (select id from snapshots where instance_id = $1 and kind = $2 order by id desc limit $3)",
        instance.0,
        kind.as_str(),
        keep,
        spare.map(|it| it.0),
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected())
}

pub(super) async fn relabel(
    conn: &mut PgConnection,
    id: SnapshotId,
    name: &str,
    description: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update snapshots set name = $2, description = $3 where id = $1",
        id.0,
        name,
        description
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn delete(conn: &mut PgConnection, id: SnapshotId) -> sqlx::Result<()> {
    sqlx::query!("delete from snapshots where id = $1", id.0)
        .execute(conn)
        .await?;
    Ok(())
}

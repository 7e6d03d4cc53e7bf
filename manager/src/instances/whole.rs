//! What a backup of the whole installation needs of the instances, and what a
//! restore of it leaves to be put right.
use sqlx::PgConnection;
use uuid::Uuid;

use super::Instances;
use crate::{kernel::InstanceId, runtime};

/// An instance as a backup lists it.
#[derive(Clone, Debug)]
pub struct Listed {
    pub id: InstanceId,
    pub name: String,
    pub subdomain: String,
    pub image: String,
    /// `running` or `stopped`
    pub desired: String,
}

/// All instances but those on their way out, oldest first.
pub async fn list_all(conn: &mut PgConnection) -> sqlx::Result<Vec<Listed>> {
    let rows = sqlx::query!(
        "select i.id, i.name, i.subdomain, s.image, i.desired from instances i join stacks s on s.id = i.stack_id
         where i.desired <> 'absent' order by i.id"
    )
    .fetch_all(conn)
    .await?;
    let listed = |id: Uuid, name, subdomain, image, desired| Listed {
        id: InstanceId(id),
        name,
        subdomain,
        image,
        desired,
    };
    Ok(rows
        .into_iter()
        .map(|it| listed(it.id, it.name, it.subdomain, it.image, it.desired))
        .collect())
}

/// The rows are from another time and perhaps another machine: what was seen
/// there is forgotten. Each instance that should run gets a new container, also
/// where an old one is left whose files are no longer these; a restore that was
/// under way has lost its files.
pub async fn after_restore_of_all(conn: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!(
        "update instances
         set status = case desired when 'running' then 'creating' when 'stopped' then 'stopped' else 'deleting' end,
             status_detail = null, upstream = null, crashes_seen = 0, crash_count = 0, last_crash_at = null,
             attempts = 0, retry_at = null, started_at = null, frozen_until = null, restart_needed = false,
             restart_wanted = restart_wanted + (case desired when 'running' then 1 else 0 end)"
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "update restores set state = 'failed', finished_at = now(),
                detail = 'cut short: the whole installation was restored from a backup that was made meanwhile'
         where finished_at is null"
    )
    .execute(conn)
    .await?;
    Ok(())
}

impl Instances {
    /// Fails when the container engine does not answer.
    pub async fn ask_engine(&self) -> Result<(), runtime::Error> {
        self.parts.runtime.list().await.map(drop)
    }
}

use std::time::Duration;

use super::{Error, Identity, projects, sessions};
use crate::{
    audit::{self, Event},
    jobs::Job,
    kernel::{Actor, ProjectId},
};

/// How much one pass takes on; the next one goes on.
const BATCH: i64 = 500;

/// Removes what is over: expired sessions, and deleted projects whose
/// instances are gone.
pub struct Purge {
    pub identity: Identity,
}

#[async_trait::async_trait]
impl Job for Purge {
    const NAME: &'static str = "identity.purge";
    const PERIOD: Duration = Duration::from_secs(10);
    type Error = Error;

    async fn run(&self) -> Result<(), Error> {
        let it = &self.identity;
        let now = it.clock.now();
        let mut tx = it.db.begin_system().await?;
        sessions::store::delete_expired(&mut tx, now, BATCH).await?;
        projects::store::empty_deleting(&mut tx, now).await?;
        let emptied = projects::store::emptied(&mut tx, BATCH).await?;
        tx.commit().await?;
        for project in emptied {
            if let Err(error) = self.remove(project).await {
                // Something of it is left in another slice: a later pass.
                tracing::warn!(project.id = %project, %error, "project {project} is not empty yet: {error}");
            }
        }
        Ok(())
    }
}

impl Purge {
    async fn remove(&self, project: ProjectId) -> sqlx::Result<()> {
        let it = &self.identity;
        let mut tx = it.db.begin_system().await?;
        let Some(name) = projects::store::delete(&mut tx, project).await? else {
            return Ok(()); // another manager was faster
        };
        let event = Event::new("project.purge", Some(project), "project", project, name);
        let actor = Actor::System(Self::NAME);
        audit::record(&mut tx, &actor, it.clock.now(), event).await?;
        tx.commit().await
    }
}

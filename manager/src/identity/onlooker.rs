//! Streams outlive the request that opened them; the right to them may end.
use std::time::Duration;

use super::{Error, Identity, Role};
use crate::{
    db::{Change, Changes, Topic},
    kernel::{Actor, DomainError as _, Kind, ProjectId},
};

/// How often it is asked again without being told: the end of a session is
/// told to nobody.
const RECHECK: Duration = Duration::from_secs(15);

impl Identity {
    /// Fails unless the actor is still signed in and sees the project.
    pub async fn still_looks(&self, actor: &Actor, project: ProjectId) -> Result<(), Error> {
        self.still_signed_in(actor).await?;
        let mut tx = self.db.begin_as(actor).await?;
        self.require(&mut tx, actor, project, Role::Viewer).await?;
        Ok(())
    }

    /// Returns when the actor may no longer look at the project. A database
    /// that is away shuts nobody out.
    pub async fn until_shut_out(self, changes: Changes, actor: Actor, project: ProjectId) {
        let mut changes = changes.subscribe();
        let mut period = tokio::time::interval(RECHECK);
        loop {
            tokio::select! {
                _ = period.tick() => {}
                change = changes.next() => match change {
                    None => return,
                    Some(Change::All | Change::Row { topic: Topic::Access, .. }) => {}
                    Some(Change::Row { .. }) => continue,
                },
            }
            match self.still_looks(&actor, project).await {
                Err(error) if error.kind() != Kind::Unavailable => return,
                _ => {}
            }
        }
    }
}

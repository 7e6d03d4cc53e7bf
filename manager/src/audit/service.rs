use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Entry, Error, Event, Filter, store};
use crate::{
    db::Db,
    kernel::{Actor, Page, PageRequest},
};

/// Writes one line of the audit log, in the caller's transaction.
pub async fn record(
    tx: &mut PgConnection,
    actor: &Actor,
    at: DateTime<Utc>,
    event: Event,
) -> sqlx::Result<()> {
    store::insert(tx, actor, at, &event).await?;
    tracing::info!(
        audit.action = event.action,
        audit.target = %event.target.id,
        "{} {} {}", event.action, event.target.kind, event.target.name,
    );
    Ok(())
}

#[derive(Clone)]
pub struct Audit {
    pub(super) db: Db,
}

impl Audit {
    pub fn new(db: Db) -> Self {
        Self { db }
    }

    /// What the actor may see: an administrator all, others what belongs to
    /// their projects. Row-level security decides.
    pub async fn list(
        &self,
        actor: &Actor,
        filter: &Filter,
        page: PageRequest,
    ) -> Result<Page<Entry>, Error> {
        let mut tx = self.db.begin_as(actor).await?;
        let entries = store::list(&mut tx, filter, page).await?;
        Ok(Page::cut(entries, page, |it| it.id.0))
    }
}

//! Who answers for a host and who may come in, as of this moment.
mod guard;
mod manager;
mod table;
mod watch;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use tokio::{sync::watch as notify, time::Instant};

pub(crate) use guard::Guard;
pub(crate) use manager::{Manager, RedeemError};
pub(crate) use table::{CompiledRoute, Destination, Session, Table, WebhookPolicy};
pub(crate) use watch::{follow_feed, follow_file, load_cache, load_file, write_private};

/// The table in use. Readers take a snapshot; a new table replaces the whole.
pub(crate) struct Tables {
    current: ArcSwapOption<Table>,
    changed: notify::Sender<()>,
    /// When the source of tables last answered.
    heard: Mutex<Option<Instant>>,
}

impl Tables {
    pub(crate) fn new() -> Self {
        Self {
            current: ArcSwapOption::empty(),
            changed: notify::Sender::new(()),
            heard: Mutex::new(None),
        }
    }

    /// `None` until a first table came.
    pub(crate) fn current(&self) -> Option<Arc<Table>> {
        self.current.load_full()
    }

    pub(crate) fn is_current(&self, table: &Arc<Table>) -> bool {
        self.current
            .load()
            .as_ref()
            .is_some_and(|current| Arc::ptr_eq(current, table))
    }

    pub(crate) fn publish(&self, table: Table) {
        for problem in &table.problems {
            tracing::error!(%problem, "a route in the table is wrong");
        }
        tracing::info!(
            routes = table.len(),
            revision = table.revision,
            "took a route table"
        );
        self.current.store(Some(Arc::new(table)));
        self.changed.send_replace(());
    }

    /// The source of tables has just answered, with or without a change.
    fn heard(&self) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// How long ago the source of tables last answered.
    pub(crate) fn age(&self) -> Option<Duration> {
        let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.map(|heard| heard.elapsed())
    }

    fn subscribe(&self) -> notify::Receiver<()> {
        self.changed.subscribe()
    }
}

//! Snapshots that nobody asks for: after deploys, and before upgrades.
use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::FutureExt as _;
use serde_json::json;

use super::{Error, Snapshot, SnapshotKind, Snapshots, model::Label, service::Taking};
use crate::{
    identity::Role,
    instances::BeforeUpgrade,
    kernel::{Actor, InstanceId, UserId},
};

/// Deploys of one instance that come closer are one.
const GAP: Duration = Duration::from_secs(1);
/// So many instances at once; the notices of more are lost.
const WAITING_MAX: usize = 1000;

/// The instances whose deploys are being looked at, and whether, and by whom,
/// there was another one meanwhile.
#[derive(Clone, Default)]
pub(super) struct Deploys(Arc<Mutex<HashMap<InstanceId, Option<Deploy>>>>);

/// Who deployed, as the instance says.
type Deploy = Option<UserId>;

impl Deploys {
    /// Whether somebody has to begin to look at it.
    fn note(&self, id: InstanceId, by: Deploy) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = WAITING_MAX <= all.len();
        match all.entry(id) {
            Entry::Occupied(mut it) => {
                it.insert(Some(by));
                false
            }
            Entry::Vacant(it) if !is_full => {
                it.insert(None);
                true
            }
            Entry::Vacant(_) => false,
        }
    }

    /// What came meanwhile; `None`, and the instance is no longer looked at,
    /// when nothing did.
    fn next(&self, id: InstanceId) -> Option<Deploy> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = all.get_mut(&id).and_then(Option::take);
        if next.is_none() {
            all.remove(&id);
        }
        next
    }
}

impl Snapshots {
    /// Flows were deployed: takes a snapshot in the background, if something
    /// has changed.
    pub(super) fn deployed(&self, id: InstanceId, by: Deploy) {
        if self.deploys.note(id, by) {
            tokio::spawn(self.clone().follow(id, by));
        }
    }

    async fn follow(self, id: InstanceId, mut by: Deploy) {
        loop {
            let taking = std::panic::AssertUnwindSafe(self.after_deploy(id, by));
            match taking.catch_unwind().await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => {
                    tracing::warn!(instance.id = %id, %error, "no snapshot of a deploy: {error}");
                }
                Err(_) => tracing::error!(instance.id = %id, "taking a snapshot panicked"),
            }
            tokio::time::sleep(GAP).await;
            match self.deploys.next(id) {
                Some(next) => by = next,
                None => return,
            }
        }
    }

    async fn after_deploy(&self, id: InstanceId, by: Deploy) -> Result<Option<Snapshot>, Error> {
        let author = match by {
            Some(user) => self.member(id, user).await.ok(),
            None => None,
        };
        let name = match &author {
            Some(Actor::User(user)) => user.name.clone(),
            _ => "the editor".to_owned(),
        };
        self.automatic(id, "Deploy", name, true).await
    }

    async fn automatic(
        &self,
        id: InstanceId,
        name: &str,
        author: String,
        only_if_changed: bool,
    ) -> Result<Option<Snapshot>, Error> {
        let actor = Actor::System("snapshots.automatic");
        let outline = self.outline(&actor, id, Role::Member).await?;
        let state = self.read(&outline).await?;
        let taking = Taking {
            kind: SnapshotKind::Auto,
            label: Label::ours(name),
            author,
            only_if_changed,
            spare: None,
            detail: json!({}),
        };
        self.keep(&actor, id, state, taking).await
    }
}

#[async_trait::async_trait]
impl BeforeUpgrade for Snapshots {
    async fn before_upgrade(&self, id: InstanceId, to: &str) {
        let name = format!("Before upgrade to {to}");
        let taken = self.automatic(id, &name, "Openflow".to_owned(), false);
        if let Err(error) = taken.await {
            tracing::warn!(instance.id = %id, %error, "no snapshot before the upgrade: {error}");
        }
    }
}

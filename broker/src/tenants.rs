//! Which tenants are in memory.
use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{runtime::Handle, sync};
use uuid::Uuid;

use crate::{
    lock,
    settings::Settings,
    stats::Stats,
    tenant::{Lease, Tenant},
};

/// Begins the names of folders that are to be removed.
const TRASH: &str = ".removed-";

/// A place for one tenant.
#[derive(Default)]
struct Slot {
    /// Held by whoever opens or closes the core.
    changing: sync::Mutex<()>,
    core: Mutex<Option<Arc<Tenant>>>,
}

pub(crate) struct Tenants {
    settings: Arc<Settings>,
    runtime: Handle,
    slots: Mutex<HashMap<Uuid, Arc<Slot>>>,
    /// What tenants counted that have left memory.
    past: Mutex<Stats>,
}

impl Tenants {
    pub(crate) fn new(settings: Arc<Settings>, runtime: Handle) -> Self {
        Self {
            settings,
            runtime,
            slots: Mutex::default(),
            past: Mutex::default(),
        }
    }

    fn slot(&self, id: Uuid) -> Arc<Slot> {
        Arc::clone(lock(&self.slots).entry(id).or_default())
    }

    /// The tenant's core, opened if need be, and kept as long as the lease is.
    ///
    /// # Errors
    /// When its storage cannot be opened.
    pub(crate) async fn lease(&self, id: Uuid) -> io::Result<Lease> {
        let slot = self.slot(id);
        let _changing = slot.changing.lock().await;
        if let Some(tenant) = &*lock(&slot.core) {
            if tenant.closing.is_cancelled() {
                return Err(io::Error::other("the tenant is being removed"));
            }
            return Ok(tenant.lease());
        }
        let settings = Arc::clone(&self.settings);
        // The storage's tasks live in the runtime in which it is opened: the broker's, whoever calls.
        let opening = self
            .runtime
            .spawn(async move { Tenant::open(id, &settings).await });
        let tenant = opening.await.map_err(io::Error::other)??;
        let lease = tenant.lease();
        *lock(&slot.core) = Some(tenant);
        Ok(lease)
    }

    pub(crate) fn open(&self) -> Vec<Arc<Tenant>> {
        let slots = lock(&self.slots);
        let cores = slots.values().filter_map(|slot| lock(&slot.core).clone());
        cores.collect()
    }

    pub(crate) fn get(&self, id: Uuid) -> Option<Arc<Tenant>> {
        let slots = lock(&self.slots);
        slots.get(&id).and_then(|slot| lock(&slot.core).clone())
    }

    /// Lets go of a tenant that has been unused for so long.
    pub(crate) async fn close_unused(&self, id: Uuid, since: Duration) -> Option<Arc<Tenant>> {
        let slot = self.slot(id);
        let changing = slot.changing.lock().await;
        let closed = lock(&slot.core).take_if(|tenant| tenant.is_unused(since));
        if let Some(tenant) = &closed {
            tenant.flush().await;
            lock(&self.past).add(&tenant.stats());
        }
        drop(changing);
        self.forget_slot(id, &slot);
        closed
    }

    fn forget_slot(&self, id: Uuid, slot: &Arc<Slot>) {
        let mut slots = lock(&self.slots);
        // Two: the map's and ours. Others would wait for the lock of a slot that nobody finds any more.
        if Arc::strong_count(slot) == 2 && lock(&slot.core).is_none() {
            slots.remove(&id);
        }
    }

    /// Removes a tenant with all its files. Its core must have been told to close, and its connections have ended; new
    /// ones wait until it is done, and begin with nothing.
    ///
    /// # Errors
    /// When the files cannot be removed.
    pub(crate) async fn remove(&self, id: Uuid) -> io::Result<()> {
        let slot = self.slot(id);
        let changing = slot.changing.lock().await;
        let core = lock(&slot.core).take();
        if let Some(tenant) = core {
            tenant.closing.cancel(); // if it came into memory just now
            tenant.forget_wills().await;
            tenant.flush().await;
            lock(&self.past).add(&tenant.stats());
        }
        let folder = self.settings.dir.join(id.to_string());
        let trash = self.settings.dir.join(format!("{TRASH}{}", Uuid::new_v4()));
        let removed = remove_folder(&folder, &trash).await;
        drop(changing);
        self.forget_slot(id, &slot);
        removed
    }

    pub(crate) fn past(&self) -> Stats {
        lock(&self.past).clone()
    }
}

async fn remove_folder(folder: &Path, trash: &PathBuf) -> io::Result<()> {
    match tokio::fs::rename(folder, trash).await {
        Ok(()) => tokio::fs::remove_dir_all(trash).await,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Finishes removals that a crash interrupted.
pub(crate) async fn empty_trash(dir: &Path) -> io::Result<()> {
    let mut entries = tokio::fs::read_dir(dir).await?;
    while let Some(entry) = entries.next_entry().await? {
        if entry.file_name().to_string_lossy().starts_with(TRASH) {
            tokio::fs::remove_dir_all(entry.path()).await?;
        }
    }
    Ok(())
}

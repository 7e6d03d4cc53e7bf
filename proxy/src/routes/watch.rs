//! Keeps the table current: follows the manager's feed or a file, and keeps the
//! last table on disk. An error never takes the table in use away.
use std::{
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use openflow_route_api::RouteTable;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{Manager, Table, Tables};

const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
const EMPTY_MIN: Duration = Duration::from_millis(500);
const FILE_PERIOD: Duration = Duration::from_secs(1);

/// Follows the manager's feed for ever.
pub(crate) async fn follow_feed(
    tables: Arc<Tables>,
    manager: Arc<Manager>,
    cache: Option<PathBuf>,
) {
    // The first question is without a revision: a cached table may be anything.
    let mut revision: Option<String> = None;
    let mut backoff = BACKOFF_MIN;
    loop {
        let asked = Instant::now();
        match manager.routes(revision.as_deref()).await {
            Ok(None) => {
                tables.heard();
                backoff = BACKOFF_MIN;
                // A feed that does not wait must not become a busy loop.
                sleep((asked + EMPTY_MIN).saturating_duration_since(Instant::now())).await;
            }
            Ok(Some(table)) => {
                backoff = BACKOFF_MIN;
                let same = table.revision.is_some() && table.revision == revision;
                if let Err(error) = take(&tables, &table, cache.as_deref()).await {
                    tracing::error!(
                        error = format!("{error:#}"),
                        "the feed's table is not usable"
                    );
                }
                tables.heard();
                revision = table.revision;
                if revision.is_none() || same {
                    sleep(BACKOFF_MAX).await; // nor one that ignores `after`
                }
            }
            Err(error) => {
                let error = format!("{error:#}");
                tracing::warn!(error, "the route feed failed; keeping the last table");
                sleep(jittered(backoff)).await;
                backoff = (backoff * 2).min(BACKOFF_MAX);
            }
        }
    }
}

async fn take(tables: &Tables, table: &RouteTable, cache: Option<&Path>) -> anyhow::Result<()> {
    tables.publish(Table::compile(table.clone())?);
    if let Some(cache) = cache {
        let (path, json) = (cache.to_owned(), serde_json::to_vec(table)?);
        let kept = tokio::task::spawn_blocking(move || write_private(&path, &json)).await?;
        kept.with_context(|| format!("keeping the table in {}", cache.display()))?;
    }
    Ok(())
}

/// Half to one and a half of `period`, so that proxies do not return in step.
fn jittered(period: Duration) -> Duration {
    let random = (Uuid::new_v4().as_u128() % 1000) as u32;
    period / 2 + period * random / 1000
}

/// Serves from the last table that was kept, until the feed answers.
pub(crate) fn load_cache(tables: &Tables, path: &Path) {
    if !path.exists() {
        return;
    }
    match load_file(path) {
        Ok(table) => {
            tracing::info!(path = %path.display(), "serving from the kept table until the manager answers");
            tables.publish(table);
        }
        Err(error) => tracing::warn!(error = format!("{error:#}"), "the kept table is not usable"),
    }
}

pub(crate) fn load_file(path: &Path) -> anyhow::Result<Table> {
    let read = || format!("reading the route table {}", path.display());
    let json = std::fs::read(path).with_context(read)?;
    let table: RouteTable = serde_json::from_slice(&json).with_context(read)?;
    Table::compile(table).with_context(read)
}

/// Reads a fixed table again whenever its file changes.
pub(crate) async fn follow_file(tables: Arc<Tables>, path: PathBuf) {
    let mut seen = stamp(&path);
    loop {
        sleep(FILE_PERIOD).await;
        let now = stamp(&path);
        if now.is_none() || now == seen {
            continue;
        }
        seen = now;
        match load_file(&path) {
            Ok(table) => tables.publish(table),
            Err(error) => tracing::error!(error = format!("{error:#}"), "keeping the last table"),
        }
    }
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// Replaces `path` as a whole; only our user may read it.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder {
        std::fs::create_dir_all(folder)?;
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", Uuid::new_v4()));
    let beside = PathBuf::from(beside);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    let replaced = written.and_then(|()| std::fs::rename(&beside, path));
    if replaced.is_err() {
        std::fs::remove_file(&beside).ok();
    }
    replaced
}

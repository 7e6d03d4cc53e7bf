use std::io::Read as _;

use anyhow::{Context as _, bail, ensure};
use chrono::{DateTime, Utc};
use flate2::read::GzDecoder;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::store;
use crate::{
    audit::{self, Event},
    db::{Db, MIGRATOR, Tx},
    installation::{
        Archive,
        manifest::{Kind, Manifest, Table},
        watch::{Watch, go_on},
    },
    instances,
    kernel::{Actor, Clock},
};

const PIECE: usize = 1 << 16;

/// Which database, in words that hold no secret: a restore that was cut short
/// knows its own again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target(pub String);

/// The target of `DATABASE_URL`, or the private one.
pub fn target_of(url: Option<&str>) -> Target {
    let Some(url) = url.and_then(|it| url::Url::parse(it).ok()) else {
        return Target("private".to_owned());
    };
    let host = url.host_str().unwrap_or_default();
    let port = url.port().unwrap_or(5432);
    // The host may stand among the parameters, and those may hold a password.
    let also = url.query_pairs().find(|(name, _)| name == "host");
    let also = also.map(|(_, value)| value.into_owned());
    Target(format!(
        "{host}:{port}{} {}",
        url.path(),
        also.unwrap_or_default()
    ))
}

/// A load failed, and so did emptying the database after it.
#[derive(Debug, thiserror::Error)]
#[error("the database could not be emptied again ({0})")]
pub struct NotEmptied(String);

impl From<anyhow::Error> for NotEmptied {
    fn from(why: anyhow::Error) -> Self {
        Self(format!("{why:#}"))
    }
}

/// Loads the dump into an empty database and brings it to this program's
/// schema. Fails, and changes nothing, when somebody uses the database; after
/// any other failure but [`NotEmptied`] the database is empty.
pub async fn load(
    db: &Db,
    archive: &Archive,
    clock: &dyn Clock,
    watch: &dyn Watch,
) -> anyhow::Result<()> {
    refuse_used(db).await?;
    let loaded = fill(db, archive, clock.now(), watch).await;
    if let Err(error) = &loaded
        && let Err(worse) = wipe(db).await
    {
        let both = NotEmptied::from(worse);
        return Err(anyhow::Error::new(both).context(format!("{error:#}")));
    }
    loaded
}

fn restored(manifest: &Manifest) -> Event {
    let name = manifest.public_url.as_str();
    let detail = json!({"madeAt": manifest.created_at, "madeBy": manifest.openflow});
    let id = "";
    Event::new("installation.restore", None, "installation", id, name).with(detail)
}

async fn fill(
    db: &Db,
    archive: &Archive,
    now: DateTime<Utc>,
    watch: &dyn Watch,
) -> anyhow::Result<()> {
    let manifest = archive.manifest();
    let version = manifest.database.schema_version;
    db.migrate_to(version)
        .await
        .context("cannot bring the database to the dump's schema")?;
    load_rows(db, archive, watch).await?;
    db.migrate()
        .await
        .context("cannot bring the database to this version's schema")?;
    let mut tx = db.begin_system().await?;
    instances::after_restore_of_all(&mut tx).await?;
    let actor = Actor::System("openflow restore");
    audit::record(&mut tx, &actor, now, restored(manifest)).await?;
    tx.commit().await?;
    Ok(())
}

/// Removes everything of ours from the database.
pub async fn wipe(db: &Db) -> anyhow::Result<()> {
    let mut tx = db.begin_system().await?;
    store::unhurried(&mut tx).await?;
    store::drop_all(&mut tx).await?;
    tx.commit().await?;
    Ok(())
}

/// A dump of a newer schema than this program's.
pub(in crate::installation) fn refuse_newer(manifest: &Manifest) -> anyhow::Result<()> {
    let theirs = manifest.database.schema_version;
    let known = MIGRATOR.iter().any(|it| it.version == theirs);
    let newest = MIGRATOR.iter().map(|it| it.version).max();
    if newest.is_some_and(|ours| ours < theirs) {
        bail!(
            "the archive was made by Openflow {}, which is newer than this one ({}): its database is at version {theirs}, this one knows up to {}. Install Openflow {} or later.",
            manifest.openflow,
            env!("CARGO_PKG_VERSION"),
            newest.unwrap_or_default(),
            manifest.openflow,
        );
    }
    ensure!(
        known,
        "the archive's database is at version {theirs}, which this Openflow {} never had. Use the release that made it ({}).",
        env!("CARGO_PKG_VERSION"),
        manifest.openflow,
    );
    Ok(())
}

/// Fails when somebody uses the database.
pub async fn refuse_used(db: &Db) -> anyhow::Result<()> {
    let mut tx = db.begin_system().await?;
    if !store::has_tables(&mut tx).await? {
        return Ok(());
    }
    ensure!(
        store::is_ours(&mut tx).await?,
        "the database holds tables that are not Openflow's. Make an empty database and name it in DATABASE_URL. Nothing was changed."
    );
    ensure!(
        !store::has_users(&mut tx).await?,
        "the database has users already: it belongs to an installation. Make an empty database and name it in DATABASE_URL. Nothing was changed."
    );
    Ok(())
}

async fn load_rows(db: &Db, archive: &Archive, watch: &dyn Watch) -> anyhow::Result<()> {
    let info = &archive.manifest().database;
    let mut tx = db.begin_system().await?;
    store::unhurried(&mut tx).await?;
    let here = store::tables(&mut tx).await?;
    check_tables(&here, &info.tables)?;
    store::set_triggers(&mut tx, &here, false).await?;
    store::empty(&mut tx, &here).await?;
    let total = info.tables.iter().map(|it| it.bytes).sum();
    watch.begin("Loading the database", total);
    let mut done = 0;
    for table in &info.tables {
        let rows = load_table(&mut tx, archive, table, (watch, &mut done)).await;
        let rows = rows.with_context(|| format!("cannot load the table {}", table.name))?;
        ensure!(
            rows == table.rows,
            "the archive is damaged: the table {} has {rows} rows, and openflow.json says {}",
            table.name,
            table.rows
        );
    }
    for sequence in &info.sequences {
        store::set_sequence(&mut tx, sequence).await?;
    }
    store::set_triggers(&mut tx, &here, true).await?;
    tx.commit().await?;
    Ok(())
}

/// Names come from the archive and get into SQL text: only such that the
/// migrations made.
fn check_tables(here: &[Table], dumped: &[Table]) -> anyhow::Result<()> {
    for table in dumped {
        let same = here.iter().find(|it| it.name == table.name);
        ensure!(
            same.is_some_and(|it| it.columns == table.columns),
            "the archive's table {:?} is not as this Openflow made it at that version. Use the unmodified release that made the archive.",
            table.name
        );
    }
    Ok(())
}

async fn load_table(
    tx: &mut Tx,
    archive: &Archive,
    table: &Table,
    (watch, done): (&dyn Watch, &mut u64),
) -> anyhow::Result<u64> {
    let content = archive.content(&Kind::Table(table.name.clone()))?;
    let mut rows = GzDecoder::new(content).take(table.bytes + 1);
    let mut copy = store::copy_in(tx, table).await?;
    let mut piece = vec![0; PIECE];
    let sent = loop {
        let count = match go_on(watch).and_then(|()| Ok(rows.read(&mut piece)?)) {
            Ok(0) => break Ok(()),
            Ok(count) => count,
            Err(error) => break Err(error),
        };
        if let Err(error) = copy.send(&piece[..count]).await {
            break Err(error.into());
        }
        *done += count as u64;
        watch.done(*done);
    };
    match sent {
        Ok(()) => Ok(copy.finish().await?),
        Err(error) => {
            // The transaction is rolled back in any case.
            let _ = copy.abort("stopped").await;
            Err(error)
        }
    }
}

use std::io::Write as _;

use anyhow::{Context as _, ensure};
use flate2::{Compression, write::GzEncoder};
use futures_util::TryStreamExt as _;
use sqlx::PgConnection;

use super::{order, store};
use crate::{
    db::{Db, MIGRATOR, Tx},
    installation::{
        container::Writer,
        manifest::{DatabaseInfo, Kind, Table, is_plain},
        space::Guard,
        watch::{Watch, go_on},
    },
};

const LEVEL: u32 = 6;

/// A dump under way: its transaction sees one moment.
pub(in crate::installation) struct Dump {
    pub(in crate::installation) tx: Tx,
    schema_version: i64,
}

impl Dump {
    /// Fails when the database is not of this program's version.
    pub(in crate::installation) async fn begin(db: &Db) -> anyhow::Result<Self> {
        let schema_version = db.schema_version().await?;
        let schema_version = schema_version.context("the database is empty: nothing to back up")?;
        let newest = MIGRATOR.iter().map(|it| it.version).max();
        ensure!(
            Some(schema_version) == newest,
            "the database is at version {schema_version}, and this Openflow {} works with version {}. Use the openflow that runs here, or openflow migrate first.",
            env!("CARGO_PKG_VERSION"),
            newest.unwrap_or_default(),
        );
        let mut tx = db.begin_system().await?;
        store::begin_snapshot(&mut tx).await?;
        Ok(Self { tx, schema_version })
    }

    /// Names and sealed values of the installation's own secrets.
    pub(in crate::installation) async fn sealed_secrets(
        &mut self,
    ) -> sqlx::Result<Vec<(String, Vec<u8>)>> {
        store::sealed_secrets(&mut self.tx).await
    }
}

/// Writes every table as an entry of its own.
pub(in crate::installation) async fn dump(
    dump: &mut Dump,
    out: &mut Writer,
    guard: &Guard,
    watch: &dyn Watch,
) -> anyhow::Result<DatabaseInfo> {
    let conn: &mut PgConnection = &mut dump.tx;
    let server = store::server_version(conn).await?;
    let found = store::tables(conn).await?;
    let mut tables = order::loadable(found, &store::references(conn).await?)?;
    watch.begin("Copying the database", 0);
    let mut done = 0;
    for table in &mut tables {
        let names = std::iter::once(&table.name).chain(&table.columns);
        ensure!(
            names.clone().all(|it| is_plain(it)),
            "the table {:?} is none of ours",
            table.name
        );
        out.begin(&Kind::Table(table.name.clone()))?;
        let mut gzip = GzEncoder::new(&mut *out, Compression::new(LEVEL));
        let mut rows = store::copy_out(conn, table).await?;
        let (mut lines, mut bytes) = (0, 0);
        while let Some(piece) = rows.try_next().await? {
            go_on(watch)?;
            gzip.write_all(&piece)?;
            // A line break inside of a value is written as \n.
            lines += piece.iter().filter(|it| **it == b'\n').count() as u64;
            bytes += piece.len() as u64;
            watch.done(done + bytes);
        }
        drop(rows);
        gzip.finish()?;
        out.end()?;
        guard.check()?;
        done += bytes;
        *table = Table {
            rows: lines,
            bytes,
            ..table.clone()
        };
    }
    Ok(DatabaseInfo {
        schema_version: dump.schema_version,
        server,
        sequences: store::sequences(conn).await?,
        tables,
    })
}

//! What the catalogue says of our tables, and the statements that are made of
//! it. Names are of our own migrations, checked by `is_plain`.
use futures_util::{StreamExt as _, stream::BoxStream};
use sqlx::{AssertSqlSafe, PgConnection, postgres::PgCopyIn};

use crate::installation::manifest::{Sequence, Table};

/// sqlx's own list of migrations: it is made anew by migrating.
const MIGRATIONS: &str = "_sqlx_migrations";

/// One snapshot for all that follows, however long it takes.
pub(super) async fn begin_snapshot(conn: &mut PgConnection) -> sqlx::Result<()> {
    run(
        conn,
        "set transaction isolation level repeatable read, read only",
    )
    .await?;
    unhurried(conn).await
}

/// Whole tables take longer than a request may.
pub(super) async fn unhurried(conn: &mut PgConnection) -> sqlx::Result<()> {
    run(conn, "set local statement_timeout = 0").await?;
    run(conn, "set local idle_in_transaction_session_timeout = 0").await
}

pub(super) async fn server_version(conn: &mut PgConnection) -> sqlx::Result<String> {
    sqlx::query_scalar!(r#"select current_setting('server_version') as "version!""#)
        .fetch_one(conn)
        .await
}

/// All tables with the columns that are stored, by name; rows are not counted.
pub(super) async fn tables(conn: &mut PgConnection) -> sqlx::Result<Vec<Table>> {
    let rows = sqlx::query!(
        r#"select c.relname::text as "name!",
                  array(select a.attname::text from pg_attribute a
                        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
                        order by a.attnum) as "columns!"
           from pg_class c
           where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
             and c.relname <> $1
           order by c.relname"#,
        MIGRATIONS
    )
    .fetch_all(conn)
    .await?;
    let table = |name, columns| Table {
        name,
        columns,
        rows: 0,
        bytes: 0,
    };
    Ok(rows
        .into_iter()
        .map(|it| table(it.name, it.columns))
        .collect())
}

/// Pairs of tables: the first refers to the second.
pub(super) async fn references(conn: &mut PgConnection) -> sqlx::Result<Vec<(String, String)>> {
    let rows = sqlx::query!(
        r#"select distinct child.relname::text as "child!", parent.relname::text as "parent!"
           from pg_constraint k
           join pg_class child on child.oid = k.conrelid
           join pg_class parent on parent.oid = k.confrelid
           where k.contype = 'f' and child.relnamespace = current_schema()::regnamespace and k.conrelid <> k.confrelid"#
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|it| (it.child, it.parent)).collect())
}

/// Those that were used.
pub(super) async fn sequences(conn: &mut PgConnection) -> sqlx::Result<Vec<Sequence>> {
    let rows = sqlx::query!(
        r#"select sequencename::text as "name!", last_value as "last!" from pg_sequences
           where schemaname = current_schema() and last_value is not null order by sequencename"#
    )
    .fetch_all(conn)
    .await?;
    let sequence = |name, last| Sequence { name, last };
    Ok(rows
        .into_iter()
        .map(|it| sequence(it.name, it.last))
        .collect())
}

pub(super) async fn set_sequence(conn: &mut PgConnection, it: &Sequence) -> sqlx::Result<()> {
    sqlx::query!("select setval($1::text::regclass, $2)", it.name, it.last)
        .fetch_one(conn)
        .await?;
    Ok(())
}

/// The table's rows as COPY text, in pieces.
pub(super) async fn copy_out<'a>(
    conn: &'a mut PgConnection,
    table: &Table,
) -> sqlx::Result<BoxStream<'a, sqlx::Result<bytes::Bytes>>> {
    let text = format!(
        "copy {} ({}) to stdout",
        quoted(&table.name),
        columns(table)
    );
    Ok(conn.copy_out_raw(&text).await?.boxed())
}

pub(super) async fn copy_in<'a>(
    conn: &'a mut PgConnection,
    table: &Table,
) -> sqlx::Result<PgCopyIn<&'a mut PgConnection>> {
    let text = format!(
        "copy {} ({}) from stdin",
        quoted(&table.name),
        columns(table)
    );
    conn.copy_in_raw(&text).await
}

/// Also what the migrations put in.
pub(super) async fn empty(conn: &mut PgConnection, tables: &[Table]) -> sqlx::Result<()> {
    if tables.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = tables.iter().map(|it| quoted(&it.name)).collect();
    run(conn, format!("truncate {}", names.join(", "))).await
}

/// Notices and the like are for changes; these rows are as they were. Foreign
/// keys are checked all the same.
pub(super) async fn set_triggers(
    conn: &mut PgConnection,
    tables: &[Table],
    on: bool,
) -> sqlx::Result<()> {
    let verb = if on { "enable" } else { "disable" };
    for table in tables {
        let name = quoted(&table.name);
        run(conn, format!("alter table {name} {verb} trigger user")).await?;
    }
    Ok(())
}

/// Whether there is any table at all.
pub(super) async fn has_tables(conn: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select from pg_class where relnamespace = current_schema()::regnamespace and relkind in ('r', 'p')) as "it!""#
    )
    .fetch_one(conn)
    .await
}

/// Whether `_sqlx_migrations` is there: then the tables are ours.
pub(super) async fn is_ours(conn: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select to_regclass($1) is not null and to_regclass('users') is not null as "it!""#,
        MIGRATIONS
    )
    .fetch_one(conn)
    .await
}

pub(super) async fn has_users(conn: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar!(r#"select exists (select from users) as "it!""#)
        .fetch_one(conn)
        .await
}

/// Names and sealed values of the installation's own secrets.
pub(super) async fn sealed_secrets(
    conn: &mut PgConnection,
) -> sqlx::Result<Vec<(String, Vec<u8>)>> {
    let rows = sqlx::query!("select name, value_sealed from secrets")
        .fetch_all(conn)
        .await?;
    Ok(rows
        .into_iter()
        .map(|it| (it.name, it.value_sealed))
        .collect())
}

/// Everything of ours goes.
pub(super) async fn drop_all(conn: &mut PgConnection) -> sqlx::Result<()> {
    let schema = sqlx::query_scalar!(r#"select current_schema()::text as "schema!""#)
        .fetch_one(&mut *conn)
        .await?;
    let schema = format!("\"{}\"", schema.replace('"', "\"\""));
    run(conn, format!("drop schema {schema} cascade")).await?;
    run(conn, format!("create schema {schema}")).await
}

fn columns(table: &Table) -> String {
    let names: Vec<String> = table.columns.iter().map(|it| quoted(it)).collect();
    names.join(", ")
}

/// A column may have a reserved word's name.
fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

async fn run(conn: &mut PgConnection, text: impl Into<String>) -> sqlx::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(text.into()))
        .execute(conn)
        .await?;
    Ok(())
}

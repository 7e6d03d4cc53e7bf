//! What is said to the operator's server. Statements that make and remove take
//! no parameters and do not run in a transaction; names are our own, of letters,
//! digits and `_`, and what is kept of a password has no quotes.
//!
//! Invariant: tenants write to databases of this server, perhaps to the one that
//! we are connected to: nothing is looked up but in `pg_catalog`
//! ([`connect`]).
use sqlx::{AssertSqlSafe, ConnectOptions as _, PgConnection, postgres::PgConnectOptions};

use super::model::Login;
use crate::crypto::scram_verifier;

/// An n8n takes two connections, a restore one; the rest is for who looks in.
const CONNECTIONS_MAX: u32 = 16;
/// `dependent_objects_still_exist`
const STILL_USED: &str = "2BP01";

pub(super) async fn connect(options: &PgConnectOptions) -> sqlx::Result<PgConnection> {
    let options = options.clone().options([("search_path", "pg_catalog")]);
    options.disable_statement_logging().connect().await
}

async fn run(conn: &mut PgConnection, sql: String) -> sqlx::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(conn)
        .await
        .map(drop)
}

/// Until the connection ends, nobody else of us makes or removes what has this
/// name.
pub(super) async fn lock(conn: &mut PgConnection, name: &str) -> sqlx::Result<()> {
    let sql = "select pg_catalog.pg_advisory_lock(pg_catalog.hashtextextended($1::text, 0))";
    sqlx::query(sql).bind(name).execute(conn).await.map(drop)
}

/// Whether it may log in; `None` when it is not there.
pub(super) async fn role(conn: &mut PgConnection, name: &str) -> sqlx::Result<Option<bool>> {
    let sql = "select rolcanlogin from pg_catalog.pg_roles where rolname = $1::name";
    sqlx::query_scalar(sql)
        .bind(name)
        .fetch_optional(conn)
        .await
}

/// A database as it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Absent,
    /// Made, and not yet closed to the others and opened to its role.
    Unfinished,
    Ready,
    /// Somebody else does not let anybody in.
    Closed,
}

pub(super) async fn database(conn: &mut PgConnection, name: &str) -> sqlx::Result<Found> {
    let sql = "select datallowconn, pg_catalog.has_database_privilege('public'::name, oid, 'connect'::text) \
               from pg_catalog.pg_database where datname = $1::name";
    let found: Option<(bool, bool)> = sqlx::query_as(sql).bind(name).fetch_optional(conn).await?;
    Ok(match found {
        None => Found::Absent,
        Some((_, true)) => Found::Unfinished,
        Some((true, false)) => Found::Ready,
        Some((false, false)) => Found::Closed,
    })
}

/// Roles and databases whose names begin so.
pub(super) async fn named(conn: &mut PgConnection, prefix: &str) -> sqlx::Result<Vec<String>> {
    let sql = "select datname::text from pg_catalog.pg_database where pg_catalog.starts_with(datname::text, $1::text) \
               union select rolname::text from pg_catalog.pg_roles where pg_catalog.starts_with(rolname::text, $1::text)";
    sqlx::query_scalar(sql).bind(prefix).fetch_all(conn).await
}

/// With this password, which the server, its log and its activity never see.
pub(super) async fn make_role(conn: &mut PgConnection, it: &Login) -> sqlx::Result<()> {
    let (name, verifier) = (&it.name, scram_verifier(&it.password));
    run(
        conn,
        format!(
            "create role \"{name}\" login password '{verifier}' connection limit {CONNECTIONS_MAX} \
             nosuperuser nocreatedb nocreaterole noreplication nobypassrls"
        ),
    )
    .await?;
    // Who is not a superuser gives a database only to roles that it is a member of.
    run(conn, format!("grant \"{name}\" to current_user")).await
}

/// A role that was taken away, and is wanted again.
pub(super) async fn open_role(conn: &mut PgConnection, it: &Login) -> sqlx::Result<()> {
    let (name, verifier) = (&it.name, scram_verifier(&it.password));
    run(
        conn,
        format!("alter role \"{name}\" login password '{verifier}'"),
    )
    .await
}

/// Nobody gets in: see [`finish_database`].
pub(super) async fn make_database(conn: &mut PgConnection, name: &str) -> sqlx::Result<()> {
    run(
        conn,
        format!(
            "create database \"{name}\" owner \"{name}\" template template0 encoding 'UTF8' \
             connection limit {CONNECTIONS_MAX} allow_connections false"
        ),
    )
    .await
}

/// Closes it to the others first. Until then it counts as unfinished.
pub(super) async fn finish_database(conn: &mut PgConnection, name: &str) -> sqlx::Result<()> {
    let open = format!("alter database \"{name}\" allow_connections true");
    // In this order a killed manager leaves what is seen to be unfinished.
    run(
        conn,
        format!("begin; revoke all on database \"{name}\" from public; {open}; commit"),
    )
    .await
}

pub(super) async fn remove_database(conn: &mut PgConnection, name: &str) -> sqlx::Result<()> {
    let sql = format!("drop database if exists \"{name}\" with (force)");
    run(conn, sql).await
}

/// `false` when the server keeps it, because somebody gave it rights elsewhere
/// (any tenant may, in its own database): then nobody gets in with it.
pub(super) async fn remove_role(conn: &mut PgConnection, name: &str) -> sqlx::Result<bool> {
    let dropped = run(conn, format!("drop role if exists \"{name}\"")).await;
    match dropped {
        Err(sqlx::Error::Database(error)) if error.code().is_some_and(|it| it == STILL_USED) => {
            run(conn, format!("alter role \"{name}\" nologin password null")).await?;
            Ok(false)
        }
        other => other.map(|()| true),
    }
}

/// What the server says of itself and of us.
pub(super) struct About {
    pub(super) version: String,
    pub(super) version_num: i32,
    pub(super) may_make: bool,
    /// Whether what is granted to us counts without being asked for.
    pub(super) inherits: bool,
    /// Databases that any role may connect to.
    pub(super) open: Vec<String>,
}

pub(super) async fn about(conn: &mut PgConnection) -> sqlx::Result<About> {
    let sql = "select current_setting('server_version'::text), current_setting('server_version_num'::text)::int, \
               rolsuper or (rolcreatedb and rolcreaterole), rolsuper or rolinherit, \
               array(select datname::text from pg_catalog.pg_database \
                     where datallowconn and has_database_privilege('public'::name, oid, 'connect'::text) order by 1) \
               from pg_catalog.pg_roles where rolname = current_user";
    let (version, version_num, may_make, inherits, open) =
        sqlx::query_as(sql).fetch_one(conn).await?;
    Ok(About {
        version,
        version_num,
        may_make,
        inherits,
        open,
    })
}

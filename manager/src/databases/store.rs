//! What is said to the operator's server. None of these statements takes
//! parameters or runs in a transaction; names and passwords are our own, of
//! letters, digits and `_-`.
use sqlx::{AssertSqlSafe, PgConnection};

use super::model::Login;

/// An n8n takes two connections, a restore one; the rest is for who looks in.
const CONNECTIONS_MAX: u32 = 16;

async fn run(conn: &mut PgConnection, sql: String) -> sqlx::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(conn)
        .await
        .map(drop)
}

pub(super) async fn has_role(conn: &mut PgConnection, name: &str) -> sqlx::Result<bool> {
    let sql = "select exists (select 1 from pg_catalog.pg_roles where rolname = $1)";
    sqlx::query_scalar(sql).bind(name).fetch_one(conn).await
}

/// Whether it is there and complete: see [`make_database`].
pub(super) async fn has_database(conn: &mut PgConnection, name: &str) -> sqlx::Result<bool> {
    let sql =
        "select exists (select 1 from pg_catalog.pg_database where datname = $1 and datallowconn)";
    sqlx::query_scalar(sql).bind(name).fetch_one(conn).await
}

/// All databases whose names begin as ours do.
pub(super) async fn databases(conn: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    let sql = r"select datname::text from pg_catalog.pg_database where datname like 'openflow\_%'";
    sqlx::query_scalar(sql).fetch_all(conn).await
}

/// The role, with this password from now on.
pub(super) async fn make_role(
    conn: &mut PgConnection,
    it: &Login,
    is_new: bool,
) -> sqlx::Result<()> {
    let (name, password) = (&it.name, it.password.expose());
    let rights = format!("login connection limit {CONNECTIONS_MAX} password '{password}'");
    // Saying again what only a superuser may change is refused, even where it is so already.
    let sql = match is_new {
        true => format!(
            "create role \"{name}\" {rights} nosuperuser nocreatedb nocreaterole noreplication nobypassrls"
        ),
        false => format!("alter role \"{name}\" {rights}"),
    };
    run(conn, sql).await?;
    // Who is not a superuser gives a database only to roles that it is a member of.
    run(conn, format!("grant \"{name}\" to current_user")).await
}

/// Nobody gets in before it is closed to the others.
pub(super) async fn make_database(conn: &mut PgConnection, name: &str) -> sqlx::Result<()> {
    remove_database(conn, name).await?;
    run(
        conn,
        format!(
            "create database \"{name}\" owner \"{name}\" template template0 encoding 'UTF8' \
             connection limit {CONNECTIONS_MAX} allow_connections false"
        ),
    )
    .await?;
    run(
        conn,
        format!("revoke all on database \"{name}\" from public"),
    )
    .await?;
    run(
        conn,
        format!("alter database \"{name}\" allow_connections true"),
    )
    .await
}

pub(super) async fn remove_database(conn: &mut PgConnection, name: &str) -> sqlx::Result<()> {
    run(
        conn,
        format!("drop database if exists \"{name}\" with (force)"),
    )
    .await
}

pub(super) async fn remove_role(conn: &mut PgConnection, name: &str) -> sqlx::Result<()> {
    run(conn, format!("drop role if exists \"{name}\"")).await
}

/// What the server says of itself and of us.
pub(super) struct About {
    pub(super) version: String,
    pub(super) version_num: i32,
    pub(super) may_make: bool,
    /// Databases that any role may connect to, but for those of ours.
    pub(super) open: Vec<String>,
}

pub(super) async fn about(conn: &mut PgConnection) -> sqlx::Result<About> {
    let sql = "select current_setting('server_version'), current_setting('server_version_num')::int, \
               (select rolsuper or (rolcreatedb and rolcreaterole) from pg_catalog.pg_roles where rolname = current_user), \
               array(select datname::text from pg_catalog.pg_database \
                     where datallowconn and has_database_privilege('public', oid, 'connect') order by datname)";
    let (version, version_num, may_make, open) = sqlx::query_as(sql).fetch_one(conn).await?;
    Ok(About {
        version,
        version_num,
        may_make,
        open,
    })
}

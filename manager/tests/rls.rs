//! The second lock. What a transaction opened as a user can see and change by
//! itself, as if every check of the services had been forgotten.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
mod support;

use std::collections::BTreeSet;

use openflow_manager::{
    db::Tx,
    kernel::{Actor, UserActor, UserId},
};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool, Row as _};
use support::{Person, TestApp};
use uuid::Uuid;

/// Of everybody who is signed in, by design.
const SHARED: [&str; 2] = ["stacks", "templates"];

/// A tenant with a row in every table, and people beside it.
struct Fixture {
    t: TestApp,
    viewer: Person,
    member: Person,
    stranger: Person,
    project: Uuid,
    strangers_project: Uuid,
    tables: BTreeSet<String>,
}

impl Fixture {
    async fn new(pool: PgPool) -> Self {
        let t = TestApp::new(pool).await;
        let (owner, stranger) = (t.person("Owner").await, t.person("Stranger").await);
        let (viewer, member) = (t.person("Viewer").await, t.person("Member").await);
        t.token(&owner, "write").await;
        let (project, strangers_project) = (t.project(&owner).await, t.project(&stranger).await);
        t.add_member(project, &viewer, "viewer").await;
        t.add_member(project, &member, "member").await;
        let instance = t.instance_row(project).await;
        t.editor_session(&owner, instance, Some(owner.session))
            .await;
        t.mqtt_client_row(project).await;
        t.snapshot_row(project, instance).await;
        t.pipeline_row(project, instance, t.instance_row(project).await)
            .await;
        t.restore_row(instance).await;
        t.backup_row(instance).await;
        seed(&t.pool, project, instance, owner.id).await;
        // What the stranger has of their own would only blur the picture.
        sqlx::query("delete from audit_log where actor_id = $1")
            .bind(stranger.id)
            .execute(&t.pool)
            .await
            .unwrap();
        let tables = tables(&t.pool).await;
        Self {
            t,
            viewer,
            member,
            stranger,
            project,
            strangers_project,
            tables,
        }
    }

    async fn begin(&self, person: &Person) -> Tx {
        let actor = Actor::User(UserActor {
            id: UserId(person.id),
            name: "test".into(),
            is_admin: false,
            session: None,
            address: None,
        });
        self.t.db.begin_as(&actor).await.unwrap()
    }

    /// What the statement did to how many rows, or why it was refused.
    async fn run(&self, person: &Person, sql: String) -> Result<u64, String> {
        let mut tx = self.begin(person).await;
        let result = sqlx::query(AssertSqlSafe(sql)).execute(&mut *tx).await;
        result
            .map(|it| it.rows_affected())
            .map_err(|it| refusal(&it))
    }

    /// Tries to insert the row, given as JSON.
    async fn insert(&self, person: &Person, table: &str, row: &Value) -> Result<u64, String> {
        let sql =
            format!("insert into {table} select * from jsonb_populate_record(null::{table}, $1)");
        let mut tx = self.begin(person).await;
        let result = sqlx::query(AssertSqlSafe(sql))
            .bind(row)
            .execute(&mut *tx)
            .await;
        result
            .map(|it| it.rows_affected())
            .map_err(|it| refusal(&it))
    }

    /// Some row of the tenant, as the owner of the tables sees it.
    async fn row(&self, table: &str) -> Value {
        let sql = format!(
            "select to_jsonb(it) from {table} it {} limit 1",
            self.tenants(table)
        );
        let row = sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_optional(&self.t.pool)
            .await
            .unwrap();
        row.unwrap_or_else(|| panic!("give the tenant a row of {table}: extend `seed`"))
    }

    /// Picks the rows that are not the stranger's own.
    fn tenants(&self, table: &str) -> String {
        let stranger = self.stranger.id;
        match table {
            "users" => format!("where id <> '{stranger}'"),
            "sessions" | "api_tokens" | "editor_sessions" | "access_tokens" => {
                format!("where user_id <> '{stranger}'")
            }
            "projects" => format!("where id <> '{}'", self.strangers_project),
            _ if SHARED.contains(&table) => String::new(),
            "setup_token" | "secrets" => String::new(),
            _ => format!("where project_id <> '{}'", self.strangers_project),
        }
    }
}

/// A row in each table that the builders of `support` do not fill. A new table
/// fails here until it has one.
async fn seed(pool: &PgPool, project: Uuid, instance: Uuid, user: Uuid) {
    for (sql, first, second) in [
        (
            "insert into hostnames (name, instance_id, project_id, kind, created_at) values ('wf1', $1, $2, 'subdomain', now())",
            instance,
            project,
        ),
        (
            "insert into access_tokens (token_hash, instance_id, user_id, created_at, expires_at) values ('x', $1, $2, now(), now())",
            instance,
            user,
        ),
        (
            "insert into setup_token (token_hash, created_at) select 'x', now() where $1 <> $2",
            instance,
            user,
        ),
        (
            "insert into secrets (name, value_sealed, created_at) select 'x', 'x', now() where $1 <> $2",
            instance,
            user,
        ),
        (
            "insert into mqtt_events (id, project_id, at, kind, username, client_id) values ($1, $2, now(), 'denied', 'x', 'x')",
            instance,
            project,
        ),
        (
            "insert into backup_turns (instance_id, project_id, at) values ($1, $2, now())",
            instance,
            project,
        ),
        (
            "insert into backup_offsite_leftovers (key, project_id, retry_at) select 'x', $1, now() where $1 <> $2",
            project,
            user,
        ),
        (
            "insert into mqtt_purges (project_id, retry_at) select $1, now() where $1 <> $2",
            project,
            user,
        ),
        (
            "insert into templates (id, name, stack_id, created_at, updated_at) select $1, 'x', id, now(), now() from stacks where id <> $2 limit 1",
            instance,
            user,
        ),
    ] {
        sqlx::query(sql)
            .bind(first)
            .bind(second)
            .execute(pool)
            .await
            .unwrap();
    }
}

async fn tables(pool: &PgPool) -> BTreeSet<String> {
    let rows = sqlx::query(
        "select relname::text from pg_class
         where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and relname <> '_sqlx_migrations'",
    );
    let rows = rows.fetch_all(pool).await.unwrap();
    rows.iter().map(|it| it.get(0)).collect()
}

/// The SQLSTATE; 42501 is what row-level security and missing grants say.
fn refusal(error: &sqlx::Error) -> String {
    let code = error.as_database_error().and_then(|it| it.code());
    code.map_or_else(|| error.to_string(), |it| it.to_string())
}

#[track_caller]
fn is_locked(result: &Result<u64, String>, what: &str) {
    let locked = match result {
        Ok(rows) => *rows == 0,
        Err(code) => code == "42501",
    };
    assert!(locked, "{what}: {result:?}");
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn every_table_has_row_level_security(pool: PgPool) {
    let open: Vec<String> = sqlx::query_scalar(
        "select relname::text from pg_class
         where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relrowsecurity
           and relname <> '_sqlx_migrations'",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert_eq!(
        open, [""; 0],
        "enable row level security and write policies"
    );
    let open: Vec<String> = sqlx::query_scalar(
        "select relname::text from pg_class
         where relnamespace = 'public'::regnamespace and relkind in ('v', 'm')
           and not coalesce(reloptions, '{}') @> array['security_invoker=true']",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert_eq!(
        open, [""; 0],
        "views pass by the policies without security_invoker"
    );
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_stranger_sees_and_changes_nothing_of_a_tenant(pool: PgPool) {
    let f = Fixture::new(pool).await;
    for table in &f.tables {
        let row = f.row(table).await;
        let rows = f.tenants(table);
        if !SHARED.contains(&&**table) {
            let seen = f
                .run(&f.stranger, format!("select 1 from {table} it {rows}"))
                .await;
            is_locked(&seen, &format!("select from {table}"));
        }
        let column = row.as_object().unwrap().keys().next().unwrap();
        let update = format!("update {table} set {column} = {column}");
        is_locked(
            &f.run(&f.stranger, format!("{update} {rows}")).await,
            &update,
        );
        let delete = format!("delete from {table} {rows}");
        is_locked(&f.run(&f.stranger, delete.clone()).await, &delete);

        let own = [
            ("user_id", json!(f.stranger.id)),
            ("actor_id", json!(f.stranger.id)),
            ("project_id", json!(f.strangers_project)),
        ];
        let insert = f.insert(&f.stranger, table, &row).await;
        // A project belongs to its maker, so making one is nobody's harm.
        if table != "projects" {
            is_locked(&insert, &format!("insert into {table}"));
        }
        // The same under the stranger's own name, or into their own project:
        // still of the tenant, as long as another column says so.
        for (column, mine) in own {
            let mut mixed = row.clone();
            let columns = mixed.as_object_mut().unwrap();
            let is_of_tenant = ["project_id", "instance_id"]
                .iter()
                .any(|it| *it != column && columns.get(*it).is_some_and(|it| !it.is_null()));
            if columns.contains_key(column) && is_of_tenant {
                columns.insert(column.into(), mine);
                let insert = f.insert(&f.stranger, table, &mixed).await;
                is_locked(
                    &insert,
                    &format!("insert into {table} with {column} of their own"),
                );
            }
        }
    }
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_viewer_writes_nothing_and_a_member_no_members(pool: PgPool) {
    let f = Fixture::new(pool).await;
    let project = f.project;
    // What there is to be written, and by whom: (viewer, member).
    let mut writable = BTreeSet::new();
    for table in &f.tables {
        let row = f.row(table).await;
        let columns = row.as_object().unwrap();
        if !columns.contains_key("project_id") {
            continue;
        }
        let column = columns.keys().next().unwrap();
        let update =
            format!("update {table} set {column} = {column} where project_id = '{project}'");
        is_locked(
            &f.run(&f.viewer, update.clone()).await,
            &format!("viewer: {update}"),
        );
        is_locked(
            &f.insert(&f.viewer, table, &row).await,
            &format!("viewer: insert into {table}"),
        );
        if f.run(&f.member, update).await.is_ok_and(|it| it > 0) {
            writable.insert(&**table);
        }
    }
    // That the test can tell the difference.
    assert!(
        ["instances", "hostnames", "mqtt_clients", "snapshots"]
            .iter()
            .all(|it| writable.contains(it))
    );
    let closed = [
        "project_members",
        "audit_log",
        "mqtt_events",
        "mqtt_purges",
        "backup_offsite_leftovers",
        "pipelines",
        "pipeline_stages",
    ];
    assert!(!closed.iter().any(|it| writable.contains(it)));

    let rename = format!("update projects set name = 'x' where id = '{project}'");
    for (who, person) in [("viewer", &f.viewer), ("member", &f.member)] {
        is_locked(
            &f.run(person, rename.clone()).await,
            &format!("{who}: {rename}"),
        );
        let promote =
            format!("update project_members set role = 'owner' where project_id = '{project}'");
        is_locked(
            &f.run(person, promote.clone()).await,
            &format!("{who}: {promote}"),
        );
        let new = json!({"project_id": project, "user_id": f.stranger.id, "role": "viewer", "created_at": "2020-01-01"});
        is_locked(
            &f.insert(person, "project_members", &new).await,
            &format!("{who}: add a member"),
        );
        // Of all members they can remove but themselves.
        let remove = format!("delete from project_members where project_id = '{project}'");
        assert_eq!(f.run(person, remove).await, Ok(1), "{who}");
    }
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn nobody_raises_themselves(pool: PgPool) {
    let f = Fixture::new(pool).await;
    let me = f.stranger.id;
    let admin = format!("update users set is_admin = true where id = '{me}'");
    assert_eq!(f.run(&f.stranger, admin).await, Err("42501".into()));
    let rename = format!("update users set name = 'x' where id = '{me}'");
    assert_eq!(
        f.run(&f.stranger, rename).await,
        Ok(1),
        "their own row is theirs"
    );

    // A project that lost its members is no free house.
    sqlx::query("delete from project_members where project_id = $1")
        .bind(f.project)
        .execute(&f.t.pool)
        .await
        .unwrap();
    sqlx::query("update projects set deleting_at = now() where id = $1")
        .bind(f.project)
        .execute(&f.t.pool)
        .await
        .unwrap();
    let join = json!({"project_id": f.project, "user_id": me, "role": "owner", "created_at": "2020-01-01"});
    is_locked(
        &f.insert(&f.stranger, "project_members", &join).await,
        "join",
    );
}

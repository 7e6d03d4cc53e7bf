//! Who may call what: every route of the API stands in one table, and a route
//! that does not fails the test.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
mod support;

use std::collections::BTreeSet;

use Need::{Admin, Anybody, Member, Owner, SignedIn, Viewer};
use serde_json::Value;
use sqlx::PgPool;
use support::{HOST, Person, TestApp, Who};
use uuid::Uuid;

/// The least that a caller must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Need {
    Anybody,
    SignedIn,
    Viewer,
    Member,
    Owner,
    Admin,
}

/// Method, path, who may, and a body that is understood (empty: none);
/// `$…` in it is something of the fixture's.
type Route = (&'static str, &'static str, Need, &'static str);

#[rustfmt::skip]
const TABLE: &[Route] = &[
    ("get", "/api/v1/setup", Anybody, ""),
    ("post", "/api/v1/setup", Anybody, r#"{"token": "x", "email": "a@b", "name": "A", "password": "correct horse"}"#),
    ("post", "/api/v1/auth/login", Anybody, r#"{"email": "a@b", "password": "x"}"#),
    ("post", "/api/v1/auth/logout", Anybody, ""),
    ("get", "/api/v1/auth/me", SignedIn, ""),
    ("post", "/api/v1/me/password", SignedIn, r#"{"currentPassword": "x", "newPassword": "correct horse"}"#),
    ("get", "/api/v1/me/sessions", SignedIn, ""),
    ("delete", "/api/v1/me/sessions/{id}", SignedIn, ""),
    ("get", "/api/v1/me/tokens", SignedIn, ""),
    ("post", "/api/v1/me/tokens", SignedIn, r#"{"name": "ci", "scopes": ["read"]}"#),
    ("delete", "/api/v1/me/tokens/{id}", SignedIn, ""),
    ("get", "/api/v1/users", Admin, ""),
    ("post", "/api/v1/users", Admin, r#"{"email": "new@example.com", "name": "New", "password": "correct horse"}"#),
    ("patch", "/api/v1/users/{id}", Admin, r#"{"name": "Other"}"#),
    ("delete", "/api/v1/users/{id}", Admin, ""),
    ("get", "/api/v1/projects", SignedIn, ""),
    ("post", "/api/v1/projects", SignedIn, r#"{"name": "New"}"#),
    ("get", "/api/v1/projects/{id}", Viewer, ""),
    ("patch", "/api/v1/projects/{id}", Owner, r#"{"name": "Other"}"#),
    ("delete", "/api/v1/projects/{id}", Owner, ""),
    ("get", "/api/v1/projects/{id}/members", Viewer, ""),
    ("post", "/api/v1/projects/{id}/members", Owner, r#"{"email": "$email", "role": "viewer"}"#),
    ("put", "/api/v1/projects/{id}/members/{userId}", Owner, r#"{"role": "viewer"}"#),
    ("delete", "/api/v1/projects/{id}/members/{userId}", Owner, ""),
    ("get", "/api/v1/audit", SignedIn, ""),
    ("get", "/api/v1/stacks", SignedIn, ""),
    ("post", "/api/v1/stacks", Admin, r#"{"name": "New", "engine": "node-red", "image": "openflow/node-red:5"}"#),
    ("get", "/api/v1/stacks/{id}", SignedIn, ""),
    ("patch", "/api/v1/stacks/{id}", Admin, r#"{"name": "Other"}"#),
    ("delete", "/api/v1/stacks/{id}", Admin, ""),
    ("get", "/api/v1/templates", SignedIn, ""),
    ("post", "/api/v1/templates", Admin, r#"{"name": "New", "stackId": "$stack"}"#),
    ("get", "/api/v1/templates/{id}", SignedIn, ""),
    ("patch", "/api/v1/templates/{id}", Admin, r#"{"name": "Other"}"#),
    ("delete", "/api/v1/templates/{id}", Admin, ""),
    ("get", "/api/v1/projects/{id}/instances", Viewer, ""),
    ("post", "/api/v1/projects/{id}/instances", Member, r#"{"name": "New", "subdomain": "$new", "stack": "$stack"}"#),
    ("get", "/api/v1/projects/{id}/events", Viewer, ""),
    ("get", "/api/v1/instances/{id}", Viewer, ""),
    ("patch", "/api/v1/instances/{id}", Member, r#"{"name": "Other"}"#),
    ("delete", "/api/v1/instances/{id}", Member, ""),
    ("post", "/api/v1/instances/{id}/start", Member, ""),
    ("post", "/api/v1/instances/{id}/stop", Member, ""),
    ("post", "/api/v1/instances/{id}/restart", Member, ""),
    ("post", "/api/v1/instances/{id}/launch", Viewer, "{}"),
    ("post", "/api/v1/launch", Viewer, r#"{"subdomain": "$alias"}"#),
    ("get", "/api/v1/instances/{id}/logs", Viewer, ""),
    ("get", "/api/v1/instances/{id}/stats", Viewer, ""),
    ("get", "/api/v1/instances/{id}/env", Viewer, ""),
    ("put", "/api/v1/instances/{id}/env", Member, r#"{"items": [{"name": "A", "value": "1"}]}"#),
    ("get", "/api/v1/instances/{id}/aliases", Viewer, ""),
    ("post", "/api/v1/instances/{id}/aliases", Member, r#"{"name": "$new"}"#),
    ("delete", "/api/v1/instances/{id}/aliases/{name}", Member, ""),
    ("get", "/api/v1/instances/{id}/restores", Viewer, ""),
    ("get", "/api/v1/restores/{id}", Viewer, ""),
    ("get", "/api/v1/instances/{id}/backups", Viewer, ""),
    ("post", "/api/v1/instances/{id}/backups", Member, ""),
    ("post", "/api/v1/instances/{id}/backups/upload", Member, ""),
    ("get", "/api/v1/instances/{id}/backup-policy", Viewer, ""),
    ("put", "/api/v1/instances/{id}/backup-policy", Member, r#"{"enabled": true, "schedule": "0 3 * * 1", "keep": null}"#),
    ("delete", "/api/v1/instances/{id}/backup-policy", Member, ""),
    ("get", "/api/v1/projects/{id}/backups", Viewer, ""),
    ("get", "/api/v1/backups/{id}", Viewer, ""),
    ("delete", "/api/v1/backups/{id}", Member, ""),
    ("get", "/api/v1/backups/{id}/download", Member, ""),
    ("post", "/api/v1/backups/{id}/verify", Member, ""),
    ("post", "/api/v1/backups/{id}/fetch", Member, ""),
    ("post", "/api/v1/backups/{id}/restore", Member, ""),
    ("get", "/api/v1/instances/{id}/snapshots", Viewer, ""),
    ("post", "/api/v1/instances/{id}/snapshots", Member, r#"{"name": "New"}"#),
    ("post", "/api/v1/instances/{id}/snapshots/import", Member, r#"{"passphrase": "correct horse", "snapshot": {}}"#),
    ("get", "/api/v1/snapshots/{id}", Viewer, ""),
    ("patch", "/api/v1/snapshots/{id}", Member, r#"{"name": "Other"}"#),
    ("delete", "/api/v1/snapshots/{id}", Member, ""),
    ("get", "/api/v1/snapshots/{id}/diff", Viewer, ""),
    ("post", "/api/v1/snapshots/{id}/restore", Member, "{}"),
    ("post", "/api/v1/snapshots/{id}/export", Member, r#"{"passphrase": "correct horse"}"#),
    ("get", "/api/v1/projects/{id}/pipelines", Viewer, ""),
    ("post", "/api/v1/projects/{id}/pipelines", Owner, r#"{"name": "New", "stages": [{"instanceId": "$instance"}, {"instanceId": "$other"}]}"#),
    ("get", "/api/v1/pipelines/{id}", Viewer, ""),
    ("put", "/api/v1/pipelines/{id}", Owner, r#"{"name": "New", "stages": [{"instanceId": "$other"}, {"instanceId": "$instance"}]}"#),
    ("delete", "/api/v1/pipelines/{id}", Owner, ""),
    ("post", "/api/v1/pipelines/{id}/promote", Member, r#"{"instanceId": "$instance"}"#),
    ("get", "/api/v1/projects/{id}/mqtt-clients", Viewer, ""),
    ("post", "/api/v1/projects/{id}/mqtt-clients", Member, r#"{"name": "New"}"#),
    ("get", "/api/v1/mqtt-clients/{id}", Viewer, ""),
    ("patch", "/api/v1/mqtt-clients/{id}", Member, r#"{"disabled": true}"#),
    ("delete", "/api/v1/mqtt-clients/{id}", Member, ""),
    ("post", "/api/v1/mqtt-clients/{id}/rotate", Member, ""),
    ("get", "/api/v1/projects/{id}/mqtt", Viewer, ""),
    ("get", "/api/v1/projects/{id}/mqtt/connections", Viewer, ""),
    ("get", "/api/v1/projects/{id}/mqtt/events", Viewer, ""),
    ("get", "/api/v1/projects/{id}/mqtt/topics", Viewer, ""),
    ("post", "/api/v1/projects/{id}/mqtt/publish", Member, r#"{"topic": "a", "payload": "b"}"#),
    ("get", "/api/v1/health", Anybody, ""),
    ("get", "/api/v1/health/live", Anybody, ""),
    ("get", "/api/v1/health/ready", Anybody, ""),
];

/// A project with an instance, one caller of each sort, and a user to act on.
struct Fixture {
    project: Uuid,
    instance: Uuid,
    other_instance: Uuid,
    snapshot: Uuid,
    pipeline: Uuid,
    restore: Uuid,
    backup: Uuid,
    mqtt_client: Uuid,
    alias: String,
    stack: Uuid,
    template: Uuid,
    target: Person,
    callers: Vec<(&'static str, Option<Need>, Who)>,
}

impl Fixture {
    async fn new(t: &TestApp) -> Self {
        let (owner, member, viewer) = (
            t.person("Owner").await,
            t.person("Member").await,
            t.person("Viewer").await,
        );
        let (stranger, admin) = (t.person("Stranger").await, t.admin("Admin").await);
        let target = t.person("Target").await;
        let project = t.project(&owner).await;
        t.add_member(project, &member, "member").await;
        t.add_member(project, &viewer, "viewer").await;
        let instance = t.instance_row(project).await;
        let other_instance = t.instance_row(project).await;
        let snapshot = t.snapshot_row(project, instance).await;
        let pipeline = t.pipeline_row(project, instance, other_instance).await;
        let (alias, template) = (format!("a-{instance}"), Uuid::now_v7());
        sqlx::query("insert into hostnames (name, instance_id, project_id, kind, created_at) values ($1, $2, $3, 'alias', now())")
            .bind(&alias)
            .bind(instance)
            .bind(project)
            .execute(&t.pool)
            .await
            .unwrap();
        let stack = sqlx::query_scalar("insert into templates (id, name, stack_id, created_at, updated_at) select $1, $1::text, stack_id, now(), now() from instances where id = $2 returning stack_id")
            .bind(template)
            .bind(instance)
            .fetch_one(&t.pool)
            .await
            .unwrap();
        let restore = t.restore_row(instance).await;
        let backup = t.backup_row(instance).await;
        let mqtt_client = t.mqtt_client_row(project).await;
        let callers = vec![
            ("nobody", None, Who::Nobody),
            ("stranger", Some(Need::SignedIn), stranger.who),
            ("viewer", Some(Need::Viewer), viewer.who),
            ("member", Some(Need::Member), member.who),
            ("owner", Some(Need::Owner), owner.who),
            ("admin", Some(Need::Admin), admin.who),
        ];
        Self {
            project,
            instance,
            other_instance,
            snapshot,
            pipeline,
            restore,
            backup,
            mqtt_client,
            alias,
            stack,
            template,
            target,
            callers,
        }
    }

    fn path(&self, template: &str) -> String {
        let id = match template {
            it if it.starts_with("/api/v1/users/") => self.target.id,
            it if it.starts_with("/api/v1/projects/") => self.project,
            it if it.starts_with("/api/v1/instances/") => self.instance,
            it if it.starts_with("/api/v1/snapshots/") => self.snapshot,
            it if it.starts_with("/api/v1/pipelines/") => self.pipeline,
            it if it.starts_with("/api/v1/restores/") => self.restore,
            it if it.starts_with("/api/v1/backups/") => self.backup,
            it if it.starts_with("/api/v1/mqtt-clients/") => self.mqtt_client,
            it if it.starts_with("/api/v1/stacks/") => self.stack,
            it if it.starts_with("/api/v1/templates/") => self.template,
            _ => Uuid::now_v7(),
        };
        let path = template.replace("{id}", &id.to_string());
        let path = path.replace("{name}", &self.alias);
        path.replace("{userId}", &self.target.id.to_string())
    }

    fn body(&self, text: &str) -> Value {
        if text.is_empty() {
            return Value::Null;
        }
        let text = text
            .replace("$email", &self.target.email)
            .replace("$stack", &self.stack.to_string())
            .replace("$alias", &self.alias)
            .replace("$instance", &self.instance.to_string())
            .replace("$other", &self.other_instance.to_string())
            .replace("$new", &format!("n-{}", self.instance));
        serde_json::from_str(&text).unwrap()
    }
}

const LINES: &str = "select count(*) from audit_log";
/// The codes that speak of who asks; others speak of what is asked.
const REFUSALS: [&str; 10] = [
    "auth.required",
    "admin.required",
    "project.not_found",
    "instance.not_found",
    "restore.not_found",
    "backup.not_found",
    "mqtt_client.not_found",
    "snapshot.not_found",
    "pipeline.not_found",
    "project.role_required",
];

/// The status with which a caller of that standing is refused, `None` when
/// let through. To a stranger the project does not exist.
fn expected(need: Need, standing: Option<Need>) -> Option<u16> {
    match (need, standing) {
        (Anybody, _) => None,
        (_, None) => Some(401),
        (need, Some(standing)) if need <= standing => None,
        (Admin, _) => Some(403),
        (_, Some(SignedIn)) => Some(404),
        _ => Some(403),
    }
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn every_route_lets_in_whom_it_should(pool: PgPool) {
    let t = TestApp::new(pool).await;
    for (method, template, need, body) in TABLE.iter().copied() {
        for n in 0..6 {
            let f = Fixture::new(&t).await;
            let (name, standing, who) = &f.callers[n];
            let lines_before = t.count(LINES).await;
            let answer = t
                .call(&method.to_uppercase(), &f.path(template), who, f.body(body))
                .await;
            let (status, code) = answer.refusal();
            let refused = REFUSALS.contains(&code).then_some(status);
            assert_eq!(
                refused,
                expected(need, *standing),
                "{method} {template} as {name}"
            );
            // No change without its line in the audit log, and no line without.
            // A launch lets somebody look; it changes nothing.
            let is_change = method != "get" && !template.ends_with("/launch");
            let changed = is_change && status < 300 && standing.is_some();
            let lines = t.count(LINES).await - lines_before;
            assert_eq!(0 < lines, changed, "{method} {template} as {name}");
            assert_ne!(status, 500, "{method} {template} as {name}");
        }
    }
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn every_route_stands_in_the_table(pool: PgPool) {
    let t = TestApp::new(pool).await;
    let document = serde_json::to_value(&t.openapi).unwrap();
    let mut routes = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            routes.insert((method.clone(), path.clone()));
        }
    }
    let table = TABLE.iter().map(|it| (it.0.to_owned(), it.1.to_owned()));
    assert_eq!(routes, table.collect());
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn no_change_is_made_across_sites_or_with_a_read_token(pool: PgPool) {
    let t = TestApp::new(pool).await;
    let f = Fixture::new(&t).await;
    let root = t.admin("Root").await;
    let token = t.token(&root, "read").await;
    let evil = format!("http://evil.{HOST}");
    for (method, template, _, body) in TABLE.iter().copied() {
        if method == "get" {
            continue;
        }
        let (method, path, body) = (method.to_uppercase(), f.path(template), f.body(body));
        for header in [("origin", &*evil), ("sec-fetch-site", "same-site")] {
            let answer = t
                .call_with(&method, &path, &root.who, body.clone(), &[header])
                .await;
            assert_eq!(
                answer.refusal(),
                (403, "request.cross_site"),
                "{method} {path}"
            );
        }
        let answer = t.call(&method, &path, &token, body).await;
        assert_eq!(
            answer.refusal(),
            (403, "token.read_only"),
            "{method} {path}"
        );
    }
}

//! Who may call what: every route of the API stands in one table, and a route
//! that does not fails the test.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
mod support;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sqlx::PgPool;
use support::{HOST, PASSWORD, Person, TestApp, Who};
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

/// Method, path, who may, and a body that is understood.
fn table() -> Vec<(&'static str, &'static str, Need, Value)> {
    use Need::{Admin, Anybody, Owner, SignedIn, Viewer};
    let none = || Value::Null;
    vec![
        ("get", "/api/v1/setup", Anybody, none()),
        (
            "post",
            "/api/v1/setup",
            Anybody,
            json!({"token": "x", "email": "a@b", "name": "A", "password": PASSWORD}),
        ),
        (
            "post",
            "/api/v1/auth/login",
            Anybody,
            json!({"email": "a@b", "password": "x"}),
        ),
        ("post", "/api/v1/auth/logout", Anybody, none()),
        ("get", "/api/v1/auth/me", SignedIn, none()),
        (
            "post",
            "/api/v1/me/password",
            SignedIn,
            json!({"currentPassword": "x", "newPassword": PASSWORD}),
        ),
        ("get", "/api/v1/me/sessions", SignedIn, none()),
        ("delete", "/api/v1/me/sessions/{id}", SignedIn, none()),
        ("get", "/api/v1/me/tokens", SignedIn, none()),
        (
            "post",
            "/api/v1/me/tokens",
            SignedIn,
            json!({"name": "ci", "scopes": ["read"]}),
        ),
        ("delete", "/api/v1/me/tokens/{id}", SignedIn, none()),
        ("get", "/api/v1/users", Admin, none()),
        (
            "post",
            "/api/v1/users",
            Admin,
            json!({"email": "new@example.com", "name": "New", "password": PASSWORD}),
        ),
        (
            "patch",
            "/api/v1/users/{id}",
            Admin,
            json!({"name": "Other"}),
        ),
        ("delete", "/api/v1/users/{id}", Admin, none()),
        ("get", "/api/v1/projects", SignedIn, none()),
        ("post", "/api/v1/projects", SignedIn, json!({"name": "New"})),
        ("get", "/api/v1/projects/{id}", Viewer, none()),
        (
            "patch",
            "/api/v1/projects/{id}",
            Owner,
            json!({"name": "Other"}),
        ),
        ("delete", "/api/v1/projects/{id}", Owner, none()),
        ("get", "/api/v1/projects/{id}/members", Viewer, none()),
        (
            "post",
            "/api/v1/projects/{id}/members",
            Owner,
            json!({"email": "$email", "role": "viewer"}),
        ),
        (
            "put",
            "/api/v1/projects/{id}/members/{userId}",
            Owner,
            json!({"role": "viewer"}),
        ),
        (
            "delete",
            "/api/v1/projects/{id}/members/{userId}",
            Owner,
            none(),
        ),
        ("get", "/api/v1/audit", SignedIn, none()),
    ]
}

/// A project with one caller of each sort, and a user to act on.
struct Fixture {
    project: Uuid,
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
            target,
            callers,
        }
    }

    fn path(&self, template: &str) -> String {
        let id = match template {
            it if it.starts_with("/api/v1/users/") => self.target.id,
            it if it.starts_with("/api/v1/projects/") => self.project,
            _ => Uuid::now_v7(),
        };
        let path = template.replace("{id}", &id.to_string());
        path.replace("{userId}", &self.target.id.to_string())
    }

    fn body(&self, body: &Value) -> Value {
        let text = body.to_string().replace("$email", &self.target.email);
        serde_json::from_str(&text).unwrap()
    }
}

/// What a caller of that standing is refused with, `None` when let through.
fn expected(need: Need, standing: Option<Need>) -> Option<(u16, &'static str)> {
    match (need, standing) {
        (Need::Anybody, _) => None,
        (_, None) => Some((401, "auth.required")),
        (need, Some(standing)) if need <= standing => None,
        (Need::Admin, _) => Some((403, "admin.required")),
        (_, Some(Need::SignedIn)) => Some((404, "project.not_found")),
        _ => Some((403, "project.role_required")),
    }
}

const REFUSALS: [&str; 4] = [
    "auth.required",
    "admin.required",
    "project.not_found",
    "project.role_required",
];

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn every_route_lets_in_whom_it_should(pool: PgPool) {
    let t = TestApp::new(pool).await;
    for (method, template, need, body) in table() {
        for n in 0..6 {
            let f = Fixture::new(&t).await;
            let (name, standing, who) = &f.callers[n];
            let answer = t
                .call(
                    &method.to_uppercase(),
                    &f.path(template),
                    who,
                    f.body(&body),
                )
                .await;
            let (status, code) = answer.refusal();
            let refused = REFUSALS.contains(&code).then_some((status, code));
            assert_eq!(
                refused,
                expected(need, *standing),
                "{method} {template} as {name}"
            );
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
    let table = table()
        .into_iter()
        .map(|it| (it.0.to_owned(), it.1.to_owned()));
    assert_eq!(routes, table.collect());
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn no_change_is_made_across_sites_or_with_a_read_token(pool: PgPool) {
    let t = TestApp::new(pool).await;
    let f = Fixture::new(&t).await;
    let root = t.admin("Root").await;
    let token = t.token(&root, "read").await;
    let evil = format!("http://evil.{HOST}");
    for (method, template, _, body) in table() {
        if method == "get" {
            continue;
        }
        let (method, path, body) = (method.to_uppercase(), f.path(template), f.body(&body));
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

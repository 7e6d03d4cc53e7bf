//! The members of projects, through HTTP.
mod support;

use serde_json::{Value, json};
use sqlx::PgPool;
use support::{Person, TestApp};
use uuid::Uuid;

fn path(project: Uuid) -> String {
    format!("/api/v1/projects/{project}")
}

fn member(project: Uuid, person: &Person) -> String {
    format!("{}/members/{}", path(project), person.id)
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn members_come_change_and_go(pool: PgPool) {
    let t = TestApp::new(pool).await;
    let (ada, bob, eve) = (
        t.person("Ada").await,
        t.person("Bob").await,
        t.person("Eve").await,
    );
    let project = t.project(&ada).await;
    let members = format!("{}/members", path(project));

    let body = json!({"email": bob.email.to_uppercase(), "role": "viewer"});
    let added = t.post(&members, &ada.who, body).await.expect(201);
    assert_eq!(
        (&added["userId"], &added["role"]),
        (&json!(bob.id), &json!("viewer"))
    );
    let list = t.get(&members, &bob.who).await.expect(200);
    let people: Vec<_> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["name"].as_str().unwrap(), it["role"].as_str().unwrap()))
        .collect();
    assert_eq!(people, [("Ada", "owner"), ("Bob", "viewer")]);

    // By id: change one, add another.
    for (person, role) in [(&bob, "member"), (&eve, "owner")] {
        let answer = t
            .call(
                "PUT",
                &member(project, person),
                &ada.who,
                json!({"role": role}),
            )
            .await;
        assert_eq!(answer.expect(200)["role"], role);
    }
    let role = async |who| t.get(&path(project), who).await.expect(200)["role"].clone();
    assert_eq!(role(&bob.who).await, "member");

    // A member leaves alone, and an owner beside another.
    for person in [&bob, &ada] {
        let answer = t
            .call("DELETE", &member(project, person), &person.who, Value::Null)
            .await;
        assert_eq!(answer.status, 204, "{}", answer.json);
        assert_eq!(t.get(&path(project), &person.who).await.status, 404);
    }
    let log = t
        .get(
            &format!("/api/v1/audit?projectId={project}&action=member"),
            &eve.who,
        )
        .await;
    let log = log.expect(200);
    let actions: Vec<_> = log["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["action"])
        .collect();
    assert_eq!(
        actions,
        [
            "member.delete",
            "member.delete",
            "member.create",
            "member.update",
            "member.create"
        ]
    );
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn the_ways_a_membership_is_refused(pool: PgPool) {
    let t = TestApp::new(pool).await;
    let (ada, bob, eve) = (
        t.person("Ada").await,
        t.person("Bob").await,
        t.person("Eve").await,
    );
    let project = t.project(&ada).await;
    t.add_member(project, &bob, "member").await;
    let members = format!("{}/members", path(project));
    let add = |email: &str, role: &str| json!({"email": email, "role": role});
    let (known, nobody) = (&*eve.email, "nobody@example.com");
    let owner = || json!({"role": "owner"});
    let viewer = || json!({"role": "viewer"});
    let unknown = format!("{members}/{}", Uuid::now_v7());
    for (who, method, path, body, status, code) in [
        (
            &eve.who,
            "POST",
            &members,
            add(known, "owner"),
            404,
            "project.not_found",
        ),
        (
            &eve.who,
            "POST",
            &members,
            add(nobody, "owner"),
            404,
            "project.not_found",
        ),
        (
            &bob.who,
            "POST",
            &members,
            add(known, "viewer"),
            403,
            "project.role_required",
        ),
        (
            &bob.who,
            "POST",
            &members,
            add(nobody, "viewer"),
            403,
            "project.role_required",
        ),
        (
            &ada.who,
            "POST",
            &members,
            add(nobody, "viewer"),
            422,
            "member.unknown_email",
        ),
        (
            &ada.who,
            "POST",
            &members,
            add(&bob.email, "viewer"),
            409,
            "member.exists",
        ),
        (
            &ada.who,
            "POST",
            &members,
            add(known, "god"),
            422,
            "request.malformed",
        ),
        (
            &bob.who,
            "PUT",
            &member(project, &bob),
            owner(),
            403,
            "project.role_required",
        ),
        (
            &eve.who,
            "PUT",
            &member(project, &eve),
            owner(),
            404,
            "project.not_found",
        ),
        (&ada.who, "PUT", &unknown, viewer(), 404, "user.not_found"),
        (
            &ada.who,
            "PUT",
            &member(project, &ada),
            viewer(),
            409,
            "member.last_owner",
        ),
        (
            &ada.who,
            "DELETE",
            &member(project, &ada),
            Value::Null,
            409,
            "member.last_owner",
        ),
        (
            &ada.who,
            "DELETE",
            &member(project, &eve),
            Value::Null,
            404,
            "member.not_found",
        ),
        (
            &bob.who,
            "DELETE",
            &member(project, &ada),
            Value::Null,
            403,
            "project.role_required",
        ),
        (
            &eve.who,
            "DELETE",
            &member(project, &eve),
            Value::Null,
            404,
            "project.not_found",
        ),
    ] {
        let answer = t.call(method, path, who, body.clone()).await;
        assert_eq!(answer.refusal(), (status, code), "{method} {path} {body}");
    }
    assert_eq!(t.count("select count(*) from project_members").await, 2);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn owners_who_leave_together_leave_one(pool: PgPool) {
    let t = TestApp::new(pool).await;
    let (ada, bob) = (t.person("Ada").await, t.person("Bob").await);
    for round in 0..10 {
        let project = t.project(&ada).await;
        t.add_member(project, &bob, "owner").await;
        let (ada_path, bob_path) = (member(project, &ada), member(project, &bob));
        let (a, b) = tokio::join!(
            t.call("DELETE", &ada_path, &ada.who, Value::Null),
            t.call("PUT", &bob_path, &bob.who, json!({"role": "viewer"})),
        );
        let owners: i64 = sqlx::query_scalar(
            "select count(*) from project_members where project_id = $1 and role = 'owner'",
        )
        .bind(project)
        .fetch_one(&t.pool)
        .await
        .unwrap();
        assert_eq!(owners, 1, "round {round}");
        let refused = if a.status < 300 { b } else { a };
        assert_eq!(refused.refusal(), (409, "member.last_owner"));
    }
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_co_owner_cannot_leave_while_the_other_is_deleted(pool: PgPool) {
    let t = TestApp::new(pool).await;
    let (root, bob) = (t.admin("Root").await, t.person("Bob").await);
    for round in 0..10 {
        let ada = t.person("Ada").await;
        let project = t.project(&ada).await;
        t.add_member(project, &bob, "owner").await;
        let (leaving, user) = (member(project, &bob), format!("/api/v1/users/{}", ada.id));
        let (left, deleted) = tokio::join!(
            t.call("DELETE", &leaving, &bob.who, Value::Null),
            t.call("DELETE", &user, &root.who, Value::Null),
        );
        // Left alone, the project goes with its owner; else one owner stays.
        let orphans = t
            .count(
                "select count(*) from projects p where deleting_at is null and not exists
                   (select 1 from project_members m where m.project_id = p.id and m.role = 'owner')",
            )
            .await;
        assert_eq!(
            orphans, 0,
            "round {round}: {} {}",
            left.status, deleted.status
        );
    }
}

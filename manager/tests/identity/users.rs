use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::{PASSWORD, TestApp, Who};

const USERS: &str = "/api/v1/users";
const ME: &str = "/api/v1/auth/me";

fn path(id: impl std::fmt::Display) -> String {
    format!("{USERS}/{id}")
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn an_administrator_makes_users_who_sign_in(pool: PgPool) {
    let t = TestApp::new(pool).await;
    let root = t.admin("Root").await;
    let body = json!({"email": "ada@example.com", "name": "Ada", "password": PASSWORD});
    let made = t.post(USERS, &root.who, body.clone()).await.expect(201);
    assert_eq!(
        (&made["isAdmin"], &made["disabled"]),
        (&json!(false), &json!(false))
    );
    assert!(!made.to_string().contains("argon2"));

    let login = json!({"email": "ada@example.com", "password": PASSWORD});
    let answer = t.post("/api/v1/auth/login", &Who::Nobody, login).await;
    let ada = Who::Cookie(answer.cookie().unwrap());
    let projects = t.get("/api/v1/projects", &ada).await.expect(200);
    assert_eq!(projects["items"].as_array().unwrap().len(), 1);
    assert_eq!(projects["items"][0]["name"], "Ada's project");
    assert_eq!(projects["items"][0]["role"], "owner");

    let found = t
        .get(&format!("{USERS}?email=ADA@example.com"), &root.who)
        .await
        .expect(200);
    assert_eq!(found["items"], json!([made]));
    let all = t
        .get(&format!("{USERS}?limit=1"), &root.who)
        .await
        .expect(200);
    let next = format!("{USERS}?cursor={}", all["nextCursor"].as_str().unwrap());
    assert_eq!(
        t.get(&next, &root.who).await.expect(200)["items"],
        json!([made])
    );
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn the_ways_a_user_is_not_made_or_changed(pool: PgPool) {
    let t = TestApp::new(pool).await;
    let (root, ada) = (t.admin("Root").await, t.person("Ada").await);
    let user = |email: &str, name: &str, password: &str| json!({"email": email, "name": name, "password": password});
    let (own, gone) = (path(ada.id), path(uuid::Uuid::now_v7()));
    for (who, method, path, body, status, code) in [
        (
            &Who::Nobody,
            "POST",
            USERS,
            user("x@y", "X", PASSWORD),
            401,
            "auth.required",
        ),
        (
            &ada.who,
            "POST",
            USERS,
            user("x@y", "X", PASSWORD),
            403,
            "admin.required",
        ),
        (
            &ada.who,
            "POST",
            USERS,
            user("", "", ""),
            403,
            "admin.required",
        ),
        (
            &root.who,
            "POST",
            USERS,
            user("x", "X", PASSWORD),
            422,
            "email.invalid",
        ),
        (
            &root.who,
            "POST",
            USERS,
            user("x@y", "", PASSWORD),
            422,
            "name.invalid",
        ),
        (
            &root.who,
            "POST",
            USERS,
            user("x@y", "X", "short"),
            422,
            "password.too_short",
        ),
        (
            &root.who,
            "POST",
            USERS,
            user("first@last", "X", "FIRST@LAST"),
            422,
            "password.is_email",
        ),
        (
            &root.who,
            "POST",
            USERS,
            user(&ada.email.to_uppercase(), "X", PASSWORD),
            409,
            "user.email_taken",
        ),
        (
            &ada.who,
            "PATCH",
            &own,
            json!({"isAdmin": true}),
            403,
            "admin.required",
        ),
        (
            &root.who,
            "PATCH",
            &own,
            json!({"isadmin": true}),
            422,
            "request.malformed",
        ),
        (
            &root.who,
            "PATCH",
            &own,
            json!({"name": "a\nb"}),
            422,
            "name.invalid",
        ),
        (
            &root.who,
            "PATCH",
            &own,
            json!({"password": "short"}),
            422,
            "password.too_short",
        ),
        (
            &root.who,
            "PATCH",
            &own,
            json!({"password": ada.email.to_uppercase()}),
            422,
            "password.is_email",
        ),
        (
            &root.who,
            "PATCH",
            &gone,
            json!({"name": "X"}),
            404,
            "user.not_found",
        ),
        (
            &root.who,
            "DELETE",
            &gone,
            Value::Null,
            404,
            "user.not_found",
        ),
        (
            &root.who,
            "DELETE",
            "/api/v1/users/x",
            Value::Null,
            404,
            "request.not_found",
        ),
        (&ada.who, "DELETE", &own, Value::Null, 403, "admin.required"),
        (
            &root.who,
            "GET",
            "/api/v1/users?email=a%00",
            Value::Null,
            422,
            "email.invalid",
        ),
        (
            &root.who,
            "GET",
            "/api/v1/users?limit=0",
            Value::Null,
            422,
            "request.bad_limit",
        ),
    ] {
        let answer = t.call(method, path, who, body.clone()).await;
        assert_eq!(answer.refusal(), (status, code), "{method} {path} {body}");
    }
    assert_eq!(t.count("select count(*) from users").await, 2);
    assert_eq!(t.count("select count(*) from audit_log").await, 0);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn disabling_or_a_new_password_puts_a_user_out_at_once(pool: PgPool) {
    let t = TestApp::new(pool).await;
    let root = t.admin("Root").await;
    for change in [
        json!({"disabled": true}),
        json!({"password": "a whole new one"}),
    ] {
        let ada = t.person("Ada").await;
        let token = t.token(&ada, "write").await;
        let instance = t.instance_row(t.project(&ada).await).await;
        let editor = t.editor_session(&ada, instance, Some(ada.session)).await;
        let token_editor = t.editor_session(&ada, instance, None).await;
        t.launch(&ada, instance).await;
        t.get(ME, &ada.who).await.expect(200);

        let answer = t
            .call("PATCH", &path(ada.id), &root.who, change.clone())
            .await;
        assert_eq!(answer.expect(200)["disabled"], change["disabled"] == true);
        for who in [&ada.who, &token] {
            assert_eq!(t.get(ME, who).await.status, 401, "{change}");
        }
        assert!(t.is_revoked(editor).await && t.is_revoked(token_editor).await);
        assert_eq!(t.count("select count(*) from access_tokens").await, 0);
    }
    t.get(ME, &root.who).await.expect(200);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn an_enabled_user_starts_anew(pool: PgPool) {
    let t = TestApp::new(pool).await;
    let (root, ada) = (t.admin("Root").await, t.person("Ada").await);
    let token = t.token(&ada, "read").await;
    // Set past the API, so that the rows of session and token are still there.
    sqlx::query("update users set disabled_at = now() where id = $1")
        .bind(ada.id)
        .execute(&t.pool)
        .await
        .unwrap();
    for who in [&ada.who, &token] {
        assert_eq!(t.get(ME, who).await.status, 401);
    }
    let change = async |body| {
        t.call("PATCH", &path(ada.id), &root.who, body)
            .await
            .expect(200)
    };
    change(json!({"disabled": true})).await;
    assert_eq!(
        change(json!({"disabled": false, "name": "Ada L."})).await["name"],
        "Ada L."
    );
    assert_eq!(t.get(ME, &ada.who).await.status, 401);
    let (_, again) = t.session(ada.id).await;
    t.get(ME, &again).await.expect(200);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn there_is_always_an_administrator(pool: PgPool) {
    let t = TestApp::new(pool).await;
    let root = t.admin("Root").await;
    let own = path(root.id);
    for (method, body) in [
        ("PATCH", json!({"isAdmin": false})),
        ("PATCH", json!({"disabled": true})),
        ("DELETE", Value::Null),
    ] {
        let answer = t.call(method, &own, &root.who, body).await;
        assert_eq!(answer.refusal(), (409, "user.last_admin"));
    }
    // A disabled administrator is none.
    let other = t.admin("Other").await;
    let body = json!({"disabled": true});
    t.call("PATCH", &path(other.id), &root.who, body)
        .await
        .expect(200);
    let answer = t.call("DELETE", &own, &root.who, Value::Null).await;
    assert_eq!(answer.refusal(), (409, "user.last_admin"));
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn two_administrators_cannot_remove_each_other(pool: PgPool) {
    let t = TestApp::new(pool).await;
    let mut pair = (t.admin("A").await, t.admin("B").await);
    for round in 0..10 {
        let (a, b) = (&pair.0, &pair.1);
        let (a_path, b_path) = (path(a.id), path(b.id));
        let demote = json!({"isAdmin": false});
        let by_a = t.call("PATCH", &b_path, &a.who, demote.clone());
        let by_b = t.call("DELETE", &a_path, &b.who, Value::Null);
        let (by_a, by_b) = tokio::join!(by_a, by_b);
        let admins = "select count(*) from users where is_admin and disabled_at is null";
        assert_eq!(t.count(admins).await, 1, "round {round}");
        let refused = if by_a.status == 200 { by_b } else { by_a };
        // The slower one finds the last, or is no administrator any more.
        assert!(
            [
                (409, "user.last_admin"),
                (403, "admin.required"),
                (401, "auth.required")
            ]
            .contains(&refused.refusal()),
            "{}",
            refused.json
        );
        sqlx::query("delete from users")
            .execute(&t.pool)
            .await
            .unwrap();
        pair = (t.admin("A").await, t.admin("B").await);
    }
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn deleting_a_user_leaves_no_project_without_an_owner(pool: PgPool) {
    let t = TestApp::new(pool).await;
    let (root, ada, bob) = (
        t.admin("Root").await,
        t.person("Ada").await,
        t.person("Bob").await,
    );
    let shared = t.project(&ada).await;
    t.add_member(shared, &bob, "member").await;
    let running = t.project(&ada).await;
    let instance = t.instance_row(running).await;
    let empty = t.project(&ada).await;
    let deletion = async || {
        t.call("DELETE", &path(ada.id), &root.who, Value::Null)
            .await
    };

    let answer = deletion().await;
    assert_eq!(answer.refusal(), (409, "user.only_owner"));
    let detail = answer.json["detail"].as_str().unwrap();
    assert!(
        detail.contains("Plant, Plant."),
        "the two that are used: {detail}"
    );
    t.get(ME, &ada.who).await.expect(200);

    let member = format!("/api/v1/projects/{shared}/members/{}", bob.id);
    let owner = json!({"role": "owner"});
    t.call("PUT", &member, &ada.who, owner).await.expect(200);
    sqlx::query("delete from instances where id = $1")
        .bind(instance)
        .execute(&t.pool)
        .await
        .unwrap();
    deletion().await.expect(204);
    assert_eq!(t.get(ME, &ada.who).await.status, 401);
    t.get(&format!("/api/v1/projects/{shared}"), &bob.who)
        .await
        .expect(200);
    // The ones in which she was alone go with her.
    for project in [running, empty] {
        let it = t
            .get(&format!("/api/v1/projects/{project}"), &root.who)
            .await
            .expect(200);
        assert!(it["deletingAt"].is_string());
    }
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn changes_of_users_are_in_the_audit_log(pool: PgPool) {
    let t = TestApp::new(pool).await;
    let (root, ada) = (t.admin("Root").await, t.person("Ada").await);
    let body = json!({"isAdmin": true, "password": "a whole new one"});
    t.call("PATCH", &path(ada.id), &root.who, body)
        .await
        .expect(200);
    t.call("DELETE", &path(ada.id), &root.who, Value::Null)
        .await
        .expect(204);
    let log = t
        .get("/api/v1/audit?action=user", &root.who)
        .await
        .expect(200);
    assert_eq!(log["items"][0]["action"], "user.delete");
    assert_eq!(log["items"][0]["target"]["name"], "Ada");
    assert_eq!(log["items"][1]["action"], "user.update");
    assert_eq!(
        log["items"][1]["detail"],
        json!({"isAdmin": true, "password": "reset"})
    );
    assert_eq!(log["items"][1]["actor"]["name"], "Root");
}

//! Projects, through HTTP.
mod support;

use openflow_manager::{
    identity::{Error, Purge, Role},
    jobs::Job as _,
    kernel::{Actor, ProjectId},
};
use serde_json::{Value, json};
use sqlx::PgPool;
use support::{Person, TestApp, Who};
use uuid::Uuid;

const PROJECTS: &str = "/api/v1/projects";

fn path(project: Uuid) -> String {
    format!("{PROJECTS}/{project}")
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_project_is_made_seen_and_renamed(pool: PgPool) {
    let t = TestApp::new(pool).await;
    let (ada, eve, root) = (
        t.person("Ada").await,
        t.person("Eve").await,
        t.admin("Root").await,
    );
    let made = t
        .post(PROJECTS, &ada.who, json!({"name": " Plant 7 "}))
        .await;
    let made = made.expect(201);
    assert_eq!(
        (&made["name"], &made["role"]),
        (&json!("Plant 7"), &json!("owner"))
    );
    let id: Uuid = made["id"].as_str().unwrap().parse().unwrap();
    t.instance_row(id).await;

    let list = async |who| t.get(PROJECTS, who).await.expect(200)["items"].clone();
    assert_eq!(list(&eve.who).await, json!([]));
    assert_eq!(list(&ada.who).await[0]["instanceCount"], 1);
    let all = list(&root.who).await;
    assert_eq!(
        (&all[0]["id"], &all[0]["role"]),
        (&made["id"], &json!("owner"))
    );

    let renamed = json!({"name": "Plant 8"});
    let answer = t.call("PATCH", &path(id), &ada.who, renamed).await;
    assert_eq!(answer.expect(200)["name"], "Plant 8");
    let log = t
        .get(&format!("/api/v1/audit?projectId={id}"), &ada.who)
        .await;
    let log = log.expect(200);
    let actions: Vec<_> = log["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["action"])
        .collect();
    assert_eq!(actions, ["project.update", "project.create"]);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn lists_of_projects_are_paged(pool: PgPool) {
    let t = TestApp::new(pool).await;
    let ada = t.person("Ada").await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(json!(t.project(&ada).await));
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    for _ in 0..3 {
        let page = t
            .get(&format!("{PROJECTS}?limit=2&cursor={cursor}"), &ada.who)
            .await;
        let page = page.expect(200);
        seen.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|it| it["id"].clone()),
        );
        cursor = page["nextCursor"].as_str().unwrap_or_default().to_owned();
    }
    assert_eq!(seen, made);
    assert_eq!(cursor, "");
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn nobody_owns_more_than_a_hundred_projects(pool: PgPool) {
    let t = TestApp::new(pool).await;
    let ada = t.person("Ada").await;
    for _ in 0..99 {
        t.project(&ada).await;
    }
    let make = async || t.post(PROJECTS, &ada.who, json!({"name": "P"})).await;
    let (a, b) = tokio::join!(make(), make());
    let mut answers = [a.refusal(), b.refusal()];
    answers.sort_unstable();
    assert_eq!(answers, [(201, ""), (403, "project.too_many")]);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_deleted_project_empties_then_goes(pool: PgPool) {
    let t = TestApp::new(pool).await;
    let ada = t.person("Ada").await;
    let project = t.project(&ada).await;
    let instance = t.instance_row(project).await;
    let other = t.instance_row(t.project(&ada).await).await;
    let purge = Purge {
        identity: t.identity.clone(),
    };
    let desired = async |id: Uuid| -> String {
        sqlx::query_scalar("select desired from instances where id = $1")
            .bind(id)
            .fetch_one(&t.pool)
            .await
            .unwrap()
    };

    // Deleting twice is deleting once.
    for _ in 0..2 {
        let answer = t
            .call("DELETE", &path(project), &ada.who, Value::Null)
            .await;
        let body = answer.expect(202);
        assert!(body["deletingAt"].is_string());
        assert_eq!(body["instanceCount"], 0);
    }
    assert_eq!(desired(instance).await, "absent");
    assert_eq!(desired(other).await, "running");
    let deletions = "select count(*) from audit_log where action = 'project.delete'";
    assert_eq!(t.count(deletions).await, 1);

    // It takes no changes any more, can be seen, and waits for its instances;
    // one that slipped in meanwhile is told to go too.
    let rename = t
        .call("PATCH", &path(project), &ada.who, json!({"name": "P"}))
        .await;
    assert_eq!(rename.refusal(), (409, "project.deleting"));
    let late = t.instance_row(project).await;
    purge.run().await.unwrap();
    assert_eq!(desired(late).await, "absent");
    t.get(&path(project), &ada.who).await.expect(200);

    sqlx::query("delete from instances where project_id = $1")
        .bind(project)
        .execute(&t.pool)
        .await
        .unwrap();
    purge.run().await.unwrap();
    assert_eq!(t.get(&path(project), &ada.who).await.status, 404);
    assert_eq!(t.count("select count(*) from projects").await, 1);
    let purges = "select count(*) from audit_log where action = 'project.purge'";
    purge.run().await.unwrap();
    assert_eq!(t.count(purges).await, 1);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn what_require_answers(pool: PgPool) {
    use openflow_manager::kernel::{UserActor, UserId};
    let t = TestApp::new(pool).await;
    let (ada, bob, eve) = (
        t.person("Ada").await,
        t.person("Bob").await,
        t.person("Eve").await,
    );
    let project = t.project(&ada).await;
    t.add_member(project, &bob, "member").await;
    let actor = |person: &Person, is_admin| {
        Actor::User(UserActor {
            id: UserId(person.id),
            name: String::new(),
            is_admin,
            session: None,
            address: None,
        })
    };
    let id = ProjectId(project);
    let asked = async |actor: Actor, id, role| {
        let mut tx = t.db.begin_as(&actor).await.unwrap();
        t.identity.require(&mut tx, &actor, id, role).await
    };
    let role = async |actor, role| asked(actor, id, role).await;
    use Role::{Member, Owner, Viewer};
    assert_eq!(role(actor(&ada, false), Owner).await.unwrap(), Owner);
    assert_eq!(role(actor(&bob, false), Viewer).await.unwrap(), Member);
    assert_eq!(role(actor(&bob, false), Member).await.unwrap(), Member);
    assert!(matches!(
        role(actor(&bob, false), Owner).await,
        Err(Error::RoleRequired(Owner))
    ));
    assert!(matches!(
        role(actor(&eve, false), Viewer).await,
        Err(Error::ProjectNotFound)
    ));
    assert_eq!(role(actor(&eve, true), Owner).await.unwrap(), Owner);
    assert_eq!(role(Actor::System("test"), Owner).await.unwrap(), Owner);
    let setup = Actor::Setup { address: None };
    assert!(matches!(
        role(setup, Viewer).await,
        Err(Error::ProjectNotFound)
    ));
    let unknown = asked(actor(&eve, true), ProjectId::new(), Viewer).await;
    assert!(matches!(unknown, Err(Error::ProjectNotFound)));

    t.call("DELETE", &path(project), &ada.who, Value::Null)
        .await
        .expect(202);
    assert_eq!(role(actor(&bob, false), Viewer).await.unwrap(), Member);
    assert!(matches!(
        role(actor(&bob, false), Member).await,
        Err(Error::ProjectDeleting)
    ));
    assert!(matches!(
        role(actor(&bob, false), Owner).await,
        Err(Error::RoleRequired(Owner))
    ));
    assert!(matches!(
        t.get(&path(project), &Who::Nobody).await.status,
        401
    ));
}

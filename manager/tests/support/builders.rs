//! People, projects and what hangs on them, most of it written past the API.
use std::io::Write as _;

use chrono::TimeDelta;
use openflow_manager::{
    crypto::{random_token, sha256},
    kernel::Clock as _,
};
use serde_json::json;
use uuid::Uuid;

use super::{Person, TestApp, Who};

impl TestApp {
    /// A user with a session, and no project.
    pub(crate) async fn person(&self, name: &str) -> Person {
        self.insert_person(name, false).await
    }

    pub(crate) async fn admin(&self, name: &str) -> Person {
        self.insert_person(name, true).await
    }

    async fn insert_person(&self, name: &str, is_admin: bool) -> Person {
        let id = Uuid::now_v7();
        let email = format!("{}-{}@example.com", name.to_lowercase(), id.simple());
        sqlx::query(
            "insert into users (id, email, name, password_hash, is_admin, created_at, updated_at)
             values ($1, $2, $3, 'no password', $4, $5, $5)",
        )
        .bind(id)
        .bind(&email)
        .bind(name)
        .bind(is_admin)
        .bind(self.clock.now())
        .execute(&self.pool)
        .await
        .unwrap();
        let (session, who) = self.session(id).await;
        Person {
            id,
            email,
            session,
            who,
        }
    }

    /// Another session of the user.
    pub(crate) async fn session(&self, user: Uuid) -> (Uuid, Who) {
        let (id, token) = (Uuid::now_v7(), random_token());
        sqlx::query(
            "insert into sessions (id, user_id, token_hash, created_at, last_seen_at, expires_at, address, user_agent)
             values ($1, $2, $3, $4, $4, $5, '', '')",
        )
        .bind(id)
        .bind(user)
        .bind(sha256(&token).as_slice())
        .bind(self.clock.now())
        .bind(self.clock.now() + TimeDelta::days(30))
        .execute(&self.pool)
        .await
        .unwrap();
        (id, Who::Cookie(token))
    }

    /// A personal access token of the person.
    pub(crate) async fn token(&self, person: &Person, scope: &str) -> Who {
        let body = json!({"name": "test", "scopes": [scope]});
        let made = self.post("/api/v1/me/tokens", &person.who, body).await;
        Who::Bearer(made.expect(201)["token"].as_str().unwrap().to_owned())
    }

    /// A project of that owner.
    pub(crate) async fn project(&self, owner: &Person) -> Uuid {
        let made = self
            .post("/api/v1/projects", &owner.who, json!({"name": "Plant"}))
            .await;
        made.expect(201)["id"].as_str().unwrap().parse().unwrap()
    }

    pub(crate) async fn add_member(&self, project: Uuid, person: &Person, role: &str) {
        sqlx::query("insert into project_members (project_id, user_id, role, created_at) values ($1, $2, $3, $4)")
            .bind(project)
            .bind(person.id)
            .bind(role)
            .bind(self.clock.now())
            .execute(&self.pool)
            .await
            .unwrap();
    }

    /// An instance as a row alone: running, nothing behind it.
    pub(crate) async fn instance_row(&self, project: Uuid) -> Uuid {
        let (id, stack) = (Uuid::now_v7(), Uuid::now_v7());
        sqlx::query(
            "insert into stacks (id, name, engine, version, image, status, created_at, updated_at)
             values ($1, $2, 'node-red', '4', 'node-red', 'ready', now(), now())",
        )
        .bind(stack)
        .bind(stack.to_string())
        .execute(&self.pool)
        .await
        .unwrap();
        sqlx::query(
            "insert into instances (id, project_id, name, subdomain, engine, stack_id, desired, memory_mb, cpus, status,
               magic_token_sealed, magic_token_hash, credential_secret_sealed, mqtt_password_sealed, mqtt_password_hash,
               created_at, updated_at)
             values ($1, $2, 'Flow', $1::text, 'node-red', $3, 'running', 256, 1, 'running', '', $4, '', '', '', now(), now())",
        )
        .bind(id)
        .bind(project)
        .bind(stack)
        .bind(sha256(&id.to_string()).as_slice())
        .execute(&self.pool)
        .await
        .unwrap();
        id
    }

    /// A snapshot of the instance as a row alone, without a node.
    pub(crate) async fn snapshot_row(&self, project: Uuid, instance: Uuid) -> Uuid {
        let id = Uuid::now_v7();
        let mut flows = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        flows.write_all(b"[]").unwrap();
        let place = format!("snapshots/{id}/credentials");
        sqlx::query(
            "insert into snapshots (id, instance_id, project_id, kind, name, author, engine, engine_version, nodes, tabs,
               flows, credentials_sealed, content_digest, credentials, size_bytes, created_at)
             values ($1, $2, $3, 'manual', 'Flow', 'test', 'node-red', '4', 0, 0, $4, $5, 'x', 0, 0, now())",
        )
        .bind(id)
        .bind(instance)
        .bind(project)
        .bind(flows.finish().unwrap())
        .bind(self.settings.secrets.keys.seal(&place, b"{}"))
        .execute(&self.pool)
        .await
        .unwrap();
        id
    }

    /// A pipeline as rows alone, from one instance to the other.
    pub(crate) async fn pipeline_row(&self, project: Uuid, from: Uuid, to: Uuid) -> Uuid {
        let id = Uuid::now_v7();
        sqlx::query(
            "insert into pipelines (id, project_id, name, created_at, updated_at) values ($1, $2, $1::text, now(), now())",
        )
        .bind(id)
        .bind(project)
        .execute(&self.pool)
        .await
        .unwrap();
        for (position, instance) in (0..).zip([from, to]) {
            sqlx::query(
                "insert into pipeline_stages (pipeline_id, project_id, instance_id, position, needs_owner)
                 values ($1, $2, $3, $4, false)",
            )
            .bind(id)
            .bind(project)
            .bind(instance)
            .bind(position)
            .execute(&self.pool)
            .await
            .unwrap();
        }
        id
    }

    /// An MQTT client as a row alone.
    pub(crate) async fn mqtt_client_row(&self, project: Uuid) -> Uuid {
        let id = Uuid::now_v7();
        sqlx::query(
            "insert into mqtt_clients (id, project_id, name, password_hash, created_at, updated_at)
             values ($1, $2, $1::text, $3, now(), now())",
        )
        .bind(id)
        .bind(project)
        .bind(sha256("password").as_slice())
        .execute(&self.pool)
        .await
        .unwrap();
        id
    }

    /// A restore as a row alone: over.
    pub(crate) async fn restore_row(&self, instance: Uuid) -> Uuid {
        let id = Uuid::now_v7();
        sqlx::query(
            "insert into restores (id, instance_id, project_id, source_kind, source_id, source_name, state, requested_by,
               created_at, touched_at, finished_at)
             select $1, id, project_id, 'snapshot', $1, 'x', 'done', 'Ada', now(), now(), now() from instances where id = $2",
        )
        .bind(id)
        .bind(instance)
        .execute(&self.pool)
        .await
        .unwrap();
        id
    }

    /// A good backup and a policy as rows alone: there is no file.
    pub(crate) async fn backup_row(&self, instance: Uuid) -> Uuid {
        let id = Uuid::now_v7();
        for sql in [
            "insert into backups (id, instance_id, project_id, instance_name, trigger, status, requested_by, engine, engine_version,
               file_name, created_at)
             select $1, id, project_id, name, 'manual', 'good', 'Ada', 'node-red', '', 'x.tar.gz', now() from instances where id = $2",
            "insert into backup_policies (instance_id, project_id, enabled, updated_at)
             select id, project_id, false, now() from instances where id = $2 and $1 <> id",
        ] {
            sqlx::query(sql)
                .bind(id)
                .bind(instance)
                .execute(&self.pool)
                .await
                .unwrap();
        }
        id
    }

    /// An editor session, launched from a dashboard session or with a token.
    pub(crate) async fn editor_session(
        &self,
        person: &Person,
        instance: Uuid,
        from: Option<Uuid>,
    ) -> Uuid {
        let id = Uuid::now_v7();
        sqlx::query(
            "insert into editor_sessions (id, instance_id, user_id, session_id, created_at, expires_at)
             values ($1, $2, $3, $4, now(), now() + interval '30 days')",
        )
        .bind(id)
        .bind(instance)
        .bind(person.id)
        .bind(from)
        .execute(&self.pool)
        .await
        .unwrap();
        id
    }

    /// A launch that waits to be redeemed.
    pub(crate) async fn launch(&self, person: &Person, instance: Uuid) {
        sqlx::query(
            "insert into access_tokens (token_hash, instance_id, user_id, created_at, expires_at)
             values ($1, $2, $3, now(), now() + interval '1 minute')",
        )
        .bind(sha256(&random_token()).as_slice())
        .bind(instance)
        .bind(person.id)
        .execute(&self.pool)
        .await
        .unwrap();
    }

    pub(crate) async fn is_revoked(&self, editor_session: Uuid) -> bool {
        sqlx::query_scalar("select revoked_at is not null from editor_sessions where id = $1")
            .bind(editor_session)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    /// The one number that a query gives.
    pub(crate) async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }
}

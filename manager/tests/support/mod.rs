//! The manager as tests see it: its router over a database of the test's own,
//! a clock that is set by hand, and builders for people and projects.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
#![allow(dead_code, reason = "no test uses all of it")]
mod clock;
mod instances;
mod relay;

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use chrono::TimeDelta;
use clap::{Args as _, FromArgMatches as _};
pub(crate) use clock::TestClock;
pub(crate) use instances::{Bench, It, eventually};
use openflow_manager::{
    app::{Core, Settings, System},
    config::Config,
    crypto::{random_token, sha256},
    db::Db,
    identity::{Identity, SignInRates},
    kernel::Clock as _,
    runtime::FakeRuntime,
};
pub(crate) use relay::Relay;
use serde_json::{Value, json};
use sqlx::PgPool;
use tempfile::TempDir;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt as _;
use utoipa::openapi::OpenApi;
use uuid::Uuid;

pub(crate) const HOST: &str = "localhost:8080";
pub(crate) const PASSWORD: &str = "correct horse battery";

pub(crate) struct TestApp {
    pub(crate) router: Router,
    pub(crate) openapi: OpenApi,
    pub(crate) identity: Identity,
    pub(crate) db: Db,
    pub(crate) clock: Arc<TestClock>,
    /// Past row-level security, to look at the rows themselves.
    pub(crate) pool: PgPool,
    pub(crate) runtime: Arc<FakeRuntime>,
    pub(crate) settings: Settings,
    pub(crate) core: Core,
    pub(crate) data: Arc<TempDir>,
    rates: SignInRates,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// The settings that these flags of `openflow` give.
pub(crate) fn settings(flags: &[&str]) -> Settings {
    let matches = Config::augment_args(clap::Command::new("openflow"))
        .no_binary_name(true)
        .get_matches_from(flags);
    Settings::load(Config::from_arg_matches(&matches).unwrap()).unwrap()
}

async fn openapi_of(router: &Router) -> OpenApi {
    let request = Request::get("/api/v1/openapi.json")
        .body(Body::empty())
        .unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let bytes = to_bytes(response.into_body(), 8 << 20).await.unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

/// With which credential a call is made.
#[derive(Clone, Debug)]
pub(crate) enum Who {
    Nobody,
    Cookie(String),
    Bearer(String),
}

/// A person with a session.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) id: Uuid,
    pub(crate) email: String,
    pub(crate) session: Uuid,
    pub(crate) who: Who,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// `null` when there is no body.
    pub(crate) json: Value,
}

impl Answer {
    /// The status, and the problem's code (empty for a success).
    pub(crate) fn refusal(&self) -> (u16, &str) {
        (self.status, self.json["code"].as_str().unwrap_or_default())
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.json);
        self.json
    }

    /// The session that the answer sets; `None` when it clears it or does
    /// not speak of it.
    pub(crate) fn cookie(&self) -> Option<String> {
        let value = self.headers.get(header::SET_COOKIE)?.to_str().unwrap();
        let value = value.strip_prefix("__Host-openflow_session=").unwrap();
        let token = value.split(';').next().unwrap();
        (!token.is_empty()).then(|| token.to_owned())
    }

    pub(crate) fn clears_cookie(&self) -> bool {
        let value = self.headers.get(header::SET_COOKIE);
        value.is_some_and(|it| it.to_str().unwrap().contains("Max-Age=0"))
    }
}

impl TestApp {
    pub(crate) async fn new(pool: PgPool) -> Self {
        let generous = u32::MAX.try_into().unwrap();
        let rates = SignInRates {
            per_account: generous,
            per_address: generous,
        };
        Self::with_rates(pool, rates).await
    }

    pub(crate) async fn with_rates(pool: PgPool, rates: SignInRates) -> Self {
        Self::with(pool, rates, Arc::new(FakeRuntime::default()), &[]).await
    }

    /// A manager on the given engine with flags of `openflow`; its background
    /// work runs until [`TestApp::kill`].
    pub(crate) async fn with(
        pool: PgPool,
        rates: SignInRates,
        runtime: Arc<FakeRuntime>,
        flags: &[&str],
    ) -> Self {
        let data = tempfile::tempdir().unwrap();
        Self::with_data(pool, rates, runtime, flags, data).await
    }

    pub(crate) async fn with_data(
        pool: PgPool,
        rates: SignInRates,
        runtime: Arc<FakeRuntime>,
        flags: &[&str],
        data: TempDir,
    ) -> Self {
        let mut flags = flags.to_vec();
        let dir = format!("--data-dir={}", data.path().display());
        flags.push(&dir);
        let clock = Arc::new(TestClock::new());
        Self::build(pool, rates, runtime, settings(&flags), clock, data.into()).await
    }

    /// Another manager of this installation: the same database, engine, data
    /// folder and clock.
    pub(crate) async fn another(&self) -> Self {
        self.another_on(self.pool.clone()).await
    }

    pub(crate) async fn another_on(&self, pool: PgPool) -> Self {
        Self::build(
            pool,
            self.rates,
            self.runtime.clone(),
            self.settings.clone(),
            self.clock.clone(),
            self.data.clone(),
        )
        .await
    }

    async fn build(
        pool: PgPool,
        rates: SignInRates,
        runtime: Arc<FakeRuntime>,
        settings: Settings,
        clock: Arc<TestClock>,
        data: Arc<TempDir>,
    ) -> Self {
        let db = Db::from_pool(pool.clone());
        let system = System {
            db: db.clone(),
            clock: clock.clone(),
            runtime: runtime.clone(),
            sign_in_rates: rates,
        };
        let address = "127.0.0.1:4071".parse().unwrap();
        let core = Core::build(&settings, system, address).await.unwrap();
        let openapi = openapi_of(&core.router).await;
        Self {
            router: core.router.clone(),
            openapi,
            identity: core.identity.clone(),
            db,
            clock,
            pool,
            runtime,
            settings,
            core,
            data,
            rates,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Begins the background work: from here on instances are made and routed.
    /// The clock runs with them.
    pub(crate) async fn run(&self) {
        self.clock.run();
        let image = "openflow/node-red:5";
        self.core.stacks.seed(image).await.unwrap();
        self.core.spawn(&self.tasks, &self.stop);
    }

    /// As `kill -9` would: nothing is finished, nothing is given back.
    pub(crate) async fn kill(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Makes a call; `null` sends no body.
    pub(crate) async fn call(&self, method: &str, path: &str, who: &Who, body: Value) -> Answer {
        self.call_with(method, path, who, body, &[]).await
    }

    pub(crate) async fn get(&self, path: &str, who: &Who) -> Answer {
        self.call("GET", path, who, Value::Null).await
    }

    pub(crate) async fn post(&self, path: &str, who: &Who, body: Value) -> Answer {
        self.call("POST", path, who, body).await
    }

    pub(crate) async fn call_with(
        &self,
        method: &str,
        path: &str,
        who: &Who,
        body: Value,
        headers: &[(&str, &str)],
    ) -> Answer {
        let method: Method = method.parse().unwrap();
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, HOST);
        request = match who {
            Who::Nobody => request,
            Who::Cookie(token) => {
                request.header(header::COOKIE, format!("__Host-openflow_session={token}"))
            }
            Who::Bearer(token) => request.header(header::AUTHORIZATION, format!("Bearer {token}")),
        };
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = if body.is_null() {
            Body::empty()
        } else {
            request = request.header(header::CONTENT_TYPE, "application/json");
            Body::from(body.to_string())
        };
        let response = self.router.clone().oneshot(request.body(body).unwrap());
        let response = response.await.unwrap();
        // How ready the manager is has its own shape, whatever the status.
        if !path.starts_with("/api/v1/health/") && response.status().as_u16() >= 400 {
            let kind = &response.headers()[header::CONTENT_TYPE];
            assert_eq!(kind, "application/problem+json");
        }
        answer(response).await
    }

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

/// Lets the background work of a test that is over end.
impl Drop for TestApp {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn answer(response: axum::response::Response) -> Answer {
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, 1 << 20).await.unwrap();
    let json = if bytes.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&bytes).unwrap()
    };
    Answer {
        status: StatusCode::as_u16(&parts.status),
        headers: parts.headers,
        json,
    }
}

//! The manager as tests see it: its router over a database of the test's own,
//! a clock that is set by hand, and builders for people and projects.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
#![allow(dead_code, reason = "no test uses all of it")]
mod broker;
mod builders;
mod clock;
pub(crate) mod hold;
pub(crate) mod instances;
pub(crate) mod relay;
pub(crate) mod stream;

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    http::{HeaderMap, Method, Request, StatusCode, header, request::Builder},
};
pub(crate) use broker::FakeBroker;
use clap::{Args as _, FromArgMatches as _};
pub(crate) use clock::TestClock;
use openflow_manager::{
    app::{Core, Settings, System},
    config::Config,
    db::Db,
    identity::{Identity, SignInRates},
    mqtt::{Foundation, SharedBroker},
    runtime::FakeRuntime,
};
use serde_json::Value;
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
    pub(crate) broker: Arc<FakeBroker>,
    /// What a broker in this process stands on.
    pub(crate) mqtt: Foundation,
    pub(crate) settings: Settings,
    /// `broker`, or the test's own.
    used_broker: SharedBroker,
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

impl Who {
    fn sign(&self, request: Builder) -> Builder {
        match self {
            Self::Nobody => request,
            Self::Cookie(token) => {
                request.header(header::COOKIE, format!("__Host-openflow_session={token}"))
            }
            Self::Bearer(token) => request.header(header::AUTHORIZATION, format!("Bearer {token}")),
        }
    }
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
        let broker = Arc::<FakeBroker>::default();
        Self::build(
            pool,
            rates,
            runtime,
            (broker.clone(), broker),
            settings(&flags),
            clock,
            data.into(),
        )
        .await
    }

    /// A manager whose projects have that broker.
    pub(crate) async fn with_broker(pool: PgPool, broker: SharedBroker) -> Self {
        let data = tempfile::tempdir().unwrap();
        let dir = format!("--data-dir={}", data.path().display());
        let (rates, runtime) = (SignInRates::DEFAULT, Arc::new(FakeRuntime::default()));
        let clock = Arc::new(TestClock::new());
        let settings = settings(&[&dir]);
        let brokers = (Arc::default(), broker);
        Self::build(pool, rates, runtime, brokers, settings, clock, data.into()).await
    }

    /// Another manager of this installation: the same database, engine, broker,
    /// data folder and clock.
    pub(crate) async fn another(&self) -> Self {
        self.another_on(self.pool.clone()).await
    }

    pub(crate) async fn another_on(&self, pool: PgPool) -> Self {
        Self::build(
            pool,
            self.rates,
            self.runtime.clone(),
            (self.broker.clone(), self.used_broker.clone()),
            self.settings.clone(),
            self.clock.clone(),
            self.data.clone(),
        )
        .await
    }

    #[expect(clippy::too_many_arguments, reason = "all that a manager stands on")]
    async fn build(
        pool: PgPool,
        rates: SignInRates,
        runtime: Arc<FakeRuntime>,
        (broker, used_broker): (Arc<FakeBroker>, SharedBroker),
        settings: Settings,
        clock: Arc<TestClock>,
        data: Arc<TempDir>,
    ) -> Self {
        let db = Db::from_pool(pool.clone());
        let mqtt = Foundation::new(db.clone(), clock.clone());
        let system = System {
            db: db.clone(),
            clock: clock.clone(),
            runtime: runtime.clone(),
            sign_in_rates: rates,
            mqtt: mqtt.clone(),
            broker: used_broker.clone(),
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
            broker,
            mqtt,
            settings,
            used_broker,
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
        let images = [("node-red", image)];
        self.core.stacks.seed(&images).await.unwrap();
        self.core.spawn(&self.tasks, &self.stop);
    }

    /// As `kill -9` would: nothing is finished, nothing is given back.
    pub(crate) async fn kill(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// A call with a body of bytes, and the bytes of its answer.
    pub(crate) async fn raw(
        &self,
        (method, path): (&str, &str),
        who: &Who,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> (Answer, Bytes) {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, HOST)
            .header(header::CONTENT_LENGTH, body.len());
        request = who.sign(request);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body)).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        whole(response).await
    }

    /// A POST of a body whose length is not said before.
    pub(crate) async fn stream_to(&self, path: &str, who: &Who, body: Body) -> Answer {
        let request = Request::post(path).header(header::HOST, HOST);
        let request = who.sign(request).body(body).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        whole(response).await.0
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

    #[expect(clippy::too_many_arguments, reason = "a request has so many parts")]
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
        request = who.sign(request);
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
}

/// The answer and the bytes of its body.
async fn whole(response: axum::response::Response) -> (Answer, Bytes) {
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, 64 << 20).await.unwrap();
    let answer = Answer {
        status: parts.status.as_u16(),
        headers: parts.headers,
        json: serde_json::from_slice(&bytes).unwrap_or_default(),
    };
    (answer, bytes)
}

/// Lets the background work of a test that is over end.
impl Drop for TestApp {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn answer(response: axum::response::Response) -> Answer {
    let (parts, body) = response.into_parts();
    let kind = parts.headers.get(header::CONTENT_TYPE);
    let kind = kind.map_or("", |it| it.to_str().unwrap()).to_owned();
    // A stream of events has no end to wait for.
    let bytes = if kind.starts_with("text/event-stream") {
        Bytes::new()
    } else {
        to_bytes(body, 1 << 20).await.unwrap()
    };
    let json = if bytes.is_empty() || !kind.contains("json") {
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

//! Instances as tests make and watch them.
use std::{sync::Arc, time::Duration};

use openflow_manager::{
    kernel::InstanceId,
    runtime::{Ended, FakeRuntime},
};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::time::Instant;
use uuid::Uuid;

use super::{Answer, Person, TestApp, Who};

/// Far more than any step takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(15);

/// Until `look` gives something; panics with `what` when it never does.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if let Some(found) = look().await {
            return found;
        }
        tokio::time::sleep(PAUSE).await;
    }
    panic!("it never happened: {what}");
}

/// A running manager with a project whose owner is Ada.
pub(crate) struct Bench {
    pub(crate) t: TestApp,
    pub(crate) ada: Person,
    pub(crate) project: Uuid,
    pub(crate) runtime: Arc<FakeRuntime>,
}

impl Bench {
    pub(crate) async fn new(pool: PgPool) -> Self {
        Self::of(TestApp::new(pool).await).await
    }

    pub(crate) async fn with_flags(pool: PgPool, flags: &[&str]) -> Self {
        let rates = openflow_manager::identity::SignInRates::DEFAULT;
        let runtime = Arc::new(FakeRuntime::default());
        Self::of(TestApp::with(pool, rates, runtime, flags).await).await
    }

    pub(crate) async fn of(t: TestApp) -> Self {
        t.run().await;
        let ada = t.person("Ada").await;
        let project = t.project(&ada).await;
        let bench = Self {
            ada,
            project,
            runtime: t.runtime.clone(),
            t,
        };
        bench.stack_is_ready().await;
        bench
    }

    /// The manager is killed and started anew on the same host.
    pub(crate) async fn kill_and_start_anew(&mut self) {
        self.t.kill().await;
        self.t = self.t.another().await;
        self.t.run().await;
    }

    async fn stack_is_ready(&self) {
        eventually("the first stack is ready", async || {
            let stacks = self
                .t
                .get("/api/v1/stacks", &self.ada.who)
                .await
                .expect(200);
            (stacks["items"][0]["status"] == "ready").then_some(())
        })
        .await;
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.t.get(path, &self.ada.who).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.t.post(path, &self.ada.who, body).await
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: Value) -> Answer {
        self.t.call(method, path, &self.ada.who, body).await
    }

    pub(crate) fn instances_path(&self) -> String {
        format!("/api/v1/projects/{}/instances", self.project)
    }

    /// Asks for an instance; what else its body holds is in `more`.
    pub(crate) async fn try_create(&self, subdomain: &str, more: Value) -> Answer {
        let mut body = json!({"name": subdomain, "subdomain": subdomain});
        for (name, value) in more.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        self.post(&self.instances_path(), body).await
    }

    pub(crate) async fn create(&self, subdomain: &str) -> It {
        self.create_with(subdomain, json!({})).await
    }

    pub(crate) async fn create_with(&self, subdomain: &str, more: Value) -> It {
        It::of(&self.try_create(subdomain, more).await.expect(201))
    }

    /// One that runs.
    pub(crate) async fn running(&self, subdomain: &str) -> It {
        let it = self.create(subdomain).await;
        self.until(&it, "running").await;
        it
    }

    pub(crate) async fn see(&self, it: &It) -> Value {
        self.get(&it.path("")).await.expect(200)
    }

    /// Until it has that status, and as it is then.
    pub(crate) async fn until(&self, it: &It, status: &str) -> Value {
        self.until_it(it, &format!("{} is {status}", it.id), |view| {
            view["status"] == status
        })
        .await
    }

    pub(crate) async fn until_it(
        &self,
        it: &It,
        what: &str,
        mut fits: impl FnMut(&Value) -> bool,
    ) -> Value {
        let mut last = Value::Null;
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            last = self.see(it).await;
            if fits(&last) {
                return last;
            }
            tokio::time::sleep(PAUSE).await;
        }
        panic!("it never happened: {what}; last seen {last:#}");
    }

    /// Until row, container and data folder are gone.
    pub(crate) async fn until_gone(&self, it: &It) {
        eventually("the instance is gone", async || {
            (self.get(&it.path("")).await.status == 404).then_some(())
        })
        .await;
        assert!(self.runtime.container(it.key()).is_none());
        assert!(!self.folder(it).exists());
    }

    pub(crate) fn folder(&self, it: &It) -> std::path::PathBuf {
        self.t.data.path().join("instances").join(it.id.to_string())
    }

    /// Asks for `start`, `stop`, `restart` and waits for the outcome.
    pub(crate) async fn ask(&self, it: &It, what: &str, status: &str) -> Value {
        self.post(&it.path(what), Value::Null).await.expect(202);
        self.until(it, status).await
    }

    pub(crate) async fn patch(&self, it: &It, body: Value) -> Value {
        self.call("PATCH", &it.path(""), body).await.expect(200)
    }

    /// One variable of the container's environment.
    pub(crate) fn env_of(&self, it: &It, name: &str) -> Option<String> {
        let spec = self.runtime.spec(it.key())?;
        Some(spec.env.get(name)?.expose().to_owned())
    }

    /// The audit log's actions for the instance, oldest first.
    pub(crate) async fn audited(&self, it: &It) -> Vec<String> {
        sqlx::query_scalar("select action from audit_log where target_id = $1 order by id")
            .bind(it.id.to_string())
            .fetch_all(&self.t.pool)
            .await
            .unwrap()
    }

    /// A ready stack of that image.
    pub(crate) async fn stack(&self, image: &str) -> Uuid {
        let made = self.made_stack("node-red", image, "ready").await;
        made.as_str().unwrap().parse().unwrap()
    }

    /// The id of a stack that was looked at and has that status.
    pub(crate) async fn made_stack(&self, engine: &str, image: &str, status: &str) -> Value {
        let root = self.t.admin("Root").await;
        let body = json!({"name": image, "engine": engine, "image": image});
        let made = self
            .t
            .post("/api/v1/stacks", &root.who, body)
            .await
            .expect(201);
        let path = format!("/api/v1/stacks/{}", made["id"].as_str().unwrap());
        eventually("the stack was checked", async || {
            let stack = self.get(&path).await.expect(200);
            (stack["status"] == status).then_some(())
        })
        .await;
        made["id"].clone()
    }

    /// What reads n8n's content where nobody answers finds an empty one.
    pub(crate) fn n8n_is_read(&self) {
        let empty = json!({"format": 1, "version": "2.0.0", "workflows": [], "credentials": [],
            "tags": [], "variables": [], "modules": []});
        self.runtime.set_rehearsals(move |it| {
            let name = it.command[2].split(">/data/").nth(1).unwrap();
            std::fs::write(it.data_dir.join(name), empty.to_string()).unwrap();
            Ok(Ended {
                exit_code: Some(0),
                ..Ended::default()
            })
        });
    }

    /// The route table that the proxy gets now.
    pub(crate) async fn feed(&self) -> Value {
        self.feed_after("").await.expect(200)
    }

    /// `query` goes on after `?`.
    pub(crate) async fn feed_after(&self, query: &str) -> Answer {
        let secret = self.t.settings.secrets.proxy.expose();
        let path = format!("/internal/v1/routes?{query}");
        let headers = [("x-openflow-proxy-secret", secret)];
        self.t
            .call_with("GET", &path, &Who::Nobody, Value::Null, &headers)
            .await
    }

    /// Until the feed is as wanted.
    pub(crate) async fn until_feed(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        eventually(what, async || {
            let feed = self.feed().await;
            fits(&feed).then_some(feed)
        })
        .await
    }
}

/// An instance of the bench.
#[derive(Clone, Debug)]
pub(crate) struct It {
    pub(crate) id: Uuid,
    pub(crate) subdomain: String,
}

impl It {
    pub(crate) fn of(view: &Value) -> Self {
        Self {
            id: view["id"].as_str().unwrap().parse().unwrap(),
            subdomain: view["subdomain"].as_str().unwrap().to_owned(),
        }
    }

    pub(crate) fn key(&self) -> InstanceId {
        InstanceId(self.id)
    }

    pub(crate) fn path(&self, below: &str) -> String {
        let path = format!("/api/v1/instances/{}", self.id);
        if below.is_empty() {
            path
        } else {
            format!("{path}/{below}")
        }
    }
}

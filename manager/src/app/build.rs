use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use axum::{Router, extract::DefaultBodyLimit, http::StatusCode, middleware};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use openflow_route_api::Key;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower_http::{catch_panic::CatchPanicLayer, timeout::TimeoutLayer};
use url::Url;

use super::{
    Secrets, Settings, broker_info, dashboard, health, instance_side::InstanceSide, metrics,
    openapi,
};
use crate::{
    access::{self, Access, InstallationSecrets, SecretName},
    audit::{self, Audit},
    config,
    crypto::Passwords,
    db::{Changes, Db},
    identity::{self, Identity, SignInRates},
    instances::{self, Instances, Reconciler, Routing, restores},
    jobs::{self, Wake},
    kernel::Clock,
    mqtt::{
        self, Mqtt, SharedBroker,
        traffic::{self, Traffic},
    },
    routing,
    runtime::Runtime,
    stacks::{self, CheckImages, Stacks, templates::Templates},
    web,
};

const BODY_BYTES_MAX: usize = 2 << 20;
/// Until an answer begins; streams go on after that.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// What the manager stands on.
#[derive(Clone)]
pub struct System {
    pub db: Db,
    pub clock: Arc<dyn Clock>,
    pub runtime: Arc<dyn Runtime>,
    pub sign_in_rates: SignInRates,
    pub mqtt: mqtt::Foundation,
    /// Made on `mqtt`.
    pub broker: SharedBroker,
}

/// The manager without its sockets.
pub struct Core {
    /// All that it answers; wants `ConnectInfo<SocketAddr>` of the caller.
    pub router: Router,
    pub identity: Identity,
    pub stacks: Stacks,
    pub instance_side: InstanceSide,
    system: System,
    access: Access,
    changes: Changes,
    feed: routing::Feed,
    mqtt: Mqtt,
    instances: Instances,
    reconciler: Reconciler,
    check_images: Wake,
}

impl Core {
    /// The database has been migrated. `address` is where the proxy reaches
    /// this manager.
    pub async fn build(
        settings: &Settings,
        system: System,
        address: SocketAddr,
    ) -> anyhow::Result<Self> {
        let System {
            db, clock, runtime, ..
        } = system.clone();
        let keys = settings.secrets.keys.clone();
        let changes = Changes::new();
        let identity = Identity::new(
            db.clone(),
            clock.clone(),
            Passwords::new(),
            system.sign_in_rates,
        );
        let access = Access::new(db.clone(), clock.clone());
        let check_images = Wake::default();
        let stacks = Stacks::new(db.clone(), clock.clone(), check_images.clone());
        let templates = Templates::new(db.clone(), clock.clone(), keys.clone());
        let instances = Instances::new(instances::Parts {
            db: db.clone(),
            clock: clock.clone(),
            keys,
            identity: identity.clone(),
            access: access.clone(),
            changes: changes.clone(),
            runtime: runtime.clone(),
            settings: Arc::new(instance_settings(settings, address)?),
        });
        let traffic = traffic(&system, &identity, &changes);
        let feed = feed(settings, &system, address).await?;
        let mqtt = mqtt(settings, &system, &identity);
        let instance_side = InstanceSide::default();
        let (api, document) = openapi::router()
            .merge(health::router(db.clone(), runtime, mqtt.clone()))
            .merge(identity::http::router(identity.clone()))
            .merge(audit::http::router(Audit::new(db)))
            .merge(stacks::http::router(stacks.clone()))
            .merge(stacks::templates::http::router(templates))
            .merge(instances::http::router(instances.clone()))
            .merge(mqtt::http::router(mqtt.clone()))
            .merge(traffic::http::router(traffic))
            .split_for_parts();
        let for_programs = for_programs(&settings.secrets, &access, &feed);
        let for_people = for_people(api.merge(openapi::pages(document)), &identity);
        let router = with_layers(for_people.merge(for_programs), &instance_side)
            .merge(for_the_broker(&settings.secrets, &system));
        Ok(Self {
            router,
            identity,
            stacks,
            instance_side,
            instances: instances.clone(),
            reconciler: Reconciler::new(
                instances,
                settings.config.limits.reconcile_concurrency as usize,
            ),
            system,
            access,
            changes,
            feed,
            mqtt,
            check_images,
        })
    }

    /// Begins the background work; it ends with `stop`.
    pub fn spawn(&self, tracker: &TaskTracker, stop: &CancellationToken) {
        let (db, changes) = (self.system.db.clone(), self.changes.clone());
        // Subscribers first: nothing that the follower tells is missed.
        tracker.spawn(self.feed.clone().run(changes.clone(), stop.clone()));
        self.mqtt.spawn(tracker, &changes, stop);
        self.reconciler.clone().spawn(tracker, stop.clone());
        let stop_following = stop.clone();
        tracker.spawn(async move { changes.follow(&db, stop_following).await });
        let check = CheckImages {
            stacks: self.stacks.clone(),
            runtime: self.system.runtime.clone(),
        };
        jobs::spawn(tracker, stop.clone(), self.check_images.clone(), check);
        jobs::spawn(
            tracker,
            stop.clone(),
            Wake::default(),
            restores::CleanUp(self.instances.clone()),
        );
        jobs::spawn(
            tracker,
            stop.clone(),
            Wake::default(),
            access::Purge(self.access.clone()),
        );
        jobs::spawn(
            tracker,
            stop.clone(),
            Wake::default(),
            identity::Purge {
                identity: self.identity.clone(),
            },
        );
    }
}

fn mqtt(settings: &Settings, system: &System, identity: &Identity) -> Mqtt {
    let broker = system.broker.clone();
    Mqtt::new(mqtt::Parts {
        db: system.db.clone(),
        clock: system.clock.clone(),
        identity: identity.clone(),
        foundation: system.mqtt.clone(),
        info: broker_info::broker_info(&settings.config, broker.kind()),
        broker,
    })
}

fn traffic(system: &System, identity: &Identity, changes: &Changes) -> Traffic {
    Traffic::new(traffic::Parts {
        db: system.db.clone(),
        clock: system.clock.clone(),
        identity: identity.clone(),
        changes: changes.clone(),
        broker: system.broker.clone(),
    })
}

async fn feed(
    settings: &Settings,
    system: &System,
    address: SocketAddr,
) -> anyhow::Result<routing::Feed> {
    let (db, clock) = (system.db.clone(), system.clock.clone());
    let keys = settings.secrets.keys.clone();
    let secrets = InstallationSecrets::new(db.clone(), clock.clone(), keys.clone());
    let cookie_key = secrets.get(SecretName::CookieKey).await?;
    let feed = routing::FeedSettings {
        domain: settings.config.address.domain.clone(),
        dashboard: address,
        dashboard_url: settings.config.public_url(),
        cookie_keys: vec![parse_key(cookie_key.expose())?],
    };
    Ok(routing::Feed::new(db, clock, keys, feed))
}

/// What the proxy, instances and the broker ask, each with a secret of its own.
fn for_programs(secrets: &Secrets, access: &Access, feed: &routing::Feed) -> Router {
    let proxy = &secrets.proxy;
    Router::new()
        .merge(access::http::proxy_router(access.clone(), proxy.clone()))
        .merge(access::http::shim_router(access.clone()))
        .merge(routing::http::router(feed.clone(), proxy.clone()))
        .method_not_allowed_fallback(web::method_not_allowed)
}

/// By itself: a whole site of devices that connects anew asks thousands of
/// times a second, and the hook counts and refuses by its own means.
fn for_the_broker(secrets: &Secrets, system: &System) -> Router {
    let (secret, clock) = (secrets.hook.clone(), system.clock.clone());
    mqtt::hook::router(system.mqtt.clone(), secret, clock)
        .method_not_allowed_fallback(web::method_not_allowed)
        .layer(TimeoutLayer::with_status_code(
            StatusCode::GATEWAY_TIMEOUT,
            ANSWER_TIMEOUT,
        ))
        .layer(CatchPanicLayer::custom(|_| web::panicked()))
        .layer(middleware::map_response(web::finish_refusal))
}

/// What browsers and programs of people use: whoever asks is found out, and
/// changes from other sites' pages are refused.
fn for_people(api: Router, identity: &Identity) -> Router {
    api.merge(metrics::router())
        .method_not_allowed_fallback(web::method_not_allowed)
        .fallback(dashboard::serve)
        .layer(middleware::from_fn(web::refuse_cross_site))
        .layer(middleware::from_fn_with_state(
            identity.clone(),
            identity::authenticate,
        ))
}

/// What every request passes, the last one first.
fn with_layers(router: Router, instance_side: &InstanceSide) -> Router {
    router
        .layer(middleware::from_fn_with_state(
            instance_side.clone(),
            InstanceSide::guard,
        ))
        .layer(middleware::from_fn(dashboard::security_headers))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(TimeoutLayer::with_status_code(
            StatusCode::GATEWAY_TIMEOUT,
            ANSWER_TIMEOUT,
        ))
        .layer(CatchPanicLayer::custom(|_| web::panicked()))
        .layer(middleware::from_fn(metrics::measure))
        .layer(middleware::from_fn(web::finish))
}

pub(super) fn instance_settings(
    settings: &Settings,
    address: SocketAddr,
) -> anyhow::Result<instances::Settings> {
    let config = &settings.config;
    let data_dir = std::path::absolute(config.data.path()).context("the data folder's path")?;
    Ok(instances::Settings {
        data_dir,
        public_url: Url::parse(&config.public_url()).context("the public URL")?,
        domain: config.address.domain.clone(),
        routing: match config.instances.routing {
            config::Routing::Proxy => Routing::Proxy,
            config::Routing::Nginx => Routing::Nginx,
        },
        manager_url: format!("http://host.docker.internal:{}", address.port()),
        mqtt_url: config.mqtt.url().to_string(),
        memory_mb_default: config.instances.default_memory_mb,
        cpus_default: config.instances.default_cpus,
        memory_mb_max: config.limits.max_memory_mb,
        cpus_max: config.limits.max_cpus,
        per_project_max: i64::from(config.limits.max_instances_per_project),
    })
}

fn parse_key(text: &str) -> anyhow::Result<Key> {
    let bytes = BASE64_URL_SAFE_NO_PAD
        .decode(text)
        .ok()
        .and_then(|it| it.try_into().ok());
    Ok(Key::new(
        bytes.context("the stored cookie key is not 32 bytes")?,
    ))
}

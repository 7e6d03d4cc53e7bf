use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use axum::Router;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use super::{
    Core, Settings, System,
    built_in_broker::BuiltInBroker,
    gateway::{Door, Gateway},
    slices,
};
use crate::{
    access::{InstallationSecrets, SecretName},
    config::MqttBroker,
    crypto::sha256,
    databases::Databases,
    db::Db,
    identity::SignInRates,
    kernel::{Clock, SystemClock},
    mqtt::{self, Emqx, EmqxSettings, NoBroker, SharedBroker},
    runtime::{DockerConfig, DockerRuntime, Runtime},
};

const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// The running manager.
pub struct App {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where the first administrator signs up; `None` once there is one.
    pub setup_url: Option<String>,
    built_in: Option<BuiltInBroker>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl App {
    /// Begins to serve. The database has been migrated.
    pub async fn start(settings: Settings, db: Db) -> anyhow::Result<Self> {
        let listen = settings.config.address.listen;
        let listener = TcpListener::bind(listen)
            .await
            .with_context(|| format!("cannot listen on {listen} (--listen)"))?;
        let address = listener.local_addr()?;
        let runtime: Arc<dyn Runtime> = Arc::new(connect_docker(&settings, &db, address).await?);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let mqtt = mqtt::Foundation::new(db.clone(), clock.clone());
        let (broker, built_in) = start_broker(&settings, &mqtt, &clock).await?;
        let system = System {
            db,
            clock,
            runtime: runtime.clone(),
            sign_in_rates: SignInRates::DEFAULT,
            broker,
            mqtt,
        };
        let core = Core::build(&settings, system, loopback(address)).await?;
        let setup_url = first_steps(&settings, &core).await?;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        core.spawn(&tasks, &stop);
        serve(&tasks, listener, core.router.clone(), &stop);
        let mut doors = vec![sign_in_door(address, core.router, &tasks, &stop)];
        if let (Some(broker), Some(port)) = (&built_in, settings.config.mqtt.host_port()) {
            doors.push(broker.door(port));
        }
        let gateway = Gateway {
            runtime,
            instance_side: core.instance_side,
            doors,
        };
        tasks.spawn(gateway.follow_network(stop.clone()));
        Ok(Self {
            address,
            setup_url,
            built_in,
            stop,
            tasks,
        })
    }

    /// Finishes the requests under way.
    pub async fn stop(self) {
        if let Some(broker) = self.built_in {
            broker.stop().await;
        }
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(STOP_TIMEOUT, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("some work was still under way; it is taken up at the next start");
        }
    }
}

/// The broker that the settings name, and the built-in one's listeners.
async fn start_broker(
    settings: &Settings,
    on: &mqtt::Foundation,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<(SharedBroker, Option<BuiltInBroker>)> {
    let config = &settings.config.mqtt;
    Ok(match config.broker {
        Some(MqttBroker::BuiltIn) => {
            let built_in = BuiltInBroker::start(settings, on).await?;
            (Arc::new(built_in.broker.clone()), Some(built_in))
        }
        Some(MqttBroker::Emqx) => {
            let emqx = EmqxSettings {
                mqtt_url: config.url(),
                api: config.emqx_url.clone().zip(config.emqx_api_key.clone()),
                hook_secret: settings.secrets.hook.clone(),
            };
            (Arc::new(Emqx::new(emqx, clock.clone())?), None)
        }
        Some(MqttBroker::None) | None => (Arc::new(NoBroker), None),
    })
}

/// Where a process on this host reaches a listener.
fn loopback(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        SocketAddr::from(([127, 0, 0, 1], address.port()))
    } else {
        address
    }
}

pub(super) async fn connect_docker(
    settings: &Settings,
    db: &Db,
    address: SocketAddr,
) -> anyhow::Result<DockerRuntime> {
    let instances = &settings.config.instances;
    let secrets = InstallationSecrets::new(
        db.clone(),
        Arc::new(SystemClock),
        settings.secrets.keys.clone(),
    );
    let id = secrets.get(SecretName::InstallationId).await?;
    let mut installation = [0; 16];
    installation.copy_from_slice(&sha256(id.expose())[..16]);
    let mut config = DockerConfig::new(Uuid::from_bytes(installation));
    config.host = instances.docker_host();
    config.network = instances.network.clone();
    config.subnet = Some(instances.network_subnet.into());
    config.allowed_networks = instances.allowed_networks.clone();
    config.host_ports = vec![address.port()];
    config.host_ports.extend(settings.config.mqtt.host_port());
    open_databases(&mut config, &slices::databases(settings)?);
    let proxy = &settings.config.proxy;
    // With another server in front of the proxy, that one's port too.
    let edge = settings.config.address.public_url.as_ref();
    config.public_ports = [Some(proxy.listen), proxy.listen_tls]
        .into_iter()
        .flatten()
        .map(|it| it.port())
        .chain(edge.and_then(|it| it.port_or_known_default()))
        .collect();
    config.public_ports.sort_unstable();
    config.public_ports.dedup();
    Ok(DockerRuntime::connect(config))
}

/// Lets instances reach the server for their databases, wherever it is.
fn open_databases(config: &mut DockerConfig, databases: &Databases) {
    match databases.address() {
        None => {}
        Some((None, port)) => config.host_ports.push(port),
        Some((Some(host), port)) => config.allowed_services.push((host.to_owned(), port)),
    }
}

/// The first stack and the first administrator; the link of the one who is to
/// become it.
async fn first_steps(settings: &Settings, core: &Core) -> anyhow::Result<Option<String>> {
    core.stacks
        .seed(&settings.config.instances.images())
        .await?;
    let admin = &settings.config.admin;
    if let (Some(email), Some(password)) = (&admin.email, &admin.password) {
        core.identity
            .ensure_admin(email, password)
            .await
            .context("OPENFLOW_ADMIN_EMAIL and OPENFLOW_ADMIN_PASSWORD")?;
    }
    let token = core.identity.ensure_setup_token().await?;
    Ok(token.map(|it| {
        format!(
            "{}/setup?token={}",
            settings.config.public_url(),
            it.expose()
        )
    }))
}

fn serve(tasks: &TaskTracker, listener: TcpListener, router: Router, stop: &CancellationToken) {
    let stopped = stop.clone().cancelled_owned();
    tasks.spawn(async move {
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        let server = axum::serve(listener, service).with_graceful_shutdown(stopped);
        if let Err(error) = server.await {
            tracing::error!(%error, "a listener of the manager failed: {error}");
        }
    });
}

/// The shim of an instance redeems access tokens at the manager's own port.
fn sign_in_door(
    address: SocketAddr,
    router: Router,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Door {
    let (tasks, stop) = (tasks.clone(), stop.clone());
    Door {
        purpose: "the instances' sign-in",
        address,
        port: address.port(),
        serve: Box::new(move |listener| serve(&tasks, listener, router.clone(), &stop)),
    }
}

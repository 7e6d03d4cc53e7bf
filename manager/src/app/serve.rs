use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use axum::Router;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use super::{Core, Settings, System, instance_side::InstanceSide};
use crate::{
    access::{InstallationSecrets, SecretName},
    crypto::sha256,
    db::Db,
    identity::SignInRates,
    kernel::SystemClock,
    mqtt::NoBroker,
    runtime::{DockerConfig, DockerRuntime, Runtime},
};

/// How often the instance network, its rules and our place in it are looked at.
const NETWORK_PERIOD: Duration = Duration::from_secs(30);
const NETWORK_RETRY: Duration = Duration::from_secs(3);
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// The running manager.
pub struct App {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where the first administrator signs up; `None` once there is one.
    pub setup_url: Option<String>,
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
        let system = System {
            db,
            clock: Arc::new(SystemClock),
            runtime: runtime.clone(),
            sign_in_rates: SignInRates::DEFAULT,
            broker: Arc::new(NoBroker),
        };
        let core = Core::build(&settings, system, loopback(address)).await?;
        let setup_url = first_steps(&settings, &core).await?;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        core.spawn(&tasks, &stop);
        serve(&tasks, listener, core.router.clone(), &stop);
        let side = Side {
            runtime,
            router: core.router,
            instance_side: core.instance_side,
            address,
        };
        tasks.spawn(side.follow_network(tasks.clone(), stop.clone()));
        Ok(Self {
            address,
            setup_url,
            stop,
            tasks,
        })
    }

    /// Finishes the requests under way.
    pub async fn stop(self) {
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

/// Where a process on this host reaches a listener.
fn loopback(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        SocketAddr::from(([127, 0, 0, 1], address.port()))
    } else {
        address
    }
}

async fn connect_docker(
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
    let mqtt = &settings.config.mqtt.url;
    if mqtt.host_str() == Some("host.docker.internal") {
        config.host_ports.extend(mqtt.port().or(Some(1883)));
    }
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

/// The first stack and the first administrator; the link of the one who is to
/// become it.
async fn first_steps(settings: &Settings, core: &Core) -> anyhow::Result<Option<String>> {
    core.stacks
        .seed(&settings.config.instances.node_red_image)
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

/// The side that instances see: the network's gateway address, where they find
/// us as `host.docker.internal`.
struct Side {
    runtime: Arc<dyn Runtime>,
    router: Router,
    instance_side: InstanceSide,
    address: SocketAddr,
}

impl Side {
    async fn follow_network(self, tasks: TaskTracker, stop: CancellationToken) {
        let mut bound = HashSet::new();
        loop {
            let pause = match self.runtime.ensure_network().await {
                Ok(network) => {
                    self.instance_side.set_network(network.clone());
                    for gateway in network.gateways {
                        self.listen(gateway, &mut bound, &tasks, &stop).await;
                    }
                    NETWORK_PERIOD
                }
                Err(error) => {
                    tracing::warn!(%error, "no instance network: {error}");
                    NETWORK_RETRY
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn listen(
        &self,
        gateway: IpAddr,
        bound: &mut HashSet<IpAddr>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) {
        // Listening on all addresses covers it; so does an earlier round.
        if self.address.ip().is_unspecified() || bound.contains(&gateway) {
            return;
        }
        match TcpListener::bind((gateway, self.address.port())).await {
            Ok(listener) => {
                bound.insert(gateway);
                serve(tasks, listener, self.router.clone(), stop);
            }
            Err(error) => tracing::warn!(
                "cannot listen on {gateway}:{} for the instances' sign-in: {error}",
                self.address.port()
            ),
        }
    }
}

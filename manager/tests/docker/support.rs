//! For the tests on the real engine. They fail, not skip, without one.
use std::{
    collections::BTreeMap,
    os::unix::fs::chown,
    path::PathBuf,
    process::Command,
    sync::OnceLock,
    time::{Duration, Instant},
};

use openflow_manager::{
    kernel::{InstanceId, ProjectId, Secret},
    runtime::{
        ContainerSpec, ContainerState, DockerConfig, DockerRuntime, Observed, Probe, Runtime as _,
    },
};
use uuid::Uuid;

pub(crate) const IMAGE: &str = "openflow/test:1";
pub(crate) const USER: u32 = 1000;
const PATIENCE: Duration = Duration::from_secs(60);

/// A manager's runtime with an installation of its own; its containers go
/// with it.
pub(crate) struct Host {
    pub(crate) runtime: DockerRuntime,
    pub(crate) config: DockerConfig,
    data: tempfile::TempDir,
    /// The network is this host's alone and goes too.
    own_network: bool,
}

impl Host {
    /// In the network that all tests share, with the firewall left alone.
    pub(crate) async fn new() -> Self {
        let mut config = DockerConfig::new(Uuid::now_v7());
        config.network = "openflow-test".into();
        config.manage_firewall = false;
        Self::with(config, false).await
    }

    /// In a network of its own.
    pub(crate) async fn alone(adjust: impl FnOnce(&mut DockerConfig)) -> Self {
        let mut config = DockerConfig::new(Uuid::now_v7());
        config.network = format!("openflow-test-{}", unique());
        adjust(&mut config);
        Self::with(config, true).await
    }

    async fn with(config: DockerConfig, own_network: bool) -> Self {
        build_image();
        let runtime = DockerRuntime::connect(config.clone());
        runtime.ensure_network().await.unwrap();
        Self {
            runtime,
            config,
            data: tempfile::tempdir().unwrap(),
            own_network,
        }
    }

    /// Another manager of the same installation.
    pub(crate) fn another(&self) -> DockerRuntime {
        DockerRuntime::connect(self.config.clone())
    }

    pub(crate) fn spec(&self) -> ContainerSpec {
        let instance = InstanceId::new();
        let data_dir = self.data.path().join(instance.to_string());
        std::fs::create_dir(&data_dir).unwrap();
        chown(&data_dir, Some(USER), Some(USER)).unwrap();
        ContainerSpec {
            instance,
            project: ProjectId::new(),
            engine: "node-red",
            name: format!("openflow-test-{}", unique()),
            image: IMAGE.into(),
            env: BTreeMap::new(),
            memory_bytes: 64 << 20,
            cpus: 0.5,
            start_cpus: 0.0,
            pids_max: 32,
            tmp_bytes: 1 << 20,
            data_dir,
            secrets_dir: None,
            user: (USER, USER),
            network_aliases: vec![],
            aliases_pinned: false,
            stop_grace: Duration::from_secs(5),
        }
    }

    /// A spec whose container runs `script` first.
    pub(crate) fn spec_that_runs(&self, script: &str) -> ContainerSpec {
        let mut spec = self.spec();
        spec.env.insert("RUN".into(), Secret::new(script));
        spec
    }

    /// A healthy container.
    pub(crate) async fn running(&self, spec: &ContainerSpec) -> Observed {
        self.runtime.create(spec).await.unwrap();
        self.runtime.start(spec.instance).await.unwrap();
        self.healthy(spec.instance).await
    }

    pub(crate) async fn healthy(&self, id: InstanceId) -> Observed {
        eventually("healthy", async || {
            let observed = self.observed(id).await;
            let address = (observed.address?, 1880).into();
            let probe = self.runtime.probe(address, "/openflow/health").await;
            (probe == Probe::Up { flows: true }).then_some(observed)
        })
        .await
    }

    pub(crate) async fn observed(&self, id: InstanceId) -> Observed {
        self.runtime.observe(id).await.unwrap().unwrap()
    }

    pub(crate) async fn in_state(&self, id: InstanceId, state: ContainerState) -> Observed {
        eventually("in that state", async || {
            let observed = self.observed(id).await;
            (observed.state == state).then_some(observed)
        })
        .await
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let label = format!("label=openflow.installation={}", self.config.installation);
        let ours = docker_try(&["ps", "-aq", "--filter", &label]).unwrap_or_default();
        for id in ours.split_whitespace() {
            let _ = docker_try(&["rm", "-fv", id]);
        }
        if self.own_network {
            let runtime = DockerRuntime::connect(self.config.clone());
            let removal = std::thread::spawn(move || {
                let tokio = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build();
                tokio.map(|it| it.block_on(runtime.remove_network()))
            });
            let _ = removal.join();
        }
    }
}

pub(crate) fn docker(args: &[&str]) -> String {
    docker_try(args).unwrap()
}

/// Standard output, trimmed; or standard error.
pub(crate) fn docker_try(args: &[&str]) -> Result<String, String> {
    run("docker", args)
}

pub(crate) fn run(program: &str, args: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(args).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    Err(format!(
        "{program} {}: {}{}",
        args.join(" "),
        text(&output.stdout),
        text(&output.stderr)
    ))
}

/// Asks until there is an answer.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "not {what} in time");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub(crate) async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(result) => result,
        Err(_) => panic!("not {what} in time"),
    }
}

/// Hex that no other test has.
pub(crate) fn unique() -> String {
    Uuid::new_v4().simple().to_string()[..12].to_owned()
}

pub(crate) fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn build_image() {
    static BUILT: OnceLock<Result<String, String>> = OnceLock::new();
    let script = repository().join("scripts/test-image.sh");
    let built = BUILT.get_or_init(|| run(&script.to_string_lossy(), &[]));
    if let Err(words) = built {
        panic!("These tests need a Docker Engine: see `make install`. {words}");
    }
}

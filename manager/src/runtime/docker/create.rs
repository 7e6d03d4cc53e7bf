use std::{collections::HashMap, path::Path, time::Duration};

use bollard::{
    models::{
        ContainerCreateBody, ContainerSummary, EndpointSettings, HealthConfig, HostConfig,
        HostConfigCgroupnsModeEnum, HostConfigLogConfig, Mount, MountBindOptions,
        MountBindOptionsPropagationEnum, MountType, NetworkingConfig, ResourcesUlimits,
        RestartPolicy, RestartPolicyNameEnum,
    },
    query_parameters::CreateContainerOptionsBuilder,
};

use super::{
    DockerConfig, DockerRuntime,
    error::{says, status},
    map,
    network::Network,
};
use crate::runtime::{ContainerSpec, ContainerState, Error};

/// Linux takes no longer host name.
const HOST_NAME_CHARS_MAX: usize = 63;
/// When the whole host runs out of memory, tenants go before the platform.
const OOM_SCORE_ADJ: i64 = 500;
const TRIES: usize = 25; // a busy engine takes its time
const RETRY_PAUSE: Duration = Duration::from_millis(200);

impl DockerRuntime {
    pub(super) async fn create_container(&self, spec: &ContainerSpec) -> Result<(), Error> {
        let network = self.known_network().await?;
        let body = body(spec, &self.config, &network);
        // A second try only after a lost race: another manager, or an earlier
        // call of ours that timed out here and went on there, took the name.
        for _ in 0..TRIES {
            if self.adopt(spec).await? {
                return Ok(());
            }
            let options = CreateContainerOptionsBuilder::new()
                .name(&spec.name)
                .build();
            let (options, body) = (Some(options), body.clone());
            let created = self
                .change(|docker| async move { docker.create_container(options, body).await })
                .await;
            match created {
                Ok(_) => return Ok(()),
                Err(error) if says(&error, 404, "image") => {
                    return Err(Error::ImageMissing(spec.image.clone()));
                }
                Err(error) if status(&error) == Some(409) => {
                    self.check_name_is_ours(&spec.name, spec.instance).await?;
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Refused(format!(
            "the name {} is still in use",
            spec.name
        )))
    }

    /// Keeps the instance's container if it is what `spec` wants and removes
    /// all others. Whether one was kept.
    async fn adopt(&self, spec: &ContainerSpec) -> Result<bool, Error> {
        let hash = spec.hash();
        let mut kept = false;
        for summary in self.find_all(spec.instance).await? {
            let wanted = !kept && is_of_spec(&summary, &hash) && !self.is_dead(&summary).await?;
            if wanted {
                kept = true;
                if map::name(&summary) != Some(spec.name.as_str()) {
                    self.rename_container(spec.instance, &spec.name).await?;
                }
            } else if let Some(id) = &summary.id {
                self.remove_one(id).await?;
            }
        }
        Ok(kept)
    }

    async fn is_dead(&self, summary: &ContainerSummary) -> Result<bool, Error> {
        let observed = self.inspect(summary).await?;
        Ok(observed.is_none_or(|it| it.state == ContainerState::Dead))
    }
}

fn is_of_spec(summary: &ContainerSummary, hash: &str) -> bool {
    let labels = summary.labels.as_ref();
    labels.and_then(|it| it.get(map::LABEL_SPEC)) == Some(&hash.to_owned())
}

/// The whole of what the engine is told. What is not in here is never sent: no
/// device, capability, published port, namespace of the host or mount of the
/// user's choice.
fn body(spec: &ContainerSpec, config: &DockerConfig, network: &Network) -> ContainerCreateBody {
    let env = spec.env.iter();
    let mut aliases = vec![spec.name.clone()];
    aliases.extend(spec.network_aliases.iter().cloned());
    let endpoint = EndpointSettings {
        aliases: Some(aliases),
        ..Default::default()
    };
    ContainerCreateBody {
        image: Some(spec.image.clone()),
        hostname: Some(host_name(&spec.name)),
        user: Some(format!("{}:{}", spec.user.0, spec.user.1)),
        env: Some(
            env.map(|(name, value)| format!("{name}={}", value.expose()))
                .collect(),
        ),
        labels: Some(labels(spec, config)),
        stop_signal: Some("SIGTERM".into()),
        stop_timeout: i64::try_from(spec.stop_grace.as_secs()).ok(),
        healthcheck: Some(no_health_check()),
        host_config: Some(host_config(spec, config, network)),
        networking_config: Some(NetworkingConfig {
            endpoints_config: Some(HashMap::from([(config.network.clone(), endpoint)])),
        }),
        ..Default::default()
    }
}

fn labels(spec: &ContainerSpec, config: &DockerConfig) -> HashMap<String, String> {
    HashMap::from([
        (
            map::LABEL_INSTALLATION.into(),
            config.installation.to_string(),
        ),
        (map::LABEL_INSTANCE.into(), spec.instance.to_string()),
        (map::LABEL_PROJECT.into(), spec.project.to_string()),
        (map::LABEL_ENGINE.into(), spec.engine.into()),
        (map::LABEL_SPEC.into(), spec.hash()),
    ])
}

fn host_config(spec: &ContainerSpec, config: &DockerConfig, network: &Network) -> HostConfig {
    let gateways = network.info.gateways.iter();
    let confined = Confined {
        memory_bytes: spec.memory_bytes,
        cpus: spec.start_cpus.max(spec.cpus),
        pids_max: spec.pids_max,
        tmp_bytes: spec.tmp_bytes,
        data_dir: &spec.data_dir,
        secrets_dir: spec.secrets_dir.as_deref(),
    };
    HostConfig {
        network_mode: Some(config.network.clone()),
        extra_hosts: Some(
            gateways
                .map(|it| format!("host.docker.internal:{it}"))
                .collect(),
        ),
        // A crash, or a reboot of the host, heals while the manager is away;
        // what was stopped stays stopped.
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::UNLESS_STOPPED),
            maximum_retry_count: None,
        }),
        ..confined.host_config(config)
    }
}

/// What every container of ours is held to, whatever runs in it.
pub(super) struct Confined<'a> {
    pub(super) memory_bytes: i64,
    pub(super) cpus: f64,
    pub(super) pids_max: i64,
    pub(super) tmp_bytes: i64,
    pub(super) data_dir: &'a Path,
    pub(super) secrets_dir: Option<&'a Path>,
}

impl Confined<'_> {
    /// Without a network; it is not started again by the engine.
    pub(super) fn host_config(&self, config: &DockerConfig) -> HostConfig {
        let tmp = format!("rw,nosuid,nodev,noexec,size={}", self.tmp_bytes);
        HostConfig {
            memory: Some(self.memory_bytes),
            memory_swap: Some(self.memory_bytes), // with the memory: no swap
            nano_cpus: Some(map::nano_cpus(self.cpus)),
            pids_limit: Some(self.pids_max),
            oom_score_adj: Some(OOM_SCORE_ADJ),
            // V8 ends with SIGABRT when out of memory; its core would fill /data.
            ulimits: Some(vec![ResourcesUlimits {
                name: Some("core".into()),
                soft: Some(0),
                hard: Some(0),
            }]),
            cap_drop: Some(vec!["ALL".into()]),
            security_opt: Some(vec!["no-new-privileges:true".into()]),
            readonly_rootfs: Some(true),
            tmpfs: Some(HashMap::from([("/tmp".into(), tmp)])),
            mounts: Some(self.mounts()),
            cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
            ipc_mode: Some("private".into()),
            network_mode: Some("none".into()),
            log_config: Some(HostConfigLogConfig {
                typ: Some("json-file".into()),
                config: Some(HashMap::from([
                    ("max-size".into(), config.log_file_bytes.to_string()),
                    ("max-file".into(), config.log_files.to_string()),
                ])),
            }),
            ..Default::default()
        }
    }
}

impl Confined<'_> {
    fn mounts(&self) -> Vec<Mount> {
        let secrets = self.secrets_dir.map(|it| Mount {
            read_only: Some(true),
            ..mount(it, "/run/openflow")
        });
        let data = mount(self.data_dir, "/data");
        [data].into_iter().chain(secrets).collect()
    }
}

/// The engine refuses a source that does not exist, rather than make it as
/// root. It knows no `nosuid` for binds: `no-new-privileges` does that job.
fn mount(source: &Path, target: &str) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(source.to_string_lossy().into_owned()),
        target: Some(target.into()),
        bind_options: Some(MountBindOptions {
            propagation: Some(MountBindOptionsPropagationEnum::RPRIVATE),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// The manager probes; an image's own check would run inside for nothing.
pub(super) fn no_health_check() -> HealthConfig {
    HealthConfig {
        test: Some(vec!["NONE".into()]),
        ..Default::default()
    }
}

fn host_name(name: &str) -> String {
    let cut: String = name.chars().take(HOST_NAME_CHARS_MAX).collect();
    cut.trim_end_matches('-').into()
}

#[cfg(test)]
#[path = "create_tests.rs"]
mod tests;

//! Containers that run once and go. They carry no instance's label, which is
//! what hides them from the reconciler.
use std::{collections::HashMap, time::Duration};

use bollard::{
    container::LogOutput,
    models::ContainerCreateBody,
    query_parameters::{
        CreateContainerOptionsBuilder, InspectContainerOptions, KillContainerOptions,
        ListContainersOptionsBuilder, LogsOptionsBuilder, StartContainerOptions,
    },
};
use futures_util::StreamExt as _;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{
    DockerConfig, DockerRuntime,
    create::{Confined, no_health_check},
    error::{says, status},
    map,
};
use crate::runtime::{ContainerState, Ended, Error, Rehearsal};

/// How often it is asked whether it ended.
const PERIOD: Duration = Duration::from_millis(250);
/// Lines of each stream that the engine is asked for.
const TAIL_LINES: &str = "500";

impl DockerRuntime {
    pub(super) async fn run_container_once(&self, it: &Rehearsal) -> Result<Ended, Error> {
        let options = CreateContainerOptionsBuilder::new().build();
        let body = body(it, &self.config);
        let created = self
            .change(|docker| async move { docker.create_container(Some(options), body).await })
            .await;
        let container = match created {
            Ok(created) => created.id,
            Err(error) if says(&error, 404, "image") => {
                return Err(Error::ImageMissing(it.image.clone()));
            }
            Err(error) => return Err(error.into()),
        };
        let ended = self.run_to_end(&container, it.limit).await;
        let removed = self.remove_one(&container).await;
        let ended = ended?;
        removed?;
        Ok(ended)
    }

    pub(super) async fn remove_rehearsals(
        &self,
        which: impl Fn(Uuid) -> bool,
    ) -> Result<(), Error> {
        let labels = vec![self.our_label(), map::LABEL_REHEARSAL.to_owned()];
        let filters = HashMap::from([("label", labels)]);
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&filters)
            .build();
        let listed =
            self.query(|docker| async move { docker.list_containers(Some(options)).await });
        for container in listed.await? {
            let label = container.labels.as_ref();
            let run = label.and_then(|it| it.get(map::LABEL_REHEARSAL)?.parse().ok());
            if let Some(id) = container.id.filter(|_| run.is_some_and(&which)) {
                self.remove_one(&id).await?;
            }
        }
        Ok(())
    }

    async fn run_to_end(&self, container: &str, limit: Duration) -> Result<Ended, Error> {
        let deadline = Instant::now() + limit;
        self.change(|docker| async move {
            docker
                .start_container(container, None::<StartContainerOptions>)
                .await
        })
        .await?;
        let mut ended = loop {
            if let Some(ended) = self.end_of(container).await? {
                break ended;
            }
            if deadline <= Instant::now() {
                self.kill(container).await?;
                break Ended::default();
            }
            sleep(PERIOD).await;
        };
        (ended.stdout, ended.stderr) = self.output(container).await?;
        Ok(ended)
    }

    /// Without its output; `None` while it runs.
    async fn end_of(&self, container: &str) -> Result<Option<Ended>, Error> {
        let inspected = self.query(|docker| async move {
            docker
                .inspect_container(container, None::<InspectContainerOptions>)
                .await
        });
        let state = inspected.await?.state.unwrap_or_default();
        let status = state.status.map(map::container_state);
        if !matches!(status, Some(ContainerState::Exited | ContainerState::Dead)) {
            return Ok(None);
        }
        Ok(Some(Ended {
            exit_code: state.exit_code,
            oom_killed: state.oom_killed.unwrap_or(false),
            ..Ended::default()
        }))
    }

    async fn kill(&self, container: &str) -> Result<(), Error> {
        let killed = self.change(|docker| async move {
            docker
                .kill_container(container, None::<KillContainerOptions>)
                .await
        });
        match killed.await {
            // It ended in this very moment.
            Err(error) if matches!(status(&error), Some(404 | 409)) => Ok(()),
            result => Ok(result?),
        }
    }

    async fn output(&self, container: &str) -> Result<(String, String), Error> {
        let options = LogsOptionsBuilder::new()
            .stdout(true)
            .stderr(true)
            .tail(TAIL_LINES)
            .build();
        let read = self.query(|docker| async move {
            let mut frames = docker.logs(container, Some(options));
            let (mut out, mut err) = (Tail::default(), Tail::default());
            while let Some(frame) = frames.next().await {
                match frame? {
                    LogOutput::StdErr { message } => err.push(&message),
                    other => out.push(&other.into_bytes()),
                }
            }
            Ok((out.text(), err.text()))
        });
        Ok(read.await?)
    }
}

fn body(it: &Rehearsal, config: &DockerConfig) -> ContainerCreateBody {
    let env = it.env.iter();
    let confined = Confined {
        memory_bytes: it.memory_bytes,
        cpus: it.cpus,
        pids_max: it.pids_max,
        tmp_bytes: it.tmp_bytes,
        data_dir: &it.data_dir,
        secrets_dir: it.secrets_dir.as_deref(),
    };
    ContainerCreateBody {
        image: Some(it.image.clone()),
        // With it the engine leaves out the image's own command too.
        entrypoint: Some(it.command.clone()),
        user: Some(format!("{}:{}", it.user.0, it.user.1)),
        env: Some(
            env.map(|(name, value)| format!("{name}={}", value.expose()))
                .collect(),
        ),
        labels: Some(HashMap::from([
            (
                map::LABEL_INSTALLATION.into(),
                config.installation.to_string(),
            ),
            (map::LABEL_REHEARSAL.into(), it.id.to_string()),
        ])),
        network_disabled: Some(true),
        healthcheck: Some(no_health_check()),
        host_config: Some(confined.host_config(config)),
        ..Default::default()
    }
}

/// The last bytes of a stream.
#[derive(Default)]
struct Tail(Vec<u8>);

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        let over = self.0.len().saturating_sub(2 * Ended::OUTPUT_BYTES_MAX);
        if 0 < over {
            self.cut();
        }
    }

    fn cut(&mut self) {
        let over = self.0.len().saturating_sub(Ended::OUTPUT_BYTES_MAX);
        self.0.drain(..over);
    }

    fn text(mut self) -> String {
        self.cut();
        String::from_utf8_lossy(&self.0).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kernel::Secret;

    /// Written out in full, as for instances.
    #[test]
    fn the_engine_is_told_exactly_this() {
        let rehearsal = Rehearsal {
            id: Uuid::max(),
            image: "openflow/node-red:5".into(),
            command: vec!["node".into(), "rehearse.js".into()],
            env: [("A".into(), Secret::new("b=c"))].into(),
            memory_bytes: 256 << 20,
            cpus: 0.5,
            pids_max: 128,
            tmp_bytes: 64 << 20,
            data_dir: "/srv/data".into(),
            secrets_dir: None,
            user: (1000, 1001),
            limit: Duration::from_secs(60),
        };
        let config = DockerConfig::new(Uuid::nil());
        let body = serde_json::to_value(body(&rehearsal, &config)).unwrap();
        let expected = json!({
            "Image": "openflow/node-red:5",
            "Entrypoint": ["node", "rehearse.js"],
            "User": "1000:1001",
            "Env": ["A=b=c"],
            "Labels": {
                "openflow.installation": "00000000-0000-0000-0000-000000000000",
                "openflow.rehearsal": "ffffffff-ffff-ffff-ffff-ffffffffffff",
            },
            "NetworkDisabled": true,
            "Healthcheck": {"Test": ["NONE"]},
            "HostConfig": {
                "Memory": 256 << 20,
                "MemorySwap": 256 << 20,
                "NanoCpus": 500_000_000,
                "PidsLimit": 128,
                "OomScoreAdj": 500,
                "Ulimits": [{"Name": "core", "Soft": 0, "Hard": 0}],
                "CapDrop": ["ALL"],
                "SecurityOpt": ["no-new-privileges:true"],
                "ReadonlyRootfs": true,
                "Tmpfs": {"/tmp": "rw,nosuid,nodev,noexec,size=67108864"},
                "Mounts": [{"Type": "bind", "Source": "/srv/data", "Target": "/data",
                            "BindOptions": {"Propagation": "rprivate"}}],
                "CgroupnsMode": "private",
                "IpcMode": "private",
                "NetworkMode": "none",
                "LogConfig": {"Type": "json-file", "Config": {"max-size": "5242880", "max-file": "3"}},
            },
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn of_much_output_the_end_is_kept() {
        let mut tail = Tail::default();
        for n in 0..100_000 {
            tail.push(format!("{n:06}\n").as_bytes());
        }
        let text = tail.text();
        assert_eq!(text.len(), Ended::OUTPUT_BYTES_MAX);
        assert!(text.ends_with("099999\n"));
    }
}

use std::{collections::HashMap, time::Duration};

use bollard::{
    models::{ContainerSummary, ContainerUpdateBody},
    query_parameters::{
        EventsOptionsBuilder, InspectContainerOptions, ListContainersOptionsBuilder,
        RemoveContainerOptionsBuilder, RenameContainerOptionsBuilder, StartContainerOptions,
        StopContainerOptions,
    },
};
use futures_util::{
    StreamExt as _, TryStreamExt as _, future,
    stream::{self, BoxStream},
};

use super::{
    DockerRuntime,
    error::{says, status},
    lock, map,
};
use crate::{
    kernel::InstanceId,
    runtime::{ContainerState, Error, Observed, RuntimeEvent},
};

const INSPECT_AT_ONCE: usize = 8;
/// One stuck container must not hold up the list of all.
const INSPECT_TIMEOUT: Duration = Duration::from_secs(5);
const REMOVAL_PAUSE: Duration = Duration::from_millis(200);

impl DockerRuntime {
    pub(super) async fn list_containers(&self) -> Result<Vec<Observed>, Error> {
        let all = self.find(None).await?;
        let inspected = stream::iter(all)
            .map(|summary| async move { self.inspect(&summary).await })
            .buffered(INSPECT_AT_ONCE)
            .try_filter_map(future::ok::<_, Error>)
            .try_collect();
        inspected.await
    }

    pub(super) async fn observe_container(
        &self,
        id: InstanceId,
    ) -> Result<Option<Observed>, Error> {
        for summary in self.find_all(id).await? {
            if let Some(observed) = self.inspect(&summary).await? {
                return Ok(Some(observed));
            }
        }
        Ok(None)
    }

    pub(super) async fn start_container(&self, id: InstanceId) -> Result<(), Error> {
        let (container, state) = self.existing(id).await?;
        if state == ContainerState::Paused {
            return self.unpause_container(id).await;
        }
        let started = self.change(|docker| async move {
            docker
                .start_container(&container, None::<StartContainerOptions>)
                .await
        });
        match started.await {
            Err(error) if says(&error, 404, "no such container") => Err(Error::NoContainer),
            result => Ok(result?),
        }
    }

    pub(super) async fn stop_container(&self, id: InstanceId) -> Result<(), Error> {
        let Some(container) = self.find_all(id).await?.into_iter().find_map(|it| it.id) else {
            return Ok(());
        };
        let inspected = container.clone();
        let grace_s = self
            .query(|docker| async move {
                let inspect = docker.inspect_container(&inspected, None).await?;
                Ok(inspect.config.and_then(|it| it.stop_timeout))
            })
            .await;
        let grace_s = match grace_s {
            Err(error) if status(&error) == Some(404) => return Ok(()),
            grace_s => grace_s?.unwrap_or(10),
        };
        let limit = self.config.timeouts.change + Duration::from_secs(grace_s.unsigned_abs());
        let stopped = self.call(limit, |docker| async move {
            docker
                .stop_container(&container, None::<StopContainerOptions>)
                .await
        });
        match stopped.await {
            Err(error) if status(&error) == Some(404) => Ok(()),
            result => Ok(result?),
        }
    }

    pub(super) async fn pause_container(&self, id: InstanceId) -> Result<(), Error> {
        let (container, state) = self.existing(id).await?;
        if state == ContainerState::Paused {
            return Ok(());
        }
        let paused = self.change(|docker| async move { docker.pause_container(&container).await });
        match paused.await {
            Err(error) if says(&error, 409, "already paused") => Ok(()),
            result => Ok(result?),
        }
    }

    pub(super) async fn unpause_container(&self, id: InstanceId) -> Result<(), Error> {
        let (container, state) = self.existing(id).await?;
        if state != ContainerState::Paused {
            return Ok(());
        }
        let unpaused =
            self.change(|docker| async move { docker.unpause_container(&container).await });
        match unpaused.await {
            Err(error) if says(&error, 409, "not paused") => Ok(()),
            // 20.10 says so with a 500.
            Err(error) if says(&error, 500, "not paused") => Ok(()),
            result => Ok(result?),
        }
    }

    pub(super) async fn remove_containers(&self, id: InstanceId) -> Result<(), Error> {
        for container in self.find_all(id).await?.into_iter().filter_map(|it| it.id) {
            self.remove_one(&container).await?;
        }
        self.samples.forget(id);
        Ok(())
    }

    /// Returns when the container is gone, whoever removes it.
    pub(super) async fn remove_one(&self, container: &str) -> Result<(), Error> {
        let attempts = self.config.timeouts.change.as_millis() / REMOVAL_PAUSE.as_millis();
        for _ in 0..attempts.max(1) {
            let container = container.to_owned();
            let options = RemoveContainerOptionsBuilder::new().force(true).v(true);
            let options = Some(options.build());
            let removed = self
                .change(|docker| async move { docker.remove_container(&container, options).await })
                .await;
            match removed {
                Err(error) if status(&error) == Some(404) => return Ok(()),
                Err(error) if says(&error, 409, "already in progress") => {
                    tokio::time::sleep(REMOVAL_PAUSE).await;
                }
                result => return Ok(result?),
            }
        }
        Err(Error::Unavailable(
            "a container's removal does not end".into(),
        ))
    }

    pub(super) async fn rename_container(&self, id: InstanceId, name: &str) -> Result<(), Error> {
        let summary = self.find_all(id).await?.into_iter().next();
        let summary = summary.ok_or(Error::NoContainer)?;
        if map::name(&summary) == Some(name) {
            return Ok(());
        }
        let container = summary.id.unwrap_or_default();
        let options = RenameContainerOptionsBuilder::new().name(name).build();
        let renamed = self
            .change(|docker| async move { docker.rename_container(&container, options).await })
            .await;
        match renamed {
            Err(error) if status(&error) == Some(404) => Err(Error::NoContainer),
            Err(error) if status(&error) == Some(409) => {
                self.check_name_is_ours(name, id).await?;
                Err(error.into())
            }
            result => Ok(result?),
        }
    }

    pub(super) async fn limit_container_cpus(
        &self,
        id: InstanceId,
        cpus: f64,
    ) -> Result<(), Error> {
        let summary = self.find_all(id).await?.into_iter().next();
        let container = summary.and_then(|it| it.id).ok_or(Error::NoContainer)?;
        let body = ContainerUpdateBody {
            nano_cpus: Some(map::nano_cpus(cpus)),
            ..Default::default()
        };
        let updated = self
            .change(|docker| async move { docker.update_container(&container, body).await })
            .await;
        match updated {
            Err(error) if status(&error) == Some(404) => Err(Error::NoContainer),
            result => Ok(result?),
        }
    }

    /// Whether the container of that name, if there is one, is the instance's
    /// own: otherwise [`Error::NameTaken`], or who of ours still has it.
    pub(super) async fn check_name_is_ours(&self, name: &str, id: InstanceId) -> Result<(), Error> {
        let container = name.to_owned();
        let inspected = self.query(|docker| async move {
            docker
                .inspect_container(&container, None::<InspectContainerOptions>)
                .await
        });
        let inspect = match inspected.await {
            Err(error) if status(&error) == Some(404) => return Ok(()),
            result => result?,
        };
        let labels = inspect.config.and_then(|it| it.labels).unwrap_or_default();
        let ours = Some(&self.config.installation.to_string());
        if labels.get(map::LABEL_INSTALLATION) != ours {
            return Err(Error::NameTaken(name.into()));
        }
        match map::instance(&labels) {
            Some(other) if other != id => Err(Error::Refused(format!(
                "the name {name} still belongs to the container of instance {other}"
            ))),
            _ => Ok(()),
        }
    }

    /// The instance's containers, the one that counts first. There is one;
    /// more only after two managers raced.
    pub(super) async fn find_all(&self, id: InstanceId) -> Result<Vec<ContainerSummary>, Error> {
        let mut found = self.find(Some(id)).await?;
        found.sort_by_key(|it| {
            let down = map::observed_roughly(it, "").is_none_or(|it| {
                !matches!(it.state, ContainerState::Running | ContainerState::Paused)
            });
            (down, it.created, it.id.clone())
        });
        Ok(found)
    }

    /// The container to act on.
    pub(super) async fn existing(&self, id: InstanceId) -> Result<(String, ContainerState), Error> {
        let summary = self.find_all(id).await?.into_iter().next();
        let summary = summary.ok_or(Error::NoContainer)?;
        let state = map::observed_roughly(&summary, "").map(|it| it.state);
        let state = state.ok_or(Error::NoContainer)?;
        Ok((summary.id.ok_or(Error::NoContainer)?, state))
    }

    async fn find(&self, id: Option<InstanceId>) -> Result<Vec<ContainerSummary>, Error> {
        let mut labels = vec![self.our_label()];
        if let Some(id) = id {
            labels.push(format!("{}={id}", map::LABEL_INSTANCE));
        }
        let filters = HashMap::from([("label", labels)]);
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&filters)
            .build();
        let listed =
            self.query(|docker| async move { docker.list_containers(Some(options)).await });
        Ok(listed.await?)
    }

    /// `None` when it is gone meanwhile, or not an instance's.
    pub(super) async fn inspect(
        &self,
        summary: &ContainerSummary,
    ) -> Result<Option<Observed>, Error> {
        let container = summary.id.clone().unwrap_or_default();
        let inspected = self.call(INSPECT_TIMEOUT, |docker| async move {
            docker
                .inspect_container(&container, None::<InspectContainerOptions>)
                .await
        });
        let name = &self.config.network;
        match inspected.await {
            Ok(inspect) => {
                let network_id = lock(&self.network).as_ref().map(|it| it.id.clone());
                Ok(map::observed(&inspect, name, network_id.as_deref()))
            }
            Err(error) if status(&error) == Some(404) => Ok(None),
            // That it exists is known: to say otherwise would make another.
            Err(_) => Ok(map::observed_roughly(summary, name)),
        }
    }

    pub(super) async fn container_events(&self) -> Result<BoxStream<'static, RuntimeEvent>, Error> {
        // The engine's own clock: from then on nothing is missed, although the
        // request goes out only when the stream is first polled.
        let now = match self
            .query(|docker| async move { docker.info().await })
            .await
        {
            Ok(info) => info.system_time.map(|it| since(&it.to_string())),
            Err(error) => match error.into() {
                away @ Error::Unavailable(_) => return Err(away),
                _ => None,
            },
        };
        let filters = HashMap::from([
            ("type", vec!["container".to_owned()]),
            ("label", vec![self.our_label()]),
        ]);
        let mut options = EventsOptionsBuilder::new().filters(&filters);
        if let Some(now) = now {
            options = options.since(&now);
        }
        let docker = self.query(future::ok).await?;
        let events = docker
            .events(Some(options.build()))
            .take_while(|event| future::ready(event.is_ok()))
            .filter_map(|event| future::ready(event.ok().as_ref().and_then(map::event)));
        Ok(stream::iter([RuntimeEvent::Connected])
            .chain(events)
            .boxed())
    }

    pub(super) fn our_label(&self) -> String {
        format!("{}={}", map::LABEL_INSTALLATION, self.config.installation)
    }
}

/// The engine takes seconds with a fraction, not RFC 3339 with an offset.
fn since(time: &str) -> String {
    match chrono::DateTime::parse_from_rfc3339(time) {
        Ok(time) => format!("{}.{:09}", time.timestamp(), time.timestamp_subsec_nanos()),
        Err(_) => time.into(),
    }
}

use std::{collections::HashMap, sync::Mutex, time::Duration};

use bollard::{models::ContainerStatsResponse, query_parameters::StatsOptionsBuilder};
use futures_util::StreamExt as _;

use super::{
    DockerRuntime,
    error::status,
    lock,
    map::{self, CpuSample},
};
use crate::{
    kernel::InstanceId,
    runtime::{Error, Stats},
};

const SAMPLES_MAX: usize = 4096;
/// An older sample would show the average of a long time.
const SAMPLE_AGE_MAX: chrono::Duration = chrono::Duration::seconds(60);
const SAMPLE_AGE_MIN: chrono::Duration = chrono::Duration::milliseconds(100);
const FIRST_SAMPLE_PAUSE: Duration = Duration::from_millis(250);

/// The last CPU sample of each instance: the share is between two. The
/// engine's own way takes a second for each question.
#[derive(Default)]
pub(super) struct Samples(Mutex<HashMap<InstanceId, CpuSample>>);

impl Samples {
    fn get(&self, id: InstanceId) -> Option<CpuSample> {
        lock(&self.0).get(&id).copied()
    }

    fn put(&self, id: InstanceId, sample: CpuSample) {
        let mut samples = lock(&self.0);
        if samples.len() >= SAMPLES_MAX {
            samples.clear();
        }
        samples.insert(id, sample);
    }

    pub(super) fn forget(&self, id: InstanceId) {
        lock(&self.0).remove(&id);
    }
}

impl DockerRuntime {
    pub(super) async fn container_stats(&self, id: InstanceId) -> Result<Stats, Error> {
        let (container, _) = self.existing(id).await?;
        let first = self.sample(&container).await?;
        let Some(now) = map::cpu_sample(&first) else {
            return Ok(map::stats(&first)); // it does not run
        };
        let earlier = self.samples.get(id).filter(|it| {
            let age = now.read_at - it.read_at;
            age >= SAMPLE_AGE_MIN && age <= SAMPLE_AGE_MAX && it.used_ns <= now.used_ns
        });
        let (earlier, last) = match earlier {
            Some(earlier) => (earlier, first),
            None => {
                tokio::time::sleep(FIRST_SAMPLE_PAUSE).await;
                (now, self.sample(&container).await?)
            }
        };
        let mut stats = map::stats(&last);
        if let Some(now) = map::cpu_sample(&last) {
            stats.cpu_percent = now.percent_since(earlier).unwrap_or(0.0);
            self.samples.put(id, now);
        }
        Ok(stats)
    }

    async fn sample(&self, container: &str) -> Result<ContainerStatsResponse, Error> {
        let container = container.to_owned();
        let options = StatsOptionsBuilder::new().stream(false).one_shot(true);
        let options = Some(options.build());
        let sampled = self
            .query(|docker| async move {
                let mut stats = docker.stats(&container, options).boxed();
                stats.next().await.transpose()
            })
            .await;
        match sampled {
            Err(error) if status(&error) == Some(404) => Err(Error::NoContainer),
            result => result?.ok_or(Error::NoContainer),
        }
    }
}

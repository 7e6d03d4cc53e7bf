//! Taking an installation off its host. The data folders stay.
use std::collections::HashMap;

use bollard::query_parameters::ListContainersOptionsBuilder;
use futures_util::{StreamExt as _, stream};

use super::{DockerRuntime, network::bridge_name};
use crate::{
    kernel::InstanceId,
    runtime::{Error, Runtime as _},
};

const AT_ONCE: usize = 8;

/// What an uninstallation took away, and what it had to leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uninstalled {
    /// Of instances.
    pub containers: usize,
    /// Why network and rules stay; `None`: they are gone.
    pub network_stays: Option<String>,
}

impl DockerRuntime {
    /// Stops and removes all containers of this installation, those that run
    /// once among them, then the network and every rule of the firewall for
    /// it. Network and rules stay while others have containers there. Again
    /// after a failure does no harm.
    pub async fn uninstall(&self) -> Result<Uninstalled, Error> {
        let ours = self.list().await?;
        let ids = ours.iter().map(|it| it.instance);
        let mut removals = stream::iter(ids)
            .map(|id| self.stop_and_remove(id))
            .buffer_unordered(AT_ONCE);
        while let Some(removed) = removals.next().await {
            removed?;
        }
        self.remove_rehearsals(|_| true).await?;
        Ok(Uninstalled {
            containers: ours.len(),
            network_stays: self.remove_unused_network().await?,
        })
    }

    async fn stop_and_remove(&self, id: InstanceId) -> Result<(), Error> {
        self.stop(id).await?;
        self.remove(id).await
    }

    async fn remove_unused_network(&self) -> Result<Option<String>, Error> {
        let name = &self.config.network;
        // Stopped ones too: without it they could not be started again.
        let filters = HashMap::from([("network", vec![name.clone()])]);
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&filters)
            .build();
        let listed =
            self.query(|docker| async move { docker.list_containers(Some(options)).await });
        let others = listed.await?.len();
        if others > 0 {
            return Ok(Some(format!(
                "the network {name} has containers of others ({others})"
            )));
        }
        self.remove_network().await?;
        // Once more: what it says is wanted here.
        let left = self.open_host(&bridge_name(name)).await;
        Ok(left.err().map(|why| {
            format!("the network {name} is gone, but rules of the firewall may be left: {why}")
        }))
    }
}

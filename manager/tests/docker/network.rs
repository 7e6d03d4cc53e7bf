//! The network of the instances.
use openflow_manager::runtime::{ContainerState, DockerRuntime, Error, Runtime as _};

use crate::support::*;

#[tokio::test]
async fn a_network_that_was_made_anew_kills_the_stopped_containers_of_the_old_one() {
    let host = Host::alone(|config| config.manage_firewall = false).await;
    let spec = host.spec();
    let id = spec.instance;
    host.running(&spec).await;
    host.runtime.stop(id).await.unwrap();
    host.runtime.remove_network().await.unwrap();
    host.runtime.ensure_network().await.unwrap();
    assert_eq!(host.observed(id).await.state, ContainerState::Dead);
    host.runtime.create(&spec).await.unwrap();
    host.runtime.start(id).await.unwrap();
    host.healthy(id).await;
}

#[tokio::test]
async fn managers_that_start_at_once_make_one_network() {
    let host = Host::alone(|config| config.manage_firewall = false).await;
    host.runtime.remove_network().await.unwrap();
    let managers: Vec<DockerRuntime> = (0..4).map(|_| host.another()).collect();
    let made = futures_util::future::join_all(managers.iter().map(|it| it.ensure_network())).await;
    let made: Vec<_> = made.into_iter().map(Result::unwrap).collect();
    assert!(made.iter().all(|it| *it == made[0]));
    let filter = format!("name={}", host.config.network);
    let listed = docker(&["network", "ls", "-q", "--filter", &filter]);
    assert_eq!(listed.lines().count(), 1);
}

#[tokio::test]
async fn a_network_in_which_tenants_reach_one_another_is_refused() {
    let host = Host::alone(|config| config.manage_firewall = false).await;
    host.runtime.remove_network().await.unwrap();
    docker(&["network", "create", &host.config.network]);
    let refused = host.runtime.ensure_network().await;
    let created = host.another().create(&host.spec()).await;
    docker(&["network", "rm", &host.config.network]);
    assert!(matches!(refused, Err(Error::Network(_))), "{refused:?}");
    assert!(matches!(created, Err(Error::Network(_))), "{created:?}");
}

//! The network of the instances.
use openflow_manager::runtime::{ContainerState, DockerRuntime, Error, Runtime as _, Uninstalled};

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

#[tokio::test]
async fn an_installation_goes_and_its_neighbours_and_data_stay() {
    let host = Host::alone(|_| {}).await;
    let (running, stopped) = (host.spec(), host.spec());
    host.running(&running).await;
    host.runtime.create(&stopped).await.unwrap();
    let network = host.config.network.as_str();
    let neighbour = format!("openflow-test-{}", unique());
    docker(&["create", "--name", &neighbour, "--network", network, IMAGE]);

    let done = host.runtime.uninstall().await.unwrap();
    assert_eq!(done.containers, 2);
    let why = done.network_stays.unwrap_or_default();
    assert!(why.contains("containers of others (1)"), "{why}");
    assert_eq!(host.runtime.list().await.unwrap(), []);
    let inspected = docker(&["network", "inspect", "-f", "{{json .Options}}", network]);
    assert!(inspected.contains("bridge.name"), "{inspected}");

    docker(&["rm", &neighbour]);
    for containers in [0, 0] {
        let expected = Uninstalled {
            containers,
            network_stays: None,
        };
        assert_eq!(host.runtime.uninstall().await.unwrap(), expected);
    }
    assert!(docker_try(&["network", "inspect", network]).is_err());
    let bridge = inspected.split('"').find(|it| it.starts_with("of-"));
    let left = run("iptables", &["-w", "5", "-S"]).unwrap();
    assert!(!left.contains(bridge.unwrap()), "{left}");
    assert!(running.data_dir.exists() && stopped.data_dir.exists());
}

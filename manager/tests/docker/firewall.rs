//! The rules themselves: idempotent, additive, healed, taken away.
use openflow_manager::runtime::{DockerRuntime, Isolation, Runtime as _};

use crate::support::*;

/// The host's rules about the bridge of `host`, in order, for IPv4 and IPv6.
fn rules(host: &Host) -> Vec<String> {
    let bridge = format!("openflow:{}:", bridge(host));
    let mut rules = Vec::new();
    for program in ["iptables", "ip6tables"] {
        let listed = run(program, &["-w", "5", "-S"]).unwrap();
        let of_bridge = listed.lines().filter(|it| it.contains(&bridge));
        rules.extend(of_bridge.map(|it| format!("{program} {it}")));
    }
    rules
}

fn bridge(host: &Host) -> String {
    let format = "{{index .Options \"com.docker.network.bridge.name\"}}";
    docker(&["network", "inspect", "-f", format, &host.config.network])
}

fn has(rules: &[String], what: &str) -> bool {
    rules.iter().any(|it| it.contains(what))
}

/// A manager of another installation in the same network, with that port.
fn another_installation(host: &Host, port: u16) -> DockerRuntime {
    let mut config = host.config.clone();
    config.installation = uuid::Uuid::now_v7();
    config.host_ports = vec![port];
    DockerRuntime::connect(config)
}

#[tokio::test]
async fn asking_again_changes_nothing() {
    let host = Host::alone(|config| config.host_ports = vec![14071]).await;
    let before = rules(&host);
    assert!(has(&before, "--dport 14071") && has(&before, "-j OPENFLOW-INPUT"));
    host.runtime.ensure_network().await.unwrap();
    host.another().ensure_network().await.unwrap();
    assert_eq!(rules(&host), before);
}

#[tokio::test]
async fn managers_of_two_installations_add_up_and_take_back_only_their_own() {
    let host = Host::alone(|config| config.host_ports = vec![14071]).await;
    let other = another_installation(&host, 24071);
    other.ensure_network().await.unwrap();
    host.runtime.ensure_network().await.unwrap();
    let both = rules(&host);
    assert!(has(&both, "--dport 14071") && has(&both, "--dport 24071"));
    let drop_at = both.iter().position(|it| it.contains(":all:drop")).unwrap();
    assert!(
        both[drop_at..]
            .iter()
            .all(|it| !it.starts_with("iptables -A OPENFLOW-INPUT") || it.contains(":all:drop"))
    );

    let mut moved = host.config.clone();
    moved.host_ports = vec![14072];
    DockerRuntime::connect(moved)
        .ensure_network()
        .await
        .unwrap();
    let after = rules(&host);
    assert!(!has(&after, "--dport 14071"));
    assert!(has(&after, "--dport 14072") && has(&after, "--dport 24071"));
}

#[tokio::test]
async fn rules_that_somebody_took_away_come_back() {
    let host = Host::alone(|config| config.host_ports = vec![14071]).await;
    let before = rules(&host);
    for rule in before.iter().filter(|it| it.starts_with("iptables")) {
        let line = rule.trim_start_matches("iptables -A ").replace('"', "");
        let mut words = vec!["-w", "5", "-D"];
        words.extend(line.split(' '));
        run("iptables", &words).unwrap();
    }
    assert!(!has(&rules(&host), "iptables -A"), "control");
    host.runtime.ensure_network().await.unwrap();
    let (mut before, mut after) = (before, rules(&host));
    before.sort();
    after.sort();
    assert_eq!(after, before);
    assert_eq!(host.runtime.isolation(), Isolation::Enforced);
}

#[tokio::test]
async fn the_rules_go_with_the_network() {
    let host = Host::alone(|_| {}).await;
    let bridge = bridge(&host);
    assert!(!rules(&host).is_empty());
    host.runtime.remove_network().await.unwrap();
    host.runtime.remove_network().await.unwrap();
    for program in ["iptables", "ip6tables"] {
        let left = run(program, &["-w", "5", "-S"]).unwrap();
        assert!(!left.contains(&bridge), "{left}");
    }
}

/// The engine takes the way to its own chain out of the built-in one for a
/// moment whenever a network is made: the other way has to be a closed door.
#[tokio::test]
async fn packets_are_judged_before_the_engine_lets_them_out() {
    let host = Host::alone(|_| {}).await;
    let bridge = bridge(&host);
    let network = format!("openflow-test-{}", unique());
    docker(&["network", "create", &network]);
    docker(&["network", "rm", &network]);
    let listed = run("iptables", &["-w", "5", "-S", "FORWARD"]).unwrap();
    let place = |what: &str| listed.lines().position(|it| it.contains(what));
    let judged = place(&format!("openflow:{bridge}:all:forward/openflow-forward"));
    let let_out = place(&format!("-i {bridge} ! -o {bridge} -j ACCEPT"));
    assert!(judged.is_some() && let_out.is_some(), "{listed}");
    assert!(judged < let_out, "{listed}");
}

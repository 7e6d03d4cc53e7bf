use std::{io, net::SocketAddr, path::Path, time::Duration};

use tokio::{net::lookup_host, time::timeout};

use super::{
    DockerRuntime,
    iptables::{Iptables, Table},
    lock,
    network::Network,
    rules::{self, CHAIN_FORWARD, CHAIN_INPUT, Family, Plan, Rule},
};
use crate::runtime::Isolation;

/// The engine leaves this chain to the host's owner, and asks it first.
const CHAIN_ENGINE: &str = "DOCKER-USER";
/// Whenever a network is made, the engine takes the way to its chain away for
/// a moment and puts it back to the top. So there is a way from here, too.
const CHAIN_BUILT_IN: &str = "FORWARD";
const RESOLV_CONF: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];
const RESOLV_CONF_BYTES_MAX: usize = 64 << 10;
const NAMESERVERS_MAX: usize = 8;
const LOOKUP_LIMIT: Duration = Duration::from_secs(5);

impl DockerRuntime {
    /// Puts the rules in place that are missing and takes away allowances of
    /// this installation that are not wanted any more.
    pub(super) async fn close_host(&self, network: &Network) -> Isolation {
        let bridge = &network.bridge;
        if !self.config.manage_firewall {
            return Isolation::Open(format!(
                "Openflow was told to leave the firewall alone. Close the host to what comes from \
                 the interface {bridge} yourself."
            ));
        }
        if !Path::new("/sys/class/net").join(bridge).exists() {
            return Isolation::Open(format!(
                "The interface {bridge} is not on this host: the container engine runs elsewhere, \
                 or without the rights to the host's network. Close that host to what comes from \
                 {bridge} yourself."
            ));
        }
        let Some(iptables) = Iptables::find("iptables") else {
            return Isolation::Open(
                "There is no program `iptables`, so instances reach host services that listen on \
                 all addresses. Install it."
                    .into(),
            );
        };
        if let Err(words) = apply(&iptables, &self.plan(network, Family::V4).await).await {
            return open_for(&words);
        }
        let has_v6 = network.info.gateways.iter().any(|it| it.is_ipv6());
        match self.close_host_v6(network).await {
            Err(words) if has_v6 => open_for(&words),
            _ => Isolation::Enforced,
        }
    }

    /// Without IPv6 in the network this is a second lock only: containers have
    /// no address of that family.
    async fn close_host_v6(&self, network: &Network) -> Result<(), String> {
        let ip6tables = Iptables::find("ip6tables").ok_or("there is no program `ip6tables`")?;
        apply(&ip6tables, &self.plan(network, Family::V6).await).await
    }

    /// Takes all rules for a network away that is gone. Fails with what went
    /// wrong last.
    pub(super) async fn open_host(&self, bridge: &str) -> Result<(), String> {
        let mut done = Ok(());
        let prefix = Plan::prefix(bridge);
        for program in ["iptables", "ip6tables"] {
            let Some(iptables) = Iptables::find(program) else {
                continue;
            };
            let table = match iptables.table().await {
                Ok(table) => table,
                Err(words) => {
                    done = Err(words);
                    continue;
                }
            };
            for line in table.all_rules() {
                if rules::name_of(line).is_some_and(|name| name.starts_with(&prefix))
                    && let Err(words) = iptables.delete(line).await
                {
                    done = Err(words);
                }
            }
        }
        done
    }

    /// Says loudly, once for each reason, that the host is open.
    pub(super) fn note_isolation(&self, isolation: Isolation) {
        let mut known = lock(&self.isolation);
        if *known == isolation {
            return;
        }
        match &isolation {
            Isolation::Open(why) => {
                tracing::warn!("instances are NOT kept off this host's services: {why}");
            }
            Isolation::Enforced | Isolation::Unknown => {
                tracing::info!("instances are kept off this host's services");
            }
        }
        *known = isolation;
    }

    /// Names are looked up anew each time: what they lead to may move.
    async fn services(&self) -> Vec<SocketAddr> {
        match addresses_of(&self.config.allowed_services).await {
            Ok(found) => lock(&self.services).clone_from(&found),
            Err(error) => {
                tracing::warn!(%error, "a service of the instances is not found, so its last address stays open: {error}");
            }
        }
        lock(&self.services).clone()
    }

    async fn plan(&self, network: &Network, family: Family) -> Plan {
        let config = &self.config;
        let owner = config.installation.simple().to_string();
        Plan {
            family,
            bridge: network.bridge.clone(),
            // A UUIDv7 begins with the time; its end is what tells it apart.
            owner: owner[20..].into(),
            gateways: network.info.gateways.clone(),
            host_ports: config.host_ports.clone(),
            public_ports: config.public_ports.clone(),
            allowed_networks: config.allowed_networks.clone(),
            allowed_services: self.services().await,
            nameservers: nameservers().await,
        }
    }
}

async fn addresses_of(services: &[(String, u16)]) -> io::Result<Vec<SocketAddr>> {
    let mut found = Vec::new();
    for (host, port) in services {
        let looked_up = timeout(LOOKUP_LIMIT, lookup_host((host.as_str(), *port))).await;
        found.extend(looked_up.map_err(io::Error::from)??);
    }
    found.sort();
    found.dedup();
    Ok(found)
}

fn open_for(words: &str) -> Isolation {
    Isolation::Open(format!(
        "The firewall's rules could not be set ({words}). Run Openflow as root or with the \
         capability CAP_NET_ADMIN in the host's network."
    ))
}

async fn apply(iptables: &Iptables, plan: &Plan) -> Result<(), String> {
    let table = iptables.table().await?;
    fill(iptables, &table, plan, (CHAIN_INPUT, &plan.input())).await?;
    fill(iptables, &table, plan, (CHAIN_FORWARD, &plan.forward())).await?;
    let mut jumps = vec![("INPUT", CHAIN_INPUT), (CHAIN_BUILT_IN, CHAIN_FORWARD)];
    if table.has_chain(CHAIN_ENGINE) {
        jumps.push((CHAIN_ENGINE, CHAIN_FORWARD));
    }
    for (parent, chain) in jumps {
        let rule = plan.jump(parent, chain);
        if !is_present(&table, parent, &rule) {
            insert(iptables, parent, &rule).await?;
        }
    }
    Ok(())
}

async fn fill(
    iptables: &Iptables,
    table: &Table,
    plan: &Plan,
    (chain, wanted): (&str, &[Rule]),
) -> Result<(), String> {
    if !table.has_chain(chain) {
        iptables.make_chain(chain).await?;
    }
    for rule in wanted {
        if !is_present(table, chain, rule) {
            insert(iptables, chain, rule).await?;
        }
    }
    let own = plan.own_prefix();
    for line in table.rules(chain) {
        let stale = rules::name_of(line)
            .is_some_and(|name| name.starts_with(&own) && !wanted.iter().any(|it| it.name == name));
        if stale {
            iptables.delete(line).await?;
        }
    }
    Ok(())
}

fn is_present(table: &Table, chain: &str, rule: &Rule) -> bool {
    let mut names = table.rules(chain).filter_map(rules::name_of);
    names.any(|name| name == rule.name)
}

async fn insert(iptables: &Iptables, chain: &str, rule: &Rule) -> Result<(), String> {
    let mut args = if rule.allows {
        vec!["-I", chain, "1"]
    } else {
        vec!["-A", chain]
    };
    args.extend(rule.args.iter().map(String::as_str));
    iptables.run(&args).await.map(drop)
}

async fn nameservers() -> Vec<std::net::IpAddr> {
    let mut found = Vec::new();
    for path in RESOLV_CONF {
        let text = tokio::fs::read_to_string(path).await.unwrap_or_default();
        if text.len() <= RESOLV_CONF_BYTES_MAX {
            found.extend(rules::nameservers(&text));
        }
    }
    found.sort();
    found.dedup();
    found.truncate(NAMESERVERS_MAX);
    found
}

//! Which packets of instances pass. Pure.
//!
//! Each rule carries its name as a comment. A name says all that the rule
//! does, so a rule is in place when its name is, and several managers on one
//! host add to the same chains without a lock: allowances go to the top, the
//! drops are at the end.
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

pub(super) const CHAIN_INPUT: &str = "OPENFLOW-INPUT";
pub(super) const CHAIN_FORWARD: &str = "OPENFLOW-FORWARD";

/// Where instances never get to: private networks (the operator can allow
/// some), and the addresses at which clouds hand out credentials.
const CLOSED_V4: [&str; 8] = [
    "169.254.0.0/16", // link-local, metadata of nearly every cloud
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",    // carrier-grade NAT, one cloud's metadata
    "192.0.0.0/24",     // protocol assignments, one cloud's metadata
    "168.63.129.16/32", // one cloud's host agent
    "198.18.0.0/15",    // benchmarks
];
const CLOSED_V6: [&str; 3] = ["fc00::/7", "fe80::/10", "fec0::/10"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    fn has(self, address: IpAddr) -> bool {
        address.is_ipv4() == (self == Self::V4)
    }
}

/// What the rules follow from.
pub(super) struct Plan {
    pub(super) family: Family,
    pub(super) bridge: String,
    /// Whose allowances these are.
    pub(super) owner: String,
    pub(super) gateways: Vec<IpAddr>,
    pub(super) host_ports: Vec<u16>,
    pub(super) public_ports: Vec<u16>,
    pub(super) allowed_networks: Vec<IpNet>,
    pub(super) allowed_services: Vec<SocketAddr>,
    pub(super) nameservers: Vec<IpAddr>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) name: String,
    pub(super) args: Vec<String>,
    /// At the top of its chain; drops go to the end.
    pub(super) allows: bool,
}

impl Plan {
    /// All names of rules for this bridge begin so, whoever made them.
    pub(super) fn prefix(bridge: &str) -> String {
        format!("openflow:{bridge}:")
    }

    /// All names of this owner's rules begin so.
    pub(super) fn own_prefix(&self) -> String {
        format!("{}{}:", Self::prefix(&self.bridge), self.owner)
    }

    /// To the host itself.
    pub(super) fn input(&self) -> Vec<Rule> {
        let mut rules = vec![self.established("ACCEPT")];
        if self.family == Family::V6 {
            rules.push(self.shared(true, "neighbours", "-p ipv6-icmp -j ACCEPT"));
        }
        for gateway in self.gateways.iter().filter(|it| self.family.has(**it)) {
            for port in &self.host_ports {
                let what = format!("host/{gateway}/{port}");
                let args = format!("-d {gateway} -p tcp --dport {port} -j ACCEPT");
                rules.push(self.own(&what, &args));
            }
        }
        for port in &self.public_ports {
            let args = format!("-p tcp --dport {port} -j ACCEPT");
            rules.push(self.own(&format!("public/{port}"), &args));
        }
        rules.extend(self.services("ACCEPT"));
        rules.extend(self.name_service("ACCEPT"));
        rules.push(self.shared(false, "drop", "-j DROP"));
        rules
    }

    /// Through the host. What is not dropped goes on to the engine's rules.
    pub(super) fn forward(&self) -> Vec<Rule> {
        let mut rules = vec![self.established("RETURN")];
        for network in &self.allowed_networks {
            if self.family.has(network.addr()) {
                let args = format!("-d {network} -j RETURN");
                rules.push(self.own(&format!("network/{network}"), &args));
            }
        }
        rules.extend(self.services("RETURN"));
        rules.extend(self.name_service("RETURN"));
        let among = format!("-o {} -j DROP", self.bridge);
        rules.push(self.shared(false, "among", &among));
        let closed: &[&str] = match self.family {
            Family::V4 => &CLOSED_V4,
            Family::V6 => &CLOSED_V6,
        };
        for network in closed {
            let args = format!("-d {network} -j DROP");
            rules.push(self.shared(false, &format!("closed/{network}"), &args));
        }
        rules
    }

    /// The way from `parent` into `chain`.
    pub(super) fn jump(&self, parent: &str, chain: &str) -> Rule {
        let what = format!("{}/{}", parent.to_lowercase(), chain.to_lowercase());
        self.shared(true, &what, &format!("-j {chain}"))
    }

    /// Answers to what the host (the proxy, the prober) began.
    fn established(&self, target: &str) -> Rule {
        let args = format!("-m conntrack --ctstate RELATED,ESTABLISHED -j {target}");
        self.shared(true, "established", &args)
    }

    /// They may be on this host or elsewhere.
    fn services(&self, target: &str) -> Vec<Rule> {
        let services = self.allowed_services.iter();
        services
            .filter(|it| self.family.has(it.ip()))
            .map(|it| {
                let (address, port) = (it.ip(), it.port());
                let args = format!("-d {address} -p tcp --dport {port} -j {target}");
                self.own(&format!("service/{address}/{port}"), &args)
            })
            .collect()
    }

    /// The engine asks the host's name servers from inside the container.
    fn name_service(&self, target: &str) -> Vec<Rule> {
        let servers = self.nameservers.iter().filter(|it| self.family.has(**it));
        servers
            .flat_map(|server| ["udp", "tcp"].map(|protocol| (server, protocol)))
            .map(|(server, protocol)| {
                let args = format!("-d {server} -p {protocol} --dport 53 -j {target}");
                self.own(&format!("dns/{server}/{protocol}"), &args)
            })
            .collect()
    }

    fn own(&self, what: &str, args: &str) -> Rule {
        self.rule(format!("{}{what}", self.own_prefix()), true, args)
    }

    fn shared(&self, allows: bool, what: &str, args: &str) -> Rule {
        let name = format!("{}all:{what}", Self::prefix(&self.bridge));
        self.rule(name, allows, args)
    }

    fn rule(&self, name: String, allows: bool, args: &str) -> Rule {
        let mut words = vec!["-i", &self.bridge, "-m", "comment", "--comment", &name];
        words.extend(args.split(' '));
        let args = words.into_iter().map(str::to_owned).collect();
        Rule { name, args, allows }
    }
}

/// The name in a rule as `iptables -S` prints it.
pub(super) fn name_of(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("--comment ")?;
    Some(rest.split(' ').next()?.trim_matches('"'))
}

/// The name servers in the text of a `resolv.conf` that are not on the
/// loopback (those the engine asks from the host).
pub(super) fn nameservers(resolv_conf: &str) -> Vec<IpAddr> {
    let lines = resolv_conf.lines().map(str::trim);
    lines
        .filter_map(|line| line.strip_prefix("nameserver")?.trim().parse().ok())
        .filter(|address: &IpAddr| !address.is_loopback())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(family: Family) -> Plan {
        Plan {
            family,
            bridge: "openflow0".into(),
            owner: "0198c0de".into(),
            gateways: vec!["172.30.0.1".parse().unwrap()],
            host_ports: vec![4071, 1883],
            public_ports: vec![8080],
            allowed_networks: vec!["10.1.0.0/16".parse().unwrap()],
            allowed_services: vec!["10.2.0.9:5432".parse().unwrap()],
            nameservers: vec!["192.168.1.1".parse().unwrap()],
        }
    }

    fn targets(rules: &[Rule]) -> Vec<String> {
        let args = rules.iter().map(|it| it.args[6..].join(" "));
        args.collect()
    }

    #[test]
    fn the_host_is_closed_but_for_the_listed_ports() {
        let rules = plan(Family::V4).input();
        assert_eq!(
            targets(&rules),
            [
                "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
                "-d 172.30.0.1 -p tcp --dport 4071 -j ACCEPT",
                "-d 172.30.0.1 -p tcp --dport 1883 -j ACCEPT",
                "-p tcp --dport 8080 -j ACCEPT",
                "-d 10.2.0.9 -p tcp --dport 5432 -j ACCEPT",
                "-d 192.168.1.1 -p udp --dport 53 -j ACCEPT",
                "-d 192.168.1.1 -p tcp --dport 53 -j ACCEPT",
                "-j DROP",
            ]
        );
        assert!(rules.iter().all(|it| it.args[..2] == ["-i", "openflow0"]));
        assert_eq!(rules.iter().filter(|it| !it.allows).count(), 1);
    }

    #[test]
    fn neighbours_private_networks_and_metadata_are_closed_and_the_internet_is_not() {
        let rules = targets(&plan(Family::V4).forward());
        assert_eq!(rules[1], "-d 10.1.0.0/16 -j RETURN");
        assert_eq!(rules[2], "-d 10.2.0.9 -p tcp --dport 5432 -j RETURN");
        for closed in ["-o openflow0", "-d 169.254.0.0/16", "-d 10.0.0.0/8"] {
            assert!(rules.contains(&format!("{closed} -j DROP")), "{closed}");
        }
        assert!(!rules.iter().any(|it| it == "-j DROP"));
        let v6 = targets(&plan(Family::V6).forward());
        assert!(v6.contains(&"-d fe80::/10 -j DROP".into()));
        assert!(!v6.iter().any(|it| it.contains("10.1.0.0")));
    }

    #[test]
    fn every_rule_has_a_name_of_its_own_that_is_read_back() {
        let plan = plan(Family::V4);
        let mut names: Vec<_> = [plan.input(), plan.forward()]
            .into_iter()
            .map(|rules| {
                let mut names: Vec<_> = rules.into_iter().map(|it| it.name).collect();
                let count = names.len();
                names.sort();
                names.dedup();
                assert_eq!(names.len(), count);
                names
            })
            .collect();
        for name in names.remove(0) {
            let line =
                format!("-A OPENFLOW-INPUT -i openflow0 -m comment --comment \"{name}\" -j X");
            assert_eq!(name_of(&line), Some(name.as_str()));
        }
        assert_eq!(name_of("-A INPUT -j DROP"), None);
    }

    #[test]
    fn name_servers_on_the_loopback_need_no_rule() {
        let text =
            "# a\nnameserver 127.0.0.53\nnameserver 10.0.0.2\n nameserver\tfd00::1\noptions x";
        let expected: [IpAddr; 2] = ["10.0.0.2".parse().unwrap(), "fd00::1".parse().unwrap()];
        assert_eq!(nameservers(text), expected);
    }
}

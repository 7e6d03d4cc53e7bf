use std::env;

use clap::{Args, ValueEnum};
use ipnet::{IpNet, Ipv4Net};
use url::Url;

use super::{DatabaseConfig, LimitConfig, parse};
use crate::kernel::Secret;

/// How instances run and what they get.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Instances")]
pub struct InstanceConfig {
    /// Who leads browsers and callers to the instances
    #[arg(long, env = "OPENFLOW_ROUTING", value_enum, default_value_t = Routing::Proxy)]
    pub routing: Routing,
    /// The Docker Engine [default: DOCKER_HOST, else unix:///var/run/docker.sock]
    #[arg(long, env = "OPENFLOW_DOCKER_HOST", value_name = "URL", value_parser = parse::docker_host)]
    pub docker_host: Option<String>,
    /// Docker network of the instances
    #[arg(long, env = "OPENFLOW_NETWORK", default_value = "openflow-network", value_name = "NAME", value_parser = parse::name)]
    pub network: String,
    /// Addresses of that network, used when it is made
    #[arg(long, env = "OPENFLOW_NETWORK_SUBNET", default_value = "172.30.0.0/16", value_name = "NETWORK", value_parser = subnet)]
    pub network_subnet: Ipv4Net,
    /// Private networks that instances may reach, such as a plant's 10.20.0.0/16; all others are closed to them
    #[arg(
        long,
        env = "OPENFLOW_ALLOWED_NETWORKS",
        value_name = "NETWORKS",
        value_delimiter = ','
    )]
    pub allowed_networks: Vec<IpNet>,
    /// PostgreSQL server for instances whose stack keeps their data in one: a role that may make databases and roles, a host that instances reach
    #[arg(long, env = "OPENFLOW_INSTANCE_DATABASE_URL", value_name = "URL", value_parser = parse::database_url)]
    pub instance_database_url: Option<Secret>,
    /// Image of Node-RED instances
    #[arg(
        long,
        env = "OPENFLOW_NODE_RED_IMAGE",
        default_value = "openflow/node-red:5",
        value_name = "IMAGE"
    )]
    pub node_red_image: String,
    /// Image of n8n instances
    #[arg(
        long,
        env = "OPENFLOW_N8N_IMAGE",
        default_value = "openflow/n8n:2",
        value_name = "IMAGE"
    )]
    pub n8n_image: String,
    /// Memory of an instance that asks for none, in MiB
    #[arg(long, env = "OPENFLOW_DEFAULT_MEMORY_MB", default_value_t = 256, value_name = "MIB", value_parser = super::limits::memory_mb())]
    pub default_memory_mb: i32,
    /// CPU cores of an instance that asks for none
    #[arg(long, env = "OPENFLOW_DEFAULT_CPUS", default_value_t = 1.0, value_name = "CORES", value_parser = super::limits::cpus)]
    pub default_cpus: f64,
}

/// `OPENFLOW_ROUTING`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Routing {
    /// Openflow's own proxy: aliases and renames work at once
    Proxy,
    /// nginx with Docker's network names: an alias needs a restart of its instance
    Nginx,
}

const DOCKER_SOCKET: &str = "unix:///var/run/docker.sock";

impl InstanceConfig {
    /// By the names of the engines.
    pub fn images(&self) -> [(&'static str, &str); 2] {
        [("node-red", &self.node_red_image), ("n8n", &self.n8n_image)]
    }

    /// The engine's address: the setting, Docker's own variable, or the usual
    /// socket.
    pub fn docker_host(&self) -> String {
        let own = self.docker_host.clone();
        own.or_else(|| env::var("DOCKER_HOST").ok().filter(|it| !it.is_empty()))
            .unwrap_or_else(|| DOCKER_SOCKET.to_owned())
    }

    pub(super) fn check(
        &self,
        limits: &LimitConfig,
        database: &DatabaseConfig,
    ) -> Result<(), String> {
        let url = self.instance_database_url.as_ref();
        if !parse::is_database_url(url) {
            return Err(format!("--instance-database-url: {}", DatabaseConfig::FORM));
        }
        if url.is_some() && database.url.as_ref().map(place) == url.map(place) {
            return Err(
                "--instance-database-url leads to the database of --database-url: tenants must not be let in there"
                    .to_owned(),
            );
        }
        if limits.max_memory_mb < self.default_memory_mb {
            return Err(
                "--default-memory-mb is more than --max-memory-mb: lower one or raise the other"
                    .to_owned(),
            );
        }
        if limits.max_cpus < self.default_cpus {
            return Err(
                "--default-cpus is more than --max-cpus: lower one or raise the other".to_owned(),
            );
        }
        Ok(())
    }
}

/// Host, port and database of a URL.
fn place(url: &Secret) -> Option<(String, u16, String)> {
    let url = Url::parse(url.expose()).ok()?;
    let port = url.port().unwrap_or(5432);
    Some((url.host_str()?.to_owned(), port, url.path().to_owned()))
}

fn subnet(text: &str) -> Result<Ipv4Net, String> {
    let net: Ipv4Net = text
        .parse()
        .map_err(|_| "give a network such as 10.0.0.0/16".to_owned())?;
    if !net.network().is_private() || !net.broadcast().is_private() {
        return Err("give a private network (within 10/8, 172.16/12 or 192.168/16)".to_owned());
    }
    if !(8..=24).contains(&net.prefix_len()) {
        return Err("give a size between /8 and /24: each instance takes an address".to_owned());
    }
    Ok(net.trunc())
}

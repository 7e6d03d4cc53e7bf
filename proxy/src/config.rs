//! Settings: flags of `openflow-proxy`, each with its `OPENFLOW_*` variable.
use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use clap::Args;
use url::Url;

/// What the proxy is told at start. `Config::default()` is what the command
/// line gives without flags or environment.
#[derive(Clone, Debug, Args)]
pub struct Config {
    /// Address for plain HTTP/1.1 and HTTP/2 with prior knowledge.
    #[arg(long, env = "OPENFLOW_PROXY_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Address for TLS, for example 0.0.0.0:8443; none when absent.
    #[arg(long, env = "OPENFLOW_PROXY_LISTEN_TLS")]
    pub listen_tls: Option<SocketAddr>,
    /// Loopback address for /ready and /metrics; none when absent.
    #[arg(long, env = "OPENFLOW_PROXY_ADMIN_LISTEN")]
    pub admin_listen: Option<SocketAddr>,
    #[command(flatten)]
    pub tls: TlsConfig,
    /// A fixed route table in place of the manager's feed; read again when it changes.
    #[arg(long, env = "OPENFLOW_ROUTES_FILE")]
    pub routes: Option<PathBuf>,
    /// The manager, over plain HTTP on a private network.
    #[arg(
        long,
        env = "OPENFLOW_MANAGER_URL",
        default_value = "http://127.0.0.1:4071"
    )]
    pub manager: Url,
    /// Shared secret of the manager's internal API.
    #[arg(long, env = "OPENFLOW_PROXY_SECRET", hide_env_values = true)]
    pub secret: Option<Secret>,
    /// Where the last table is kept (0600), to serve from when the manager is away at start.
    #[arg(long, env = "OPENFLOW_PROXY_TABLE_CACHE")]
    pub table_cache: Option<PathBuf>,
    /// Worker threads; 0 takes one per core.
    #[arg(long, env = "OPENFLOW_PROXY_THREADS", default_value_t = 0)]
    pub threads: usize,
    /// Proxies in front of this one whose X-Forwarded-* are believed: 10.0.0.0/8,::1
    #[arg(long, env = "OPENFLOW_TRUSTED_PROXIES", value_delimiter = ',')]
    pub trusted_proxies: Vec<Network>,
    /// Answer plain HTTP with a redirect to HTTPS.
    #[arg(long, env = "OPENFLOW_REDIRECT_HTTPS")]
    pub redirect_https: bool,
    #[command(flatten)]
    pub limits: Limits,
}

#[derive(Clone, Debug, Args)]
pub struct TlsConfig {
    /// Folder of <name>.crt and <name>.key (PEM); read again when it changes.
    #[arg(long = "tls-dir", env = "OPENFLOW_TLS_DIR")]
    pub dir: Option<PathBuf>,
    /// Folder for a local CA and a certificate of <domain> and *.<domain>, made
    /// at first start; for development.
    #[arg(long = "tls-self-signed", env = "OPENFLOW_TLS_SELF_SIGNED", value_name = "DIR",
          num_args = 0..=1, default_missing_value = "data/tls")]
    pub self_signed: Option<PathBuf>,
    /// Domain of that certificate.
    #[arg(
        long = "tls-domain",
        env = "OPENFLOW_DOMAIN",
        default_value = "localhost"
    )]
    pub domain: String,
}

/// Bounds on what anybody can make the proxy hold or wait for.
#[derive(Clone, Debug, Args)]
pub struct Limits {
    /// Open client connections, all threads together.
    #[arg(long, env = "OPENFLOW_PROXY_MAX_CONNECTIONS", default_value_t = 20_000)]
    pub max_connections: usize,
    /// Open client connections of one address; trusted proxies are not counted.
    #[arg(
        long,
        env = "OPENFLOW_PROXY_MAX_CONNECTIONS_PER_ADDRESS",
        default_value_t = 4_096
    )]
    pub max_connections_per_address: usize,
    /// Seconds for a request's head, and for an idle connection between requests.
    #[arg(long, env = "OPENFLOW_PROXY_HEADER_TIMEOUT", default_value = "30", value_parser = seconds)]
    pub header_timeout: Duration,
    /// Seconds that a client may stay silent inside a request body, or not read its answer.
    #[arg(long, env = "OPENFLOW_PROXY_CLIENT_IDLE_TIMEOUT", default_value = "60", value_parser = seconds)]
    pub client_idle_timeout: Duration,
    /// Seconds to connect to an instance.
    #[arg(long, env = "OPENFLOW_PROXY_CONNECT_TIMEOUT", default_value = "5", value_parser = seconds)]
    pub connect_timeout: Duration,
    /// Seconds until an instance begins its answer.
    #[arg(long, env = "OPENFLOW_PROXY_RESPONSE_TIMEOUT", default_value = "300", value_parser = seconds)]
    pub response_timeout: Duration,
    /// Seconds that an instance may stay silent inside an answer (event streams).
    #[arg(long, env = "OPENFLOW_PROXY_RESPONSE_IDLE_TIMEOUT", default_value = "3600", value_parser = seconds)]
    pub response_idle_timeout: Duration,
    /// Seconds that requests under way may take after a stop signal.
    #[arg(long, env = "OPENFLOW_PROXY_DRAIN_TIMEOUT", default_value = "20", value_parser = seconds)]
    pub drain_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            listen_tls: None,
            admin_listen: None,
            tls: TlsConfig {
                dir: None,
                self_signed: None,
                domain: "localhost".to_owned(),
            },
            routes: None,
            manager: default_manager(),
            secret: None,
            table_cache: None,
            threads: 0,
            trusted_proxies: Vec::new(),
            redirect_https: false,
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 20_000,
            max_connections_per_address: 4_096,
            header_timeout: Duration::from_secs(30),
            client_idle_timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_secs(300),
            response_idle_timeout: Duration::from_secs(3600),
            drain_timeout: Duration::from_secs(20),
        }
    }
}

#[expect(clippy::expect_used, reason = "a constant, parsed by a test")]
fn default_manager() -> Url {
    Url::parse("http://127.0.0.1:4071").expect("a URL")
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("give whole seconds, at least 1".to_owned()),
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
    }
}

/// A shared secret; hidden in debug output.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self::new(text))
    }
}

/// An address block: `10.0.0.0/8`, `::1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: u128,
    prefix: u32,
}

impl Network {
    pub fn contains(&self, address: IpAddr) -> bool {
        let differing = bits(address) ^ self.address;
        self.prefix == 0 || differing >> (128 - self.prefix) == 0
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || format!("{text}: give an address or block such as 10.0.0.0/8");
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.trim().parse().map_err(|_| error())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => prefix.parse().map_err(|_| error())?,
            None => width,
        };
        if width < prefix {
            return Err(error());
        }
        Ok(Self {
            address: bits(address),
            prefix: prefix + (128 - width),
        })
    }
}

/// IPv4 as IPv4-mapped IPv6, so that a dual-stack socket's peers match too.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use clap::{Command, FromArgMatches as _};

    use super::*;

    #[test]
    fn the_command_line_s_defaults_are_the_library_s() {
        let matches = Config::augment_args(Command::new("openflow-proxy"))
            .try_get_matches_from(["openflow-proxy"]);
        let parsed = Config::from_arg_matches(&matches.unwrap()).unwrap();
        assert_eq!(format!("{parsed:?}"), format!("{:?}", Config::default()));
    }

    #[test]
    fn a_network_contains_its_addresses_only() {
        for (network, address, inside) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("0.0.0.0/0", "8.8.8.8", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "8.8.8.8", true),
            ("fd00::/8", "fd12::1", true),
        ] {
            let network: Network = network.parse().unwrap();
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(network.contains(address), inside, "{network:?} {address}");
        }
        for text in ["10.0.0.0/33", "example.com", "", "10.0.0.0/"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}

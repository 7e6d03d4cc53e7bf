use std::net::SocketAddr;

use clap::Args;
use url::Url;

use super::parse;

/// Under which addresses people and programs reach us.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Addresses")]
pub struct AddressConfig {
    /// Address of the manager's API
    #[arg(
        long,
        env = "OPENFLOW_LISTEN",
        default_value = "127.0.0.1:4071",
        value_name = "ADDRESS"
    )]
    pub listen: SocketAddr,
    /// Domain of the dashboard; instances are <name>.<domain>
    #[arg(long, env = "OPENFLOW_DOMAIN", default_value = "localhost", value_parser = parse::domain)]
    pub domain: String,
    /// Address of the dashboard as people type it [default: the domain with the proxy's port]
    #[arg(long, env = "OPENFLOW_PUBLIC_URL", value_name = "URL", value_parser = parse::public_url)]
    pub public_url: Option<Url>,
}

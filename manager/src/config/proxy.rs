use std::{net::SocketAddr, path::PathBuf};

use clap::Args;
use openflow_proxy::{Limits, Network};

/// The proxy that `openflow up` runs. `openflow-proxy` has the same settings,
/// and more.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Proxy (openflow up)")]
pub struct ProxyConfig {
    /// Address for plain HTTP
    #[arg(
        id = "proxy_listen",
        long = "proxy-listen",
        env = "OPENFLOW_PROXY_LISTEN",
        default_value = "127.0.0.1:8080",
        value_name = "ADDRESS"
    )]
    pub listen: SocketAddr,
    /// Address for HTTPS, such as 0.0.0.0:8443; none when unset
    #[arg(
        long = "proxy-listen-tls",
        env = "OPENFLOW_PROXY_LISTEN_TLS",
        value_name = "ADDRESS"
    )]
    pub listen_tls: Option<SocketAddr>,
    /// Folder of <name>.crt and <name>.key (PEM); read again when it changes
    #[arg(long, env = "OPENFLOW_TLS_DIR", value_name = "FOLDER")]
    pub tls_dir: Option<PathBuf>,
    /// Make a certificate authority and certificate for the domain in this folder; for development
    #[arg(long, env = "OPENFLOW_TLS_SELF_SIGNED", value_name = "FOLDER", num_args = 0..=1, default_missing_value = "data/tls")]
    pub tls_self_signed: Option<PathBuf>,
    /// Answer plain HTTP with a redirect to HTTPS
    #[arg(long, env = "OPENFLOW_REDIRECT_HTTPS")]
    pub redirect_https: bool,
    /// Proxies in front of this one whose X-Forwarded-* is believed: 10.0.0.0/8,::1/128
    #[arg(
        long,
        env = "OPENFLOW_TRUSTED_PROXIES",
        value_name = "NETWORKS",
        value_delimiter = ','
    )]
    pub trusted_proxies: Vec<Network>,
    /// Worker threads; 0 takes one per core
    #[arg(
        long = "proxy-threads",
        env = "OPENFLOW_PROXY_THREADS",
        default_value_t = 0,
        value_name = "NUMBER"
    )]
    pub threads: usize,
    #[command(flatten)]
    pub limits: Limits,
}

impl ProxyConfig {
    pub(super) fn check(&self) -> Result<(), String> {
        if self.redirect_https && self.listen_tls.is_none() && self.trusted_proxies.is_empty() {
            return Err(
                "--redirect-https leads to HTTPS, and nobody serves it: set --proxy-listen-tls, or name the proxy that does in --trusted-proxies"
                    .to_owned(),
            );
        }
        if self.listen_tls.is_some() {
            self.check_certificate("HTTPS")?;
        }
        Ok(())
    }

    /// Certificates serve the proxy and the built-in MQTT broker alike.
    pub(super) fn check_certificate(&self, user: &str) -> Result<(), String> {
        if self.tls_dir.is_none() && self.tls_self_signed.is_none() {
            return Err(format!(
                "{user} needs a certificate: give --tls-dir, or --tls-self-signed for development"
            ));
        }
        Ok(())
    }
}

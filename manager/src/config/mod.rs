//! Settings: one file per concern. Each is a flag, an environment variable and
//! a line of `openflow help`.
//!
//! Invariant: a secret is a [`Secret`] and so never in `Debug` or in the help.
mod address;
mod admin;
mod backups;
mod data;
mod database;
mod instances;
mod limits;
mod log;
mod mqtt;
mod offsite;
mod parse;
mod proxy;
mod secrets;

use clap::Args;

pub use address::AddressConfig;
pub use admin::AdminConfig;
pub use backups::BackupConfig;
pub use data::DataConfig;
pub use database::DatabaseConfig;
pub use instances::{InstanceConfig, Routing};
pub use limits::LimitConfig;
pub use log::{LogConfig, LogFormat};
pub use mqtt::{MqttBroker, MqttConfig, THIS_HOST};
pub use offsite::{BucketUrl, OffsiteConfig};
pub use proxy::ProxyConfig;
pub use secrets::SecretConfig;

/// All settings. Fields that another part derives are methods
/// ([`Config::public_url`]).
#[derive(Clone, Debug, Args)]
pub struct Config {
    #[command(flatten)]
    pub data: DataConfig,
    #[command(flatten)]
    pub database: DatabaseConfig,
    #[command(flatten)]
    pub address: AddressConfig,
    #[command(flatten)]
    pub proxy: ProxyConfig,
    #[command(flatten)]
    pub secrets: SecretConfig,
    #[command(flatten)]
    pub admin: AdminConfig,
    #[command(flatten)]
    pub instances: InstanceConfig,
    #[command(flatten)]
    pub backups: BackupConfig,
    #[command(flatten)]
    pub mqtt: MqttConfig,
    #[command(flatten)]
    pub offsite: OffsiteConfig,
    #[command(flatten)]
    pub limits: LimitConfig,
    #[command(flatten)]
    pub log: LogConfig,
}

impl Config {
    /// What each field alone cannot tell. The message says what to change.
    pub fn check(&self) -> Result<(), String> {
        self.database.check()?;
        self.admin.check()?;
        self.proxy.check()?;
        self.mqtt.check()?;
        self.backups.check()?;
        self.offsite.check()?;
        if self.mqtt.listen_tls.is_some() || self.mqtt.listen_wss.is_some() {
            self.proxy.check_certificate("MQTT over TLS")?;
        }
        self.instances.check(&self.limits, &self.database)
    }

    /// Where people find the dashboard, without a trailing slash:
    /// `OPENFLOW_PUBLIC_URL`, or what follows from the domain and the proxy's
    /// port.
    pub fn public_url(&self) -> String {
        if let Some(url) = &self.address.public_url {
            return url.as_str().trim_end_matches('/').to_owned();
        }
        let domain = &self.address.domain;
        match self.proxy.listen_tls {
            Some(tls) if tls.port() == 443 => format!("https://{domain}"),
            Some(tls) => format!("https://{domain}:{}", tls.port()),
            None if self.proxy.listen.port() == 80 => format!("http://{domain}"),
            None => format!("http://{domain}:{}", self.proxy.listen.port()),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command, FromArgMatches as _};

    use super::*;

    fn config(args: &[&str]) -> Config {
        let matches = Config::augment_args(Command::new("openflow"))
            .no_binary_name(true)
            .try_get_matches_from(args);
        Config::from_arg_matches(&matches.unwrap()).unwrap()
    }

    fn refusal(args: &[&str]) -> String {
        let matches = Config::augment_args(Command::new("openflow"))
            .no_binary_name(true)
            .try_get_matches_from(args);
        match matches {
            Err(error) => error.to_string(),
            Ok(matches) => Config::from_arg_matches(&matches)
                .unwrap()
                .check()
                .unwrap_err(),
        }
    }

    #[test]
    fn the_defaults_fit_one_host() {
        let config = config(&[]);
        config.check().unwrap();
        assert_eq!(config.public_url(), "http://localhost:8080");
        assert_eq!(config.address.listen.to_string(), "127.0.0.1:4071");
        assert_eq!(config.instances.node_red_image, "openflow/node-red:5");
    }

    #[test]
    fn the_public_url_follows_domain_and_ports() {
        for (args, url) in [
            (
                vec!["--domain=flows.example.com"],
                "http://flows.example.com:8080",
            ),
            (
                vec!["--domain=Example.com", "--proxy-listen=0.0.0.0:80"],
                "http://example.com",
            ),
            (
                vec!["--proxy-listen-tls=0.0.0.0:443", "--tls-dir=tls"],
                "https://localhost",
            ),
            (
                vec!["--proxy-listen-tls=0.0.0.0:8443", "--tls-self-signed"],
                "https://localhost:8443",
            ),
            (
                vec!["--public-url=https://edge.example.com/"],
                "https://edge.example.com",
            ),
        ] {
            assert_eq!(config(&args).public_url(), url, "{args:?}");
        }
    }

    #[test]
    fn bad_values_are_refused_with_what_to_do() {
        for (args, words) in [
            (vec!["--domain=exa mple"], "DNS name"),
            (vec!["--domain=-a.example"], "DNS name"),
            (vec!["--listen=4071"], "--listen"),
            (vec!["--public-url=ftp://x"], "http:// or https://"),
            (vec!["--public-url=http://x/below"], "no path"),
            (vec!["--proxy-listen-tls=0.0.0.0:443"], "--tls-dir"),
            (vec!["--network-subnet=10.0.0.0"], "10.0.0.0/16"),
            (vec!["--network-subnet=8.8.0.0/16"], "private"),
            (vec!["--network-subnet=10.0.0.0/29"], "between /8 and /24"),
            (vec!["--network=a b"], "network"),
            (vec!["--default-memory-mb=63"], "64"),
            (vec!["--default-memory-mb=8192"], "--max-memory-mb"),
            (vec!["--default-cpus=0"], "0.1"),
            (vec!["--default-cpus=NaN"], "0.1"),
            (vec!["--default-cpus=5"], "--max-cpus"),
            (
                vec!["--admin-email=a@example.com"],
                "OPENFLOW_ADMIN_PASSWORD",
            ),
            (vec!["--admin-password=long enough"], "OPENFLOW_ADMIN_EMAIL"),
            (vec!["--admin-email=nobody"], "e-mail"),
            (vec!["--secret-keys="], "empty"),
            (vec!["--proxy-secret=short"], "16"),
            (vec!["--database-url=mysql://x/y"], "postgres://"),
            (vec!["--instance-database-url=mysql://x/y"], "postgres://"),
            (
                vec![
                    "--database-url=postgres://x/y",
                    "--instance-database-url=postgres://other@x:5432/y",
                ],
                "database of --database-url",
            ),
            (vec!["--mqtt-url=http://x"], "mqtt://"),
            (vec!["--mqtt-broker=mosquitto"], "built-in"),
            (vec!["--mqtt-listen-tls=0.0.0.0:8883"], "--tls-dir"),
            (vec!["--emqx-api-key=a:b"], "--emqx-url"),
            (
                vec!["--emqx-url=http://x", "--emqx-api-key=ab"],
                "<key>:<secret>",
            ),
            (vec!["--mqtt-max-rate=0"], "1.."),
            (
                vec![
                    "--backup-keep-daily=0",
                    "--backup-keep-weekly=0",
                    "--backup-keep-monthly=0",
                ],
                "keep at least one",
            ),
            (vec!["--backup-concurrency=0"], "1.."),
            (vec!["--docker-host=/var/run/docker.sock"], "unix://"),
            (vec!["--log-filter=a=b=c"], "filter"),
        ] {
            let refusal = refusal(&args);
            assert!(refusal.contains(words), "{args:?}: {refusal}");
        }
    }

    #[test]
    fn so_are_half_told_and_mistaken_places_for_copies() {
        for (args, words) in [
            (vec!["--offsite-url=http://x/y"], "s3://bucket/prefix"),
            (
                vec!["--offsite-url=s3://backups"],
                "OPENFLOW_OFFSITE_ACCESS_KEY",
            ),
            (vec!["--offsite-access-key=a"], "--offsite-url"),
            (vec!["--offsite-endpoint=minio:9000"], "http:// or https://"),
            (
                vec![
                    "--offsite-url=s3://backups",
                    "--offsite-access-key=a",
                    "--offsite-secret-key=b",
                    "--offsite-age-recipient=age1nonsense",
                ],
                "age-keygen",
            ),
            (
                vec![
                    "--offsite-url=s3://backups",
                    "--offsite-access-key=a",
                    "--offsite-secret-key=b",
                    "--offsite-age-recipient=AGE-SECRET-KEY-1HUNTER2",
                ],
                "the public one",
            ),
        ] {
            let refusal = refusal(&args);
            assert!(refusal.contains(words), "{args:?}: {refusal}");
        }
    }

    #[test]
    fn secrets_do_not_show() {
        let config = config(&[
            "--database-url=postgres://u:hunter2@db/openflow",
            "--secret-keys=hunter2hunter2hunter2",
            "--proxy-secret=hunter2hunter2hunter2",
            "--hook-secret=hunter2hunter2hunter2",
            "--admin-email=a@example.com",
            "--admin-password=hunter2hunter2",
            "--emqx-url=http://127.0.0.1:18083",
            "--emqx-api-key=openflow:hunter2",
            "--offsite-url=s3://backups",
            "--offsite-access-key=hunter2",
            "--offsite-secret-key=hunter2",
            "--offsite-age-recipient=AGE-SECRET-KEY-1hunter2",
        ]);
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}

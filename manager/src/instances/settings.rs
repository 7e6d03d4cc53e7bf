use std::path::PathBuf;

use url::Url;

use super::Hostname;

/// What the operator decides for all instances.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Holds `instances/<id>/`; absolute, since the engine mounts it.
    pub data_dir: PathBuf,
    /// The dashboard's address; instances live on its subdomains.
    pub public_url: Url,
    /// The base domain, lower-case.
    pub domain: String,
    pub routing: Routing,
    /// Where the shim finds the manager, from inside a container.
    pub manager_url: String,
    /// Where flows find the broker, from inside a container.
    pub mqtt_url: String,
    /// MiB.
    pub memory_mb_default: i32,
    pub cpus_default: f64,
    /// MiB; the most that one instance may ask for.
    pub memory_mb_max: i32,
    pub cpus_max: f64,
    pub per_project_max: i64,
}

/// Who routes requests to instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routing {
    /// The Rust proxy: an alias works at once.
    Proxy,
    /// nginx alone, by the container's network aliases, which are pinned when
    /// the container is made.
    Nginx,
}

impl Settings {
    /// `https://wf1.example.com`, without a trailing slash.
    pub fn url_of(&self, name: &Hostname) -> String {
        let port = self
            .public_url
            .port()
            .map(|it| format!(":{it}"))
            .unwrap_or_default();
        format!(
            "{}://{name}.{}{port}",
            self.public_url.scheme(),
            self.domain
        )
    }

    /// Where a browser without a right to an instance is sent.
    pub fn launch_url(&self, name: &Hostname) -> String {
        format!(
            "{}/launch/{name}",
            self.public_url.as_str().trim_end_matches('/')
        )
    }
}

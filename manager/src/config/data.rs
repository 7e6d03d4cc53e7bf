use std::path::{Path, PathBuf};

use clap::Args;

/// Where everything is kept.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Data")]
pub struct DataConfig {
    /// Folder of all data: database, keys, instances, backups
    #[arg(
        long = "data-dir",
        env = "OPENFLOW_DATA_DIR",
        default_value = "./data",
        value_name = "FOLDER"
    )]
    pub dir: PathBuf,
}

impl DataConfig {
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    pub fn postgres(&self) -> PathBuf {
        self.dir.join("postgres")
    }

    /// `<dir>/<instanceId>/` is bind-mounted as the instance's `/data`.
    pub fn instances(&self) -> PathBuf {
        self.dir.join("instances")
    }

    pub fn backups(&self) -> PathBuf {
        self.dir.join("backups")
    }

    /// The built-in MQTT broker's: `<dir>/<projectId>/`.
    pub fn mqtt(&self) -> PathBuf {
        self.dir.join("mqtt")
    }

    /// A file of generated secrets, readable by its owner alone.
    pub fn key_file(&self, name: &str) -> PathBuf {
        self.dir.join("keys").join(name)
    }

    /// What the proxy serves from while the manager is away at its start.
    pub fn proxy_table(&self) -> PathBuf {
        self.dir.join("routes.json")
    }

    /// Held for as long as `openflow up` runs.
    pub fn lock_file(&self) -> PathBuf {
        self.dir.join("openflow.lock")
    }

    pub fn path(&self) -> &Path {
        &self.dir
    }
}

use std::path::PathBuf;

use clap::Args;

use super::parse;
use crate::kernel::Secret;

/// Which PostgreSQL.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Database")]
pub struct DatabaseConfig {
    /// An existing PostgreSQL (15 or later) in place of the private one in <data-dir>/postgres
    #[arg(long = "database-url", env = "DATABASE_URL", value_name = "URL", value_parser = parse::database_url)]
    pub url: Option<Secret>,
    /// Folder of initdb and postgres, when they are not found by themselves
    #[arg(long, env = "OPENFLOW_PG_BIN_DIR", value_name = "FOLDER")]
    pub pg_bin_dir: Option<PathBuf>,
    /// User that runs the private PostgreSQL when Openflow is root [default: postgres, else nobody]
    #[arg(long, env = "OPENFLOW_PG_USER", value_name = "NAME")]
    pub pg_user: Option<String>,
}

impl DatabaseConfig {
    pub(super) const FORM: &'static str = "give a URL such as postgres://user:password@host:5432/database, with %2F for a / in the password";

    pub(super) fn check(&self) -> Result<(), String> {
        match parse::is_database_url(self.url.as_ref()) {
            true => Ok(()),
            false => Err(format!("--database-url: {}", Self::FORM)),
        }
    }
}

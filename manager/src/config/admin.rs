use clap::Args;

use super::parse;
use crate::kernel::Secret;

/// The first administrator, for installations without a browser at hand. Used
/// only while there is no user.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "First administrator")]
pub struct AdminConfig {
    /// E-mail address of the first administrator, made at the first start
    #[arg(id = "admin_email", long = "admin-email", env = "OPENFLOW_ADMIN_EMAIL", value_name = "EMAIL", value_parser = email)]
    pub email: Option<String>,
    /// Password of the first administrator
    #[arg(id = "admin_password", long = "admin-password", env = "OPENFLOW_ADMIN_PASSWORD", value_name = "PASSWORD", value_parser = parse::secret)]
    pub password: Option<Secret>,
}

impl AdminConfig {
    pub(super) fn check(&self) -> Result<(), String> {
        match (&self.email, &self.password) {
            (Some(_), None) => {
                Err("OPENFLOW_ADMIN_EMAIL needs OPENFLOW_ADMIN_PASSWORD too".to_owned())
            }
            (None, Some(_)) => {
                Err("OPENFLOW_ADMIN_PASSWORD needs OPENFLOW_ADMIN_EMAIL too".to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// Rough on purpose: the identity slice has the last word.
fn email(text: &str) -> Result<String, String> {
    match text.trim().split_once('@') {
        Some((user, host)) if !user.is_empty() && !host.is_empty() => Ok(text.trim().to_owned()),
        _ => Err("give an e-mail address such as admin@example.com".to_owned()),
    }
}

use clap::Args;

use super::parse;
use crate::kernel::Secret;

/// Secrets of the installation. Unset ones are generated at the first start
/// and kept in `<data-dir>/keys/`.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Secrets (better as environment variables than as flags)")]
pub struct SecretConfig {
    /// Keys that seal secrets at rest, newest first, by commas [default: generated, in <data-dir>/keys/secret.keys]
    #[arg(id = "secret_keys", long = "secret-keys", env = "OPENFLOW_SECRET_KEYS", value_name = "KEYS", value_parser = parse::secret)]
    pub keys: Option<Secret>,
    /// What the proxy shows the manager [default: generated, in <data-dir>/keys/proxy.secret]
    #[arg(id = "proxy_secret", long = "proxy-secret", env = "OPENFLOW_PROXY_SECRET", value_name = "SECRET", value_parser = parse::shared_secret)]
    pub proxy: Option<Secret>,
    /// What the MQTT broker shows the manager [default: generated, in <data-dir>/keys/hook.secret]
    #[arg(id = "hook_secret", long = "hook-secret", env = "OPENFLOW_HOOK_SECRET", value_name = "SECRET", value_parser = parse::shared_secret)]
    pub hook: Option<Secret>,
}

use std::sync::Arc;

use crate::{
    config::Config,
    crypto::{self, KeyRing, KeyRingError},
    installation::{KEY_FILES, Keys},
    kernel::Secret,
};

/// In `<data-dir>/keys/`.
pub const SECRET_KEYS_FILE: &str = KEY_FILES[0];

/// What the manager is started with.
#[derive(Clone)]
pub struct Settings {
    pub config: Config,
    pub secrets: Secrets,
}

/// The installation's secrets, given or generated.
#[derive(Clone)]
pub struct Secrets {
    pub keys: Arc<KeyRing>,
    /// `X-Openflow-Proxy-Secret`
    pub proxy: Secret,
    /// `X-Openflow-Hook-Secret`
    pub hook: Secret,
}

impl Settings {
    pub fn load(config: Config) -> Result<Self, KeyRingError> {
        let secrets = Secrets::load(&config)?;
        Ok(Self { config, secrets })
    }
}

impl Secrets {
    /// For a command that asks nobody: the shared secrets are fresh.
    pub fn of(keys: &Keys) -> Self {
        let fresh = || Secret::new(crypto::random_token());
        Self {
            keys: keys.ring.clone(),
            proxy: fresh(),
            hook: fresh(),
        }
    }

    /// Takes what is set; makes the rest at the first start, in files that only
    /// their owner may read.
    pub fn load(config: &Config) -> Result<Self, KeyRingError> {
        let given_or_made = |given: &Option<Secret>, name| match given {
            Some(secret) => Ok(secret.clone()),
            None => crypto::load_or_create_secret(&config.data.key_file(name)),
        };
        let keys = given_or_made(&config.secrets.keys, SECRET_KEYS_FILE)?;
        Ok(Self {
            keys: Arc::new(KeyRing::parse(keys.expose())?),
            proxy: given_or_made(&config.secrets.proxy, KEY_FILES[1])?,
            hook: given_or_made(&config.secrets.hook, KEY_FILES[2])?,
        })
    }
}

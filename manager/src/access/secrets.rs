use std::sync::Arc;

use super::{Error, store};
use crate::{
    crypto::{KeyRing, KeyRingError, random_token},
    db::Db,
    kernel::{Clock, Secret},
};

/// The installation's own secrets: made on first use, kept sealed, the same
/// for every manager of the installation.
#[derive(Clone)]
pub struct InstallationSecrets {
    db: Db,
    clock: Arc<dyn Clock>,
    keys: Arc<KeyRing>,
}

#[derive(Clone, Copy, Debug)]
pub enum SecretName {
    /// Signs editor cookies.
    CookieKey,
    /// Labels this installation's containers; not secret, but made the same way.
    InstallationId,
    /// Makes the keyed hashes that tell changed credentials.
    DigestKey,
}

impl SecretName {
    fn as_str(self) -> &'static str {
        match self {
            Self::CookieKey => "cookie_key",
            Self::InstallationId => "installation_id",
            Self::DigestKey => "digest_key",
        }
    }
}

/// Opens a secret of the installation as its row has it.
pub fn open_secret(keys: &KeyRing, name: &str, sealed: &[u8]) -> Result<Secret, KeyRingError> {
    keys.open_text(&place(name), sealed).map(Secret::new)
}

fn place(name: &str) -> String {
    format!("secrets/{name}")
}

impl InstallationSecrets {
    pub fn new(db: Db, clock: Arc<dyn Clock>, keys: Arc<KeyRing>) -> Self {
        Self { db, clock, keys }
    }

    /// The secret: 43 characters of base64url (32 bytes).
    pub async fn get(&self, name: SecretName) -> Result<Secret, Error> {
        let place = place(name.as_str());
        let fresh = self.keys.seal(&place, random_token().as_bytes());
        let mut tx = self.db.begin_system().await?;
        let sealed = store::secret_or(&mut tx, name.as_str(), &fresh, self.clock.now()).await?;
        tx.commit().await?;
        Ok(Secret::new(self.keys.open_text(&place, &sealed)?))
    }
}

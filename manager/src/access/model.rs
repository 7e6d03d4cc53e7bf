use chrono::{DateTime, Utc};
use openflow_route_api::{Key, Role, identity_key};

use crate::{
    crypto::{KeyRing, KeyRingError, Sealed, random_token, sha256},
    kernel::{EditorSessionId, InstanceId, Secret, UserId},
};

/// A fresh access token; its text is in the launch URL and nowhere else.
#[derive(Debug)]
pub struct AccessToken {
    pub text: Secret,
    pub expires_at: DateTime<Utc>,
}

/// What a redeemed access token became.
#[derive(Clone, Debug)]
pub struct EditorSession {
    pub id: EditorSessionId,
    pub user: UserId,
    /// The person's name, for the editor.
    pub name: String,
    pub role: Role,
    pub expires_at: DateTime<Utc>,
}

/// The secrets of one instance, sealed as they stand on its row.
#[derive(Clone, Debug)]
pub struct InstanceKeys {
    pub magic_token: Secret,
    /// Encrypts the engine's own credentials file.
    pub credential_secret: Secret,
    pub mqtt_password: Secret,
}

/// Where each secret stands, so that none opens in another's place.
fn place(id: InstanceId, what: &str) -> String {
    format!("instances/{id}/{what}")
}

impl InstanceKeys {
    pub fn generate() -> Self {
        Self {
            magic_token: Secret::new(random_token()),
            credential_secret: Secret::new(random_token()),
            mqtt_password: Secret::new(random_token()),
        }
    }

    pub fn seal(&self, keys: &KeyRing, id: InstanceId) -> SealedInstanceKeys {
        let seal = |what, secret: &Secret| keys.seal(&place(id, what), secret.expose().as_bytes());
        SealedInstanceKeys {
            magic_token: seal("magic_token", &self.magic_token),
            magic_token_hash: sha256(self.magic_token.expose()),
            credential_secret: seal("credential_secret", &self.credential_secret),
            mqtt_password: seal("mqtt_password", &self.mqtt_password),
            mqtt_password_hash: sha256(self.mqtt_password.expose()),
        }
    }

    /// The key with which the proxy tells this instance's shim who is asking.
    pub fn identity_key(&self) -> Key {
        identity_key(self.magic_token.expose())
    }
}

/// [`InstanceKeys`] as the row keeps them: sealed for use, hashed for look-up.
#[derive(Clone, Debug)]
pub struct SealedInstanceKeys {
    pub magic_token: Sealed,
    pub magic_token_hash: [u8; 32],
    pub credential_secret: Sealed,
    pub mqtt_password: Sealed,
    pub mqtt_password_hash: [u8; 32],
}

impl SealedInstanceKeys {
    pub fn open(
        keys: &KeyRing,
        id: InstanceId,
        magic_token: &[u8],
        credential_secret: &[u8],
        mqtt_password: &[u8],
    ) -> Result<InstanceKeys, KeyRingError> {
        let open = |what, sealed| keys.open_text(&place(id, what), sealed).map(Secret::new);
        Ok(InstanceKeys {
            magic_token: open("magic_token", magic_token)?,
            credential_secret: open("credential_secret", credential_secret)?,
            mqtt_password: open("mqtt_password", mqtt_password)?,
        })
    }
}

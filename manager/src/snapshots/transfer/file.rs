//! The file's format. What is in the open is bound to what is sealed, and a
//! checksum tells a damaged file from a wrong passphrase.
use base64::{Engine as _, prelude::BASE64_STANDARD};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    crypto::{PassphraseKey, SALT_BYTES, sha256_hex},
    engines::{Credentials, Engine, Installed},
    stacks::EnvVar,
};

const FORMAT: &str = "openflow-snapshot";
const VERSION: u32 = 1;
const DAMAGED: &str = "The file is damaged: it was cut or changed since it was exported.";

/// A snapshot below a passphrase: argon2id (64 MiB, 3 passes) over `salt`
/// gives the key, `sealed` is nonce (24 bytes) and XChaCha20-Poly1305 of
/// compressed JSON, with the fields before `checksum` as associated data.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::snapshots) struct SnapshotFile {
    /// `openflow-snapshot`.
    format: String,
    version: u32,
    name: String,
    engine: Engine,
    engine_version: String,
    created_at: DateTime<Utc>,
    /// 16 bytes in base64.
    salt: String,
    /// SHA-256 of all the others, in hex.
    checksum: String,
    /// Base64.
    sealed: String,
}

/// What of the snapshot is in the open.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) name: String,
    pub(super) engine: Engine,
    pub(super) engine_version: String,
    pub(super) created_at: DateTime<Utc>,
}

/// What is sealed.
#[derive(Serialize, Deserialize)]
pub(super) struct Inner {
    pub(super) description: String,
    pub(super) author: String,
    pub(super) flows: String,
    pub(super) credentials: Credentials,
    pub(super) modules: Vec<Installed>,
    pub(super) env: Vec<EnvVar>,
}

impl SnapshotFile {
    pub(super) fn seal(
        head: Head,
        salt: [u8; SALT_BYTES],
        key: &PassphraseKey,
        inner: &[u8],
    ) -> Option<Self> {
        let mut file = Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            name: head.name,
            engine: head.engine,
            engine_version: head.engine_version,
            created_at: head.created_at,
            salt: BASE64_STANDARD.encode(salt),
            checksum: String::new(),
            sealed: String::new(),
        };
        let sealed = key.seal(file.bound().as_bytes(), inner)?;
        file.sealed = BASE64_STANDARD.encode(sealed);
        file.checksum = file.summed();
        Some(file)
    }

    /// Fails with the reason, for a person.
    pub(super) fn parse(file: Value) -> Result<Self, String> {
        if file["format"] != FORMAT {
            return Err("This is not a snapshot that Openflow exported.".to_owned());
        }
        if file["version"] != VERSION {
            return Err(
                "The file is of another version of Openflow than this one reads.".to_owned(),
            );
        }
        let file: Self = serde_json::from_value(file).map_err(|_| DAMAGED.to_owned())?;
        let salt_fits = BASE64_STANDARD
            .decode(&file.salt)
            .is_ok_and(|it| it.len() == SALT_BYTES);
        if file.checksum != file.summed() || !salt_fits {
            return Err(DAMAGED.to_owned());
        }
        Ok(file)
    }

    /// What was sealed. Fails with the reason, for a person.
    pub(super) fn open(&self, key: &PassphraseKey) -> Result<Vec<u8>, String> {
        let sealed = BASE64_STANDARD.decode(&self.sealed).map_err(|_| DAMAGED)?;
        key.open(self.bound().as_bytes(), &sealed)
            .ok_or_else(|| "The passphrase is wrong, or somebody changed the file.".to_owned())
    }

    pub(super) fn head(&self) -> Head {
        Head {
            name: self.name.clone(),
            engine: self.engine,
            engine_version: self.engine_version.clone(),
            created_at: self.created_at,
        }
    }

    pub(super) fn salt(&self) -> [u8; SALT_BYTES] {
        let salt = BASE64_STANDARD.decode(&self.salt).ok();
        salt.and_then(|it| it.try_into().ok()).unwrap_or_default()
    }

    pub(super) fn sealed_bytes(&self) -> usize {
        self.sealed.len()
    }

    fn summed(&self) -> String {
        sha256_hex(&format!("{}{}", self.bound(), self.sealed))
    }

    /// The fields in the open, as one text.
    fn bound(&self) -> String {
        let fields = (
            &self.format,
            self.version,
            &self.name,
            self.engine,
            &self.engine_version,
            self.created_at.timestamp(),
            &self.salt,
        );
        serde_json::to_string(&fields).unwrap_or_default()
    }
}

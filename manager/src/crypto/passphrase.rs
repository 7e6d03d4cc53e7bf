use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::{
    Key, KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Generate as _, Payload},
};

use crate::kernel::Secret;

pub const SALT_BYTES: usize = 16;
const NONCE_BYTES: usize = 24;
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;

/// Seals files that leave the installation: a person knows the passphrase, and
/// whoever has the file can try as many as they like.
pub struct PassphraseKey(XChaCha20Poly1305);

impl PassphraseKey {
    pub(super) fn derive(passphrase: &Secret, salt: &[u8; SALT_BYTES]) -> Option<Self> {
        let params = Params::new(MEMORY_KIB, PASSES, 1, None).ok()?;
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let mut key = [0; 32];
        argon
            .hash_password_into(passphrase.expose().as_bytes(), salt, &mut key)
            .ok()?;
        Some(Self(XChaCha20Poly1305::new(&Key::from(key))))
    }

    /// Nonce (24) and ciphertext with tag; opens only beside the same `head`.
    pub fn seal(&self, head: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
        let nonce = XNonce::generate();
        let payload = Payload {
            msg: plain,
            aad: head,
        };
        let text = self.0.encrypt(&nonce, payload).ok()?;
        Some([nonce.as_slice(), &text].concat())
    }

    /// `None` for another passphrase, and when head or content were changed:
    /// nobody can tell which.
    pub fn open(&self, head: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, text) = sealed.split_at_checked(NONCE_BYTES)?;
        let payload = Payload {
            msg: text,
            aad: head,
        };
        self.0.decrypt(&XNonce::try_from(nonce).ok()?, payload).ok()
    }
}

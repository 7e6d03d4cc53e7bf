use std::sync::Arc;

use argon2::{Argon2, PasswordHash, PasswordHasher as _, PasswordVerifier as _};
use tokio::sync::Semaphore;

use super::{PassphraseKey, SALT_BYTES};
use crate::kernel::Secret;

/// Argon2id with the library's recommended cost takes 19 MiB each: this many
/// at once bound the memory that a burst of sign-ins can take.
const AT_ONCE: usize = 2;

/// Hashes and checks passwords (argon2id, PHC strings) off the async threads.
#[derive(Clone)]
pub struct Passwords {
    permits: Arc<Semaphore>,
    /// The hash that a sign-in for an unknown user is checked against, so that
    /// it takes as long as one for a known user.
    decoy: Arc<str>,
}

impl Passwords {
    /// Takes as long as one hash.
    pub fn new() -> Self {
        Self {
            permits: Arc::new(Semaphore::new(AT_ONCE)),
            decoy: hash_now("no one's password").into(),
        }
    }

    /// The hash of a password, as a PHC string.
    pub async fn hash(&self, password: &Secret) -> String {
        let password = password.clone();
        self.run(move || hash_now(password.expose()))
            .await
            .unwrap_or_default()
    }

    /// Whether the password is the hash's; `None` (no such user) takes the same
    /// time and is always false.
    pub async fn verify(&self, password: &Secret, hash: Option<String>) -> bool {
        let password = password.clone();
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.decoy.to_string());
        let matches = self
            .run(move || {
                PasswordHash::new(&hash).is_ok_and(|hash| {
                    Argon2::default()
                        .verify_password(password.expose().as_bytes(), &hash)
                        .is_ok()
                })
            })
            .await
            .unwrap_or(false);
        known && matches
    }

    /// The key of a passphrase for a file that leaves the installation
    /// (argon2id, 64 MiB, 3 passes). `None` only when the program ends.
    pub async fn derive(
        &self,
        passphrase: &Secret,
        salt: [u8; SALT_BYTES],
    ) -> Option<PassphraseKey> {
        let passphrase = passphrase.clone();
        self.run(move || PassphraseKey::derive(&passphrase, &salt))
            .await?
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let _permit = self.permits.acquire().await.ok()?;
        tokio::task::spawn_blocking(work).await.ok()
    }
}

impl Default for Passwords {
    fn default() -> Self {
        Self::new()
    }
}

fn hash_now(password: &str) -> String {
    #[expect(
        clippy::expect_used,
        reason = "fails only without a random source, or for a password over 4 GiB"
    )]
    let hash = Argon2::default()
        .hash_password(password.as_bytes())
        .expect("hashable");
    hash.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_known_again_and_another_is_not() {
        let passwords = Passwords::new();
        let hash = passwords.hash(&Secret::new("correct horse")).await;
        assert!(hash.starts_with("$argon2id$"));
        assert!(
            passwords
                .verify(&Secret::new("correct horse"), Some(hash.clone()))
                .await
        );
        assert!(
            !passwords
                .verify(&Secret::new("battery staple"), Some(hash))
                .await
        );
        assert!(
            !passwords
                .verify(&Secret::new("no one's password"), None)
                .await
        );
    }
}

//! Sealing at rest, random tokens, password hashes.
mod aes_ctr;
mod keyring;
pub mod node_red;
mod passphrase;
mod password;
mod secret_file;
mod token;

pub use keyring::{KeyRing, KeyRingError, Sealed};
pub use passphrase::{PassphraseKey, SALT_BYTES};
pub use password::Passwords;
pub use secret_file::load_or_create_secret;
pub use token::{constant_time_eq, keyed_hash, random_salt, random_token, sha256, sha256_hex};

//! Sealing at rest, random tokens, password hashes.
mod aes_ctr;
mod keyring;
mod openssl;
mod passphrase;
mod password;
mod scram;
mod secret_file;
mod token;

pub use aes_ctr::{aes256_ctr, aes256_ctr_back};
pub use keyring::{KeyRing, KeyRingError, Sealed};
pub use openssl::{aes256_cbc, aes256_cbc_back, evp_bytes_to_key};
pub use passphrase::{PassphraseKey, SALT_BYTES};
pub use password::Passwords;
pub use scram::scram_verifier;
pub use secret_file::load_or_create_secret;
pub use token::{constant_time_eq, keyed_hash, random_salt, random_token, sha256, sha256_hex};

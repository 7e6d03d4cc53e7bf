//! Sealing at rest, random tokens, password hashes.
mod aes_ctr;
mod keyring;
mod password;
mod secret_file;
mod token;

pub use aes_ctr::{aes256_ctr, aes256_ctr_back};
pub use keyring::{KeyRing, KeyRingError, Sealed};
pub use password::Passwords;
pub use secret_file::load_or_create_secret;
pub use token::{constant_time_eq, random_token, sha256, sha256_hex};

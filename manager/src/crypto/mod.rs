//! Sealing at rest, random tokens, password hashes.
mod keyring;
mod password;
mod token;

pub use keyring::{KeyRing, KeyRingError, Sealed};
pub use password::Passwords;
pub use token::{constant_time_eq, random_token, sha256, sha256_hex};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chacha20poly1305::aead::{Generate, array::Array};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::SALT_BYTES;
use crate::kernel::Secret;

/// 256 random bits as 43 characters of base64url.
pub fn random_token() -> String {
    let bytes: Array<u8, chacha20poly1305::consts::U32> = Array::generate();
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// For what is derived from a password.
pub fn random_salt() -> [u8; SALT_BYTES] {
    let bytes: Array<u8, chacha20poly1305::consts::U16> = Array::generate();
    bytes.into()
}

/// HMAC-SHA256: equal for equal bytes, and says nothing to who lacks the key.
pub fn keyed_hash(key: &Secret, bytes: &[u8]) -> [u8; 32] {
    hmac(key.expose().as_bytes(), bytes)
}

pub(super) fn hmac(key: &[u8], bytes: &[u8]) -> [u8; 32] {
    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length is fine");
    mac.update(bytes);
    mac.finalize().into_bytes().into()
}

/// How random tokens are kept: they have 256 bits, so a plain hash serves.
pub fn sha256(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// Lower-case hex of [`sha256`].
pub fn sha256_hex(text: &str) -> String {
    sha256(text)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Compares without telling by its time where the difference is.
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

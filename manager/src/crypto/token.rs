use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chacha20poly1305::aead::{Generate, array::Array};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// 256 random bits as 43 characters of base64url.
pub fn random_token() -> String {
    let bytes: Array<u8, chacha20poly1305::consts::U32> = Array::generate();
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
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

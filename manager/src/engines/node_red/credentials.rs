//! How Node-RED keeps credentials in `flows_cred.json`:
//! `{"$": iv in hex + AES-256-CTR in base64}` under the SHA-256 of the
//! instance's credential secret; inside, `{nodeId: {field: value}}`.
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::{
    crypto::{aes256_ctr, aes256_ctr_back, sha256},
    engines::{Credentials, CredentialsError},
    kernel::Secret,
};

pub const FILE: &str = "flows_cred.json";
const IV_BYTES: usize = 16;
const DAMAGED: CredentialsError = CredentialsError::Damaged(FILE);
const WRONG_KEY: CredentialsError = CredentialsError::WrongKey(FILE);

/// The content of the file.
pub fn seal(secret: &Secret, credentials: &Credentials) -> Vec<u8> {
    let plain = Value::Object(credentials.clone()).to_string();
    let (iv, bytes) = aes256_ctr(sha256(secret.expose()), plain.into_bytes());
    let iv: String = iv.iter().map(|byte| format!("{byte:02x}")).collect();
    json!({ "$": iv + &BASE64_STANDARD.encode(bytes) })
        .to_string()
        .into_bytes()
}

/// Takes the file apart; the format has no checksum, so what decrypts to
/// nonsense had another key. One that was never encrypted is read as it is, as
/// Node-RED does.
pub fn open(secret: &Secret, file: &[u8]) -> Result<Credentials, CredentialsError> {
    let file: Credentials = serde_json::from_slice(file).map_err(|_| DAMAGED)?;
    let Some(sealed) = file.get("$") else {
        return by_node(file).ok_or(DAMAGED);
    };
    let sealed = sealed.as_str().ok_or(DAMAGED)?;
    let (iv, bytes) = parts(sealed).ok_or(DAMAGED)?;
    let plain = aes256_ctr_back(sha256(secret.expose()), iv, bytes);
    serde_json::from_slice(&plain)
        .ok()
        .and_then(by_node)
        .ok_or(WRONG_KEY)
}

fn parts(sealed: &str) -> Option<([u8; IV_BYTES], Vec<u8>)> {
    let (iv, text) = sealed.split_at_checked(2 * IV_BYTES)?;
    let mut bytes = [0; IV_BYTES];
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(iv.get(at..at + 2)?, 16).ok()?;
    }
    Some((bytes, BASE64_STANDARD.decode(text).ok()?))
}

fn by_node(it: Credentials) -> Option<Credentials> {
    it.values().all(Value::is_object).then_some(it)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Credentials {
        json!({"n1": {"user": "ada", "password": "pä$$"}})
            .as_object()
            .unwrap()
            .clone()
    }

    #[test]
    fn what_is_sealed_opens_with_the_same_key_only() {
        let file = seal(&Secret::new("a"), &some());
        assert!(!String::from_utf8_lossy(&file).contains("password"));
        assert_eq!(open(&Secret::new("a"), &file), Ok(some()));
        let other = open(&Secret::new("b"), &file);
        assert_eq!(other, Err(WRONG_KEY));
    }

    #[test]
    fn what_is_no_such_file_is_told_from_a_wrong_key() {
        let open = |text: &str| open(&Secret::new("a"), text.as_bytes());
        for bad in [
            "",
            "[]",
            "{",
            r#"{"$": 1}"#,
            r#"{"$": "abc"}"#,
            r#"{"n": 1}"#,
        ] {
            assert_eq!(open(bad), Err(DAMAGED), "{bad}");
        }
        let odd = format!(r#"{{"$": "{}zz!"}}"#, "é".repeat(16));
        assert_eq!(open(&odd), Err(DAMAGED));
        assert_eq!(
            open(r#"{"n1": {"user": "ada", "password": "pä$$"}}"#),
            Ok(some())
        );
        assert_eq!(open("{}"), Ok(Credentials::new()));
    }
}

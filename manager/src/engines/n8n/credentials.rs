//! How n8n keeps a credential: the base64 of what OpenSSL's `enc` writes,
//! `Salted__`, 8 bytes of salt and AES-256-CBC of JSON; key and IV are drawn
//! from the encryption key and the salt by MD5, as OpenSSL once did.
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Map, Value};

use crate::{
    crypto::{aes256_cbc, aes256_cbc_back, evp_bytes_to_key, random_salt},
    engines::CredentialsError,
    kernel::Secret,
};

const MARK: &[u8] = b"Salted__";
const SALT_BYTES: usize = 8;
const WHAT: &str = "a credential";

pub fn seal(key: &Secret, fields: &Value) -> String {
    let random = random_salt();
    let mut salt = [0; SALT_BYTES];
    salt.copy_from_slice(&random[..SALT_BYTES]);
    let (cipher_key, iv) = evp_bytes_to_key(key.expose().as_bytes(), salt);
    let sealed = aes256_cbc(cipher_key, iv, fields.to_string().as_bytes());
    BASE64_STANDARD.encode([MARK, &salt, &sealed].concat())
}

/// The format has no checksum: what decrypts to nonsense had another key.
pub fn open(key: &Secret, text: &str) -> Result<Value, CredentialsError> {
    let bytes = BASE64_STANDARD
        .decode(text)
        .map_err(|_| CredentialsError::Damaged(WHAT))?;
    let (salt, sealed) = bytes
        .strip_prefix(MARK)
        .and_then(|it| it.split_first_chunk::<SALT_BYTES>())
        .ok_or(CredentialsError::Damaged(WHAT))?;
    let (cipher_key, iv) = evp_bytes_to_key(key.expose().as_bytes(), *salt);
    let plain = aes256_cbc_back(cipher_key, iv, sealed).unwrap_or_default();
    let fields: Option<Map<String, Value>> = serde_json::from_slice(&plain).ok();
    fields
        .map(Value::Object)
        .ok_or(CredentialsError::WrongKey(WHAT))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// By `openssl enc -aes-256-cbc -md md5 -S 0102030405060708 -pass pass:k`.
    #[test]
    fn it_is_openssls_format() {
        let text = "U2FsdGVkX18BAgMEBQYHCN24q49xSwdWypCSYProZ4ACqH/IcFNKAWkWWo7xJrC+";
        assert_eq!(open(&Secret::new("k"), text), Ok(json!({"password": "x"})));
    }

    #[test]
    fn what_is_sealed_opens_with_the_same_key_only() {
        let fields = json!({"user": "ada", "password": "pä$$"});
        let text = seal(&Secret::new("a"), &fields);
        assert_ne!(text, seal(&Secret::new("a"), &fields));
        assert_eq!(open(&Secret::new("a"), &text), Ok(fields));
        let other = open(&Secret::new("b"), &text);
        assert_eq!(other, Err(CredentialsError::WrongKey(WHAT)));
    }

    #[test]
    fn what_is_no_credential_is_told() {
        for bad in ["", "%", "U2FsdGVkX18=", "AAAA"] {
            let opened = open(&Secret::new("a"), bad);
            assert_eq!(opened, Err(CredentialsError::Damaged(WHAT)), "{bad}");
        }
    }
}

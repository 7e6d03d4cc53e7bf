use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::Sha256;
use uuid::Uuid;

use crate::{Key, Role};

const COOKIE_CONTEXT: &str = "openflow-cookie-v1.";
const IDENTITY_CONTEXT: &str = "openflow-identity-v1.";
const IDENTITY_KEY_CONTEXT: &str = "openflow-identity-key-v1";
/// No token of ours comes near it; a longer one is refused unread.
const TOKEN_BYTES_MAX: usize = 2048;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("not a token of this kind")]
    Malformed,
    #[error("the signature does not match")]
    BadSignature,
    #[error("expired")]
    Expired,
}

/// What the editor cookie says. It names who; what they may is looked up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CookieClaims {
    #[serde(rename = "s")]
    pub session_id: Uuid,
    #[serde(rename = "u")]
    pub user_id: Uuid,
    #[serde(rename = "n")]
    pub name: String,
    #[serde(rename = "i")]
    pub instance_id: Uuid,
    #[serde(rename = "r")]
    pub role: Role,
    /// Unix seconds.
    #[serde(rename = "iat")]
    pub issued_at: i64,
    /// Unix seconds.
    #[serde(rename = "exp")]
    pub expires_at: i64,
}

impl CookieClaims {
    /// The cookie's value.
    pub fn sign(&self, key: &Key) -> String {
        sign(self, key, COOKIE_CONTEXT)
    }

    /// Reads a cookie's value, signed by any key of the ring and not expired at
    /// `now` (Unix seconds).
    pub fn verify(value: &str, keys: &[Key], now: i64) -> Result<Self, TokenError> {
        let claims: Self = verify(value, keys, COOKIE_CONTEXT)?;
        if claims.expires_at <= now {
            return Err(TokenError::Expired);
        }
        Ok(claims)
    }
}

/// What the proxy tells the settings shim about who is asking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityClaims {
    #[serde(rename = "u")]
    pub user_id: Uuid,
    #[serde(rename = "n")]
    pub name: String,
    #[serde(rename = "r")]
    pub role: Role,
    #[serde(rename = "i")]
    pub instance_id: Uuid,
    /// Unix seconds.
    #[serde(rename = "exp")]
    pub expires_at: i64,
}

impl IdentityClaims {
    /// The header's value.
    pub fn sign(&self, key: &Key) -> String {
        sign(self, key, IDENTITY_CONTEXT)
    }

    /// The check that the shim does; here for tests and tools.
    pub fn verify(value: &str, key: &Key, now: i64) -> Result<Self, TokenError> {
        let claims: Self = verify(value, std::slice::from_ref(key), IDENTITY_CONTEXT)?;
        if claims.expires_at <= now {
            return Err(TokenError::Expired);
        }
        Ok(claims)
    }
}

/// The key that an instance's magic token stands for.
pub fn identity_key(magic_token: &str) -> Key {
    Key(mac(
        magic_token.as_bytes(),
        &[IDENTITY_KEY_CONTEXT.as_bytes()],
    ))
}

fn sign<T: Serialize>(claims: &T, key: &Key, context: &str) -> String {
    // Plain structs of strings and numbers always serialise.
    let json = serde_json::to_vec(claims).unwrap_or_default();
    let payload = BASE64_URL_SAFE_NO_PAD.encode(json);
    let mac = mac(&key.0, &[context.as_bytes(), payload.as_bytes()]);
    format!("{payload}.{}", BASE64_URL_SAFE_NO_PAD.encode(mac))
}

fn verify<T: DeserializeOwned>(value: &str, keys: &[Key], context: &str) -> Result<T, TokenError> {
    if TOKEN_BYTES_MAX < value.len() {
        return Err(TokenError::Malformed);
    }
    let (payload, tag) = value.split_once('.').ok_or(TokenError::Malformed)?;
    let tag = BASE64_URL_SAFE_NO_PAD
        .decode(tag)
        .map_err(|_| TokenError::Malformed)?;
    let signed = keys.iter().any(|key| {
        let mut hmac = hmac_of(&key.0);
        hmac.update(context.as_bytes());
        hmac.update(payload.as_bytes());
        hmac.verify_slice(&tag).is_ok() // constant time
    });
    if !signed {
        return Err(TokenError::BadSignature);
    }
    let json = BASE64_URL_SAFE_NO_PAD
        .decode(payload)
        .map_err(|_| TokenError::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| TokenError::Malformed)
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut hmac = hmac_of(key);
    for part in parts {
        hmac.update(part);
    }
    hmac.finalize().into_bytes().into()
}

fn hmac_of(key: &[u8]) -> Hmac<Sha256> {
    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
    Hmac::new_from_slice(key).expect("any length")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> CookieClaims {
        CookieClaims {
            session_id: Uuid::from_u128(1),
            user_id: Uuid::from_u128(2),
            name: "Ada".to_owned(),
            instance_id: Uuid::from_u128(3),
            role: Role::Member,
            issued_at: 1_000,
            expires_at: 2_000,
        }
    }

    #[test]
    fn a_cookie_is_read_back_by_any_key_of_the_ring() {
        let (old, new) = (Key::new([1; 32]), Key::new([2; 32]));
        let value = claims().sign(&old);
        let read = CookieClaims::verify(&value, &[new, old], 1_500);
        assert_eq!(read, Ok(claims()));
    }

    #[test]
    fn the_ways_a_cookie_is_refused() {
        let key = Key::new([1; 32]);
        let value = claims().sign(&key);
        let identity = IdentityClaims {
            user_id: Uuid::from_u128(2),
            name: "Ada".to_owned(),
            role: Role::Owner,
            instance_id: Uuid::from_u128(3),
            expires_at: 2_000,
        }
        .sign(&key);
        let mut flipped = value.clone().into_bytes();
        flipped[3] ^= 1;
        let flipped = String::from_utf8(flipped).unwrap_or_default();
        let long = "a".repeat(TOKEN_BYTES_MAX + 1);
        for (value, keys, now, error) in [
            (
                value.as_str(),
                vec![Key::new([9; 32])],
                1_500,
                TokenError::BadSignature,
            ),
            (value.as_str(), vec![], 1_500, TokenError::BadSignature),
            (
                value.as_str(),
                vec![key.clone()],
                2_000,
                TokenError::Expired,
            ),
            (
                flipped.as_str(),
                vec![key.clone()],
                1_500,
                TokenError::BadSignature,
            ),
            (
                identity.as_str(),
                vec![key.clone()],
                1_500,
                TokenError::BadSignature,
            ),
            ("", vec![key.clone()], 1_500, TokenError::Malformed),
            ("a.!", vec![key.clone()], 1_500, TokenError::Malformed),
            (
                long.as_str(),
                vec![key.clone()],
                1_500,
                TokenError::Malformed,
            ),
        ] {
            assert_eq!(
                CookieClaims::verify(value, &keys, now),
                Err(error),
                "{value}"
            );
        }
    }
}

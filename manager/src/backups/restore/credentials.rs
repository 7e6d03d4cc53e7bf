//! Node-RED's credentials file: `{"$": <iv in hex><base64 of AES-256-CTR>}`
//! under the SHA-256 of the instance's credential secret. There is no tag, so
//! that it was the right secret shows only in what comes out being JSON.
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::{crypto, kernel::Secret};

/// In the data folder.
pub(super) const FILE: &str = "flows_cred.json";
pub(super) const BYTES_MAX: u64 = 64 << 20;
const IV_CHARS: usize = 32;

/// The file for another secret. One that holds nothing sealed stays.
pub(super) fn reseal(file: &[u8], from: &Secret, to: &Secret) -> Result<Vec<u8>, &'static str> {
    let parsed: Value = serde_json::from_slice(file).map_err(|_| "the file is no JSON")?;
    let Some(sealed) = parsed.get("$").and_then(Value::as_str) else {
        return Ok(file.to_vec());
    };
    let (iv, bytes) = sealed
        .split_at_checked(IV_CHARS)
        .ok_or("the file is cut short")?;
    let iv = parse_iv(iv).ok_or("the file is damaged")?;
    let bytes = BASE64_STANDARD
        .decode(bytes)
        .map_err(|_| "the file is damaged")?;
    let plain = crypto::aes256_ctr_back(crypto::sha256(from.expose()), iv, bytes);
    serde_json::from_slice::<serde_json::Map<String, Value>>(&plain)
        .map_err(|_| "they were sealed with another secret")?;
    let (iv, bytes) = crypto::aes256_ctr(crypto::sha256(to.expose()), plain);
    let iv: String = iv.iter().map(|byte| format!("{byte:02x}")).collect();
    let resealed = json!({ "$": iv + &BASE64_STANDARD.encode(bytes) });
    Ok(resealed.to_string().into_bytes())
}

fn parse_iv(hex: &str) -> Option<[u8; 16]> {
    if !hex.is_ascii() {
        return None;
    }
    let mut iv = [0; 16];
    for (n, byte) in iv.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).ok()?;
    }
    Some(iv)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_resealed_opens_with_the_other_secret_alone() {
        let (one, two) = (Secret::new("one"), Secret::new("two"));
        let plain = br#"{"n1":{"password":"x"}}"#.to_vec();
        let (iv, bytes) = crypto::aes256_ctr(crypto::sha256("one"), plain);
        let iv: String = iv.iter().map(|byte| format!("{byte:02x}")).collect();
        let file = json!({"$": iv + &BASE64_STANDARD.encode(bytes)}).to_string();
        let resealed = reseal(file.as_bytes(), &one, &two).unwrap();
        assert!(reseal(&resealed, &one, &two).is_err());
        assert!(reseal(&resealed, &two, &one).is_ok());
        assert_eq!(reseal(b"{}", &one, &two).unwrap(), b"{}");
        for bad in ["", "[", r#"{"$":"00"}"#, r#"{"$":"zz000000000000000000000000000000AAAA"}"#] {
            assert!(reseal(bad.as_bytes(), &one, &two).is_err(), "{bad}");
        }
    }
}

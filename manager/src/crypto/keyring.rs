use std::{collections::HashSet, io};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chacha20poly1305::{
    Key, KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Generate as _, Payload},
};
use sha2::{Digest as _, Sha256};

const VERSION: u8 = 1;
const KEY_ID_BYTES: usize = 4;
const NONCE_BYTES: usize = 24;
const HEADER_BYTES: usize = 1 + KEY_ID_BYTES + NONCE_BYTES;

/// Sealed bytes as they stand in the database: version (1), key id (4),
/// nonce (24), XChaCha20-Poly1305 ciphertext with tag.
pub type Sealed = Vec<u8>;

#[derive(Debug, thiserror::Error)]
pub enum KeyRingError {
    #[error("a secret key is 32 bytes in base64url without padding (43 characters)")]
    BadKey,
    #[error("OPENFLOW_SECRET_KEYS holds no key")]
    Empty,
    #[error("cannot read or write the key file {path}: {source}")]
    File { path: String, source: io::Error },
    #[error("sealed with a key that is not in the ring")]
    UnknownKey,
    #[error("sealed data is damaged or stands in the wrong place")]
    Damaged,
}

/// The keys that seal secrets at rest: the first seals, any opens.
pub struct KeyRing {
    keys: Vec<RingKey>,
}

struct RingKey {
    /// The first bytes of the key's SHA-256.
    id: [u8; KEY_ID_BYTES],
    cipher: XChaCha20Poly1305,
}

impl KeyRing {
    /// Reads `OPENFLOW_SECRET_KEYS`: keys separated by commas or white space,
    /// newest first.
    pub fn parse(text: &str) -> Result<Self, KeyRingError> {
        let mut seen = HashSet::new();
        let mut keys = Vec::new();
        for part in text
            .split([',', ' ', '\n', '\r', '\t'])
            .filter(|it| !it.is_empty())
        {
            let bytes = BASE64_URL_SAFE_NO_PAD
                .decode(part.trim_end_matches('='))
                .map_err(|_| KeyRingError::BadKey)?;
            let key = Key::try_from(bytes.as_slice()).map_err(|_| KeyRingError::BadKey)?;
            let digest = Sha256::digest(key);
            let mut id = [0; KEY_ID_BYTES];
            id.copy_from_slice(&digest[..KEY_ID_BYTES]);
            if seen.insert(id) {
                keys.push(RingKey {
                    id,
                    cipher: XChaCha20Poly1305::new(&key),
                });
            }
        }
        if keys.is_empty() {
            return Err(KeyRingError::Empty);
        }
        Ok(Self { keys })
    }

    /// Names of the keys, newest first: what sealed data carries, as hex.
    pub fn ids(&self) -> Vec<String> {
        let hex = |id: [u8; KEY_ID_BYTES]| id.iter().map(|it| format!("{it:02x}")).collect();
        self.keys.iter().map(|key| hex(key.id)).collect()
    }

    /// Seals `plain`. `place` names where it will stand
    /// (`instances/<id>/magic_token`), so that it opens nowhere else.
    pub fn seal(&self, place: &str, plain: &[u8]) -> Sealed {
        let key = &self.keys[0];
        let nonce = XNonce::generate();
        let mut sealed = Vec::with_capacity(HEADER_BYTES + plain.len() + 16);
        sealed.push(VERSION);
        sealed.extend_from_slice(&key.id);
        sealed.extend_from_slice(&nonce);
        let payload = Payload {
            msg: plain,
            aad: place.as_bytes(),
        };
        #[expect(clippy::expect_used, reason = "fails only beyond 256 GiB")]
        let text = key.cipher.encrypt(&nonce, payload).expect("short enough");
        sealed.extend_from_slice(&text);
        sealed
    }

    /// Opens what [`KeyRing::seal`] made for the same place.
    pub fn open(&self, place: &str, sealed: &[u8]) -> Result<Vec<u8>, KeyRingError> {
        if sealed.len() < HEADER_BYTES || sealed[0] != VERSION {
            return Err(KeyRingError::Damaged);
        }
        let (header, text) = sealed.split_at(HEADER_BYTES);
        let key = self
            .keys
            .iter()
            .find(|key| key.id == header[1..=KEY_ID_BYTES])
            .ok_or(KeyRingError::UnknownKey)?;
        let nonce =
            XNonce::try_from(&header[1 + KEY_ID_BYTES..]).map_err(|_| KeyRingError::Damaged)?;
        let payload = Payload {
            msg: text,
            aad: place.as_bytes(),
        };
        key.cipher
            .decrypt(&nonce, payload)
            .map_err(|_| KeyRingError::Damaged)
    }

    /// [`KeyRing::open`] for text.
    pub fn open_text(&self, place: &str, sealed: &[u8]) -> Result<String, KeyRingError> {
        String::from_utf8(self.open(place, sealed)?).map_err(|_| KeyRingError::Damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::random_token;

    fn ring(keys: &[&str]) -> KeyRing {
        KeyRing::parse(&keys.join(",")).unwrap()
    }

    #[test]
    fn what_an_old_key_sealed_opens_after_rotation() {
        let (old, new) = (random_token(), random_token());
        let sealed = ring(&[&old]).seal("here", b"secret");
        assert_eq!(
            ring(&[&new, &old]).open("here", &sealed).unwrap(),
            b"secret"
        );
    }

    #[test]
    fn the_ways_opening_is_refused() {
        let key = random_token();
        let sealed = ring(&[&key]).seal("here", b"secret");
        let mut flipped = sealed.clone();
        *flipped.last_mut().unwrap() ^= 1;
        let open = |ring: &KeyRing, place, sealed: &[u8]| {
            ring.open(place, sealed).unwrap_err().to_string()
        };
        let other = ring(&[&random_token()]);
        assert!(open(&other, "here", &sealed).contains("not in the ring"));
        assert!(open(&ring(&[&key]), "there", &sealed).contains("damaged"));
        assert!(open(&ring(&[&key]), "here", &flipped).contains("damaged"));
        assert!(open(&ring(&[&key]), "here", &[]).contains("damaged"));
        assert!(matches!(KeyRing::parse(" "), Err(KeyRingError::Empty)));
        assert!(matches!(KeyRing::parse("short"), Err(KeyRingError::BadKey)));
    }
}

//! What OpenSSL's `enc -aes-256-cbc -md md5` does. For formats of others that
//! are so; what is ours is sealed by the key ring.
use aes::{
    Aes256,
    cipher::{BlockModeDecrypt as _, BlockModeEncrypt as _, KeyIvInit as _, block_padding::Pkcs7},
};
use md5::{Digest as _, Md5};

const KEY_BYTES: usize = 32;
const IV_BYTES: usize = 16;

/// Key and IV of a password and its salt, by one round of MD5.
pub fn evp_bytes_to_key(password: &[u8], salt: [u8; 8]) -> ([u8; KEY_BYTES], [u8; IV_BYTES]) {
    let mut bytes = Vec::with_capacity(KEY_BYTES + IV_BYTES);
    let mut last: Vec<u8> = Vec::new();
    while bytes.len() < KEY_BYTES + IV_BYTES {
        let mut hash = Md5::new();
        hash.update(&last);
        hash.update(password);
        hash.update(salt);
        last = hash.finalize().to_vec();
        bytes.extend_from_slice(&last);
    }
    let (mut key, mut iv) = ([0; KEY_BYTES], [0; IV_BYTES]);
    key.copy_from_slice(&bytes[..KEY_BYTES]);
    iv.copy_from_slice(&bytes[KEY_BYTES..]);
    (key, iv)
}

pub fn aes256_cbc(key: [u8; KEY_BYTES], iv: [u8; IV_BYTES], plain: &[u8]) -> Vec<u8> {
    cbc::Encryptor::<Aes256>::new(&key.into(), &iv.into()).encrypt_padded_vec::<Pkcs7>(plain)
}

/// `None` when the padding is wrong, as a wrong key nearly always makes it.
pub fn aes256_cbc_back(key: [u8; KEY_BYTES], iv: [u8; IV_BYTES], sealed: &[u8]) -> Option<Vec<u8>> {
    cbc::Decryptor::<Aes256>::new(&key.into(), &iv.into())
        .decrypt_padded_vec::<Pkcs7>(sealed)
        .ok()
}

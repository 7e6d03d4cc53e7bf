use aes::{
    Aes256,
    cipher::{KeyIvInit as _, StreamCipher as _},
};
use chacha20poly1305::{
    aead::{Generate as _, array::Array},
    consts::U16,
};
use ctr::Ctr128BE;

/// AES-256 in counter mode under a fresh random IV; gives the IV and as many
/// bytes as came in. There is no tag: it hides, and does not tell of changes.
/// For formats of others that are so; what is ours is sealed by the key ring.
pub fn aes256_ctr(key: [u8; 32], mut bytes: Vec<u8>) -> ([u8; 16], Vec<u8>) {
    let iv: Array<u8, U16> = Array::generate();
    apply(key, iv.into(), &mut bytes);
    (iv.into(), bytes)
}

/// Takes back what [`aes256_ctr`] did. A wrong key gives noise, not an error.
pub fn aes256_ctr_back(key: [u8; 32], iv: [u8; 16], mut bytes: Vec<u8>) -> Vec<u8> {
    apply(key, iv, &mut bytes);
    bytes
}

fn apply(key: [u8; 32], iv: [u8; 16], bytes: &mut [u8]) {
    Ctr128BE::<Aes256>::new(&key.into(), &iv.into()).apply_keystream(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        std::array::from_fn(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
    }

    /// NIST SP 800-38A, F.5.5, the first block.
    #[test]
    fn it_is_the_cipher_of_the_standard() {
        let key = bytes("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
        let counter = bytes("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
        let mut block: [u8; 16] = bytes("6bc1bee22e409f96e93d7e117393172a");
        apply(key, counter, &mut block);
        assert_eq!(block, bytes("601ec313775789a5b7a7f504bbf3d228"));
    }

    #[test]
    fn the_iv_is_another_one_each_time() {
        let (iv, mut sealed) = aes256_ctr([7; 32], b"text".to_vec());
        let (other, _) = aes256_ctr([7; 32], b"text".to_vec());
        assert_ne!(iv, other);
        apply([7; 32], iv, &mut sealed);
        assert_eq!(sealed, b"text");
    }
}

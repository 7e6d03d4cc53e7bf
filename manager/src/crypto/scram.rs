use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256};

use super::token::{hmac, random_salt};
use crate::kernel::Secret;

/// As PostgreSQL itself has it.
const ITERATIONS: u32 = 4096;

/// What PostgreSQL keeps of a password, and takes in its place (RFC 5803,
/// RFC 7677): it lets nobody in who reads it, in the server's log for instance.
/// The password is of ASCII letters, digits and `_-`.
pub fn scram_verifier(password: &Secret) -> String {
    let salt = random_salt();
    let (stored, server) = keys(password, &salt);
    let [salt, stored, server] = [&salt[..], &stored, &server].map(|it| STANDARD.encode(it));
    format!("SCRAM-SHA-256${ITERATIONS}:{salt}${stored}:{server}")
}

/// `StoredKey` and `ServerKey`.
fn keys(password: &Secret, salt: &[u8]) -> ([u8; 32], [u8; 32]) {
    let mut salted = [0; 32];
    pbkdf2::pbkdf2_hmac::<Sha256>(password.expose().as_bytes(), salt, ITERATIONS, &mut salted);
    let stored = Sha256::digest(hmac(&salted, b"Client Key"));
    (stored.into(), hmac(&salted, b"Server Key"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exchange in RFC 7677.
    #[test]
    fn a_client_that_has_the_password_agrees() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let (stored, server) = keys(&Secret::new("pencil"), &salt);
        let message = "n=user,r=rOprNGfwEbeRWgbNEkqO,\
                       r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
                       c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let signature = hmac(&server, message.as_bytes());
        let expected = "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
        assert_eq!(STANDARD.encode(signature), expected);

        let proof = STANDARD
            .decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
            .unwrap();
        let mask = hmac(&stored, message.as_bytes());
        let client: Vec<u8> = proof.iter().zip(mask).map(|(a, b)| a ^ b).collect();
        assert_eq!(<[u8; 32]>::from(Sha256::digest(client)), stored);
    }
}

//! The test vectors that the settings shim checks too. They were computed with
//! another implementation, so both sides cannot be wrong in the same way.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use openflow_route_api::{CookieClaims, IdentityClaims, Key, identity_key};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Vectors {
    magic_token: String,
    identity_key: Key,
    identities: Vec<Identity>,
    cookie: Cookie,
    refused_identities: Vec<Refused>,
}

#[derive(Deserialize)]
struct Identity {
    claims: IdentityClaims,
    now: i64,
    token: String,
}

#[derive(Deserialize)]
struct Cookie {
    key: Key,
    claims: CookieClaims,
    token: String,
}

#[derive(Deserialize)]
struct Refused {
    why: String,
    now: i64,
    token: String,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../vectors.json")).unwrap()
}

#[test]
fn the_identity_key_is_derived_from_the_magic_token() {
    let vectors = vectors();
    assert!(identity_key(&vectors.magic_token) == vectors.identity_key);
}

#[test]
fn identities_are_signed_and_read_as_written_down() {
    let vectors = vectors();
    assert_eq!(vectors.identities.len(), 3);
    for identity in vectors.identities {
        let token = identity.claims.sign(&vectors.identity_key);
        assert_eq!(token, identity.token);
        let read = IdentityClaims::verify(&identity.token, &vectors.identity_key, identity.now);
        assert_eq!(read, Ok(identity.claims));
    }
}

#[test]
fn the_cookie_is_signed_and_read_as_written_down() {
    let Cookie { key, claims, token } = vectors().cookie;
    assert_eq!(claims.sign(&key), token);
    let now = claims.issued_at;
    assert_eq!(CookieClaims::verify(&token, &[key], now), Ok(claims));
}

#[test]
fn forged_and_expired_identities_are_refused() {
    let vectors = vectors();
    assert!(!vectors.refused_identities.is_empty());
    for refused in vectors.refused_identities {
        let read = IdentityClaims::verify(&refused.token, &vectors.identity_key, refused.now);
        assert!(read.is_err(), "{}", refused.why);
    }
}

//! What a caller of a webhook path has to show.
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderMap, header};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::{
    answer::{Challenge, Refusal},
    routes::WebhookPolicy,
};

/// # Errors
/// [`Refusal::WebhookCredentials`] when they are missing or wrong.
pub(crate) fn check(policy: &WebhookPolicy, headers: &HeaderMap) -> Result<(), Refusal> {
    let (passes, challenge) = match policy {
        WebhookPolicy::Open => return Ok(()),
        WebhookPolicy::Closed => (Some(false), Challenge::Bearer),
        WebhookPolicy::Basic {
            username,
            password_hash,
        } => (
            check_basic(headers, username, password_hash),
            Challenge::Basic,
        ),
        WebhookPolicy::Bearer { key_hash } => {
            let key = credentials(headers, "bearer");
            (
                key.map(|key| hashes_to(key.as_bytes(), key_hash)),
                Challenge::Bearer,
            )
        }
    };
    match passes {
        Some(true) => Ok(()),
        _ => Err(Refusal::WebhookCredentials(challenge)),
    }
}

fn check_basic(headers: &HeaderMap, username: &str, password_hash: &[u8; 32]) -> Option<bool> {
    let decoded = BASE64_STANDARD
        .decode(credentials(headers, "basic")?)
        .ok()?;
    let colon = decoded.iter().position(|&byte| byte == b':')?;
    let (name, password) = (decoded.get(..colon)?, decoded.get(colon + 1..)?);
    let same_name = Sha256::digest(name).ct_eq(&Sha256::digest(username));
    let same_password = hashes_to(password, password_hash);
    Some(bool::from(same_name) & same_password)
}

/// The text after the scheme's name, when there is exactly one `Authorization`.
fn credentials<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    let (name, credentials) = value.split_once(' ')?;
    name.eq_ignore_ascii_case(scheme)
        .then(|| credentials.trim())
}

fn hashes_to(secret: &[u8], hash: &[u8; 32]) -> bool {
    Sha256::digest(secret).as_slice().ct_eq(hash).into()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn passes(policy: &WebhookPolicy, authorization: &[&'static str]) -> bool {
        let pairs = authorization
            .iter()
            .map(|value| (header::AUTHORIZATION, HeaderValue::from_static(value)));
        let mut headers = HeaderMap::new();
        pairs.for_each(|(name, value)| {
            headers.append(name, value);
        });
        check(policy, &headers).is_ok()
    }

    #[test]
    fn basic_and_bearer_are_checked() {
        let hash = |secret: &str| Sha256::digest(secret).into();
        let basic = WebhookPolicy::Basic {
            username: "ada".to_owned(),
            password_hash: hash("s:cret"),
        };
        // ada:s:cret, bob:s:cret, ada:wrong
        assert!(passes(&basic, &["Basic YWRhOnM6Y3JldA=="]));
        assert!(passes(&basic, &["bAsIc YWRhOnM6Y3JldA=="]));
        for wrong in [
            &["Basic Ym9iOnM6Y3JldA=="][..],
            &["Basic YWRhOndyb25n"],
            &["Basic !"],
            &["Bearer s:cret"],
            &[],
            &["Basic YWRhOnM6Y3JldA==", "Basic YWRhOnM6Y3JldA=="],
        ] {
            assert!(!passes(&basic, wrong), "{wrong:?}");
        }
        let bearer = WebhookPolicy::Bearer {
            key_hash: hash("key"),
        };
        assert!(passes(&bearer, &["Bearer key"]));
        assert!(!passes(&bearer, &["Bearer other"]));
        assert!(!passes(&bearer, &["key"]));
        assert!(passes(&WebhookPolicy::Open, &[]));
        assert!(!passes(&WebhookPolicy::Closed, &["Bearer key"]));
    }
}

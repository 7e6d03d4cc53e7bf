//! How a manager itself connects to a project's topics under EMQX: with a user
//! name `console.<projectId>` and a password that any manager can check without
//! asking anybody.
//!
//! The password is base64url(expiry ‖ HMAC-SHA256(hook secret,
//! "openflow-mqtt-console" ‖ project ‖ expiry)), the expiry in Unix seconds as
//! 8 bytes, big-endian. Whoever has the hook secret can make one; that is the
//! managers and the broker, which sees every message anyway.
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use uuid::Uuid;

use crate::kernel::Secret;

/// Instances and devices have UUIDs as user names, so nobody else's begins so.
const PREFIX: &str = "console.";
const CONTEXT: &[u8] = b"openflow-mqtt-console";
const LIFE: TimeDelta = TimeDelta::minutes(1);
const EXPIRY_BYTES: usize = 8;

/// User name and password for one CONNECT within the next minute.
pub(super) struct ConsoleLogin {
    pub(super) username: String,
    pub(super) password: Secret,
}

pub(super) fn mint(secret: &Secret, project: Uuid, now: DateTime<Utc>) -> ConsoleLogin {
    let expiry = (now + LIFE).timestamp().to_be_bytes();
    let tag = mac(secret, project, expiry).finalize().into_bytes();
    let password = BASE64_URL_SAFE_NO_PAD.encode([&expiry[..], &tag[..]].concat());
    ConsoleLogin {
        username: format!("{PREFIX}{project}"),
        password: Secret::new(password),
    }
}

/// The project that the user name speaks of; `None` when it is not a
/// console's. Says nothing of whether it may connect.
pub fn console_project(username: &str) -> Option<Uuid> {
    let id = username.strip_prefix(PREFIX)?;
    // Only the one spelling that `mint` uses.
    id.parse()
        .ok()
        .filter(|it: &Uuid| it.hyphenated().to_string() == id)
}

/// Whether this is a console's password for the project at that time. In
/// constant time as to the password's content.
pub fn console_may_connect(
    secret: &Secret,
    project: Uuid,
    password: &str,
    now: DateTime<Utc>,
) -> bool {
    let Ok(bytes) = BASE64_URL_SAFE_NO_PAD.decode(password) else {
        return false;
    };
    let Some((expiry, tag)) = bytes.split_first_chunk::<EXPIRY_BYTES>() else {
        return false;
    };
    let genuine = mac(secret, project, *expiry).verify_slice(tag).is_ok();
    let expiry = i64::from_be_bytes(*expiry);
    genuine && now.timestamp() < expiry
}

fn mac(secret: &Secret, project: Uuid, expiry: [u8; EXPIRY_BYTES]) -> Hmac<Sha256> {
    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).expect("any length");
    for part in [CONTEXT, project.as_bytes(), &expiry] {
        mac.update(part);
    }
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "hook-secret-hook-secret";

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    fn allows(password: &str, secret: &str, project: Uuid, seconds: i64) -> bool {
        console_may_connect(&Secret::new(secret), project, password, at(seconds))
    }

    #[test]
    fn a_login_is_good_for_its_project_for_a_minute() {
        let project = Uuid::from_u128(7);
        let login = mint(&Secret::new(SECRET), project, at(0));
        let password = login.password.expose();
        assert_eq!(console_project(&login.username), Some(project));
        assert!(!login.username.contains(':'));
        for (seconds, expected) in [
            (-5, true),
            (0, true),
            (59, true),
            (60, false),
            (9999, false),
        ] {
            assert_eq!(allows(password, SECRET, project, seconds), expected);
        }
        assert!(!allows(password, SECRET, Uuid::from_u128(8), 0));
        assert!(!allows(password, "another-hook-secret", project, 0));
    }

    #[test]
    fn what_was_changed_is_refused() {
        let project = Uuid::from_u128(7);
        let login = mint(&Secret::new(SECRET), project, at(0));
        let bytes = BASE64_URL_SAFE_NO_PAD
            .decode(login.password.expose())
            .unwrap();
        assert_eq!(bytes.len(), EXPIRY_BYTES + 32);
        // Also the expiry is covered.
        for n in 0..bytes.len() {
            let mut other = bytes.clone();
            other[n] ^= 1;
            let password = BASE64_URL_SAFE_NO_PAD.encode(other);
            assert!(!allows(&password, SECRET, project, 0), "byte {n}");
        }
        let cut = |n: usize| BASE64_URL_SAFE_NO_PAD.encode(&bytes[..n]);
        for password in ["", "x", "ä", &cut(7), &cut(8), &cut(39)] {
            assert!(!allows(password, SECRET, project, 0), "{password}");
        }
    }

    #[test]
    fn other_user_names_are_no_consoles() {
        let id = Uuid::from_u128(7).to_string();
        for username in [
            "",
            &id,
            "console.",
            "console.x",
            &format!("Console.{id}"),
            &format!("console.{id} "),
            &format!("console.{{{id}}}"),
            &format!("console.{}", id.replace('-', "")),
        ] {
            assert_eq!(console_project(username), None, "{username}");
        }
    }
}

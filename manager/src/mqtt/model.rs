use std::collections::HashMap;

use uuid::Uuid;

use crate::crypto::{constant_time_eq, sha256};

/// Larger ones are no credentials of ours and are not even hashed.
const FIELD_BYTES_MAX: usize = 512;

/// What a broker says of a CONNECT.
#[derive(Clone, Debug)]
pub struct ConnectAttempt<'a> {
    pub username: &'a str,
    pub password: &'a str,
    pub client_id: &'a str,
}

/// One pair of user name and password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Credential {
    pub(super) project: Uuid,
    /// SHA-256: passwords are 256 random bits.
    pub(super) password_hash: [u8; 32],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Topics are mounted below `ff/<project>/`.
    Allow {
        project: Uuid,
    },
    Deny(Denial),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    Malformed,
    UnknownUser,
    WrongPassword,
    /// The client id does not begin with `<username>:`. EMQX is not configured
    /// with `mqtt.clientid_override`, and client ids are global there.
    ForeignClientId,
}

impl Denial {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownUser => "unknown_user",
            Self::WrongPassword => "wrong_password",
            Self::ForeignClientId => "foreign_client_id",
        }
    }
}

/// The whole decision.
pub(super) fn judge(
    credentials: &HashMap<String, Credential>,
    attempt: &ConnectAttempt<'_>,
) -> Verdict {
    let fields = [attempt.username, attempt.password, attempt.client_id];
    if attempt.username.is_empty() || fields.iter().any(|it| FIELD_BYTES_MAX < it.len()) {
        return Verdict::Deny(Denial::Malformed);
    }
    let known = credentials.get(attempt.username);
    // An unknown user costs the same as a wrong password.
    let hash = known.map_or([0; 32], |it| it.password_hash);
    let matches = constant_time_eq(&sha256(attempt.password), &hash);
    let Some(credential) = known else {
        return Verdict::Deny(Denial::UnknownUser);
    };
    if !matches {
        return Verdict::Deny(Denial::WrongPassword);
    }
    let own_id = attempt
        .client_id
        .strip_prefix(attempt.username)
        .is_some_and(|rest| rest.starts_with(':'));
    if !own_id {
        return Verdict::Deny(Denial::ForeignClientId);
    }
    Verdict::Allow {
        project: credential.project,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts() {
        let project = Uuid::from_u128(7);
        let credential = Credential {
            project,
            password_hash: sha256("secret"),
        };
        let credentials = HashMap::from([("u".to_owned(), credential)]);
        let long = "x".repeat(FIELD_BYTES_MAX + 1);
        for (username, password, client_id, expected) in [
            ("u", "secret", "u:device-1", Verdict::Allow { project }),
            ("u", "secret", "u:", Verdict::Allow { project }),
            ("u", "wrong", "u:a", Verdict::Deny(Denial::WrongPassword)),
            ("u", "", "u:a", Verdict::Deny(Denial::WrongPassword)),
            ("v", "secret", "v:a", Verdict::Deny(Denial::UnknownUser)),
            ("", "secret", ":a", Verdict::Deny(Denial::Malformed)),
            ("u", &long, "u:a", Verdict::Deny(Denial::Malformed)),
            (
                "u",
                "secret",
                "device-1",
                Verdict::Deny(Denial::ForeignClientId),
            ),
            (
                "u",
                "secret",
                "ux:a",
                Verdict::Deny(Denial::ForeignClientId),
            ),
            ("u", "secret", "v:a", Verdict::Deny(Denial::ForeignClientId)),
            ("u", "secret", "", Verdict::Deny(Denial::ForeignClientId)),
        ] {
            let attempt = ConnectAttempt {
                username,
                password,
                client_id,
            };
            assert_eq!(judge(&credentials, &attempt), expected, "{attempt:?}");
        }
    }
}

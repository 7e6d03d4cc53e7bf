use std::{collections::HashMap, net::IpAddr, sync::Arc};

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
    /// Where it comes from, if that is known.
    pub address: Option<IpAddr>,
}

/// How a broker keeps two tenants with the same client id apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientIds {
    /// EMQX: client ids are global there, so each begins with `<username>:`.
    Prefixed,
    /// The built-in broker: each project has its own.
    PerProject,
}

/// Whose credentials they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Instance(Uuid),
    Client(Uuid),
}

/// One user name's password and rights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Credential {
    pub(super) project: Uuid,
    pub(super) owner: Owner,
    pub(super) name: String,
    /// SHA-256: passwords are 256 random bits.
    pub(super) password_hash: [u8; 32],
    /// Neither a stopped instance's nor a disabled client's.
    pub(super) enabled: bool,
    /// `None`: everything of the project.
    pub(super) rules: Option<Arc<Rules>>,
}

/// All credentials, by user name.
pub(super) type Known = HashMap<String, Credential>;

/// What a client may do, as topic filters below the project's root. `None` is
/// everything, an empty list nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    pub publish: Option<Vec<String>>,
    pub subscribe: Option<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Topics are mounted below `ff/<project>/`.
    Allow {
        project: Uuid,
        rules: Option<Arc<Rules>>,
    },
    Deny(Denial),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// The credentials are not in memory yet.
    NotReady,
    Malformed,
    /// The password was not even looked at.
    TooManyAttempts,
    UnknownUser,
    WrongPassword,
    /// The password is right, the client disabled or the instance stopped.
    Disabled,
    /// The client id does not begin with `<username>:`. EMQX is not configured
    /// with `mqtt.clientid_override`, and client ids are global there.
    ForeignClientId,
}

impl Denial {
    /// Its stable name, in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotReady => "not_ready",
            Self::Malformed => "malformed",
            Self::TooManyAttempts => "too_many_attempts",
            Self::UnknownUser => "unknown_user",
            Self::WrongPassword => "wrong_password",
            Self::Disabled => "disabled",
            Self::ForeignClientId => "foreign_client_id",
        }
    }

    /// For the person who looks for the reason.
    pub fn explain(self) -> &'static str {
        match self {
            Self::NotReady => "The manager has only just started; try again.",
            Self::Malformed => {
                "The user name, password or client id is empty, too long or no text."
            }
            Self::TooManyAttempts => "Too many failed attempts; wait a minute.",
            Self::UnknownUser => "There is no such user name.",
            Self::WrongPassword => "The password is wrong.",
            Self::Disabled => "The client is disabled, or the instance stopped.",
            Self::ForeignClientId => {
                "The client id does not begin with the user name: EMQX (5.8.3 or later) has to be set up with \
                 mqtt.clientid_override = \"concat([username, ':', clientid])\"."
            }
        }
    }
}

/// The whole decision.
pub(super) fn judge(known: &Known, attempt: &ConnectAttempt<'_>, ids: ClientIds) -> Verdict {
    if is_malformed(attempt) {
        return Verdict::Deny(Denial::Malformed);
    }
    let found = known.get(attempt.username);
    // An unknown user costs the same as a wrong password.
    let hash = found.map_or([0; 32], |it| it.password_hash);
    let matches = constant_time_eq(&sha256(attempt.password), &hash);
    let Some(credential) = found else {
        return Verdict::Deny(Denial::UnknownUser);
    };
    if !matches {
        return Verdict::Deny(Denial::WrongPassword);
    }
    if !credential.enabled {
        return Verdict::Deny(Denial::Disabled);
    }
    if ids == ClientIds::Prefixed && own_client_id(attempt).is_none() {
        return Verdict::Deny(Denial::ForeignClientId);
    }
    Verdict::Allow {
        project: credential.project,
        rules: credential.rules.clone(),
    }
}

fn is_malformed(attempt: &ConnectAttempt<'_>) -> bool {
    let fields = [attempt.username, attempt.password, attempt.client_id];
    attempt.username.is_empty()
        || fields.iter().any(|it| FIELD_BYTES_MAX < it.len())
        // MQTT 5.0, section 1.5.4: no text of the protocol holds U+0000.
        || attempt.username.contains('\0')
        || attempt.client_id.contains('\0')
}

/// The client id as the client chose it, before EMQX put the user name in
/// front.
pub(super) fn own_client_id<'a>(attempt: &ConnectAttempt<'a>) -> Option<&'a str> {
    attempt
        .client_id
        .strip_prefix(attempt.username)?
        .strip_prefix(':')
}

/// Why the live connections of a user name have to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Revocation {
    Removed,
    Disabled,
    PasswordChanged,
    RulesChanged,
}

impl Revocation {
    pub(super) fn explain(self) -> &'static str {
        match self {
            Self::Removed => "Its credentials were deleted.",
            Self::Disabled => "The client was disabled, or the instance stopped.",
            Self::PasswordChanged => "Its password was replaced.",
            Self::RulesChanged => "What it may publish or subscribe to was changed.",
        }
    }
}

/// Whose connections have to end when `new` comes into force after `old`.
pub(super) fn revoked<'a>(
    old: &'a Known,
    new: &Known,
) -> impl Iterator<Item = (&'a String, &'a Credential, Revocation)> {
    let why = |username: &String, before: &Credential| {
        let Some(after) = new.get(username) else {
            return Some(Revocation::Removed);
        };
        if before.project != after.project {
            return Some(Revocation::Removed);
        }
        if !after.enabled {
            return Some(Revocation::Disabled);
        }
        if before.password_hash != after.password_hash {
            return Some(Revocation::PasswordChanged);
        }
        (before.rules != after.rules).then_some(Revocation::RulesChanged)
    };
    old.iter()
        .filter(|(_, before)| before.enabled)
        .filter_map(move |(username, before)| Some((username, before, why(username, before)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential() -> Credential {
        Credential {
            project: Uuid::from_u128(7),
            owner: Owner::Client(Uuid::from_u128(8)),
            name: "Boiler".to_owned(),
            password_hash: sha256("secret"),
            enabled: true,
            rules: None,
        }
    }

    #[test]
    fn verdicts() {
        let project = Uuid::from_u128(7);
        let rules = Arc::new(Rules {
            publish: Some(vec!["a/#".to_owned()]),
            subscribe: None,
        });
        let known = Known::from([
            ("u".to_owned(), credential()),
            (
                "off".to_owned(),
                Credential {
                    enabled: false,
                    ..credential()
                },
            ),
            (
                "r".to_owned(),
                Credential {
                    rules: Some(rules.clone()),
                    ..credential()
                },
            ),
        ]);
        let long = "x".repeat(FIELD_BYTES_MAX + 1);
        let allow = Verdict::Allow {
            project,
            rules: None,
        };
        let ruled = Verdict::Allow {
            project,
            rules: Some(rules),
        };
        let deny = Verdict::Deny;
        for (username, password, client_id, expected) in [
            ("u", "secret", "u:device-1", allow.clone()),
            ("u", "secret", "u:", allow.clone()),
            ("r", "secret", "r:a", ruled),
            ("u", "wrong", "u:a", deny(Denial::WrongPassword)),
            ("u", "", "u:a", deny(Denial::WrongPassword)),
            ("v", "secret", "v:a", deny(Denial::UnknownUser)),
            ("off", "secret", "off:a", deny(Denial::Disabled)),
            ("off", "wrong", "off:a", deny(Denial::WrongPassword)),
            ("", "secret", ":a", deny(Denial::Malformed)),
            ("u", &long, "u:a", deny(Denial::Malformed)),
            ("u", "secret", "u:a\0", deny(Denial::Malformed)),
            ("u\0", "secret", "u\0:a", deny(Denial::Malformed)),
            ("u", "secret", "device-1", deny(Denial::ForeignClientId)),
            ("u", "secret", "ux:a", deny(Denial::ForeignClientId)),
            ("u", "secret", "v:a", deny(Denial::ForeignClientId)),
            ("u", "secret", "", deny(Denial::ForeignClientId)),
        ] {
            let attempt = ConnectAttempt {
                username,
                password,
                client_id,
                address: None,
            };
            let verdict = judge(&known, &attempt, ClientIds::Prefixed);
            assert_eq!(verdict, expected, "{attempt:?}");
            // The built-in broker takes any client id, and is as strict else.
            let expected = match expected {
                Verdict::Deny(Denial::ForeignClientId) => allow.clone(),
                other => other,
            };
            let verdict = judge(&known, &attempt, ClientIds::PerProject);
            assert_eq!(verdict, expected, "{attempt:?}");
        }
    }

    #[test]
    fn whose_connections_end() {
        let before = credential();
        let rules = |patterns: &[&str]| {
            let publish = patterns.iter().map(|it| (*it).to_owned()).collect();
            Some(Arc::new(Rules {
                publish: Some(publish),
                subscribe: None,
            }))
        };
        let with = |change: fn(&mut Credential)| {
            let mut after = credential();
            change(&mut after);
            Some(after)
        };
        let cases = [
            (Some(before.clone()), None),
            (with(|it| it.name = "Other".to_owned()), None),
            (None, Some(Revocation::Removed)),
            (
                with(|it| it.project = Uuid::from_u128(9)),
                Some(Revocation::Removed),
            ),
            (with(|it| it.enabled = false), Some(Revocation::Disabled)),
            (
                with(|it| it.password_hash = [1; 32]),
                Some(Revocation::PasswordChanged),
            ),
            (
                Some(Credential {
                    rules: rules(&["a"]),
                    ..credential()
                }),
                Some(Revocation::RulesChanged),
            ),
        ];
        let known = |it: &Option<Credential>| -> Known {
            it.iter().map(|it| ("u".to_owned(), it.clone())).collect()
        };
        for (after, expected) in cases {
            let old = known(&Some(before.clone()));
            let found = revoked(&old, &known(&after)).next().map(|it| it.2);
            assert_eq!(found, expected, "{after:?}");
            // Who was not let in has no connections.
            let off = Some(Credential {
                enabled: false,
                ..before.clone()
            });
            assert_eq!(revoked(&known(&off), &known(&after)).count(), 0);
            assert_eq!(revoked(&Known::new(), &known(&after)).count(), 0);
        }
        let same = [rules(&["a"]), rules(&["a"])].map(|rules| {
            known(&Some(Credential {
                rules,
                ..credential()
            }))
        });
        assert_eq!(revoked(&same[0], &same[1]).count(), 0);
    }
}

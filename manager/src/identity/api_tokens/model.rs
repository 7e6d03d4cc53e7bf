use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    identity::{Invalid, model::Name},
    kernel::{ApiTokenId, UserActor},
};

pub(super) const PREFIX: &str = "ofp_";
pub(super) const RANDOM_BYTES: usize = 43;

/// What a token may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::identity) enum Scope {
    Read,
    /// Reads too.
    Write,
}

impl Scope {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }

    pub(super) fn of_row(text: &str) -> sqlx::Result<Self> {
        match text {
            "read" => Ok(Self::Read),
            "write" => Ok(Self::Write),
            _ => Err(sqlx::Error::Decode("api_tokens.scopes".into())),
        }
    }
}

#[derive(Clone, Debug)]
pub(in crate::identity) struct ApiToken {
    pub(super) id: ApiTokenId,
    pub(super) name: String,
    pub(super) scopes: Vec<Scope>,
    pub(super) expires_at: Option<DateTime<Utc>>,
    pub(super) last_used_at: Option<DateTime<Utc>>,
    pub(super) created_at: DateTime<Utc>,
}

/// A token to be.
pub(in crate::identity) struct NewToken {
    pub(super) name: Name,
    /// Sorted, each once, at least one.
    pub(super) scopes: Vec<Scope>,
    pub(super) expires_at: Option<DateTime<Utc>>,
}

impl NewToken {
    /// Also fails for a token that would outlive `minter`, the token with
    /// which it is asked for; without an expiry it takes the minter's.
    pub(super) fn new(
        name: &str,
        mut scopes: Vec<Scope>,
        expires_at: Option<DateTime<Utc>>,
        minter: Option<&InUse>,
        now: DateTime<Utc>,
    ) -> Result<Self, Invalid> {
        let name = Name::parse(name)?;
        scopes.sort_unstable();
        scopes.dedup();
        if scopes.is_empty() {
            return Err(Invalid {
                code: "token.no_scopes",
                field: "scopes",
                message: "A token needs the scope `read` or `write`.",
            });
        }
        let minter_ends = minter.and_then(|it| it.expires_at);
        let expires_at = expires_at.or(minter_ends);
        if expires_at.is_some_and(|it| it <= now) {
            return Err(Invalid {
                code: "token.expiry_past",
                field: "expiresAt",
                message: "This time is past. Leave it out for a token that does not expire.",
            });
        }
        if minter_ends.is_some_and(|end| expires_at.is_none_or(|it| end < it)) {
            return Err(Invalid {
                code: "token.outlives",
                field: "expiresAt",
                message: "A token that is made with a token must not outlive it. Sign in to make a longer one.",
            });
        }
        Ok(Self {
            name,
            scopes,
            expires_at,
        })
    }
}

/// The token that came with a request, in its extensions.
#[derive(Clone, Debug)]
pub(in crate::identity) struct InUse {
    pub(super) expires_at: Option<DateTime<Utc>>,
}

/// What a valid token stands for.
pub(in crate::identity) struct Grant {
    pub(in crate::identity) user: UserActor,
    pub(in crate::identity) may_write: bool,
    pub(in crate::identity) token: InUse,
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn what_a_new_token_may_be() {
        let now = DateTime::UNIX_EPOCH;
        let hour = |n| Some(now + TimeDelta::hours(n));
        let short = InUse {
            expires_at: hour(2),
        };
        let endless = InUse { expires_at: None };
        let (read, none) = (vec![Scope::Read], Vec::new());
        for (scopes, expires_at, minter, expected) in [
            (&read, None, None, Ok(None)),
            (&read, hour(1), None, Ok(hour(1))),
            (&read, hour(0), None, Err("token.expiry_past")),
            (&none, None, None, Err("token.no_scopes")),
            (&read, None, Some(&endless), Ok(None)),
            (&read, None, Some(&short), Ok(hour(2))),
            (&read, hour(1), Some(&short), Ok(hour(1))),
            (&read, hour(3), Some(&short), Err("token.outlives")),
        ] {
            let got = NewToken::new("ci", scopes.clone(), expires_at, minter, now);
            assert_eq!(got.map(|it| it.expires_at).map_err(|it| it.code), expected);
        }
    }
}

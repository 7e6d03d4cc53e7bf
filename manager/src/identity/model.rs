use openflow_route_api as route_api;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Invalid;
use crate::kernel::Secret;

pub(super) const USERS_MAX: i64 = 10_000;
pub(super) const PROJECTS_PER_OWNER_MAX: i64 = 100;
pub(super) const MEMBERS_PER_PROJECT_MAX: i64 = 500;
pub(super) const SESSIONS_PER_USER_MAX: i64 = 50;
pub(super) const TOKENS_PER_USER_MAX: i64 = 50;

const NAME_CHARS_MAX: usize = 100;
const EMAIL_BYTES_MAX: usize = 254;
const PASSWORD_CHARS_MIN: usize = 10;
/// A longer one is refused before it is hashed.
const PASSWORD_BYTES_MAX: usize = 256;

/// A member's role in a project; a later one may all that an earlier one may.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Sees everything, changes nothing.
    Viewer,
    /// Makes, changes and removes instances.
    Member,
    /// Also members and the project itself.
    Owner,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Member => "member",
            Self::Owner => "owner",
        }
    }

    /// What the database keeps; anything else is a broken row.
    pub(super) fn of_row(text: &str) -> sqlx::Result<Self> {
        match text {
            "viewer" => Ok(Self::Viewer),
            "member" => Ok(Self::Member),
            "owner" => Ok(Self::Owner),
            _ => Err(sqlx::Error::Decode("project_members.role".into())),
        }
    }
}

impl From<Role> for route_api::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Viewer => Self::Viewer,
            Role::Member => Self::Member,
            Role::Owner => Self::Owner,
        }
    }
}

impl From<route_api::Role> for Role {
    fn from(role: route_api::Role) -> Self {
        match role {
            route_api::Role::Viewer => Self::Viewer,
            route_api::Role::Member => Self::Member,
            route_api::Role::Owner => Self::Owner,
        }
    }
}

/// What a person, project or token is called: 1 to 100 characters, none of
/// them a control character, no space at the ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name(String);

impl Name {
    pub(super) fn parse(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        let length = text.chars().count();
        if length == 0 || NAME_CHARS_MAX < length || text.chars().any(char::is_control) {
            return Err(Invalid {
                code: "name.invalid",
                field: "name",
                message: "A name has 1 to 100 characters and no line breaks or other control characters.",
            });
        }
        Ok(Self(text.to_owned()))
    }

    /// What a new user's own project is called.
    pub(super) fn of_first_project(user: &Self) -> Self {
        const SUFFIX: &str = "'s project";
        let kept = NAME_CHARS_MAX - SUFFIX.len();
        let stem: String = user.0.chars().take(kept).collect();
        Self(format!("{}{SUFFIX}", stem.trim_end()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// An email address, as typed; upper and lower case name the same account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Email(String);

impl Email {
    pub(super) fn parse(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        let sane = text.len() <= EMAIL_BYTES_MAX
            && !text.chars().any(|c| c.is_control() || c.is_whitespace());
        match text.rsplit_once('@') {
            Some((local, domain)) if sane && !local.is_empty() && !domain.is_empty() => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(Invalid {
                code: "email.invalid",
                field: "email",
                message: "This is not an email address of at most 254 bytes, such as ada@example.com.",
            }),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The rules for a new password of that account, in that field of the body.
pub(super) fn check_password(
    field: &'static str,
    password: &Secret,
    email: &str,
) -> Result<(), Invalid> {
    let text = password.expose();
    check_password_size(field, password)?;
    if text.chars().count() < PASSWORD_CHARS_MIN {
        return Err(Invalid {
            code: "password.too_short",
            field,
            message: "A password has at least 10 characters.",
        });
    }
    if text.to_lowercase() == email.to_lowercase() {
        return Err(Invalid {
            code: "password.is_email",
            field,
            message: "The password must not be the email address.",
        });
    }
    Ok(())
}

/// What must hold before a password is hashed, right or wrong.
pub(super) fn check_password_size(field: &'static str, password: &Secret) -> Result<(), Invalid> {
    if PASSWORD_BYTES_MAX < password.expose().len() {
        return Err(Invalid {
            code: "password.too_long",
            field,
            message: "A password has at most 256 bytes.",
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_trimmed_and_bounded() {
        for (text, expected) in [
            (" Ada ", Some("Ada")),
            ("", None),
            ("  ", None),
            ("a\nb", None),
            ("a\0b", None),
            (&"é".repeat(101), None),
        ] {
            let name = Name::parse(text).ok();
            assert_eq!(name.as_ref().map(Name::as_str), expected, "{text:?}");
        }
        let long = Name::parse(&"é".repeat(100)).unwrap();
        assert!(Name::parse(Name::of_first_project(&long).as_str()).is_ok());
    }

    #[test]
    fn what_is_an_email_address() {
        for (text, expected) in [
            ("ada@example.com", true),
            (" ada@localhost ", true),
            ("\"a@b\"@example.com", true),
            ("ada", false),
            ("@example.com", false),
            ("ada@", false),
            ("a da@example.com", false),
            ("ada@exam\0ple.com", false),
            (&format!("{}@example.com", "a".repeat(250)), false),
        ] {
            assert_eq!(Email::parse(text).is_ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn the_rules_for_passwords() {
        for (text, expected) in [
            ("correct horse", None),
            ("élévation!", None),
            ("too short", Some("password.too_short")),
            ("ADA@example.com", Some("password.is_email")),
            (&"x".repeat(257), Some("password.too_long")),
        ] {
            let got = check_password("password", &Secret::new(text), "ada@example.com");
            assert_eq!(got.err().map(|it| it.code), expected, "{text:?}");
        }
    }
}

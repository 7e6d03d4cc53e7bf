use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::{
    identity::{
        Invalid,
        model::{Email, Name, check_password},
    },
    kernel::{Secret, UserId},
};

#[derive(Clone, Debug)]
pub(in crate::identity) struct User {
    pub(in crate::identity) id: UserId,
    pub(in crate::identity) email: String,
    pub(in crate::identity) name: String,
    pub(in crate::identity) is_admin: bool,
    pub(in crate::identity) is_disabled: bool,
    pub(in crate::identity) created_at: DateTime<Utc>,
}

impl User {
    pub(super) fn is_active_admin(&self) -> bool {
        self.is_admin && !self.is_disabled
    }
}

/// A user to be, with a password that keeps the rules.
pub(in crate::identity) struct Draft {
    pub(super) email: Email,
    pub(super) name: Name,
    pub(super) password: Secret,
    pub(super) is_admin: bool,
}

impl Draft {
    pub(in crate::identity) fn parse(
        email: &str,
        name: &str,
        password: Secret,
        is_admin: bool,
    ) -> Result<Self, Invalid> {
        let (email, name) = (Email::parse(email)?, Name::parse(name)?);
        check_password("password", &password, email.as_str())?;
        Ok(Self {
            email,
            name,
            password,
            is_admin,
        })
    }
}

/// The same, the password hashed.
pub(in crate::identity) struct NewUser {
    pub(super) email: Email,
    pub(super) name: Name,
    pub(super) password_hash: String,
    pub(super) is_admin: bool,
}

/// What an administrator changes of a user; `None` stays.
#[derive(Default)]
pub(in crate::identity) struct UserChange {
    pub(super) name: Option<Name>,
    pub(super) is_admin: Option<bool>,
    pub(super) disabled: Option<bool>,
    pub(super) password: Option<Secret>,
}

impl UserChange {
    pub(super) fn apply(&self, before: &User) -> User {
        User {
            name: self
                .name
                .as_ref()
                .map_or_else(|| before.name.clone(), |it| it.as_str().to_owned()),
            is_admin: self.is_admin.unwrap_or(before.is_admin),
            is_disabled: self.disabled.unwrap_or(before.is_disabled),
            ..before.clone()
        }
    }

    /// For the audit log: what is another now.
    pub(super) fn detail(&self, before: &User, after: &User) -> Value {
        let mut detail = Map::new();
        if before.name != after.name {
            detail.insert("name".into(), after.name.clone().into());
        }
        if before.is_admin != after.is_admin {
            detail.insert("isAdmin".into(), after.is_admin.into());
        }
        if before.is_disabled != after.is_disabled {
            detail.insert("disabled".into(), after.is_disabled.into());
        }
        if self.password.is_some() {
            detail.insert("password".into(), "reset".into());
        }
        Value::Object(detail)
    }
}

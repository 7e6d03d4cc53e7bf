use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Error;

const VARS_MAX: usize = 100;
const NAME_BYTES_MAX: usize = 128;
const VALUE_BYTES_MAX: usize = 32 * 1024;
const TOTAL_BYTES_MAX: usize = 64 * 1024;

/// Names that belong to the settings shim or decide how the engine starts.
const RESERVED: &[&str] = &["HOME", "PATH", "NODE_PATH", "LD_PRELOAD", "LD_LIBRARY_PATH"];
const RESERVED_PREFIX: &str = "OPENFLOW_";

/// One environment variable of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EnvVar {
    pub name: String,
    /// `null` in an answer when `secret`; `null` in a request keeps a secret's
    /// stored value.
    #[serde(default)]
    pub value: Option<String>,
    /// Write-only: never shown again.
    #[serde(default)]
    pub secret: bool,
}

/// A checked set of environment variables: names are unique and legal, sizes
/// bounded. Kept sealed, as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Env(Vec<EnvVar>);

impl Env {
    /// Checks what a user sent. A secret without a value takes the one in
    /// `stored`; without one there it is an error.
    pub fn parse(vars: Vec<EnvVar>, stored: &Self) -> Result<Self, Error> {
        if VARS_MAX < vars.len() {
            return Err(Error::bad_env(format!("At most {VARS_MAX} variables.")));
        }
        let mut checked: Vec<EnvVar> = Vec::with_capacity(vars.len());
        for mut var in vars {
            check_name(&var.name)?;
            if checked.iter().any(|it| it.name == var.name) {
                return Err(Error::bad_env(format!("{} is there twice.", var.name)));
            }
            if var.value.is_none() && var.secret {
                var.value = stored.get(&var.name).map(str::to_owned);
            }
            let Some(value) = &var.value else {
                return Err(Error::bad_env(format!("{} has no value.", var.name)));
            };
            if VALUE_BYTES_MAX < value.len() || value.contains('\0') {
                return Err(Error::bad_env(format!(
                    "The value of {} is longer than {VALUE_BYTES_MAX} bytes or holds a NUL byte.",
                    var.name
                )));
            }
            checked.push(var);
        }
        let total = |it: &EnvVar| it.name.len() + it.value.as_deref().map_or(0, str::len);
        if TOTAL_BYTES_MAX < checked.iter().map(total).sum() {
            return Err(Error::bad_env(format!(
                "At most {TOTAL_BYTES_MAX} bytes together."
            )));
        }
        Ok(Self(checked))
    }

    /// These on top of `base`: a name that both have takes this value.
    pub fn over(self, base: Self) -> Self {
        let mut vars = base.0;
        for var in self.0 {
            match vars.iter_mut().find(|it| it.name == var.name) {
                Some(it) => *it = var,
                None => vars.push(var),
            }
        }
        Self(vars)
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|it| it.name == name)?.value.as_deref()
    }

    /// Names and values, for the container.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|it| (it.name.as_str(), it.value.as_deref().unwrap_or_default()))
    }

    /// What may be shown: secret values are left out.
    pub fn shown(&self) -> Vec<EnvVar> {
        let show = |it: &EnvVar| EnvVar {
            value: it.value.clone().filter(|_| !it.secret),
            ..it.clone()
        };
        self.0.iter().map(show).collect()
    }

    pub fn names(&self) -> Vec<&str> {
        self.0.iter().map(|it| it.name.as_str()).collect()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    let mut chars = name.chars();
    let legal = chars
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
        && name.len() <= NAME_BYTES_MAX;
    if !legal {
        return Err(Error::bad_env(
            "A name is letters, digits and _, not beginning with a digit, at most 128.".to_owned(),
        ));
    }
    if RESERVED.contains(&name) || name.starts_with(RESERVED_PREFIX) {
        return Err(Error::bad_env(format!(
            "{name} is set by Openflow; choose another name."
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn var(name: &str, value: Option<&str>, secret: bool) -> EnvVar {
        EnvVar {
            name: name.to_owned(),
            value: value.map(str::to_owned),
            secret,
        }
    }

    #[test]
    fn a_secret_without_a_value_keeps_the_stored_one() {
        let stored = Env::parse(vec![var("KEY", Some("old"), true)], &Env::default()).unwrap();
        let env = Env::parse(
            vec![var("KEY", None, true), var("A", Some("1"), false)],
            &stored,
        )
        .unwrap();
        assert_eq!(env.get("KEY"), Some("old"));
        assert_eq!(env.shown()[0].value, None);
        assert_eq!(env.shown()[1].value.as_deref(), Some("1"));
    }

    #[test]
    fn the_ways_an_environment_is_refused() {
        for (vars, message) in [
            (vec![var("1A", Some(""), false)], "letters"),
            (vec![var("", Some(""), false)], "letters"),
            (vec![var("A B", Some(""), false)], "letters"),
            (vec![var("OPENFLOW_X", Some(""), false)], "set by Openflow"),
            (vec![var("PATH", Some(""), false)], "set by Openflow"),
            (
                vec![var("A", Some("1"), false), var("A", Some("2"), false)],
                "twice",
            ),
            (vec![var("A", None, true)], "no value"),
            (vec![var("A", Some("\0"), false)], "NUL"),
        ] {
            let error = Env::parse(vars, &Env::default()).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}

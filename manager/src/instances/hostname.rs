use std::fmt;

use super::Error;

const BYTES_MAX: usize = 63;

/// Names that an installation or a browser gives a meaning of its own.
const RESERVED: &[&str] = &[
    "admin",
    "api",
    "app",
    "apps",
    "assets",
    "auth",
    "billing",
    "blog",
    "broker",
    "cdn",
    "console",
    "dashboard",
    "dev-null",
    "docs",
    "emqx",
    "ftp",
    "gateway",
    "git",
    "help",
    "imap",
    "internal",
    "localhost",
    "login",
    "mail",
    "manager",
    "metrics",
    "mqtt",
    "ns",
    "ns1",
    "ns2",
    "openflow",
    "pop",
    "proxy",
    "registry",
    "root",
    "smtp",
    "sso",
    "static",
    "status",
    "support",
    "system",
    "traefik",
    "webmail",
    "wpad",
    "ws",
    "www",
];

/// A subdomain or alias: a lower-case DNS label that is not reserved.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hostname(String);

impl Hostname {
    /// `field` is the field of the request that holds it.
    pub fn parse(text: &str, field: &'static str) -> Result<Self, Error> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let legal = (1..=BYTES_MAX).contains(&text.len())
            && text.chars().all(allowed)
            && !text.starts_with('-')
            && !text.ends_with('-');
        if !legal {
            return Err(Error::BadHostname { field });
        }
        // xn-- and its like would let a name look like another one.
        if RESERVED.contains(&text) || text.get(2..4) == Some("--") {
            return Err(Error::ReservedHostname {
                field,
                name: text.to_owned(),
            });
        }
        Ok(Self(text.to_owned()))
    }

    /// One that was parsed before it was stored.
    pub(super) fn stored(text: String) -> Self {
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostnames() {
        let long = "a".repeat(63);
        for good in ["a", "wf1", "0-1", long.as_str()] {
            assert!(Hostname::parse(good, "subdomain").is_ok(), "{good}");
        }
        let too_long = "a".repeat(64);
        for bad in [
            "",
            "-a",
            "a-",
            "A",
            "a.b",
            "a_b",
            "ä",
            "a b",
            too_long.as_str(),
        ] {
            let error = Hostname::parse(bad, "subdomain").unwrap_err();
            assert!(matches!(error, Error::BadHostname { .. }), "{bad}");
        }
        for reserved in ["www", "api", "admin", "mqtt", "docs", "xn--80ak6aa92e"] {
            let error = Hostname::parse(reserved, "subdomain").unwrap_err();
            assert!(
                matches!(error, Error::ReservedHostname { .. }),
                "{reserved}"
            );
        }
    }
}

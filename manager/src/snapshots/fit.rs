//! Whether a snapshot's version of an engine fits the instance's. Pure.

/// How a snapshot's engine version fits the instance's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    Well,
    /// The same major version, a newer minor one.
    Newer,
    /// Another major version.
    Not,
    /// One of them does not say.
    Unknown,
}

impl Fit {
    pub(super) fn of(snapshot: &str, here: &str) -> Self {
        let (Some(theirs), Some(own)) = (numbers(snapshot), numbers(here)) else {
            return Self::Unknown;
        };
        match (theirs.0 == own.0, theirs.1 <= own.1) {
            (false, _) => Self::Not,
            (true, true) => Self::Well,
            (true, false) => Self::Newer,
        }
    }
}

/// Major and minor.
fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split(['.', '-', '+']);
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next().and_then(|it| it.parse().ok());
    Some((major, minor.unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_versions_fit() {
        for (snapshot, here, expected) in [
            ("5.0.7", "5.0.7", Fit::Well),
            ("5.0.9", "5.0.7", Fit::Well),
            ("5.0.7", "5.2.0", Fit::Well),
            ("5.2.0", "5.0.7", Fit::Newer),
            ("5.2.0", "5", Fit::Newer),
            ("5", "5.1", Fit::Well),
            ("4.1.0", "5.0.7", Fit::Not),
            ("5.0.0-beta.1", "4.9.9", Fit::Not),
            ("", "5.0.7", Fit::Unknown),
            ("latest", "5.0.7", Fit::Unknown),
        ] {
            assert_eq!(Fit::of(snapshot, here), expected, "{snapshot} in {here}");
        }
    }
}

//! `settings.env`: what was set, as lines that a shell and systemd read.
use std::fmt::Write as _;

/// A setting that is not at its default.
#[derive(Clone, Debug)]
pub struct Given {
    /// Of the environment variable.
    pub name: String,
    pub value: String,
    pub is_secret: bool,
}

/// Secrets are named, and left out unless `with_secrets`.
pub fn settings_text(given: &[Given], with_secrets: bool) -> String {
    let mut text = "# The settings that openflow backup was called with.\n".to_owned();
    for it in given {
        let line = if it.is_secret && !with_secrets {
            format!("# {}= (a secret, left out)", it.name)
        } else {
            format!("{}='{}'", it.name, it.value.replace('\'', r"'\''"))
        };
        let _ = writeln!(text, "{line}"); // a String takes all
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_named_but_not_told() {
        let given = |name: &str, value: &str, is_secret| Given {
            name: name.to_owned(),
            value: value.to_owned(),
            is_secret,
        };
        let given = [given("A", "it's", false), given("B", "hush", true)];
        let text = settings_text(&given, false);
        assert!(text.contains(r"A='it'\''s'"), "{text}");
        assert!(text.contains("# B=") && !text.contains("hush"), "{text}");
        assert!(settings_text(&given, true).contains("B='hush'"));
    }
}

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::{
    audit::Event,
    kernel::{MqttClientId, ProjectId, Secret},
    mqtt::Error,
};

pub(in crate::mqtt) const PER_PROJECT_MAX: i64 = 1000;
const NAME_CHARS_MAX: usize = 100;
const PATTERNS_MAX: usize = 50;
const PATTERN_BYTES_MAX: usize = 512;
/// A first level that is no part of the topic but an instruction to the broker.
const INSTRUCTIONS: [&str; 4] = ["$share", "$queue", "$exclusive", "$delayed"];

/// Credentials that a device of the project connects with.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) id: MqttClientId,
    pub(super) project: ProjectId,
    pub(super) name: String,
    /// Where it may publish; `None` is everywhere in the project, none of them
    /// nowhere.
    pub(super) publish: Option<Vec<String>>,
    /// What it may subscribe to, likewise.
    pub(super) subscribe: Option<Vec<String>>,
    pub(super) disabled: bool,
    pub(super) last_seen_at: Option<DateTime<Utc>>,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
}

impl Client {
    /// The broker's user name: the id, which holds no `:`.
    pub(super) fn username(&self) -> String {
        self.id.to_string()
    }

    /// A line of the audit log about it.
    pub(super) fn event(&self, action: &'static str) -> Event {
        Event::new(
            action,
            Some(self.project),
            "mqtt_client",
            self.id,
            &self.name,
        )
    }

    /// What decides over its rights, for the audit log.
    pub(super) fn rights(&self) -> Value {
        json!({"publish": self.publish, "subscribe": self.subscribe, "disabled": self.disabled})
    }
}

/// A client and its password, which nobody sees again.
#[derive(Clone, Debug)]
pub(super) struct WithPassword {
    pub(super) client: Client,
    pub(super) password: Secret,
}

/// What a request says of a new client.
#[derive(Clone, Debug)]
pub(super) struct NewClient {
    pub(super) name: String,
    pub(super) publish: Option<Vec<String>>,
    pub(super) subscribe: Option<Vec<String>>,
}

impl NewClient {
    pub(super) fn check(self) -> Result<Self, Error> {
        Ok(Self {
            name: parse_name(&self.name)?,
            publish: check_patterns("publish", self.publish)?,
            subscribe: check_patterns("subscribe", self.subscribe)?,
        })
    }
}

/// What a PATCH changes; what is `None` stays.
#[derive(Clone, Debug, Default)]
pub(super) struct Patch {
    pub(super) name: Option<String>,
    pub(super) publish: Option<Option<Vec<String>>>,
    pub(super) subscribe: Option<Option<Vec<String>>>,
    pub(super) disabled: Option<bool>,
}

impl Patch {
    pub(super) fn apply(self, to: Client, now: DateTime<Utc>) -> Result<Client, Error> {
        Ok(Client {
            name: match self.name {
                Some(name) => parse_name(&name)?,
                None => to.name,
            },
            publish: match self.publish {
                Some(patterns) => check_patterns("publish", patterns)?,
                None => to.publish,
            },
            subscribe: match self.subscribe {
                Some(patterns) => check_patterns("subscribe", patterns)?,
                None => to.subscribe,
            },
            disabled: self.disabled.unwrap_or(to.disabled),
            updated_at: now,
            ..to
        })
    }
}

fn parse_name(text: &str) -> Result<String, Error> {
    let text = text.trim();
    let length = text.chars().count();
    if length == 0 || NAME_CHARS_MAX < length || text.chars().any(char::is_control) {
        return Err(Error::BadName);
    }
    Ok(text.to_owned())
}

fn check_patterns(
    field: &'static str,
    patterns: Option<Vec<String>>,
) -> Result<Option<Vec<String>>, Error> {
    let Some(patterns) = patterns else {
        return Ok(None);
    };
    let bad = |detail: String| Error::BadPattern { field, detail };
    if PATTERNS_MAX < patterns.len() {
        return Err(bad(format!("At most {PATTERNS_MAX} patterns.")));
    }
    for pattern in &patterns {
        check_pattern(pattern).map_err(|why| bad(format!("{pattern:?}: {why}")))?;
    }
    Ok(Some(patterns))
}

/// The rules of MQTT 5.0, section 4.7, for topic filters. Besides, nothing
/// that means something else to one of the brokers: `eq …` and `${…}` are
/// syntax of EMQX's access rules.
fn check_pattern(pattern: &str) -> Result<(), &'static str> {
    if pattern.is_empty() || PATTERN_BYTES_MAX < pattern.len() {
        return Err("a pattern is 1 to 512 bytes long.");
    }
    if pattern.chars().any(char::is_control) {
        return Err("a pattern holds no control characters.");
    }
    if pattern.starts_with("eq ") || pattern.contains("${") {
        return Err("a pattern neither begins with `eq ` nor holds `${`.");
    }
    let mut levels = pattern.split('/').peekable();
    if levels.peek().is_some_and(|it| INSTRUCTIONS.contains(it)) {
        return Err("give the topic itself, without $share, $queue, $exclusive or $delayed.");
    }
    while let Some(level) = levels.next() {
        if level.contains('+') && level != "+" {
            return Err("`+` stands alone on its level, as in plant/+/state.");
        }
        if level.contains('#') && (level != "#" || levels.peek().is_some()) {
            return Err("`#` stands alone on the last level, as in plant/#.");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_topic_filters() {
        for good in [
            "a",
            "a/b",
            "#",
            "+",
            "+/+/#",
            "/",
            "/a//b/",
            "a b/ä/日本",
            "$SYS/#",
            "shared/$share",
            "a/$x",
            "eq",
            "equal x",
            "$",
        ] {
            assert_eq!(check_pattern(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "a/#/b",
            "#/a",
            "a#",
            "a/b#",
            "##",
            "a+",
            "a/+b",
            "++",
            "a\0",
            "a\nb",
            "$share/g/a",
            "$share",
            "$queue/a",
            "eq a/b",
            "a/${username}/b",
        ] {
            assert!(check_pattern(bad).is_err(), "{bad}");
        }
        assert!(check_pattern(&"x".repeat(PATTERN_BYTES_MAX)).is_ok());
        assert!(check_pattern(&"x".repeat(PATTERN_BYTES_MAX + 1)).is_err());
    }
}

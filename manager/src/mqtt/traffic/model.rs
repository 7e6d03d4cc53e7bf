use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::mqtt::Message;

/// Of a topic that is published to or shown.
pub(super) const TOPIC_BYTES_MAX: usize = 4 << 10;
/// Of a message that is published from here.
pub(super) const PUBLISH_BYTES_MAX: usize = 256 << 10;
const QOS_MAX: u8 = 2;

/// How a payload is written in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Encoding {
    #[default]
    Utf8,
    Base64,
}

/// A value of the body that is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Invalid {
    pub(super) code: &'static str,
    pub(super) field: &'static str,
    pub(super) message: &'static str,
}

const fn invalid(code: &'static str, field: &'static str, message: &'static str) -> Invalid {
    Invalid {
        code,
        field,
        message,
    }
}

const BAD_TOPIC: Invalid = invalid(
    "mqtt.bad_topic",
    "topic",
    "A topic is 1 to 4096 bytes without + and #, and does not begin with $.",
);
const NOT_BASE64: Invalid = invalid("mqtt.bad_payload", "payload", "The payload is not base64.");
const TOO_LARGE: Invalid = invalid(
    "mqtt.payload_too_large",
    "payload",
    "A payload is at most 256 KiB.",
);
const BAD_QOS: Invalid = invalid("mqtt.bad_qos", "qos", "qos is 0, 1 or 2.");

/// A message that a person asks to publish.
pub(super) fn parse(
    topic: String,
    payload: String,
    encoding: Encoding,
    (qos, retain): (u8, bool),
) -> Result<Message, Invalid> {
    // What begins with $ is the broker's own.
    let is_topic = (1..=TOPIC_BYTES_MAX).contains(&topic.len())
        && !topic.starts_with('$')
        && !topic.contains(['+', '#', '\0']);
    if !is_topic {
        return Err(BAD_TOPIC);
    }
    let payload = match encoding {
        Encoding::Utf8 => Bytes::from(payload),
        Encoding::Base64 => BASE64_STANDARD
            .decode(payload)
            .map_err(|_| NOT_BASE64)?
            .into(),
    };
    if PUBLISH_BYTES_MAX < payload.len() {
        return Err(TOO_LARGE);
    }
    if QOS_MAX < qos {
        return Err(BAD_QOS);
    }
    Ok(Message {
        topic,
        payload,
        qos,
        retain,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_published() {
        let long = "x".repeat(TOPIC_BYTES_MAX);
        for topic in ["a", "/", "a/b//c", "ä/日本", " ", "a$b", &long] {
            let message = parse(topic.to_owned(), "x".to_owned(), Encoding::Utf8, (2, true));
            let message = message.unwrap();
            assert_eq!(
                (message.topic.as_str(), message.qos, message.retain),
                (topic, 2, true)
            );
        }
        let longer = format!("{long}x");
        for topic in [
            "",
            "a/+",
            "#",
            "a#",
            "$SYS/x",
            "$share/g/x",
            "a\0b",
            &longer,
        ] {
            let refusal = parse(topic.to_owned(), String::new(), Encoding::Utf8, (0, false));
            assert_eq!(refusal, Err(BAD_TOPIC), "{topic:.20}");
        }
    }

    #[test]
    fn payloads() {
        let payload = |text: &str, encoding, qos| {
            parse("t".to_owned(), text.to_owned(), encoding, (qos, false)).map(|it| it.payload)
        };
        assert_eq!(payload("", Encoding::Utf8, 0), Ok(Bytes::new()));
        assert_eq!(
            payload("AP8=", Encoding::Base64, 0),
            Ok(Bytes::from_static(b"\x00\xff"))
        );
        assert_eq!(payload("AP8", Encoding::Base64, 0), Err(NOT_BASE64));
        assert_eq!(payload("x", Encoding::Utf8, 3), Err(BAD_QOS));
        let most = "x".repeat(PUBLISH_BYTES_MAX);
        assert!(payload(&most, Encoding::Utf8, 0).is_ok());
        assert_eq!(
            payload(&(most.clone() + "x"), Encoding::Utf8, 0),
            Err(TOO_LARGE)
        );
        let coded = BASE64_STANDARD.encode(most + "x");
        assert_eq!(payload(&coded, Encoding::Base64, 0), Err(TOO_LARGE));
    }
}

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::kernel::{MqttEventId, ProjectId};

/// How many of a project are kept.
pub(super) const PER_PROJECT_MAX: i64 = 500;
/// Longer texts are cut.
const TEXT_CHARS_MAX: usize = 600;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = MqttEventKind)]
pub(super) enum EventKind {
    Connected,
    Disconnected,
    /// It was not let in.
    Denied,
    /// We ended its connection.
    Kicked,
    /// Messages for it were dropped.
    Dropped,
}

impl EventKind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Disconnected => "disconnected",
            Self::Denied => "denied",
            Self::Kicked => "kicked",
            Self::Dropped => "dropped",
        }
    }

    /// What the database keeps; anything else is a broken row.
    pub(super) fn parse(text: &str) -> Option<Self> {
        [
            Self::Connected,
            Self::Disconnected,
            Self::Denied,
            Self::Kicked,
            Self::Dropped,
        ]
        .into_iter()
        .find(|it| it.as_str() == text)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) id: MqttEventId,
    pub(super) project: ProjectId,
    pub(super) at: DateTime<Utc>,
    pub(super) kind: EventKind,
    pub(super) username: String,
    /// The instance's or client's name at that time.
    pub(super) name: Option<String>,
    /// As the client chose it, where that is known.
    pub(super) client_id: String,
    pub(super) address: Option<String>,
    /// For a person.
    pub(super) reason: Option<String>,
}

/// Text of a client as a row can hold it: without U+0000, and not endless.
pub(super) fn kept(text: &str) -> String {
    let fits = |c: char| if c == '\0' { '\u{fffd}' } else { c };
    text.chars().take(TEXT_CHARS_MAX).map(fits).collect()
}

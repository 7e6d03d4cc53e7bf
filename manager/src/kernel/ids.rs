use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Whether an id was drawn before `at`, by the clock of whoever drew it. Nobody
/// knows it of an id that is no UUIDv7: `false`.
pub fn drawn_before(id: Uuid, at: DateTime<Utc>) -> bool {
    let drawn = id.get_timestamp().and_then(|it| {
        let (seconds, nanos) = it.to_unix();
        DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanos)
    });
    drawn.is_some_and(|drawn| drawn < at)
}

macro_rules! id {
    ($($name:ident),+ $(,)?) => {$(
        /// UUIDv7: sorts by the time it was drawn.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
        #[serde(transparent)]
        #[schema(value_type = Uuid)]
        pub struct $name(pub Uuid);

        impl $name {
            #[expect(
                clippy::new_without_default,
                reason = "an id is drawn, never defaulted"
            )]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                text.parse().map(Self)
            }
        }
    )+};
}

id!(
    ApiTokenId,
    AuditId,
    BackupId,
    EditorSessionId,
    InstanceId,
    MqttClientId,
    MqttEventId,
    PipelineId,
    ProjectId,
    RestoreId,
    SessionId,
    SnapshotId,
    StackId,
    TemplateId,
    UserId,
);

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::kernel::{Clock as _, SystemClock};

    #[test]
    fn an_id_tells_when_it_was_drawn() {
        let (now, id) = (SystemClock.now(), Uuid::now_v7());
        let later = |s| now + TimeDelta::seconds(s);
        assert!(!drawn_before(id, later(-10)));
        assert!(drawn_before(id, later(10)));
        for unknown in [Uuid::nil(), Uuid::max()] {
            assert!(!drawn_before(unknown, later(10)));
        }
    }
}

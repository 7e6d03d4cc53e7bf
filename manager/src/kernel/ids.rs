use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

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

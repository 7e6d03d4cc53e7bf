//! Words that every slice shares. Pure: no I/O, no axum, no sqlx.
mod actor;
mod clock;
mod error;
mod ids;
mod network;
mod news;
mod page;
mod secret;

pub use actor::{Actor, UserActor};
pub use clock::{Clock, SystemClock};
pub use error::{DomainError, Kind};
pub use ids::{
    ApiTokenId, AuditId, BackupId, EditorSessionId, InstanceId, MqttClientId, MqttEventId,
    PipelineId, ProjectId, RestoreId, SessionId, SnapshotId, StackId, TemplateId, UserId,
    drawn_before,
};
pub use network::customer_network;
pub use news::News;
pub use page::{Page, PageRequest};
pub use secret::Secret;

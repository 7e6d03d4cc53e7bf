//! PostgreSQL: the pool, transactions as somebody, change notices, locks, and
//! the private cluster.
mod changes;
mod cluster;
mod error;
mod lease;
mod pool;

pub use changes::{Change, ChangeReceiver, Changes, Topic};
pub use cluster::{Binaries, Cluster, ClusterError, ClusterSettings};
pub use error::{is_violation, kind};
pub use lease::Lease;
pub use pool::{Db, Tx};

/// What `openflow migrate` and every start bring the database to.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("../migrations");

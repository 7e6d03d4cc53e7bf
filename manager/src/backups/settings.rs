use std::path::PathBuf;

use chrono::TimeDelta;

use super::{Keep, Schedule};

/// What the operator decides for all instances.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Holds `backups/<instance>/`; absolute.
    pub data_dir: PathBuf,
    /// `None`: only on demand, or where an instance has times of its own.
    pub schedule: Option<Schedule>,
    /// Over how long from then on the instances' turns are spread.
    pub window: TimeDelta,
    /// How many are made at the same time.
    pub concurrency: usize,
    pub keep: Keep,
    /// Within what time each instance's newest backup is tried out; `None`: only
    /// on demand.
    pub rehearse_every: Option<TimeDelta>,
    /// After what time a copy in the bucket goes; `None`: with its backup.
    pub offsite_keep: Option<TimeDelta>,
    /// Left free on the disk of the backups.
    pub min_free_bytes: u64,
    pub upload_bytes_max: u64,
}

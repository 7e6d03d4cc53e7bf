use clap::{Args, value_parser};

/// When backups are made, and which are kept.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Backups")]
pub struct BackupConfig {
    /// When instances are backed up: minute, hour, day of month, month, day of week, in UTC; or off
    #[arg(
        id = "backup_schedule",
        long = "backup-schedule",
        env = "OPENFLOW_BACKUP_SCHEDULE",
        default_value = "0 2 * * *",
        value_name = "CRON"
    )]
    pub schedule: String,
    /// Over how many minutes from then on the instances' backups are spread
    #[arg(id = "backup_window_minutes", long = "backup-window-minutes", env = "OPENFLOW_BACKUP_WINDOW_MINUTES", default_value_t = 120, value_name = "MINUTES", value_parser = value_parser!(u32).range(0..=1440))]
    pub window_minutes: u32,
    /// How many backups are made at the same time
    #[arg(id = "backup_concurrency", long = "backup-concurrency", env = "OPENFLOW_BACKUP_CONCURRENCY", default_value_t = 1, value_name = "NUMBER", value_parser = value_parser!(u32).range(1..=16))]
    pub concurrency: u32,
    /// Of how many days one backup each is kept
    #[arg(id = "backup_keep_daily", long = "backup-keep-daily", env = "OPENFLOW_BACKUP_KEEP_DAILY", default_value_t = 7, value_name = "DAYS", value_parser = value_parser!(u32).range(0..=1000))]
    pub keep_daily: u32,
    /// Of how many weeks one backup each is kept
    #[arg(id = "backup_keep_weekly", long = "backup-keep-weekly", env = "OPENFLOW_BACKUP_KEEP_WEEKLY", default_value_t = 4, value_name = "WEEKS", value_parser = value_parser!(u32).range(0..=1000))]
    pub keep_weekly: u32,
    /// Of how many months one backup each is kept
    #[arg(id = "backup_keep_monthly", long = "backup-keep-monthly", env = "OPENFLOW_BACKUP_KEEP_MONTHLY", default_value_t = 6, value_name = "MONTHS", value_parser = value_parser!(u32).range(0..=1000))]
    pub keep_monthly: u32,
    /// Within how many days each instance's newest backup is tried out in a throwaway container; 0 does so on demand only
    #[arg(id = "backup_rehearse_days", long = "backup-rehearse-days", env = "OPENFLOW_BACKUP_REHEARSE_DAYS", default_value_t = 7, value_name = "DAYS", value_parser = value_parser!(u32).range(0..=365))]
    pub rehearse_days: u32,
    /// Space in MiB that a backup leaves free on its disk; without it none is begun
    #[arg(
        id = "backup_min_free_mb",
        long = "backup-min-free-mb",
        env = "OPENFLOW_BACKUP_MIN_FREE_MB",
        default_value_t = 1024,
        value_name = "MIB"
    )]
    pub min_free_mb: u64,
    /// Largest backup file that may be uploaded, in MiB
    #[arg(id = "max_backup_upload_mb", long = "max-backup-upload-mb", env = "OPENFLOW_MAX_BACKUP_UPLOAD_MB", default_value_t = 10_240, value_name = "MIB", value_parser = value_parser!(u64).range(1..=1_048_576))]
    pub max_upload_mb: u64,
}

impl BackupConfig {
    /// The schedule; `None` when it is off.
    pub fn schedule(&self) -> Option<&str> {
        let text = self.schedule.trim();
        (!text.eq_ignore_ascii_case("off")).then_some(text)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if self.keep_daily == 0 && self.keep_weekly == 0 && self.keep_monthly == 0 {
            return Err(
                "--backup-keep-daily, --backup-keep-weekly and --backup-keep-monthly are all 0: keep at least one"
                    .to_owned(),
            );
        }
        Ok(())
    }
}

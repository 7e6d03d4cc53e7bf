use std::{collections::HashMap, hash::Hash};

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    backups::{
        Backup, BackupStatus, Keep, OffsiteStatus, Trigger,
        schedule::{month_of, week_of},
    },
    kernel::BackupId,
};

/// Those that somebody asked for or brought are kept beside, so many of them.
const BY_HAND_MAX: usize = 20;
/// For as long a failed one shows.
const FAILED_KEPT: TimeDelta = TimeDelta::days(7);

/// Which of an instance's finished backups (newest first) may go.
///
/// Of each of the newest `daily` days (`weekly` weeks, `monthly` months) that
/// have one, the newest good one stays, or the newest partial one if there is
/// no good one. The last good one always stays.
pub(super) fn doomed(backups: &[Backup], keep: Keep, now: DateTime<Utc>) -> Vec<BackupId> {
    let usable = |it: &&Backup| it.is_restorable();
    let (by_hand, by_turn): (Vec<&Backup>, Vec<&Backup>) = backups
        .iter()
        .filter(usable)
        .partition(|it| it.trigger != Trigger::Schedule);
    let mut kept: Vec<BackupId> = by_hand.iter().take(BY_HAND_MAX).map(|it| it.id).collect();
    kept.extend(buckets(&by_turn, keep.daily, |it| it.date_naive()));
    kept.extend(buckets(&by_turn, keep.weekly, week_of));
    kept.extend(buckets(&by_turn, keep.monthly, month_of));
    let good = |it: &&Backup| it.status == BackupStatus::Good;
    kept.extend(backups.iter().filter(usable).find(good).map(|it| it.id));
    kept.extend(backups.iter().find(usable).map(|it| it.id));
    let has_to_go = |it: &&Backup| match it.status {
        BackupStatus::Pending | BackupStatus::Running => false,
        // Its copy may be whole; how long that one stays is settled there.
        BackupStatus::Failed if it.offsite.status == OffsiteStatus::Done => false,
        BackupStatus::Failed => FAILED_KEPT < now - it.finished_at.unwrap_or(it.created_at),
        BackupStatus::Good | BackupStatus::Partial => !kept.contains(&it.id),
    };
    backups.iter().filter(has_to_go).map(|it| it.id).collect()
}

/// The best of each of the newest `n` buckets; `backups` are newest first.
fn buckets<K: Eq + Hash + Copy>(
    backups: &[&Backup],
    n: u32,
    bucket_of: impl Fn(DateTime<Utc>) -> K,
) -> Vec<BackupId> {
    let mut order: Vec<K> = Vec::new();
    let mut best: HashMap<K, &Backup> = HashMap::new();
    for backup in backups {
        let bucket = bucket_of(backup.created_at);
        match best.get(&bucket) {
            None => order.push(bucket),
            Some(it) if it.status == BackupStatus::Good => continue,
            Some(_) if backup.status != BackupStatus::Good => continue,
            Some(_) => {}
        }
        best.insert(bucket, backup);
    }
    let n = usize::try_from(n).unwrap_or(usize::MAX);
    let kept = order.iter().take(n);
    kept.filter_map(|it| best.get(it)).map(|it| it.id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> DateTime<Utc> {
        let date: chrono::NaiveDate = text.parse().unwrap();
        date.and_hms_opt(2, 0, 0).unwrap().and_utc()
    }

    fn backup(at: &str, trigger: Trigger, status: BackupStatus) -> Backup {
        use crate::{
            backups::{policies::Candidate, service::pending},
            engines::Engine,
            kernel::{InstanceId, ProjectId},
        };
        let of = Candidate {
            instance: InstanceId::new(),
            project: ProjectId::new(),
            name: "Shop".to_owned(),
            engine: Engine::default(),
            engine_version: String::new(),
            policy: None,
            counted_from: day(at),
        };
        Backup {
            status,
            file_name: (status != BackupStatus::Failed).then(|| at.to_owned()),
            finished_at: Some(day(at)),
            ..pending(&of, trigger, String::new(), day(at))
        }
    }

    /// What stays of those, as of 2026-11-20 (a Friday). A `!` makes one
    /// failed, a `?` partial, a `+` made by hand.
    fn left(keep: (u32, u32, u32), backups: &[&str]) -> Vec<String> {
        let all: Vec<Backup> = backups
            .iter()
            .map(|text| {
                let status = match text {
                    it if it.ends_with('!') => BackupStatus::Failed,
                    it if it.ends_with('?') => BackupStatus::Partial,
                    _ => BackupStatus::Good,
                };
                let trigger = match text.ends_with('+') {
                    true => Trigger::Manual,
                    false => Trigger::Schedule,
                };
                backup(text.trim_end_matches(['!', '?', '+']), trigger, status)
            })
            .collect();
        let (daily, weekly, monthly) = keep;
        let keep = Keep {
            daily,
            weekly,
            monthly,
        };
        let doomed = doomed(&all, keep, day("2026-11-20"));
        let stays = |it: &(&Backup, &&str)| !doomed.contains(&it.0.id);
        let left = all.iter().zip(backups).filter(stays);
        left.map(|(_, text)| (*text).to_owned()).collect()
    }

    #[test]
    fn days_weeks_and_months() {
        let every_day = [
            "2026-11-20",
            "2026-11-19",
            "2026-11-18",
            "2026-11-17",
            "2026-11-16", // a Monday
            "2026-11-15", // a Sunday
            "2026-11-14",
            "2026-11-08",
            "2026-11-01",
            "2026-10-31",
            "2026-10-01",
            "2026-09-30",
        ];
        for (keep, expected) in [
            ((2, 0, 0), vec!["2026-11-20", "2026-11-19"]),
            ((0, 2, 0), vec!["2026-11-20", "2026-11-15"]),
            ((0, 0, 3), vec!["2026-11-20", "2026-10-31", "2026-09-30"]),
            (
                (2, 3, 2),
                vec![
                    "2026-11-20",
                    "2026-11-19",
                    "2026-11-15",
                    "2026-11-08",
                    "2026-10-31",
                ],
            ),
        ] {
            assert_eq!(left(keep, &every_day), expected, "{keep:?}");
        }
    }

    #[test]
    fn days_without_one_do_not_count() {
        // The installation was off for a year: what there is stays.
        let old = ["2025-03-03", "2025-03-02", "2025-03-01"];
        assert_eq!(left((2, 0, 0), &old), ["2025-03-03", "2025-03-02"]);
    }

    #[test]
    fn a_good_one_stands_for_its_day_before_a_partial_one() {
        let day = [
            "2026-11-20?",
            "2026-11-20",
            "2026-11-20",
            "2026-11-19?",
            "2026-11-19?",
        ];
        // The newest of all stays, too.
        assert_eq!(
            left((2, 0, 0), &day),
            ["2026-11-20?", "2026-11-20", "2026-11-19?"]
        );
    }

    #[test]
    fn the_last_good_one_never_goes() {
        let mut backups = vec!["2026-11-20?", "2026-11-19?", "2026-11-18?", "2025-01-01"];
        assert_eq!(left((1, 0, 0), &backups), ["2026-11-20?", "2025-01-01"]);
        backups[0] = "2026-11-20";
        assert_eq!(left((1, 0, 0), &backups), ["2026-11-20"]);
        assert_eq!(left((0, 0, 0), &["2025-01-01"]), ["2025-01-01"]);
    }

    #[test]
    fn failed_ones_show_for_a_week() {
        let failed = ["2026-11-20!", "2026-11-13!", "2026-11-12!"];
        assert_eq!(left((7, 4, 6), &failed), ["2026-11-20!", "2026-11-13!"]);
    }

    #[test]
    fn those_made_by_hand_take_nobodys_place() {
        let both = ["2026-11-20+", "2026-11-20", "2026-11-19+", "2026-11-19"];
        assert_eq!(
            left((1, 0, 0), &both),
            ["2026-11-20+", "2026-11-20", "2026-11-19+"]
        );
        let many = vec!["2026-11-20+"; BY_HAND_MAX + 5];
        assert_eq!(left((1, 0, 0), &many).len(), BY_HAND_MAX);
    }
}

//! What becomes of an instance whose program ends by itself.
use std::time::Duration;

use futures_util::StreamExt as _;

use super::{Reconciler, pass::Look, queue::Next};
use crate::{
    instances::{
        Error, Status,
        decide::{self, CrashVerdict, Wanted},
    },
    kernel::InstanceId,
    runtime::{ContainerState, Observed},
};

const EVENT_TRIES: u32 = 5;
const EVENT_PAUSE: Duration = Duration::from_millis(50);
const LOG_LINES: usize = 5;
const LOG_LINES_READ: u32 = 20;
const LOG_BYTES_MAX: usize = 800;
/// A line that says to a person why the program ends (docs/wire.md).
const TOLD: &str = "openflow: ";
const TOLD_CHARS_MAX: usize = 500;

impl Reconciler {
    /// Counts new crashes, says why on the row, and turns to safe mode or a
    /// pause when there were too many.
    pub(super) async fn account_for_crashes(
        &self,
        wanted: &Wanted<'_>,
        look: &mut Look,
        observed: &Observed,
    ) -> Result<Option<Next>, Error> {
        let now = self.instances.now();
        let before = look.seen.crash_count;
        let verdict = decide::count_crashes(wanted, &mut look.seen, observed, now);
        if verdict == CrashVerdict::None {
            return Ok(None);
        }
        let died = self.exit_code(look.row.id, observed).await;
        let code = died.or(observed.exit_code);
        let told = self.told(look.row.id).await;
        if let (Some(decide::CANNOT_START), Some(why)) = (code, &told) {
            look.seen.crash_count = before;
            look.seen.safe_mode &= verdict != CrashVerdict::EnterSafeMode;
            return self.cannot_start(look, why.clone()).await.map(Some);
        }
        let reason = decide::crash_reason(observed, died);
        let why = told.unwrap_or_else(|| format!("it crashed ({reason})"));
        if self.give_up_trial(look, &why).await? {
            return Ok(Some(Next::Again));
        }
        let lines = self.last_lines(look.row.id).await;
        let count = look.seen.crash_count;
        look.seen.status = Status::Crashed;
        look.seen.upstream = None;
        look.seen.detail = Some(format!("Crashed ({count} in a row): {reason}.{lines}"));
        tracing::warn!(
            crashes = count,
            "instance {} crashed: {reason}",
            look.row.name
        );
        match verdict {
            CrashVerdict::None => {}
            CrashVerdict::Counted => {
                if observed.state == ContainerState::Exited {
                    let pause = 2_i64.pow(count.clamp(1, 6) as u32 - 1);
                    look.seen.retry_at = Some(now + chrono::TimeDelta::seconds(pause));
                }
            }
            CrashVerdict::EnterSafeMode => {
                look.seen.notice = Some(format!(
                    "In safe mode after {count} crashes in a row: the editor works, the flows are stopped. \
                     Mend the flow, then restart. The last crash: {reason}.{lines}"
                ));
            }
            CrashVerdict::GiveUp => {
                let how = match look.seen.safe_mode {
                    true => "Crashes in safe mode, too".to_owned(),
                    false => format!("Crashed {count} times in a row"),
                };
                look.seen.detail = Some(format!(
                    "{how} ({reason}); stopped, next try in five minutes. Restart it to try at once.{lines}"
                ));
                self.instances.parts.runtime.stop(look.row.id).await?;
            }
        }
        self.write(look).await?;
        Ok(Some(Next::Again))
    }

    /// The exit code that the engine's event told. The event may still be on
    /// its way when a restarted container is seen.
    async fn exit_code(&self, id: InstanceId, observed: &Observed) -> Option<i64> {
        for _ in 0..EVENT_TRIES {
            let died = self.codes().remove(&id);
            if died.is_some() || observed.exit_code.is_some() {
                return died;
            }
            tokio::time::sleep(EVENT_PAUSE).await;
        }
        None
    }

    /// Another try at once would end the same: it is stopped, and tried again
    /// after a pause that grows, or when somebody asks for it.
    async fn cannot_start(&self, look: &mut Look, why: String) -> Result<Next, Error> {
        if self.give_up_trial(look, &why).await? {
            return Ok(Next::Again);
        }
        let (id, runtime) = (look.row.id, &self.instances.parts.runtime);
        tracing::warn!("instance {} cannot start: {why}", look.row.name);
        runtime.stop(id).await?;
        // The container engine may have tried again meanwhile.
        if let Some(now) = runtime.observe(id).await? {
            look.seen.crashes_seen = i32::try_from(now.restart_count).unwrap_or(i32::MAX);
        }
        look.seen.failed(why, self.instances.now());
        self.write(look).await?;
        Ok(Next::Again)
    }

    /// The sentence by which the program said itself why it ended.
    pub(super) async fn told(&self, id: InstanceId) -> Option<String> {
        let lines = self.log(id).await;
        let told = lines.iter().rev().find_map(|it| it.strip_prefix(TOLD))?;
        Some(told.chars().take(TOLD_CHARS_MAX).collect())
    }

    /// The end of the log, for a person; empty when there is none.
    pub(super) async fn last_lines(&self, id: InstanceId) -> String {
        let kept = self.log(id).await;
        let from = kept.len().saturating_sub(LOG_LINES);
        let text = kept[from..].join("\n");
        if text.is_empty() {
            return String::new();
        }
        let cut = text
            .char_indices()
            .rev()
            .nth(LOG_BYTES_MAX)
            .map_or(0, |(at, _)| at);
        format!(" Last lines of the log:\n{}", &text[cut..])
    }

    async fn log(&self, id: InstanceId) -> Vec<String> {
        let runtime = &self.instances.parts.runtime;
        let Ok(mut lines) = runtime.logs(id, LOG_LINES_READ, false).await else {
            return Vec::new();
        };
        let mut kept: Vec<String> = Vec::new();
        while let Some(Ok(line)) = lines.next().await {
            // What is to be shown and stored holds no control characters.
            let plain = |c: char| if c.is_control() { ' ' } else { c };
            let text: String = String::from_utf8_lossy(&line)
                .trim_end()
                .chars()
                .map(plain)
                .collect();
            if !text.is_empty() {
                kept.push(text);
            }
        }
        kept
    }
}

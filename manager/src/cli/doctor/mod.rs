//! `openflow doctor`: is this host fit, and what to do if not.
mod checks;
mod databases;
mod emqx;
mod engine;
mod mqtt;
mod offsite;

use std::process::ExitCode;

use serde::Serialize;

use super::console::say;
use crate::config::Config;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    /// It works, but not as well or as safely as it could.
    Warn,
    /// It does not work.
    Fail,
}

/// One line of the report.
#[derive(Clone, Debug, Serialize)]
struct Finding {
    check: &'static str,
    verdict: Verdict,
    /// What was found.
    detail: String,
    /// What to do about it; empty when all is well.
    #[serde(skip_serializing_if = "String::is_empty")]
    advice: String,
}

impl Finding {
    fn ok(check: &'static str, detail: impl Into<String>) -> Self {
        Self::new(check, Verdict::Ok, detail, "")
    }

    fn warn(check: &'static str, detail: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(check, Verdict::Warn, detail, advice)
    }

    fn fail(check: &'static str, detail: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(check, Verdict::Fail, detail, advice)
    }

    fn new(
        check: &'static str,
        verdict: Verdict,
        detail: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            check,
            verdict,
            detail: detail.into(),
            advice: advice.into(),
        }
    }
}

/// Changes nothing (in the bucket for copies it writes a small object, and
/// deletes it again). Exit code 1 when something failed.
pub(super) async fn run(config: &Config, json: bool) -> anyhow::Result<ExitCode> {
    let findings = checks::all(config).await;
    if json {
        say(serde_json::to_string_pretty(&findings)?);
    } else {
        for it in &findings {
            let mark = match it.verdict {
                Verdict::Ok => "ok  ",
                Verdict::Warn => "warn",
                Verdict::Fail => "FAIL",
            };
            say(format!("{mark}  {:<12} {}", it.check, it.detail));
            if !it.advice.is_empty() {
                say(format!("{:19}→ {}", "", it.advice));
            }
        }
    }
    let failed = findings.iter().any(|it| it.verdict == Verdict::Fail);
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

use serde::Deserialize;

use crate::runtime::Ended;

/// Of a detail that is kept and shown.
const WORDS_MAX: usize = 1000;
/// What was needed is away (`EX_TEMPFAIL`); the last line on stderr says what.
const TRY_AGAIN: i64 = 75;

/// What a rehearsal says of a backup. The words are for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    Lives(String),
    Fails(String),
    /// Nothing was learned about the backup.
    Unable(String),
}

/// The last line that the rehearsal prints (docs/wire.md).
#[derive(Deserialize)]
struct Verdict {
    ok: bool,
    checks: Vec<Check>,
}

#[derive(Deserialize)]
struct Check {
    name: String,
    ok: bool,
    #[serde(default)]
    detail: String,
}

pub(super) fn judge(ended: &Ended) -> Judgement {
    let last = ended.stdout.lines().rfind(|it| !it.trim().is_empty());
    let verdict = last.and_then(|it| serde_json::from_str::<Verdict>(it).ok());
    match (verdict, ended.exit_code) {
        (_, Some(TRY_AGAIN)) => Judgement::Unable(shown(last_line(&ended.stderr))),
        (Some(verdict), Some(_)) => of_verdict(verdict),
        (_, None) => Judgement::Fails("it did not end in time, and was killed".to_owned()),
        (None, Some(_)) if ended.oom_killed => Judgement::Fails("it ran out of memory".to_owned()),
        (None, Some(_)) if lacks_rehearsal(&ended.stderr) => Judgement::Unable(
            "the instance's image is older than this Openflow and cannot rehearse: build it anew"
                .to_owned(),
        ),
        (None, Some(code)) => {
            let words = format!("it ended with {code}: {}", last_words(&ended.stderr));
            Judgement::Fails(shown(&words))
        }
    }
}

fn of_verdict(verdict: Verdict) -> Judgement {
    let words = |checks: &mut dyn Iterator<Item = &Check>| {
        let parts: Vec<String> = checks
            .map(|it| format!("{}: {}", it.name, it.detail))
            .collect();
        shown(&parts.join("; "))
    };
    if verdict.ok && verdict.checks.iter().all(|it| it.ok) {
        return Judgement::Lives(words(&mut verdict.checks.iter()));
    }
    Judgement::Fails(words(&mut verdict.checks.iter().filter(|it| !it.ok)))
}

fn lacks_rehearsal(stderr: &str) -> bool {
    stderr.contains("Cannot find module") && stderr.contains("rehearse.js")
}

fn last_line(text: &str) -> &str {
    let line = text.lines().rfind(|it| !it.trim().is_empty());
    line.unwrap_or_default().trim_start_matches("openflow: ")
}

fn last_words(text: &str) -> String {
    let lines: Vec<&str> = text.lines().rev().take(5).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" ")
}

/// A tenant's modules may print anything.
fn shown(text: &str) -> String {
    let safe = |c: char| if c.is_control() { ' ' } else { c };
    text.trim().chars().take(WORDS_MAX).map(safe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(exit_code: Option<i64>, stdout: &str, stderr: &str) -> Ended {
        Ended {
            exit_code,
            oom_killed: false,
            stdout: stdout.into(),
            stderr: stderr.into(),
        }
    }

    #[test]
    fn the_last_line_decides() {
        let good = r#"{"ok":true,"checks":[{"name":"flows","ok":true,"detail":"2 nodes"}]}"#;
        let bad = r#"{"ok":false,"checks":[{"name":"flows","ok":true,"detail":"2 nodes"},
            {"name":"start","ok":false,"detail":"it ended\u001b with 1"}]}"#
            .replace('\n', " ");
        let lie = r#"{"ok":true,"checks":[{"name":"flows","ok":false,"detail":"x"}]}"#;
        let lives = |it: &str| Judgement::Lives(it.into());
        let fails = |it: &str| Judgement::Fails(it.into());
        for (it, expected) in [
            (
                ended(Some(0), &format!("noise\n{good}\n\n"), ""),
                lives("flows: 2 nodes"),
            ),
            (ended(Some(1), &bad, ""), fails("start: it ended  with 1")),
            (ended(Some(0), lie, ""), fails("flows: x")),
            (
                ended(Some(0), &format!("{good}\nnoise"), "a\nb"),
                fails("it ended with 0: a b"),
            ),
            (ended(Some(2), "", ""), fails("it ended with 2:")),
            (
                ended(Some(75), bad.as_str(), "x\nopenflow: The server is away.\n"),
                Judgement::Unable("The server is away.".into()),
            ),
            (
                ended(None, good, ""),
                fails("it did not end in time, and was killed"),
            ),
        ] {
            assert_eq!(judge(&it), expected);
        }
    }

    #[test]
    fn an_image_without_rehearsals_says_nothing_about_the_backup() {
        let words = "Error: Cannot find module '/opt/openflow/node-red/rehearse.js'";
        assert!(matches!(
            judge(&ended(Some(1), "", words)),
            Judgement::Unable(_)
        ));
    }

    #[test]
    fn memory_that_ran_out_is_named_and_long_words_are_cut() {
        let mut it = ended(Some(137), "", &"x".repeat(5000));
        assert!(matches!(judge(&it), Judgement::Fails(words) if words.len() == WORDS_MAX));
        it.oom_killed = true;
        assert_eq!(judge(&it), Judgement::Fails("it ran out of memory".into()));
    }
}

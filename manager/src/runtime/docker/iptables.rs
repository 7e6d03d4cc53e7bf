use std::{path::Path, process::Stdio, time::Duration};

use tokio::process::Command;

/// Not every `PATH` has the folders of the system's own tools.
const FOLDERS: [&str; 3] = ["/usr/sbin", "/sbin", "/usr/local/sbin"];
const LOCK_WAIT_S: &str = "5";
const TIMEOUT: Duration = Duration::from_secs(15);

/// The `iptables` (or `ip6tables`) program of the host; the filter table.
pub(super) struct Iptables {
    program: String,
}

impl Iptables {
    /// `None` when it is not installed.
    pub(super) fn find(program: &str) -> Option<Self> {
        let path = std::env::var("PATH").unwrap_or_default();
        let folders = path.split(':').chain(FOLDERS);
        let mut paths = folders.map(|folder| Path::new(folder).join(program));
        let found = paths.find(|it| it.is_file())?;
        Some(Self {
            program: found.to_string_lossy().into_owned(),
        })
    }

    /// Standard output, or what went wrong in its own words.
    pub(super) async fn run(&self, args: &[&str]) -> Result<String, String> {
        let child = Command::new(&self.program)
            .args(["-w", LOCK_WAIT_S])
            .args(args)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = match tokio::time::timeout(TIMEOUT, child).await {
            Ok(output) => output.map_err(|error| format!("{}: {error}", self.program))?,
            Err(_) => return Err(format!("{} does not end", self.program)),
        };
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let words = String::from_utf8_lossy(&output.stderr);
        let words = words.trim();
        Err(format!("`{} {}`: {words}", self.program, args.join(" ")))
    }

    /// The rules of a chain as `-A` lines; `None` when there is no such chain.
    pub(super) async fn list(&self, chain: &str) -> Result<Option<Vec<String>>, String> {
        match self.run(&["-S", chain]).await {
            Ok(text) => {
                let rules = text.lines().filter(|line| line.starts_with("-A "));
                Ok(Some(rules.map(str::to_owned).collect()))
            }
            Err(words) if words.contains("No chain") || words.contains("does not exist") => {
                Ok(None)
            }
            Err(words) => Err(words),
        }
    }

    /// The rules of a chain, made if there was none.
    pub(super) async fn list_or_make(&self, chain: &str) -> Result<Vec<String>, String> {
        if let Some(rules) = self.list(chain).await? {
            return Ok(rules);
        }
        let made = self.run(&["-N", chain]).await;
        // Another manager may have been first.
        match (self.list(chain).await?, made) {
            (Some(rules), _) => Ok(rules),
            (None, Err(words)) => Err(words),
            (None, Ok(_)) => Err(format!("the chain {chain} vanished")),
        }
    }

    /// Deletes a rule given as its `-A` line.
    pub(super) async fn delete(&self, line: &str) -> Result<(), String> {
        let words: Vec<_> = line.split_whitespace().collect();
        let mut args: Vec<_> = words.iter().map(|it| it.trim_matches('"')).collect();
        if let Some(first) = args.first_mut() {
            *first = "-D";
        }
        self.run(&args).await.map(drop)
    }
}

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

    /// All chains and rules as they are now. (Asked for one chain that is not
    /// there, the nft variant gives a misleading error.)
    pub(super) async fn table(&self) -> Result<Table, String> {
        let text = self.run(&["-S"]).await?;
        Ok(Table {
            lines: text.lines().map(str::to_owned).collect(),
        })
    }

    pub(super) async fn make_chain(&self, chain: &str) -> Result<(), String> {
        match self.run(&["-N", chain]).await {
            // Another manager may have been first.
            Err(words) if !words.contains("already exists") => Err(words),
            _ => Ok(()),
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

/// What `iptables -S` says.
pub(super) struct Table {
    lines: Vec<String>,
}

impl Table {
    pub(super) fn has_chain(&self, chain: &str) -> bool {
        let mut lines = self.lines.iter();
        lines.any(|line| line.strip_prefix("-N ") == Some(chain))
    }

    /// The rules of a chain as `-A` lines.
    pub(super) fn rules(&self, chain: &str) -> impl Iterator<Item = &str> {
        let start = format!("-A {chain} ");
        let lines = self.lines.iter().map(String::as_str);
        lines.filter(move |line| line.starts_with(&start))
    }

    /// The rules of all chains.
    pub(super) fn all_rules(&self) -> impl Iterator<Item = &str> {
        let lines = self.lines.iter().map(String::as_str);
        lines.filter(|line| line.starts_with("-A "))
    }
}

//! The machine's own PostgreSQL programs.
use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::process::Command;

use super::ClusterError;

/// The oldest major that the migrations are written for.
const MAJOR_MIN: u32 = 15;
const VERSION_TIMEOUT: Duration = Duration::from_secs(10);

/// A folder with `postgres` and `initdb` of one major version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binaries {
    pub dir: PathBuf,
    pub major: u32,
}

impl Binaries {
    /// Every installed server, newest first. With `only`, what is in that
    /// folder and nothing else.
    pub async fn installed(only: Option<&Path>) -> Vec<Self> {
        let folders = match only {
            Some(dir) => vec![dir.to_owned()],
            None => candidates().await,
        };
        let mut found: Vec<Self> = Vec::new();
        for dir in folders {
            if let Some(major) = major_in(&dir).await
                && found.iter().all(|it| it.major != major)
            {
                found.push(Self { dir, major });
            }
        }
        found.sort_by_key(|it| std::cmp::Reverse(it.major));
        found
    }

    /// The newest one, for a cluster that is yet to be made.
    pub async fn newest(only: Option<&Path>) -> Result<Self, ClusterError> {
        let newest = Self::installed(only).await.into_iter().next();
        newest
            .filter(|it| MAJOR_MIN <= it.major)
            .ok_or_else(|| ClusterError::NoServer {
                oldest: MAJOR_MIN,
                looked_in: match only {
                    Some(dir) => dir.display().to_string(),
                    None => "/usr/lib/postgresql, pg_config, PATH".to_owned(),
                },
            })
    }

    /// The one that can open an existing cluster: a cluster keeps its major.
    pub async fn of_major(
        version: &str,
        only: Option<&Path>,
        folder: &Path,
    ) -> Result<Self, ClusterError> {
        let installed = Self::installed(only).await;
        let majors: Vec<String> = installed.iter().map(|it| it.major.to_string()).collect();
        let matching = installed
            .into_iter()
            .find(|it| it.major.to_string() == version);
        matching.ok_or_else(|| ClusterError::MajorMissing {
            folder: folder.to_owned(),
            major: version.to_owned(),
            found: if majors.is_empty() {
                "none".to_owned()
            } else {
                majors.join(", ")
            },
        })
    }
}

async fn candidates() -> Vec<PathBuf> {
    let mut folders = BTreeSet::new();
    // Debian, Ubuntu; then the layout of PostgreSQL's own RPMs.
    for (parent, prefix) in [("/usr/lib/postgresql", ""), ("/usr", "pgsql-")] {
        let entries = fs::read_dir(parent).into_iter().flatten().flatten();
        folders.extend(
            entries
                .filter(|it| {
                    it.file_name()
                        .to_string_lossy()
                        .strip_prefix(prefix)
                        .is_some_and(|rest| rest.parse::<u32>().is_ok())
                })
                .map(|it| it.path().join("bin")),
        );
    }
    if let Some(dir) = output_of(Command::new("pg_config").arg("--bindir")).await {
        folders.insert(PathBuf::from(dir.trim()));
    }
    let path = env::var_os("PATH").unwrap_or_default();
    folders.extend(env::split_paths(&path).filter(|it| it.is_absolute()));
    folders.into_iter().collect()
}

async fn major_in(dir: &Path) -> Option<u32> {
    if !dir.join("initdb").is_file() || !dir.join("postgres").is_file() {
        return None;
    }
    let text = output_of(Command::new(dir.join("postgres")).arg("--version")).await?;
    parse_major(&text)
}

async fn output_of(command: &mut Command) -> Option<String> {
    let output = command.kill_on_drop(true).output();
    let output = tokio::time::timeout(VERSION_TIMEOUT, output)
        .await
        .ok()?
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)` → 15
fn parse_major(text: &str) -> Option<u32> {
    let version = text.split("(PostgreSQL) ").nth(1)?;
    let digits = version.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_is_read_from_what_postgres_says() {
        for (text, major) in [
            (
                "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)",
                Some(15),
            ),
            ("postgres (PostgreSQL) 17beta1", Some(17)),
            ("postgres (PostgreSQL) devel", None),
            ("psql 15", None),
            ("", None),
        ] {
            assert_eq!(parse_major(text), major, "{text}");
        }
    }
}

//! The server's log file. We write through a handle of our own and not a pipe,
//! so that a server which outlives us goes on writing.
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

const BYTES_MAX: u64 = 10 * 1024 * 1024;
const TAIL_BYTES: u64 = 8 * 1024;
const TAIL_LINES: usize = 20;

#[derive(Clone, Debug)]
pub(super) struct Log {
    path: PathBuf,
}

impl Log {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    pub(super) fn append(&self) -> io::Result<File> {
        OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&self.path)
    }

    /// Bytes so far; where the next line will stand.
    pub(super) fn end(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |it| it.len())
    }

    /// The last lines after `start`, each on a new line, for an error message.
    pub(super) fn tail(&self, start: u64) -> String {
        let text = self.read_tail(start).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let from = lines.len().saturating_sub(TAIL_LINES);
        let mut tail = format!(" Its last words (more in {}):", self.path.display());
        for line in &lines[from..] {
            tail.push_str("\n  ");
            tail.push_str(line);
        }
        tail
    }

    fn read_tail(&self, start: u64) -> io::Result<String> {
        let mut file = File::open(&self.path)?;
        let end = file.metadata()?.len();
        let from = start.max(end.saturating_sub(TAIL_BYTES)).min(end);
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Keeps one full file as `.1` and begins anew. The server appends, so its
    /// handle may stay; a line written in between is lost, which is bearable.
    pub(super) fn rotate_when_full(&self) -> io::Result<()> {
        if self.end() <= BYTES_MAX {
            return Ok(());
        }
        let mut old = self.path.clone().into_os_string();
        old.push(".1");
        fs::copy(&self.path, old)?;
        OpenOptions::new().write(true).open(&self.path)?.set_len(0)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_full_log_begins_anew_under_the_writers_hand() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::new(&dir.path().join("postgres.log"));
        let mut writer = log.append().unwrap();
        writer.write_all(&vec![b'x'; BYTES_MAX as usize]).unwrap();
        log.rotate_when_full().unwrap();
        assert_eq!(log.end(), BYTES_MAX, "not over the limit yet");
        writer.write_all(b"\n").unwrap();
        log.rotate_when_full().unwrap();
        writer.write_all(b"after\n").unwrap();
        assert_eq!(log.end(), 6);
        assert!(log.tail(0).ends_with("\n  after"));
        let old = fs::metadata(dir.path().join("postgres.log.1")).unwrap();
        assert_eq!(old.len(), BYTES_MAX + 1);
    }
}

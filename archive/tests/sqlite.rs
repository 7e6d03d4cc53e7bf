//! A database that is written to all the time comes back whole, with all that was committed before the freeze.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
mod support;

use std::{
    fs,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use openflow_archive::Freezer;
use rustix::process::{Pid, Signal, kill_process};
use support::{Place, eventually, options, run};

/// Commits rows as fast as it can, and tells in a file outside of the folder what is committed. Checkpoints happen often.
const WRITER: &str = r"
import os, sqlite3, sys
folder, told = sys.argv[1:]
base = sqlite3.connect(folder + '/context.db')
base.execute('pragma journal_mode=wal')
base.execute('pragma wal_autocheckpoint=20')
base.execute('create table t(k integer primary key, v text)')
base.commit()
told = os.open(told, os.O_CREAT | os.O_WRONLY)
print('ready', flush=True)
n = 0
while True:
    n += 1
    base.execute('insert into t values (?, ?)', (n, 'x' * (n % 3000)))
    base.commit()
    os.pwrite(told, b'%20d' % n, 0)
    with open(folder + '/file-%d' % (n % 50), 'w') as file:
        file.write('%d\n' % n * 100)
";

struct Writer {
    child: Child,
    told: PathBuf,
    /// Committed when it was frozen last.
    committed: u64,
}

impl Writer {
    fn start(folder: &Path, told: PathBuf) -> Self {
        let mut child = Command::new("python3")
            .args(["-c", WRITER])
            .args([folder, &told])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "ready\n");
        let writer = Self {
            child,
            told,
            committed: 0,
        };
        eventually("rows", || writer.told() > 50);
        writer
    }

    fn told(&self) -> u64 {
        let text = fs::read_to_string(&self.told).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        let pid = Pid::from_child(&self.child);
        Ok(kill_process(pid, signal)?)
    }
}

impl Freezer for Writer {
    fn freeze(&mut self) -> io::Result<()> {
        self.signal(Signal::STOP)?;
        let stat = format!("/proc/{}/stat", self.child.id());
        eventually("stopped", || {
            fs::read_to_string(&stat).unwrap().contains(") T ")
        });
        self.committed = self.told();
        Ok(())
    }

    fn thaw(&mut self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const LOOK: &str = r"
import sqlite3, sys
base = sqlite3.connect(sys.argv[1] + '/context.db')
print(base.execute('pragma integrity_check').fetchone()[0], *base.execute('select count(*), max(k) from t').fetchone())
";

#[test]
fn a_database_in_use_comes_back_with_all_that_was_committed() {
    let place = Place::new();
    let mut writer = Writer::start(&place.folder(), place.path("told"));
    for round in 0..4 {
        let written = place.write(&options(&place), Some(&mut writer)).unwrap();
        let committed = writer.committed;
        assert!(
            written.consistent,
            "round {round}: {:?}",
            written.freeze_error
        );
        assert_eq!(written.skipped, []);
        eventually("it goes on", || writer.told() > committed);
        assert_eq!(place.unpack().unwrap(), written.manifest);
        let found = run("python3", &["-c", LOOK, place.unpacked().to_str().unwrap()]);
        let [whole, count, last] = found.split_whitespace().collect::<Vec<_>>()[..] else {
            panic!("{found}");
        };
        assert_eq!((whole, count), ("ok", last), "round {round}");
        // One more may have been committed and not told yet.
        let last: u64 = last.parse().unwrap();
        assert!(
            (committed..=committed + 1).contains(&last),
            "{committed} told, {last} found"
        );
        fs::remove_dir_all(place.unpacked()).unwrap();
    }
}

//! Measures one run on real folders, in a process of its own so that the peak of memory is its own.
//!
//!   bench write FOLDER ARCHIVE [LEVEL] [THREADS] [FREEZE-PID]     the process is stopped and continued by signals
//!   bench check ARCHIVE
//!   bench unpack ARCHIVE NEW-FOLDER [THREADS]
#![expect(clippy::print_stdout, reason = "its purpose")]
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use openflow_archive::{
    Folder, Freezer, Limits, Progress, UnpackOptions, WriteOptions, check, unpack, write,
};
use rustix::process::{Pid, Signal, kill_process};

struct Signals(Pid);

impl Freezer for Signals {
    fn freeze(&mut self) -> io::Result<()> {
        kill_process(self.0, Signal::STOP)?;
        let stat = format!("/proc/{}/stat", self.0.as_raw_nonzero());
        for _ in 0..1000 {
            if fs::read_to_string(&stat)?.contains(") T ") {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    fn thaw(&mut self) -> io::Result<()> {
        Ok(kill_process(self.0, Signal::CONT)?)
    }
}

const LIMITS: Limits = Limits {
    bytes: 1 << 40,
    entries: 10_000_000,
};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let begun = Instant::now();
    let (data, archive, note) = match words.as_slice() {
        ["write", folder, archive, rest @ ..] => written(folder, archive, rest)?,
        ["check", archive] => {
            let manifest = check(File::open(archive)?, &LIMITS, &Progress::new())?;
            (manifest.bytes, size(archive)?, String::new())
        }
        ["unpack", archive, into, rest @ ..] => {
            let threads = rest.first().map_or(Ok(2), |text| text.parse())?;
            let options = UnpackOptions {
                limits: LIMITS,
                owner: None,
                threads,
            };
            let input = File::open(archive)?;
            let unpacked = unpack(input, Path::new(into), &options, &Progress::new())?;
            (unpacked.manifest.bytes, size(archive)?, String::new())
        }
        _ => bail!("what to do is said at the head of examples/bench.rs"),
    };
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{seconds:.2} s  {:.0} MB/s  ratio {:.3}  peak RSS {:.0} MB{note}",
        data as f64 / 1e6 / seconds,
        archive as f64 / data.max(1) as f64,
        peak_memory()? as f64 / 1024.0,
    );
    Ok(())
}

fn size(archive: &str) -> Result<u64> {
    Ok(fs::metadata(archive)?.len())
}

fn written(folder: &str, archive: &str, rest: &[&str]) -> Result<(u64, u64, String)> {
    let number = |at: usize, default: i32| rest.get(at).map_or(Ok(default), |text| text.parse());
    let spool = Path::new(archive).parent().map(PathBuf::from);
    let options = WriteOptions {
        level: number(0, 6)?.unsigned_abs(),
        threads: number(1, 2)?.unsigned_abs() as usize,
        ..WriteOptions::new(spool.context("the archive's path has no folder")?)
    };
    let mut signals = Pid::from_raw(number(2, 0)?).map(Signals);
    let freezer = signals.as_mut().map(|signals| signals as &mut dyn Freezer);
    let folder = Folder::open(Path::new(folder))?;
    let out = File::create(archive)?;
    let written = write(&folder, out, &options, freezer, &Progress::new())?;
    let mut note = format!("  consistent {}", written.consistent);
    if let Some(frozen) = written.frozen {
        note += &format!("  frozen {} ms", frozen.as_millis());
    }
    for skipped in written.skipped.iter().take(3) {
        note += &format!("  left out {}: {}", skipped.path, skipped.reason);
    }
    Ok((written.manifest.bytes, written.bytes, note))
}

/// In KiB.
fn peak_memory() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let field = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(field.context("no VmHWM")?.parse()?)
}

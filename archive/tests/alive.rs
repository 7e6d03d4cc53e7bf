//! Folders that misbehave while they are read.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
mod support;

use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::{ffi::OsStrExt, fs::symlink, net::UnixListener},
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use openflow_archive::{Error, Folder, Freezer, Kind, Progress, Skipped, WriteOptions};
use support::{Place, assert_same, eventually, noise, options, run};

/// Runs `work` again and again beside `main`, but not while it is frozen.
struct Beside {
    ended: AtomicBool,
    frozen: AtomicBool,
    rounds: AtomicU64,
    /// It is not in the middle of a round.
    idle: AtomicBool,
}

impl Beside {
    fn run<T>(work: impl Fn(u64) + Sync, main: impl FnOnce(&Beside) -> T) -> T {
        let beside = Beside {
            ended: AtomicBool::new(false),
            frozen: AtomicBool::new(false),
            rounds: AtomicU64::new(0),
            idle: AtomicBool::new(false),
        };
        struct End<'a>(&'a Beside);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.ended.store(true, Relaxed);
            }
        }
        std::thread::scope(|scope| {
            let _end = End(&beside);
            scope.spawn(|| {
                while !beside.ended.load(Relaxed) {
                    if beside.frozen.load(Relaxed) {
                        beside.idle.store(true, Relaxed);
                        std::thread::yield_now();
                        continue;
                    }
                    beside.idle.store(false, Relaxed);
                    work(beside.rounds.fetch_add(1, Relaxed));
                }
            });
            eventually("it works", || beside.rounds.load(Relaxed) > 10);
            main(&beside)
        })
    }
}

impl Freezer for &Beside {
    fn freeze(&mut self) -> std::io::Result<()> {
        self.idle.store(false, Relaxed);
        self.frozen.store(true, Relaxed);
        eventually("it is idle", || self.idle.load(Relaxed));
        Ok(())
    }

    fn thaw(&mut self) -> std::io::Result<()> {
        self.frozen.store(false, Relaxed);
        Ok(())
    }
}

#[test]
fn files_that_grow_shrink_and_vanish_do_not_break_the_archive() {
    let place = Place::new();
    let root = place.folder();
    fs::write(root.join("steady"), noise(5 << 20, 1)).unwrap();
    let changing = root.join("changing");
    fs::write(&changing, noise(2 << 20, 2)).unwrap();
    let work = |round: u64| {
        let file = OpenOptions::new().append(true).open(&changing).unwrap();
        (&file).write_all(&[round as u8; 5000]).unwrap();
        if round.is_multiple_of(7) {
            file.set_len(round % 3 * 1_000_000).unwrap();
        }
        let brief = root.join(format!("brief-{}", round % 20));
        if round.is_multiple_of(2) {
            fs::write(&brief, "here").unwrap();
        } else if let Some(Ok(found)) = fs::read_dir(&root).unwrap().find(|found| {
            let name = found.as_ref().unwrap().file_name();
            name.as_bytes().starts_with(b"brief")
        }) {
            fs::remove_file(found.path()).unwrap();
        }
    };
    Beside::run(work, |beside| {
        let written = place.write(&options(&place), None).unwrap();
        assert!(!written.consistent);
        assert_eq!(written.skipped, []);
        assert_eq!(place.unpack().unwrap(), written.manifest);
        let steady = place.unpacked().join("steady");
        assert_eq!(fs::read(steady).unwrap(), noise(5 << 20, 1));
        fs::remove_dir_all(place.unpacked()).unwrap();

        let mut freezer = beside;
        let written = place.write(&options(&place), Some(&mut freezer)).unwrap();
        assert!(written.consistent);
        assert_eq!(place.unpack().unwrap(), written.manifest);
    });
}

#[test]
fn a_folder_exchanged_for_a_link_gives_away_nothing() {
    let place = Place::new();
    let outside = place.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "secret").unwrap();
    fs::create_dir(place.folder().join("d")).unwrap();
    fs::write(place.folder().join("d/file"), "mine").unwrap();
    let exchange = |_| {
        let (folder, aside) = (place.folder().join("d"), place.folder().join("aside"));
        fs::rename(&folder, &aside).unwrap();
        symlink("../outside", &folder).unwrap();
        std::thread::yield_now();
        fs::remove_file(&folder).unwrap();
        fs::rename(&aside, &folder).unwrap();
    };
    Beside::run(exchange, |_| {
        for _ in 0..30 {
            place
                .write(
                    &WriteOptions {
                        threads: 1,
                        ..options(&place)
                    },
                    None,
                )
                .unwrap();
            let manifest = place.check().unwrap();
            assert!(manifest.entries.iter().all(|entry| match &entry.kind {
                Kind::File { size, .. } => *size == 4,
                Kind::Symlink { .. } => false,
                _ => true,
            }));
            let folder = Folder::open(&place.folder()).unwrap();
            for _ in 0..100 {
                let read = folder.read("d/file", 100);
                assert!(
                    read.as_ref()
                        .is_ok_and(|read| read.as_deref().is_none_or(|read| read == b"mine"))
                        || read.is_err(),
                    "{read:?}"
                );
            }
        }
    });
}

#[test]
fn what_cannot_be_archived_is_left_out_and_told() {
    let place = Place::new();
    let root = place.folder();
    fs::write(root.join("fine"), "fine").unwrap();
    fs::create_dir_all(root.join(".npm/cache")).unwrap();
    fs::create_dir_all(root.join("d/.npm")).unwrap();
    run("mkfifo", &[root.join("fifo").to_str().unwrap()]);
    let _listening = UnixListener::bind(root.join("socket")).unwrap();
    symlink("/etc/passwd", root.join("absolute")).unwrap();
    symlink("../../secret", root.join("d/out")).unwrap();
    fs::write(root.join(OsStr::from_bytes(b"d/caf\xe9")), "x").unwrap();
    let excluding = WriteOptions {
        exclude: vec![".npm".into()],
        ..options(&place)
    };
    let written = place.write(&excluding, None).unwrap();
    let told: Vec<_> = written
        .skipped
        .iter()
        .map(|Skipped { path, reason }| format!("{path}: {reason}"))
        .collect();
    assert_eq!(
        told,
        [
            "absolute: the link's target is absolute",
            "d/caf\u{fffd}: its name is not UTF-8",
            "d/out: the link leads out of the folder",
            "fifo: it is a FIFO",
            "socket: it is a socket",
        ]
    );
    assert!(written.consistent);
    let listed: Vec<_> = written
        .manifest
        .entries
        .iter()
        .map(|entry| entry.path.as_str())
        .collect();
    assert_eq!(listed, [".", "d", "d/.npm", "fine"]);
    assert_eq!(place.unpack().unwrap(), written.manifest);
}

#[test]
fn a_full_disk_is_an_error_of_its_own() {
    let place = Place::new();
    fs::write(place.folder().join("noise"), noise(3 << 20, 1)).unwrap();
    let folder = Folder::open(&place.folder()).unwrap();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let error = openflow_archive::write(&folder, full, &options(&place), None, &Progress::new());
    assert!(matches!(error, Err(Error::DiskFull(_))), "{error:?}");

    place.write(&options(&place), None).unwrap();
    let small = place.path("small");
    let Some(small) = SmallDisk::mount(&small) else {
        return;
    };
    let into = place.path("small/unpacked");
    let error = support::unpack(&place.archive(), &into, support::LIMITS);
    assert!(matches!(error, Err(Error::DiskFull(_))), "{error:?}");
    assert!(!into.exists());
    // The copy of what changed finds no room; the freeze is ended all the same.
    struct Grows<'a>(&'a Path, u32);
    impl Freezer for Grows<'_> {
        fn freeze(&mut self) -> std::io::Result<()> {
            fs::write(self.0.join("noise"), noise(3 << 20, 2))
        }
        fn thaw(&mut self) -> std::io::Result<()> {
            self.1 += 1;
            Ok(())
        }
    }
    let root = place.folder();
    let mut grows = Grows(&root, 0);
    let spooling = WriteOptions {
        spool: place.path("small"),
        ..options(&place)
    };
    let error = place.write(&spooling, Some(&mut grows));
    assert!(matches!(error, Err(Error::DiskFull(_))), "{error:?}");
    assert_eq!(grows.1, 1);
    drop(small);
}

/// A file system of one megabyte.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mount(at: &'a Path) -> Option<Self> {
        fs::create_dir(at).unwrap();
        let place = at.to_str().unwrap();
        let arguments = ["-t", "tmpfs", "-o", "size=1m", "openflow-test", place];
        let mounted = std::process::Command::new("mount").args(arguments).status();
        // Needs root; the rest of the test does not.
        mounted
            .is_ok_and(|status| status.success())
            .then_some(Self(at))
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        run("umount", &[self.0.to_str().unwrap()]);
    }
}

#[test]
fn cancelling_ends_it() {
    let place = Place::new();
    fs::write(place.folder().join("noise"), noise(20 << 20, 1)).unwrap();
    let cancelled = Progress::new();
    let folder = Folder::open(&place.folder()).unwrap();
    let watched = cancelled.clone();
    let written = std::thread::scope(|scope| {
        scope.spawn(|| {
            eventually("it begins", || watched.done_bytes() > 0);
            watched.cancel();
        });
        let out = File::create(place.archive()).unwrap();
        openflow_archive::write(&folder, out, &options(&place), None, &cancelled)
    });
    assert!(matches!(written, Err(Error::Cancelled)), "{written:?}");
    assert!(cancelled.total_bytes() >= cancelled.done_bytes());
    place.write(&options(&place), None).unwrap();
    let input = File::open(place.archive()).unwrap();
    let checked = openflow_archive::check(input, &support::LIMITS, &cancelled);
    assert!(matches!(checked, Err(Error::Cancelled)), "{checked:?}");
}

#[test]
fn small_files_are_read_and_written_below_the_folder_only() {
    let place = Place::new();
    let root = place.folder();
    fs::write(place.path("secret"), "secret").unwrap();
    fs::create_dir(root.join("d")).unwrap();
    symlink("../secret", root.join("link")).unwrap();
    symlink("..", root.join("up")).unwrap();
    run("mkfifo", &[root.join("fifo").to_str().unwrap()]);
    let folder = Folder::open(&root).unwrap();
    folder
        .write("d/flows.json", b"[]", 0o640, Some((1000, 1000)))
        .unwrap();
    folder
        .write("d/flows.json", b"[1]", 0o640, Some((1000, 1000)))
        .unwrap();
    assert_eq!(folder.read("d/flows.json", 3).unwrap().unwrap(), b"[1]");
    assert!(folder.read("d/flows.json", 2).is_err());
    assert_eq!(folder.read("d/none", 9).unwrap(), None);
    assert_eq!(folder.read("none/none", 9).unwrap(), None);
    for name in [
        "link",
        "up/secret",
        "fifo",
        "d",
        "../secret",
        "/etc/passwd",
        "d/../d/flows.json",
        "",
        "d//flows.json",
    ] {
        assert!(folder.read(name, 100).is_err(), "{name}");
    }
    for name in ["up/new", "../new", "none/new", "", "d", "d/..", "/new"] {
        assert!(folder.write(name, b"x", 0o600, None).is_err(), "{name}");
    }
    // A link is replaced, not followed.
    folder.write("link", b"mine", 0o600, None).unwrap();
    assert_eq!(fs::read(place.path("secret")).unwrap(), b"secret");
    assert_eq!(fs::read_dir(root.join("d")).unwrap().count(), 1);
    fs::remove_file(root.join("fifo")).unwrap();
    fs::remove_file(root.join("up")).unwrap();
    place.write(&options(&place), None).unwrap();
    place.unpack().unwrap();
    assert_same(&root, &place.unpacked());
}

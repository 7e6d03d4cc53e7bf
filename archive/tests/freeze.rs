//! A folder that changes while it is archived: what is restored is what it was at the freeze.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
mod support;

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt, symlink},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::Duration,
};

use openflow_archive::{Error, Freezer, WriteOptions};
use support::{Place, assert_same, noise, options};

/// Runs something as its freeze, which is after everything was read, and counts.
struct Now<F>(F, Counts);

#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    freezes: u32,
    thaws: u32,
}

impl<F: FnMut() -> io::Result<()> + Send> Freezer for Now<F> {
    fn freeze(&mut self) -> io::Result<()> {
        self.1.freezes += 1;
        (self.0)()
    }

    fn thaw(&mut self) -> io::Result<()> {
        self.1.thaws += 1;
        Ok(())
    }
}

fn counts(freezes: u32, thaws: u32) -> Counts {
    Counts { freezes, thaws }
}

fn prepare(root: &Path) {
    for folder in ["stays", "goes/deep", "becomes-file/deep", "linked"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    for file in [
        "stays/same",
        "stays/changes",
        "stays/goes",
        "stays/shrinks",
        "stays/renamed",
        "stays/mode",
        "goes/deep/file",
        "becomes-file/deep/file",
        "becomes-folder",
        "becomes-link",
        "linked/a",
        "linked/gone",
        "swap-1",
    ] {
        fs::write(root.join(file), noise(10_000, file.len() as u64)).unwrap();
    }
    symlink("stays/same", root.join("link")).unwrap();
    symlink("stays", root.join("link-becomes-folder")).unwrap();
    fs::hard_link(root.join("linked/a"), root.join("linked/b")).unwrap();
    fs::hard_link(root.join("linked/a"), root.join("linked/z")).unwrap();
    fs::hard_link(root.join("linked/gone"), root.join("linked/kept")).unwrap();
}

fn change(root: &Path) -> io::Result<()> {
    fs::write(root.join("stays/changes"), noise(10_000, 99))?;
    fs::write(root.join("stays/shrinks"), "short")?;
    fs::remove_file(root.join("stays/goes"))?;
    fs::rename(root.join("stays/renamed"), root.join("stays/new-name"))?;
    fs::set_permissions(root.join("stays/mode"), fs::Permissions::from_mode(0o640))?;
    fs::write(root.join("stays/new"), "new")?;
    fs::remove_dir_all(root.join("goes"))?;
    fs::remove_dir_all(root.join("becomes-file"))?;
    fs::write(root.join("becomes-file"), "now a file")?;
    fs::remove_file(root.join("becomes-folder"))?;
    fs::create_dir(root.join("becomes-folder"))?;
    fs::write(root.join("becomes-folder/in"), "in")?;
    fs::remove_file(root.join("becomes-link"))?;
    symlink("stays", root.join("becomes-link"))?;
    fs::remove_file(root.join("link"))?;
    symlink("stays/new", root.join("link"))?;
    fs::remove_file(root.join("link-becomes-folder"))?;
    fs::create_dir(root.join("link-becomes-folder"))?;
    fs::write(root.join("link-becomes-folder/in"), "in")?;
    fs::write(root.join("linked/a"), "all names show it")?;
    fs::remove_file(root.join("linked/b"))?;
    fs::write(root.join("linked/b"), "on its own now")?;
    fs::remove_file(root.join("linked/gone"))
}

#[test]
fn what_comes_back_is_what_it_was_at_the_freeze() {
    let place = Place::new();
    let root = place.folder();
    prepare(&root);
    let mut freezer = Now(|| change(&root), Counts::default());
    let written = place.write(&options(&place), Some(&mut freezer)).unwrap();
    assert_eq!(freezer.1, counts(1, 1));
    assert!(written.consistent && written.frozen.is_some());
    assert_eq!((written.freeze_error, written.skipped), (None, vec![]));
    assert_eq!(place.check().unwrap(), written.manifest);
    place.unpack().unwrap();
    assert_same(&root, &place.unpacked());
    assert_eq!(fs::read_dir(place.path("spool")).unwrap().count(), 0);
}

#[test]
fn changes_while_it_is_read_without_a_freezer_are_read_again() {
    let place = Place::new();
    let root = place.folder();
    prepare(&root);
    fs::write(root.join("big"), noise(30 << 20, 1)).unwrap();
    let written = std::thread::scope(|scope| {
        let writing = scope.spawn(|| place.write(&options(&place), None).unwrap());
        std::thread::sleep(Duration::from_millis(100));
        change(&root).unwrap();
        writing.join().unwrap()
    });
    assert!(written.consistent);
    place.unpack().unwrap();
    assert_same(&root, &place.unpacked());
}

#[test]
fn a_freeze_that_lasts_too_long_is_given_up_and_tried_once_more() {
    let place = Place::new();
    prepare(&place.folder());
    let mut freezer = Now(
        || fs::write(place.folder().join("new"), "new"),
        Counts::default(),
    );
    let short = WriteOptions {
        freeze_limit: Duration::ZERO,
        ..options(&place)
    };
    let written = place.write(&short, Some(&mut freezer)).unwrap();
    assert_eq!(freezer.1, counts(2, 2));
    assert!(written.freeze_error.unwrap().contains("longer than 0 s"));
    assert!(written.frozen.is_some());
    // Nobody wrote to it after that, and that was seen.
    assert!(written.consistent);
    place.unpack().unwrap();
    assert_same(&place.folder(), &place.unpacked());
}

#[test]
fn it_is_thawed_whatever_happens() {
    let place = Place::new();
    prepare(&place.folder());
    let mut fails = Now(
        || Err(io::Error::other("no such container")),
        Counts::default(),
    );
    let written = place.write(&options(&place), Some(&mut fails)).unwrap();
    assert_eq!(fails.1, counts(1, 1));
    assert_eq!(written.freeze_error.as_deref(), Some("no such container"));
    assert!(written.consistent);
    place.check().unwrap();

    let mut panics = Now(|| panic!("in the freeze"), Counts::default());
    let unwound = AssertUnwindSafe(|| place.write(&options(&place), Some(&mut panics)));
    assert!(catch_unwind(unwound).is_err());
    assert_eq!(panics.1, counts(1, 1));

    // The folder itself goes: the scan in the freeze fails.
    let root = place.folder();
    let mut goes = Now(|| fs::rename(&root, place.path("away")), Counts::default());
    let gone = place.write(&options(&place), Some(&mut goes)).unwrap();
    assert!(
        gone.consistent,
        "the handle is to the folder, not to its name"
    );
    assert_eq!(goes.1, counts(1, 1));
}

#[test]
fn a_failed_thaw_is_told() {
    struct Stuck(u32);
    impl Freezer for Stuck {
        fn freeze(&mut self) -> io::Result<()> {
            Ok(())
        }
        fn thaw(&mut self) -> io::Result<()> {
            self.0 += 1;
            Err(io::Error::other("the engine is away"))
        }
    }
    let place = Place::new();
    let mut stuck = Stuck(0);
    let error = place.write(&options(&place), Some(&mut stuck)).unwrap_err();
    assert!(matches!(&error, Error::Thaw(_)), "{error}");
    assert_eq!(stuck.0, 2, "tried again");
}

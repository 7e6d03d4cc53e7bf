//! Extended attributes and access control lists, of files and folders.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
mod support;

use std::{
    fs::{self, File},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    process::Command,
};

use openflow_archive::{Error, Freezer, Progress, UnpackOptions, unpack};
use rustix::{
    fs::{XattrFlags, getxattr, listxattr, setxattr},
    io::Errno,
};
use support::{Place, options};

const ACCESS: &str = "system.posix_acl_access";
const DEFAULT: &str = "system.posix_acl_default";

/// For the owner, a user 4711, the group, all together and others.
fn list(user_bits: u16) -> Vec<u8> {
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    let nobody = u32::MAX;
    for (tag, bits, id) in [
        (1, 6, nobody),
        (2, user_bits, 4711),
        (4, 4, nobody),
        (16, 7, nobody),
        (32, 0, nobody),
    ] {
        bytes.extend(u16::to_le_bytes(tag));
        bytes.extend(u16::to_le_bytes(bits));
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

/// False: this file system has no such attributes.
fn set(path: &Path, name: &str, value: &[u8]) -> bool {
    match setxattr(path, name, value, XattrFlags::empty()) {
        Err(Errno::OPNOTSUPP) => false,
        other => {
            other.unwrap();
            true
        }
    }
}

/// All of one file, by name.
fn all(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut names = vec![0; 65_536];
    let length = listxattr(path, &mut names[..]).unwrap();
    let names = String::from_utf8(names[..length].to_vec()).unwrap();
    let mut names: Vec<_> = names.split_terminator('\0').collect();
    names.sort_unstable();
    let value = |name| {
        let mut value = vec![0; 65_536];
        let length = getxattr(path, name, &mut value[..]).unwrap();
        value[..length].to_vec()
    };
    names
        .iter()
        .map(|name| ((*name).to_owned(), value(*name)))
        .collect()
}

fn assert_same_attributes(one: &Path, other: &Path, name: &str) {
    let (one, other) = (one.join(name), other.join(name));
    assert_eq!(all(&one), all(&other), "{name}");
    let mode = |path| fs::metadata(path).unwrap().mode();
    assert_eq!(mode(&one), mode(&other), "{name}");
}

const NAMES: [&str; 5] = ["", "d", "d/inside", "file", "plain"];

/// With attributes everywhere; false: the file system has none.
fn fill(root: &Path) -> bool {
    fs::create_dir(root.join("d")).unwrap();
    for name in ["file", "plain", "d/inside"] {
        fs::write(root.join(name), name).unwrap();
    }
    let file = root.join("file");
    if !set(&file, "user.empty", b"") || !set(&file, ACCESS, &list(5)) {
        return false;
    }
    set(&file, "user.a=b %3D ü", b"\0binary\n\xff=");
    set(&file, "user.long", &[7; 3000]);
    set(root, "user.top", b"of the folder itself");
    set(&root.join("d"), DEFAULT, &list(7));
    set(&root.join("d"), "user.d", b"1");
    fs::set_permissions(root.join("d"), fs::Permissions::from_mode(0o750)).unwrap();
    true
}

#[test]
fn they_come_back_and_nothing_inherits_any() {
    let place = Place::new();
    if !fill(&place.folder()) {
        return;
    }
    let written = place.write(&options(&place), None).unwrap();
    assert_eq!(written.skipped, []);
    let listed = |path: &str| {
        let entries = &written.manifest.entries;
        let entry = entries.iter().find(|entry| entry.path == path).unwrap();
        entry.attributes.is_some()
    };
    assert_eq!(
        [".", "d", "file", "plain", "d/inside"].map(listed),
        [true, true, true, false, false]
    );
    assert_eq!(place.check().unwrap(), written.manifest);
    assert_eq!(place.unpack().unwrap(), written.manifest);
    for name in NAMES {
        assert_same_attributes(&place.folder(), &place.unpacked(), name);
    }
}

#[test]
fn tar_reads_ours_and_we_read_tars() {
    let place = Place::new();
    if !fill(&place.folder()) {
        return;
    }
    // Privileges of a host are nobody's to carry about.
    if rustix::process::geteuid().is_root() {
        set(&place.folder().join("plain"), "trusted.host", b"1");
    }
    let written = place.write(&options(&place), None).unwrap();
    let by_tar = place.path("by-tar");
    fs::create_dir(&by_tar).unwrap();
    let (archive, into) = (place.archive(), by_tar.to_str().unwrap().to_owned());
    let tar = |arguments: &[&str]| {
        let all = [
            "--xattrs",
            "--xattrs-include=user.*",
            "--acls",
            "--numeric-owner",
        ];
        Command::new("tar").args(all).args(arguments).status()
    };
    let extracted = tar(&["-xpzf", archive.to_str().unwrap(), "-C", &into]).unwrap();
    assert!(extracted.success());
    for name in &NAMES[..4] {
        assert_same_attributes(&place.folder(), &by_tar.join("data"), name);
    }
    assert_eq!(all(&by_tar.join("data/plain")), []);
    // Made by tar, with numbers for users as a machine has that does not know them.
    let again = place.path("again.tar.gz");
    let made = tar(&[
        "-czf",
        again.to_str().unwrap(),
        "-C",
        &into,
        "data",
        "manifest.json",
    ]);
    assert!(made.unwrap().success());
    let read = support::unpack(&again, &place.unpacked(), support::LIMITS).unwrap();
    assert_eq!(read, written.manifest);
    for name in &NAMES[..4] {
        assert_same_attributes(&place.folder(), &place.unpacked(), name);
    }
}

#[test]
fn what_is_lost_or_changed_is_seen() {
    let place = Place::new();
    if !fill(&place.folder()) {
        return;
    }
    place.write(&options(&place), None).unwrap();
    let by_tar = place.path("by-tar");
    fs::create_dir(&by_tar).unwrap();
    let (archive, into) = (place.archive(), by_tar.to_str().unwrap().to_owned());
    support::run("tar", &["-xpzf", archive.to_str().unwrap(), "-C", &into]);
    let bare = place.path("bare.tar.gz");
    support::run(
        "tar",
        &[
            "-czf",
            bare.to_str().unwrap(),
            "-C",
            &into,
            "data",
            "manifest.json",
        ],
    );
    let error = support::check(&bare, &support::LIMITS).unwrap_err();
    assert!(
        matches!(&error, Error::Damaged(what) if what.contains("attributes")),
        "{error}"
    );
}

/// Changed while everything is held still for the copy.
#[test]
fn those_of_the_frozen_moment_count() {
    struct Sets<'a>(&'a Path);
    impl Freezer for Sets<'_> {
        fn freeze(&mut self) -> std::io::Result<()> {
            set(&self.0.join("file"), "user.moment", b"frozen");
            set(&self.0.join("d"), "user.moment", b"frozen");
            Ok(())
        }
        fn thaw(&mut self) -> std::io::Result<()> {
            set(&self.0.join("d"), "user.moment", b"later");
            Ok(())
        }
    }
    let place = Place::new();
    let root = place.folder();
    if !fill(&root) {
        return;
    }
    assert!(
        place
            .write(&options(&place), Some(&mut Sets(&root)))
            .unwrap()
            .consistent
    );
    place.unpack().unwrap();
    let moment = |name: &str| {
        let all = all(&place.unpacked().join(name));
        all.into_iter()
            .find(|(name, _)| name == "user.moment")
            .unwrap()
            .1
    };
    assert_eq!(moment("file"), b"frozen");
    assert_eq!(moment("d"), b"frozen");
}

#[test]
fn too_many_are_left_out_and_named() {
    // Some file systems have no room for so many.
    let place = Place::in_memory();
    let file = place.folder().join("file");
    File::create(&file).unwrap();
    if !(0..65).all(|n| set(&file, &format!("user.{n}"), b"x")) {
        return;
    }
    let written = place.write(&options(&place), None).unwrap();
    assert_eq!(written.skipped.len(), 1);
    assert_eq!(written.skipped[0].path, "file");
    assert!(
        written.skipped[0].reason.contains("extended attributes"),
        "{:?}",
        written.skipped
    );
    place.unpack().unwrap();
    assert_eq!(all(&place.unpacked().join("file")), []);
}

/// From a file system with room for many to one that has a block of them for a file.
#[test]
fn what_the_file_system_does_not_take_is_told_and_the_rest_is_there() {
    let (from, to) = (Place::in_memory(), Place::new());
    let (file, inside) = (from.folder().join("file"), from.folder().join("d"));
    fs::write(&file, "content").unwrap();
    fs::create_dir(&inside).unwrap();
    let named = |n: usize| format!("user.{n:02}");
    if !(0..20).all(|n| set(&file, &named(n), &[7; 1000]) && set(&inside, &named(n), &[7; 1000])) {
        return;
    }
    let written = from.write(&options(&from), None).unwrap();
    assert_eq!(written.skipped, []);
    let limits = UnpackOptions {
        limits: support::LIMITS,
        owner: None,
        threads: 2,
    };
    let archive = File::open(from.archive()).unwrap();
    let unpacked = unpack(archive, &to.unpacked(), &limits, &Progress::new()).unwrap();
    assert_eq!(unpacked.manifest, written.manifest);
    assert_eq!(fs::read(to.unpacked().join("file")).unwrap(), b"content");
    let taken = ["file", "d"].map(|name| all(&to.unpacked().join(name)).len());
    let refused = 40 - taken[0] - taken[1];
    match unpacked.refused.sentence() {
        None => assert_eq!(refused, 0, "it took all"),
        Some(told) => {
            assert!(
                told.starts_with(&format!("{refused} extended attributes")),
                "{told}"
            );
            assert!(told.contains(" of file, user."), "{told}");
        }
    }
}

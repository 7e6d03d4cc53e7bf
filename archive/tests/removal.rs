//! What tenants leave is removed whole, and nothing else.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, chown, symlink},
    path::Path,
    process::Command,
};

use openflow_archive::remove_tree;
use rustix::{process::geteuid, thread::set_thread_res_uid};

const TENANT: u32 = 1000;

/// Does it as a user whom permissions bind; root is not. Only this thread becomes that user.
fn as_tenant<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::spawn(|| {
        if geteuid().is_root() {
            let uid = rustix::fs::Uid::from_raw(TENANT);
            set_thread_res_uid(uid, uid, uid).unwrap();
        }
        work()
    });
    thread.join().unwrap()
}

fn give(path: &Path) {
    if geteuid().is_root() {
        let to = format!("{TENANT}");
        let given = Command::new("chown").args(["-hR", &to]).arg(path).status();
        assert!(given.unwrap().success());
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn folders_that_their_owner_may_not_write_to() {
    let place = tempfile::tempdir().unwrap();
    let tree = place.path().join("tree");
    fs::create_dir_all(tree.join("a/b/c")).unwrap();
    for name in ["file", "a/file", "a/b/file", "a/b/c/file"] {
        fs::write(tree.join(name), "x").unwrap();
        set_mode(&tree.join(name), 0o400);
    }
    give(place.path());
    // Not readable, not writable, not to be passed through; the inner ones first.
    for (name, mode) in [("a/b/c", 0o000), ("a/b", 0o555), ("a", 0o444), ("", 0o500)] {
        set_mode(&tree.join(name), mode);
    }
    let (std_fails, ours) = as_tenant(move || {
        let std_fails = fs::remove_dir_all(&tree).is_err();
        (std_fails, remove_tree(&tree).map(|()| tree.exists()))
    });
    assert!(
        std_fails,
        "permissions did not bite: the test shows nothing"
    );
    assert!(!ours.unwrap());
}

#[test]
fn links_are_removed_and_not_followed() {
    let place = tempfile::tempdir().unwrap();
    let (tree, outside) = (place.path().join("tree"), place.path().join("outside"));
    fs::create_dir_all(tree.join("a")).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("theirs"), "x").unwrap();
    set_mode(&outside, 0o555);
    symlink(&outside, tree.join("folder")).unwrap();
    symlink(outside.join("theirs"), tree.join("a/file")).unwrap();
    symlink("nowhere", tree.join("a/broken")).unwrap();
    remove_tree(&tree).unwrap();
    assert!(!tree.exists());
    // Nor is one that stands in the tree's own place.
    symlink(&outside, &tree).unwrap();
    remove_tree(&tree).unwrap();
    assert!(tree.symlink_metadata().is_err());
    assert_eq!(fs::read_to_string(outside.join("theirs")).unwrap(), "x");
    let mode = fs::metadata(&outside).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o555, "what a link leads to keeps its mode");
}

#[test]
fn what_is_gone_or_a_file_is_fine() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("file");
    remove_tree(&file).unwrap();
    fs::write(&file, "x").unwrap();
    remove_tree(&file).unwrap();
    assert!(!file.exists());
}

/// Deeper than paths and open handles reach; a tenant needs one loop for it.
#[test]
fn however_deep() {
    use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
    const LEVELS: u32 = 3000;
    let place = tempfile::tempdir().unwrap();
    let tree = place.path().join("tree");
    fs::create_dir(&tree).unwrap();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let mut at = openat(CWD, &tree, flags, Mode::empty()).unwrap();
    for level in 0..LEVELS {
        let name = format!("a-folder-with-a-long-name-{level}");
        mkdirat(&at, name.as_str(), Mode::RWXU).unwrap();
        at = openat(&at, name.as_str(), flags, Mode::empty()).unwrap();
    }
    drop(at);
    // In the way of what is moved up.
    fs::create_dir_all(tree.join(".removed-1/x")).unwrap();
    remove_tree(&tree).unwrap();
    assert!(!tree.exists());
}

#[test]
fn what_can_be_removed_is_even_when_something_cannot() {
    if !geteuid().is_root() {
        return; // nobody else can make what is not ours
    }
    let place = tempfile::tempdir().unwrap();
    let tree = place.path().join("tree");
    for name in ["a", "foreign", "z"] {
        fs::create_dir_all(tree.join(name)).unwrap();
        fs::write(tree.join(name).join("file"), "x").unwrap();
    }
    give(place.path());
    chown(tree.join("foreign"), Some(0), None).unwrap();
    set_mode(&tree.join("foreign"), 0o755);
    let path = tree.clone();
    let error = as_tenant(move || remove_tree(&path)).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
    let left: Vec<_> = fs::read_dir(&tree).unwrap().collect();
    assert_eq!(left.len(), 1);
}

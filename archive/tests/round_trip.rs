//! What comes back is what went in.
mod support;

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
};

use support::{Place, assert_same, options, set_mtime};

#[test]
fn a_mixed_tree_comes_back_bit_by_bit() {
    let place = Place::new();
    let root = place.folder();
    fs::create_dir_all(root.join("empty/deeper")).unwrap();
    fs::create_dir_all(root.join("d")).unwrap();
    fs::write(root.join("nothing"), "").unwrap();
    for (index, size) in [1, 511, 512, 513, 4096, 70_000, 1 << 20, 3_333_333]
        .into_iter()
        .enumerate()
    {
        let file = root.join(format!("d/file-{size}"));
        fs::write(&file, support::noise(size, index as u64)).unwrap();
        set_mtime(
            &file,
            1_600_000_000 + index as i64,
            123_456_789 + index as u32,
        );
    }
    let long = "long".repeat(40);
    fs::create_dir_all(root.join(&long).join(&long)).unwrap();
    fs::write(root.join(&long).join(&long).join("übung ☃"), "snow").unwrap();
    symlink("../d/file-1", root.join("empty/link")).unwrap();
    symlink(format!("{long}/{long}/übung ☃"), root.join("far")).unwrap();
    symlink("nowhere", root.join("dangling")).unwrap();
    fs::hard_link(root.join("d/file-4096"), root.join("d/again")).unwrap();
    fs::hard_link(root.join("d/file-4096"), root.join(&long).join("again")).unwrap();
    for (name, mode) in [
        ("d/file-1", 0o600),
        ("d/file-511", 0o755),
        ("d/file-512", 0o444),
        ("empty", 0o1777),
        ("d", 0o700),
    ] {
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    std::os::unix::fs::lchown(root.join("d/file-512"), Some(1000), Some(2_500_000)).unwrap();
    std::os::unix::fs::lchown(root.join("empty/link"), Some(1000), Some(1000)).unwrap();
    set_mtime(&root.join("d/file-511"), -12_345, 250_000_000);
    set_mtime(&root.join("empty"), 1_234_567_890, 1);
    set_mtime(&root, 1_500_000_000, 5);

    let written = place.write(&options(&place), None).unwrap();
    assert!(written.consistent);
    assert_eq!(written.skipped, []);
    assert_eq!(written.frozen, None);
    assert_eq!(written.bytes, fs::metadata(place.archive()).unwrap().len());
    assert_eq!(written.sha256, support::sha256sum(&place.archive()));
    assert_eq!(place.check().unwrap(), written.manifest);
    assert_eq!(place.unpack().unwrap(), written.manifest);
    assert_same(&root, &place.unpacked());
    let again = place.unpacked().join("d/again");
    assert_eq!(fs::metadata(again).unwrap().nlink(), 3);
    // Any tar reads it too.
    let other = place.path("by-tar");
    fs::create_dir(&other).unwrap();
    support::run(
        "tar",
        &[
            "-xpzf",
            place.archive().to_str().unwrap(),
            "-C",
            other.to_str().unwrap(),
        ],
    );
    assert_same(&root, &other.join("data"));
}

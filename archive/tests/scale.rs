//! Very many, very big.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
mod support;

use std::{
    fs::{self, File},
    os::unix::fs::{FileExt, MetadataExt, PermissionsExt, lchown},
    path::Path,
};

use openflow_archive::Kind;
use support::{Place, assert_same, noise, options, run, set_mtime};

#[test]
fn a_hundred_thousand_small_files() {
    let place = Place::in_memory();
    for folder in 0..100 {
        let folder = place.folder().join(format!("folder-{folder}"));
        fs::create_dir(&folder).unwrap();
        for file in 0..1000 {
            fs::write(folder.join(format!("file-{file}.js")), "module.exports = 1").unwrap();
        }
    }
    let written = place.write(&options(&place), None).unwrap();
    assert!(written.consistent);
    assert_eq!(written.manifest.files, 100_000);
    assert_eq!(written.manifest.bytes, 1_800_000);
    assert_eq!(written.manifest.entries.len(), 100_101);
    assert_eq!(place.unpack().unwrap(), written.manifest);
    let unpacked = place.unpacked();
    let count = run(
        "find",
        &[unpacked.to_str().unwrap(), "-type", "f", "-size", "18c"],
    );
    assert_eq!(count.lines().count(), 100_000);
}

/// Modules in thousands of small files, uploads that do not compress, logs that do.
fn fill_with_a_gigabyte(root: &Path) {
    let put = |n: u32, name: String, content: &[&[u8]]| {
        let file = root.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, content.concat()).unwrap();
        let mode = [0o644, 0o600, 0o755, 0o640, 0o444, 0o777][n as usize % 6];
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        if rustix::process::geteuid().is_root() {
            lchown(&file, Some(1000 + n % 7), Some(1000 + n % 11)).unwrap();
        }
        set_mtime(
            &file,
            1_500_000_000 + i64::from(n) * 7,
            n * 31_337 % 1_000_000_000,
        );
    };
    let noise = noise(16 << 20, 3);
    let text: Vec<u8> = (0..)
        .flat_map(|n: u32| {
            format!("{n} the valve {} was opened\n", n.wrapping_mul(7919) % 1000).into_bytes()
        })
        .take(16 << 20)
        .collect();
    for n in 0..3000 {
        let at = n as usize * 1000;
        let name = format!("node_modules/m{}/lib/f{n}.js", n / 40);
        put(n, name, &[&text[at..at + at % 9000]]);
    }
    for n in 0..66 {
        // No two are the same.
        let at = n as usize * 4099;
        put(n, format!("uploads/{n}.jpg"), &[&noise[at..], &noise[..at]]);
        if n % 2 == 0 {
            put(n, format!("logs/{n}.log"), &[&text[at..], &text[..at]]);
        }
    }
    for (n, folder) in ["logs", "uploads", "node_modules/m1", ""]
        .iter()
        .enumerate()
    {
        let folder = root.join(folder);
        fs::set_permissions(
            &folder,
            fs::Permissions::from_mode([0o755, 0o700, 0o750, 0o770][n]),
        )
        .unwrap();
        set_mtime(&folder, 1_400_000_000, n as u32 + 1);
    }
}

#[test]
fn a_gigabyte_comes_back_bit_by_bit() {
    let place = Place::roomy();
    fill_with_a_gigabyte(&place.folder());
    let written = place.write(&options(&place), None).unwrap();
    assert!(written.consistent);
    assert_eq!(written.skipped, []);
    assert!(
        written.manifest.bytes > 1 << 30,
        "{}",
        written.manifest.bytes
    );
    assert_eq!(place.check().unwrap(), written.manifest);
    assert_eq!(place.unpack().unwrap(), written.manifest);
    assert_same(&place.folder(), &place.unpacked());
}

#[test]
fn holes_stay_holes() {
    let place = Place::new();
    let big = place.folder().join("big");
    let file = File::create(&big).unwrap();
    file.set_len(4 << 30).unwrap();
    file.write_all_at(b"begin", 0).unwrap();
    file.write_all_at(&noise(300_000, 1), (2 << 30) + 77)
        .unwrap();
    file.write_all_at(b"end", (4 << 30) - 3).unwrap();
    let only_hole = File::create(place.folder().join("hole")).unwrap();
    only_hole.set_len(1 << 30).unwrap();
    // Thousands of extents, and holes too small to care for.
    let torn = File::create(place.folder().join("torn")).unwrap();
    torn.set_len(300 << 20).unwrap();
    for at in 0..1500 {
        torn.write_all_at(&[7; 100], at * 200_000).unwrap();
        torn.write_all_at(&[8; 100], at * 200_000 + 9000).unwrap();
    }
    for file in [&file, &only_hole, &torn] {
        file.sync_all().unwrap();
    }
    let written = place.write(&options(&place), None).unwrap();
    assert!(written.bytes < 3 << 20, "{}", written.bytes);
    let sparse =
        |entry: &&openflow_archive::Entry| matches!(entry.kind, Kind::File { sparse: true, .. });
    assert_eq!(written.manifest.entries.iter().filter(sparse).count(), 3);
    assert_eq!(place.check().unwrap(), written.manifest);
    place.unpack().unwrap();
    for name in ["big", "hole", "torn"] {
        let (one, other) = (place.folder().join(name), place.unpacked().join(name));
        let (before, after) = (fs::metadata(&one).unwrap(), fs::metadata(&other).unwrap());
        assert_eq!(
            (before.len(), before.mtime_nsec()),
            (after.len(), after.mtime_nsec())
        );
        assert!(
            after.blocks() * 512 < 40 << 20,
            "{name} has {} blocks",
            after.blocks()
        );
    }
    let back = File::open(place.unpacked().join("big")).unwrap();
    let read = |at, length| {
        let mut bytes = vec![1; length];
        back.read_exact_at(&mut bytes, at).unwrap();
        bytes
    };
    assert_eq!(read(0, 8), b"begin\0\0\0");
    assert_eq!(read((2 << 30) + 77, 300_000), noise(300_000, 1));
    assert_eq!(read((4 << 30) - 5, 5), b"\0\0end");
    let torn = |place: std::path::PathBuf| support::sha256sum(&place.join("torn"));
    assert_eq!(torn(place.folder()), torn(place.unpacked()));
}

#[test]
fn archives_of_tar_itself_are_read() {
    let place = Place::new();
    let root = place.folder();
    fs::create_dir_all(root.join("d").join("long".repeat(50))).unwrap();
    fs::write(
        root.join("d").join("long".repeat(50)).join("file"),
        noise(3 << 20, 1),
    )
    .unwrap();
    std::os::unix::fs::symlink("long".repeat(50), root.join("d/link")).unwrap();
    fs::write(root.join("d/a"), "linked").unwrap();
    fs::hard_link(root.join("d/a"), root.join("d/b")).unwrap();
    let sparse = File::create(root.join("sparse")).unwrap();
    sparse.set_len(100 << 20).unwrap();
    for at in 1..20 {
        sparse.write_all_at(b"data", at * 5_000_000).unwrap();
    }
    sparse.sync_all().unwrap();
    place.write(&options(&place), None).unwrap();
    run(
        "tar",
        &[
            "-xpzf",
            place.archive().to_str().unwrap(),
            "-C",
            place.path("").to_str().unwrap(),
        ],
    );
    for format in ["gnu", "posix"] {
        for top in [
            &["data", "manifest.json"][..],
            &["./data", "./manifest.json"],
        ] {
            let archive = place.path(&format!("{format}.tar.gz"));
            let format = format!("--format={format}");
            let place_path = place.path("");
            let mut arguments = vec![
                &*format,
                "-Sczf",
                archive.to_str().unwrap(),
                "-C",
                place_path.to_str().unwrap(),
            ];
            arguments.extend(top);
            run("tar", &arguments);
            let into = place.path("again");
            support::unpack(&archive, &into, support::LIMITS).unwrap();
            let mut blocks = fs::metadata(into.join("sparse")).unwrap().blocks();
            blocks *= 512;
            assert!(blocks < 10 << 20, "{blocks}");
            if format.ends_with("posix") {
                assert_same(&root, &into);
            }
            fs::remove_dir_all(into).unwrap();
        }
    }
}

//! Archives that want to write where they may not.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
mod support;

use std::{fs, io::Write, os::unix::fs::PermissionsExt};

use flate2::{Compression, write::GzEncoder};
use openflow_archive::Error;
use support::{LIMITS, Place, check, unpack};

/// An entry as it is, without the tar crate's own caution: (type, name, link's target).
type Raw<'a> = (u8, &'a str, &'a str);

const FOLDER: u8 = b'5';
const FILE: u8 = b'0';
const SYMLINK: u8 = b'2';
const LINK: u8 = b'1';

fn tar_gz(entries: &[Raw<'_>]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
    for (kind, name, target) in entries {
        let mut header = tar::Header::new_gnu();
        let fields = header.as_old_mut();
        fields.name[..name.len()].copy_from_slice(name.as_bytes());
        fields.linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_entry_type(tar::EntryType::new(*kind));
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        let content: &[u8] = if *kind == FILE { b"hello" } else { b"" };
        header.set_size(content.len() as u64);
        header.set_cksum();
        out.write_all(header.as_bytes()).unwrap();
        out.write_all(content).unwrap();
        out.write_all(&vec![
            0;
            content.len().next_multiple_of(512) - content.len()
        ])
        .unwrap();
    }
    out.write_all(&[0; 1024]).unwrap();
    out.finish().unwrap()
}

const ROOT: Raw<'_> = (FOLDER, "data/", "");
/// What is in the archive, the entry that is refused, and why.
type Case<'a> = (&'a [Raw<'a>], &'a str, &'a str);

const TABLE: &[Case<'_>] = &[
    (&[(FILE, "/etc/evil", "")], "/etc/evil", "absolute"),
    (
        &[ROOT, (FILE, "data//etc/evil", "")],
        "data//etc/evil",
        "empty part",
    ),
    (
        &[ROOT, (FILE, "data/../evil", "")],
        "data/../evil",
        "upward",
    ),
    (&[ROOT, (FILE, "../evil", "")], "../evil", "upward"),
    (
        &[ROOT, (FILE, "data/./evil", "")],
        "data/./evil",
        "empty part",
    ),
    (&[ROOT, (FILE, "data/..", "")], "data/..", "upward"),
    (&[ROOT, (FOLDER, "data/../", "")], "data/../", "upward"),
    (&[ROOT, (FILE, "evil", "")], "evil", "outside of data/"),
    (
        &[ROOT, (FILE, "database", "")],
        "database",
        "outside of data/",
    ),
    (
        &[ROOT, (FILE, "manifest.json/evil", "")],
        "manifest.json/evil",
        "outside of data/",
    ),
    (&[(FILE, "data", "")], "data", "data is no folder"),
    (&[(SYMLINK, "data", "x")], "data", "data is no folder"),
    (
        &[(FILE, "data/a", "")],
        "data/a",
        "folder does not stand before it",
    ),
    (
        &[ROOT, (SYMLINK, "data/l", "/etc"), (FILE, "data/l/evil", "")],
        "data/l",
        "absolute",
    ),
    (&[ROOT, (SYMLINK, "data/l", "..")], "data/l", "leads out"),
    (
        &[ROOT, (SYMLINK, "data/l", "a/../../b")],
        "data/l",
        "up after going down",
    ),
    (
        &[ROOT, (SYMLINK, "data/l", "."), (FILE, "data/l/evil", "")],
        "data/l/evil",
        "below a symbolic link",
    ),
    (
        &[ROOT, (FILE, "data/f", ""), (FILE, "data/f/evil", "")],
        "data/f/evil",
        "below a file",
    ),
    (
        &[ROOT, (LINK, "data/l", "/etc/passwd")],
        "data/l",
        "hard link to outside",
    ),
    (
        &[ROOT, (LINK, "data/l", "data/../../etc/passwd")],
        "data/l",
        "no file before it",
    ),
    (
        &[ROOT, (LINK, "data/l", "data/l")],
        "data/l",
        "no file before it",
    ),
    (
        &[ROOT, (LINK, "data/l", "data")],
        "data/l",
        "hard link to outside",
    ),
    (
        &[ROOT, (SYMLINK, "data/s", "x"), (LINK, "data/l", "data/s")],
        "data/l",
        "no file before it",
    ),
    (&[ROOT, (b'6', "data/p", "")], "data/p", "FIFO"),
    (&[ROOT, (b'3', "data/null", "")], "data/null", "device"),
    (&[ROOT, (b'4', "data/sda", "")], "data/sda", "device"),
    (&[ROOT, (b'Z', "data/z", "")], "data/z", "type is not known"),
    (
        &[ROOT, (SYMLINK, "manifest.json", "x")],
        "manifest.json",
        "no file",
    ),
];

#[test]
fn an_entry_that_leaves_the_folder_is_refused_by_name() {
    for (entries, name, reason) in TABLE {
        let place = Place::new();
        fs::write(place.archive(), tar_gz(entries)).unwrap();
        let around = || {
            let mut seen = support::look(&place.path(""));
            seen.remove(""); // its time changes
            seen
        };
        let before = around();
        let tries = [
            check(&place.archive(), &LIMITS),
            unpack(&place.archive(), &place.unpacked(), LIMITS),
        ];
        for error in tries.map(Result::unwrap_err) {
            let Error::Refused {
                entry,
                reason: told,
            } = &error
            else {
                panic!("{name}: {error}");
            };
            assert!(entry == name && told.contains(reason), "{name}: {error}");
        }
        assert!(around() == before, "{name} left something");
    }
}

#[test]
fn set_user_bits_do_not_come_back() {
    let place = Place::new();
    let program = place.folder().join("program");
    fs::write(&program, "x").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o6755)).unwrap();
    place.write(&support::options(&place), None).unwrap();
    place.unpack().unwrap();
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(program), 0o6755);
    assert_eq!(mode(place.unpacked().join("program")), 0o755);
}

#[test]
fn an_existing_folder_is_left_alone() {
    let place = Place::new();
    place.write(&support::options(&place), None).unwrap();
    fs::create_dir(place.unpacked()).unwrap();
    fs::write(place.unpacked().join("mine"), "x").unwrap();
    place.unpack().unwrap_err();
    assert_eq!(fs::read(place.unpacked().join("mine")).unwrap(), b"x");
}

#[test]
fn control_characters_in_a_name_do_not_reach_the_log() {
    let place = Place::new();
    let entries = [(FOLDER, "data/", ""), (FILE, "e\x1b[2Jvil\n", "")];
    fs::write(place.archive(), tar_gz(&entries)).unwrap();
    let error = check(&place.archive(), &LIMITS).unwrap_err().to_string();
    assert!(
        error.contains("vil") && !error.contains(['\x1b', '\n']),
        "{error:?}"
    );
}

#[test]
fn numbers_that_make_no_sense_are_no_panic() {
    let sparse = |map: &str, size: &str| {
        let mut content = map.as_bytes().to_vec();
        content.resize(512, 0);
        content.extend_from_slice(b"data");
        let records = [
            ("GNU.sparse.major", "1"),
            ("GNU.sparse.minor", "0"),
            ("GNU.sparse.realsize", size),
        ];
        let records = records.map(|(key, value)| (key.to_owned(), value.to_owned()));
        (records.to_vec(), content)
    };
    let attribute = |key: &str, value: &str| (vec![(key.to_owned(), value.to_owned())], vec![7; 4]);
    let cases = [
        attribute("uid", "4294967295"),
        attribute("gid", "99999999999"),
        attribute("uid", "-1"),
        attribute("mtime", "soon"),
        attribute("size", "18446744073709551615"),
        attribute("size", "9223372036854775807"),
        attribute("GNU.sparse.map", "0,4"),
        sparse("1\n0\n5\n", "1000"),
        sparse("1\n998\n4\n", "1000"),
        sparse("2\n100\n2\n50\n2\n", "1000"),
        sparse("1\n18446744073709551615\n4\n", "1000"),
        sparse("1\n0\n4\n", "18446744073709551615"),
        sparse("999999999\n0\n4\n", "1000"),
        sparse("x", "1000"),
        sparse("", "1000"),
    ];
    for (records, content) in cases {
        let place = Place::new();
        let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        support::folder(&mut builder, "data/");
        let borrowed = records
            .iter()
            .map(|(key, value)| (&**key, value.as_bytes()));
        builder.append_pax_extensions(borrowed).unwrap();
        support::append(&mut builder, "data/file", &content);
        let archive = builder.into_inner().unwrap().finish().unwrap();
        fs::write(place.archive(), archive).unwrap();
        let error = check(&place.archive(), &LIMITS).unwrap_err();
        let fine = matches!(
            error,
            Error::Damaged(_) | Error::TooBig(_) | Error::WrongFormat(_)
        );
        assert!(fine, "{records:?}: {error}");
        assert!(
            !error.to_string().contains("manifest"),
            "{records:?}: {error}"
        );
        unpack(&place.archive(), &place.unpacked(), LIMITS).unwrap_err();
        assert!(!place.unpacked().exists());
    }
}

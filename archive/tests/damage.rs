//! Damaged, cut and lying archives are found out, and nothing of them stays.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
#![expect(clippy::expect_used, reason = "it says which case failed")]
mod support;

use std::{
    fs,
    io::{Read, Write},
    path::Path,
};

use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};
use openflow_archive::{Error, Limits, Manifest};
use support::{LIMITS, Place, check, noise, options, unpack};

/// An archive of a few files that do and do not compress, over several gzip members.
fn archived() -> Place {
    let place = Place::new();
    fs::create_dir(place.folder().join("d")).unwrap();
    fs::write(place.folder().join("d/noise"), noise(3 << 19, 1)).unwrap();
    fs::write(
        place.folder().join("text"),
        "compresses well ".repeat(50_000),
    )
    .unwrap();
    fs::write(place.folder().join("flows.json"), "[]").unwrap();
    place.write(&options(&place), None).unwrap();
    place.check().unwrap();
    place
}

/// Neither `check` nor `unpack` takes it; gives the error's text.
fn refused(place: &Place, what: &str) -> String {
    let (archive, into) = (place.archive(), place.path("refused"));
    let error = check(&archive, &LIMITS).map(drop).expect_err(what);
    assert!(unpack(&archive, &into, LIMITS).is_err(), "{what}");
    assert!(!into.exists(), "{what}");
    error.to_string()
}

#[test]
fn a_flipped_byte_is_found_wherever_it_is() {
    let place = archived();
    let good = fs::read(place.archive()).unwrap();
    let ends = [
        0,
        1,
        3,
        10,
        16,
        19,
        20,
        good.len() - 8,
        good.len() - 4,
        good.len() - 1,
    ];
    let spread = (0..24).map(|part| 21 + part * (good.len() - 40) / 24);
    for at in ends.into_iter().chain(spread) {
        let mut bad = good.clone();
        bad[at] ^= 0xff;
        fs::write(place.archive(), bad).unwrap();
        refused(&place, &format!("byte {at}"));
    }
}

#[test]
fn a_cut_or_lengthened_archive_is_found() {
    let place = archived();
    let good = fs::read(place.archive()).unwrap();
    for length in [
        0,
        1,
        19,
        20,
        1000,
        good.len() / 2,
        good.len() - 9,
        good.len() - 1,
    ] {
        fs::write(place.archive(), &good[..length]).unwrap();
        refused(&place, &format!("{length} bytes"));
    }
    // Cut where a member ends.
    let member = u32::from_le_bytes(good[16..20].try_into().unwrap()) as usize;
    fs::write(place.archive(), &good[..member]).unwrap();
    assert!(refused(&place, "one member").contains("ends in the middle"));
    for more in [&b"x"[..], &[0; 512], &good] {
        fs::write(place.archive(), [&good, more].concat()).unwrap();
        refused(&place, "lengthened");
    }
    fs::write(
        place.archive(),
        "this is no archive at all, but long enough for a header",
    )
    .unwrap();
    assert!(matches!(
        check(&place.archive(), &LIMITS),
        Err(Error::WrongFormat(_))
    ));
}

/// Writes the archive anew with its tar changed.
fn rewrite(archive: &Path, change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
    let mut tar = Vec::new();
    let compressed = fs::File::open(archive).unwrap();
    MultiGzDecoder::new(compressed)
        .read_to_end(&mut tar)
        .unwrap();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&change(tar)).unwrap();
    fs::write(archive, encoder.finish().unwrap()).unwrap();
}

/// Writes the archive anew with another manifest.
fn lie(place: &Place, change: impl FnOnce(&mut Manifest)) {
    let mut manifest = place.check().unwrap();
    change(&mut manifest);
    rewrite(&place.archive(), |tar| {
        let kept = entries_before_manifest(&tar);
        let mut builder = tar::Builder::new(tar[..kept].to_vec());
        support::append(
            &mut builder,
            "manifest.json",
            &serde_json::to_vec(&manifest).unwrap(),
        );
        builder.into_inner().unwrap()
    });
}

fn entries_before_manifest(tar: &[u8]) -> usize {
    let mut archive = tar::Archive::new(tar);
    let mut entries = archive.entries().unwrap().map(Result::unwrap);
    let manifest = entries.find(|entry| entry.path_bytes() == &b"manifest.json"[..]);
    manifest.unwrap().raw_header_position() as usize
}

#[test]
fn a_lying_manifest_is_found() {
    type Lie = fn(&mut Manifest);
    fn of<'m>(manifest: &'m mut Manifest, path: &str) -> &'m mut openflow_archive::Entry {
        manifest
            .entries
            .iter_mut()
            .find(|entry| entry.path == path)
            .unwrap()
    }
    let honest: Lie = |_| {};
    let place = archived();
    lie(&place, honest);
    place.check().unwrap();
    place.unpack().unwrap();
    let lies: [(&str, Lie); 12] = [
        ("content of 'flows.json'", |manifest| {
            let openflow_archive::Kind::File { sha256, .. } = &mut of(manifest, "flows.json").kind
            else {
                panic!("no file");
            };
            sha256.0[0] ^= 1;
        }),
        ("size of 'text'", |manifest| {
            let openflow_archive::Kind::File { size, .. } = &mut of(manifest, "text").kind else {
                panic!("no file");
            };
            *size += 1;
            manifest.bytes += 1;
        }),
        ("mode of 'text'", |manifest| {
            of(manifest, "text").mode ^= 0o100
        }),
        ("owner of 'text'", |manifest| of(manifest, "text").uid += 1),
        ("time of 'text'", |manifest| {
            of(manifest, "text").mtime.nanos ^= 1
        }),
        ("type of 'text'", |manifest| {
            of(manifest, "text").kind = openflow_archive::Kind::Folder
        }),
        ("'more' is missing", |manifest| {
            let mut more = of(manifest, "text").clone();
            more.path = "more".into();
            manifest.entries.push(more);
        }),
        ("without its folder", |manifest| {
            manifest.entries.retain(|entry| entry.path != "d")
        }),
        ("sums are wrong", |manifest| {
            manifest.entries.retain(|entry| entry.path != "text")
        }),
        ("sums are wrong", |manifest| manifest.files += 1),
        ("listed twice", |manifest| {
            let again = of(manifest, "text").clone();
            manifest.entries.push(again)
        }),
        ("version 2", |manifest| manifest.version = 2),
    ];
    for (told, change) in lies {
        let place = archived();
        lie(&place, change);
        let error = refused(&place, told);
        assert!(error.contains(told), "{told}: {error}");
    }
}

#[test]
fn an_archive_needs_its_manifest_and_nothing_after_it() {
    let place = archived();
    let good = fs::read(place.archive()).unwrap();
    rewrite(&place.archive(), |tar| {
        let kept = entries_before_manifest(&tar);
        [&tar[..kept], &[0; 1024]].concat()
    });
    assert!(refused(&place, "no manifest").contains("no manifest"));
    fs::write(place.archive(), &good).unwrap();
    rewrite(&place.archive(), |tar| tar[..tar.len() - 1024].to_vec());
    assert!(refused(&place, "no end").contains("ends in the middle"));
    fs::write(place.archive(), &good).unwrap();
    rewrite(&place.archive(), |tar| {
        let mut builder = tar::Builder::new(tar[..tar.len() - 1024].to_vec());
        support::append(&mut builder, "data/late", b"x");
        builder.into_inner().unwrap()
    });
    assert!(refused(&place, "late").contains("'data/late' is refused: it comes after"));
    fs::write(place.archive(), &good).unwrap();
    rewrite(&place.archive(), |tar| {
        [tar, b"something".repeat(100)].concat()
    });
    assert!(refused(&place, "garbage").contains("something follows"));
    // What tar itself adds is fine.
    fs::write(place.archive(), &good).unwrap();
    rewrite(&place.archive(), |tar| [tar, vec![0; 9216]].concat());
    place.check().unwrap();
}

#[test]
fn limits_stop_a_bomb() {
    let place = archived();
    let small = |bytes, entries| Limits { bytes, entries };
    for limits in [small(1 << 20, 100), small(1 << 30, 3)] {
        let error = check(&place.archive(), &limits).unwrap_err();
        assert!(matches!(error, Error::TooBig(_)), "{error}");
        let error = unpack(&place.archive(), &place.unpacked(), limits).unwrap_err();
        assert!(matches!(error, Error::TooBig(_)), "{error}");
        assert!(!place.unpacked().exists());
    }
    // A quarter of a gigabyte of zeros in one gzip member of another program.
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    support::folder(&mut builder, "data/");
    let mut header = support::header(tar::EntryType::Regular, 1 << 28);
    let zeros = std::io::repeat(0).take(1 << 28);
    builder
        .append_data(&mut header, "data/zeros", zeros)
        .unwrap();
    let bomb = builder.into_inner().unwrap().finish().unwrap();
    fs::write(place.archive(), bomb).unwrap();
    let error = unpack(&place.archive(), &place.unpacked(), small(100 << 20, 100)).unwrap_err();
    assert!(matches!(error, Error::TooBig(_)), "{error}");
    assert!(!place.unpacked().exists());
}

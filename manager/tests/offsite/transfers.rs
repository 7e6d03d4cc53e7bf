use std::{fs, io::Read as _, iter, path::Path};

use age::{Decryptor, x25519::Identity};
use openflow_manager::offsite::{Error, Upload, UploadState};

use crate::support::*;

const NEVER: &str = "nowhere";

fn upload<'a>(
    file: &'a Path,
    spool: &'a Path,
    key: &'a str,
    before: Option<UploadState>,
) -> Upload<'a> {
    Upload {
        file,
        spool,
        key,
        before,
    }
}

#[tokio::test]
async fn files_of_every_size_go_there_and_come_back() {
    let bucket = Bucket::new().await;
    let offsite = bucket.offsite();
    assert_eq!(offsite.name(), format!("s3://{}/some/folder", bucket.name));
    offsite.check().await.unwrap();
    assert_eq!(offsite.list("").await.unwrap(), []);

    let sizes = [0, 1, 8 * MIB, 8 * MIB + 1, 20 * MIB];
    for bytes in sizes {
        let file = bucket.file("file", bytes);
        let key = format!("one/{bytes}.tar.gz");
        let mut kept = Kept::default();
        let spool = bucket.path(NEVER);
        let put = offsite
            .put(upload(&file, &spool, &key, None), &mut kept)
            .await;
        assert_eq!(put.unwrap(), bytes as u64);
        if 8 * MIB < bytes {
            assert_eq!(kept.last().unwrap().done_bytes(), bytes as u64);
        }
        let back = bucket.path("back");
        let mut told = Vec::new();
        let mut progress = |done, total| {
            told.push((done, total));
            true
        };
        let got = offsite.get(&key, &back, &mut progress).await;
        assert_eq!(got.unwrap(), bytes as u64);
        assert_eq!(told.last(), Some(&(bytes as u64, bytes as u64)));
        assert!(
            fs::read(&file).unwrap() == fs::read(&back).unwrap(),
            "{bytes}"
        );
    }
    let other = bucket.file("file", 3);
    let mut kept = Kept::default();
    let spool = bucket.path(NEVER);
    let put = offsite.put(upload(&other, &spool, "onerous/x", None), &mut kept);
    put.await.unwrap();

    let mut listed = offsite.list("one").await.unwrap();
    listed.sort_by_key(|it| it.bytes);
    let found: Vec<_> = listed.iter().map(|it| it.bytes as usize).collect();
    assert_eq!(found, sizes);
    assert_eq!(listed[1].key, "one/1.tar.gz");
    for _ in 0..2 {
        offsite.delete("one/1.tar.gz").await.unwrap();
    }
    assert_eq!(offsite.list("one").await.unwrap().len(), 4);
    assert_eq!(offsite.list("").await.unwrap().len(), 5);
    assert_eq!(bucket.open_uploads().await, 0);
    assert!(!bucket.path(NEVER).exists());
}

#[tokio::test]
async fn an_upload_that_was_cut_goes_on_where_it_was() {
    let bucket = Bucket::new().await;
    let file = bucket.file("file", 60 * MIB);
    let spool = bucket.path(NEVER);
    let mut kept = Kept::default();

    let cut = Relay::cut_after(30 << 20).await;
    let through = bucket.through(cut.address, &[]);
    let put = through
        .put(upload(&file, &spool, "a/b", None), &mut kept)
        .await;
    assert!(matches!(put, Err(Error::Away(_))), "{put:?}");
    let before = kept.last().unwrap();
    assert!((2..=3).contains(&before.parts.len()), "{before:?}");
    assert_eq!(bucket.offsite().list("").await.unwrap(), []);
    assert_eq!(bucket.open_uploads().await, 1);

    let whole = Relay::cut_after(u64::MAX).await;
    let through = bucket.through(whole.address, &[]);
    let rest = 60 * MIB as u64 - before.done_bytes();
    let put = through.put(upload(&file, &spool, "a/b", Some(before)), &mut kept);
    assert_eq!(put.await.unwrap(), 60 * MIB as u64);
    let sent = whole.passed();
    assert!(
        (rest..rest + MIB as u64).contains(&sent),
        "{sent} of {rest}"
    );

    let back = bucket.path("back");
    let offsite = bucket.offsite();
    offsite.get("a/b", &back, &mut |_, _| true).await.unwrap();
    assert!(fs::read(&file).unwrap() == fs::read(&back).unwrap());
    assert_eq!(bucket.open_uploads().await, 0);
}

#[tokio::test]
async fn an_upload_that_was_stopped_at_any_part_goes_on() {
    let bucket = Bucket::new().await;
    let offsite = bucket.offsite();
    let file = bucket.file("file", 20 * MIB);
    let spool = bucket.path(NEVER);
    let mut before = None;
    for stop_at in [1, 2, 1, 1] {
        let mut kept = Kept {
            stop_at: Some(stop_at),
            ..Kept::default()
        };
        let put = offsite
            .put(upload(&file, &spool, "x", before.clone()), &mut kept)
            .await;
        assert!(matches!(put, Err(Error::Stopped)), "{put:?}");
        if stop_at == 1 && before.is_none() {
            // Begun, but nobody could keep it: nothing is left there.
            assert_eq!(bucket.open_uploads().await, 0);
            continue;
        }
        before = kept.last();
    }
    // All parts are there, it only has to be completed.
    assert_eq!(before.as_ref().unwrap().parts.len(), 3);
    let mut kept = Kept::default();
    let put = offsite.put(upload(&file, &spool, "x", before.clone()), &mut kept);
    assert_eq!(put.await.unwrap(), 20 * MIB as u64);
    assert!(kept.states.is_empty());
    // It was completed, but we died before we knew.
    let put = offsite.put(upload(&file, &spool, "x", before), &mut kept);
    assert_eq!(put.await.unwrap(), 20 * MIB as u64);
    assert!(kept.states.is_empty(), "nothing was sent again");
}

#[tokio::test]
async fn what_does_not_fit_together_begins_anew() {
    let bucket = Bucket::new().await;
    let offsite = bucket.offsite();
    let spool = bucket.path(NEVER);
    let file = bucket.file("file", 20 * MIB);
    let stopped_at = async |state| {
        let mut kept = Kept {
            stop_at: Some(state),
            ..Kept::default()
        };
        let put = offsite
            .put(upload(&file, &spool, "x", None), &mut kept)
            .await;
        assert!(matches!(put, Err(Error::Stopped)), "{put:?}");
        kept.last().unwrap()
    };
    let whole_and_equal = async || {
        let back = bucket.path("back");
        offsite.get("x", &back, &mut |_, _| true).await.unwrap();
        assert!(fs::read(&file).unwrap() == fs::read(&back).unwrap());
        assert_eq!(bucket.open_uploads().await, 0);
    };

    // The file is another one meanwhile.
    let before = stopped_at(3).await;
    bucket.file("file", 21 * MIB);
    let mut kept = Kept::default();
    let put = offsite.put(upload(&file, &spool, "x", Some(before)), &mut kept);
    assert_eq!(put.await.unwrap(), 21 * MIB as u64);
    whole_and_equal().await;
    offsite.delete("x").await.unwrap();

    // The store has forgotten the upload: in the middle, and before its end.
    for state in [3, 4] {
        let before = stopped_at(state).await;
        offsite.abort(&before).await;
        let address = forgetting(&before.upload_id).await;
        let through = bucket.through(address, &[]);
        let mut kept = Kept::default();
        let put = through.put(upload(&file, &spool, "x", Some(before.clone())), &mut kept);
        assert_eq!(put.await.unwrap(), 21 * MIB as u64);
        assert_ne!(kept.last().unwrap().upload_id, before.upload_id);
        whole_and_equal().await;
        offsite.delete("x").await.unwrap();
    }
}

#[tokio::test]
async fn an_encrypted_copy_is_read_with_the_secret_key_alone_also_after_an_interruption() {
    let bucket = Bucket::new().await;
    let secret = Identity::generate();
    let to = format!("--offsite-age-recipient={}", secret.to_public());
    let offsite = bucket.through(server(), &[&to]);
    let (file, spool) = (bucket.file("file", 20 * MIB), bucket.path("spool"));
    let key = offsite.key("a/b.tar.gz");
    assert_eq!(key, "a/b.tar.gz.age");

    let mut kept = Kept::default();
    for lost_spool in [false, true] {
        kept.stop_at = Some(kept.states.len() + if lost_spool { 1 } else { 2 });
        let put = offsite.put(upload(&file, &spool, &key, kept.last()), &mut kept);
        assert!(matches!(put.await, Err(Error::Stopped)));
        if lost_spool {
            // Encrypted anew it is other bytes: no part of before may stay.
            fs::remove_file(&spool).unwrap();
        }
    }
    let first = kept.last().unwrap();
    kept.stop_at = None;
    let put = offsite.put(upload(&file, &spool, &key, kept.last()), &mut kept);
    assert!(put.await.unwrap() > 20 * MIB as u64);
    assert_ne!(kept.last().unwrap().upload_id, first.upload_id);
    assert!(!spool.exists());
    assert_eq!(bucket.open_uploads().await, 0);

    let back = bucket.path("back");
    offsite.get(&key, &back, &mut |_, _| true).await.unwrap();
    let decryptor = Decryptor::new(fs::File::open(&back).unwrap()).unwrap();
    let mut text = Vec::new();
    let mut reader = decryptor.decrypt(iter::once(&secret as _)).unwrap();
    reader.read_to_end(&mut text).unwrap();
    assert!(fs::read(&file).unwrap() == text);
    let decryptor = Decryptor::new(fs::File::open(&back).unwrap()).unwrap();
    let other = Identity::generate();
    assert!(decryptor.decrypt(iter::once(&other as _)).is_err());
}

#[tokio::test]
async fn a_download_that_breaks_leaves_nothing() {
    let bucket = Bucket::new().await;
    let offsite = bucket.offsite();
    let file = bucket.file("file", 20 * MIB);
    let mut kept = Kept::default();
    let spool = bucket.path(NEVER);
    let put = offsite.put(upload(&file, &spool, "x", None), &mut kept);
    put.await.unwrap();
    let back = bucket.path("back");
    let mut stop = |done, _| done < 10 << 20;
    let got = offsite.get("x", &back, &mut stop).await;
    assert!(matches!(got, Err(Error::Stopped)), "{got:?}");
    let got = offsite.get("y", &back, &mut |_, _| true).await;
    assert!(matches!(got, Err(Error::NotFound(_))), "{got:?}");
    assert!(!back.exists() && !bucket.path("back.part").exists());
}

use std::{fs, io::Write as _, path::Path};

use flate2::{Compression, write::GzEncoder};
use sqlx::PgPool;

use crate::bench::{Bare, Home, Parts, refusal};

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn entries_that_no_backup_has_are_refused_by_name(pool: PgPool) {
    let home = Home::new(pool).await;
    home.back_up("all.tar").await;
    let file = home.file("hostile.tar");
    let known = Parts::of(&home.file("all.tar"));
    for name in [
        "../../etc/cron.d/x",
        "/etc/passwd",
        "database/../../x.copy.gz",
        "database/users; drop table users.copy.gz",
        "instances/../../../tmp.tar.gz",
        "keys/../../x",
        "keys/authorized_keys",
        "README.txt",
    ] {
        let mut parts = known.clone();
        parts.0.insert(3, (name.to_owned(), b"x".to_vec()));
        parts.agree(|_| {});
        parts.write(&file);
        let error = refusal(&file);
        assert!(error.contains(name), "{name}: {error}");
    }
    // One that is missing, two in another order.
    let mut parts = known.clone();
    let at = parts
        .0
        .iter()
        .position(|(name, _)| name.starts_with("instances/"));
    parts.0.remove(at.unwrap());
    parts.agree(|_| {});
    parts.write(&file);
    assert!(refusal(&file).contains("lacks instances/"));
    let mut parts = known;
    parts.0.swap(2, 3);
    parts.write(&file);
    assert!(refusal(&file).contains("damaged"));
}

/// An archive of a data folder as somebody evil would make it.
fn evil(name: &str, kind: tar::EntryType, link: &str) -> Vec<u8> {
    let mut tar = Vec::new();
    for (name, kind, link) in [("data/", tar::EntryType::Directory, ""), (name, kind, link)] {
        let mut header = tar::Header::new_ustar();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_size(0);
        header.set_cksum();
        tar.extend_from_slice(header.as_bytes());
    }
    tar.extend_from_slice(&[0; 1024]);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(&tar).unwrap();
    gzip.finish().unwrap()
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_data_folder_that_would_get_out_is_refused_and_nothing_is_left(pool: PgPool) {
    use tar::EntryType as T;
    let home = Home::new(pool.clone()).await;
    home.back_up("all.tar").await;
    let bare = Bare::new(&pool).await;
    let outside = bare.data.path().parent().unwrap().join("openflow-evil");
    for (name, kind, link) in [
        ("data/../../../openflow-evil", T::Regular, ""),
        ("/tmp/openflow-evil", T::Regular, ""),
        ("data/x", T::Symlink, "/etc"),
        ("data/dev", T::Char, ""),
        ("data/pipe", T::Fifo, ""),
    ] {
        let mut parts = Parts::of(&home.file("all.tar"));
        let it = parts
            .0
            .iter_mut()
            .rfind(|(name, _)| name.starts_with("instances/"));
        it.unwrap().1 = evil(name, kind, link);
        parts.agree(|_| {});
        parts.write(&home.file("evil.tar"));
        let error = bare.restore(&home.file("evil.tar")).await.unwrap_err();
        assert!(format!("{error:#}").contains("instances/"), "{error:#}");
        assert!(bare.names().is_empty(), "{name}: {:?}", bare.names());
        assert!(bare.is_empty().await);
        assert!(!Path::new(&outside).exists());
    }
    fs::read(home.file("evil.tar")).unwrap();
}

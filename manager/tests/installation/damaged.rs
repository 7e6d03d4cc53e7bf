use std::fs;

use openflow_manager::installation::{Archive, Silent};
use serde_json::json;
use sqlx::PgPool;

use crate::bench::{Home, Parts, refusal};

/// Where each entry's content is in the file, and how long.
fn places(file: &std::path::Path) -> Vec<(String, u64, u64)> {
    let mut archive = tar::Archive::new(fs::File::open(file).unwrap());
    let entries = archive.entries().unwrap();
    entries
        .map(|it| {
            let it = it.unwrap();
            let name = it.path().unwrap().to_str().unwrap().to_owned();
            (name, it.raw_file_position(), it.size())
        })
        .collect()
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_flipped_byte_is_found_wherever_it_is(pool: PgPool) {
    let home = Home::new(pool).await;
    home.back_up("all.tar").await;
    let whole = fs::read(home.file("all.tar")).unwrap();
    let places = places(&home.file("all.tar"));
    assert!(places.len() > 15, "{places:?}");
    for (name, offset, size) in places {
        // Its header, and its content's begin, middle and end.
        for at in [offset - 500, offset, offset + size / 2, offset + size - 1] {
            let mut damaged = whole.clone();
            damaged[at as usize] ^= 0x20;
            fs::write(home.file("damaged.tar"), damaged).unwrap();
            let error = refusal(&home.file("damaged.tar"));
            assert!(error.contains("damaged.tar: "), "{name} {at}: {error}");
        }
    }
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_cut_file_is_found_wherever_it_was_cut(pool: PgPool) {
    let home = Home::new(pool).await;
    home.back_up("all.tar").await;
    let whole = fs::read(home.file("all.tar")).unwrap();
    let mut cuts = vec![
        0,
        1,
        511,
        512,
        whole.len() - 1,
        whole.len() - 512,
        whole.len() - 1024,
    ];
    for (_, offset, size) in places(&home.file("all.tar")) {
        cuts.extend([offset - 512, offset, offset + size / 2].map(|it| it as usize));
    }
    for cut in cuts {
        fs::write(home.file("cut.tar"), &whole[..cut]).unwrap();
        let error = refusal(&home.file("cut.tar"));
        assert!(error.contains("cut.tar: "), "{cut}: {error}");
    }
    let longer = [&whole[..], b"more"].concat();
    fs::write(home.file("longer.tar"), longer).unwrap();
    refusal(&home.file("longer.tar"));
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn what_is_no_backup_of_an_installation_is_told_so(pool: PgPool) {
    let home = Home::new(pool).await;
    home.back_up("all.tar").await;
    let file = home.file("other");
    assert!(refusal(&file).contains("cannot open it"));
    for content in [&b""[..], b"hello", &[0; 4096], &[0x1f; 2000]] {
        fs::write(&file, content).unwrap();
        let error = refusal(&file);
        assert!(error.contains("no backup of an Openflow"), "{error}");
    }
    let mut foreign = tar::Builder::new(fs::File::create(&file).unwrap());
    let mut header = tar::Header::new_gnu();
    header.set_size(2);
    header.set_cksum();
    foreign
        .append_data(&mut header, "etc/passwd", &b"hi"[..])
        .unwrap();
    foreign.into_inner().unwrap();
    assert!(refusal(&file).contains("no backup of an Openflow"));
    // A directory, too.
    refusal(home.shelf.path());

    let mut newer = Parts::of(&home.file("all.tar"));
    newer.agree(|it| {
        it["version"] = json!(2);
        it["openflow"] = json!("9.9.9");
    });
    newer.write(&file);
    let error = refusal(&file);
    assert!(error.contains("Install Openflow 9.9.9"), "{error}");
    // The tool that forges is not what is refused.
    let mut same = Parts::of(&home.file("all.tar"));
    same.agree(|_| {});
    same.write(&file);
    Archive::open(&file, &Silent).unwrap();
}

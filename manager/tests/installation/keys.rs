use std::{fs, path::Path, sync::Arc};

use openflow_manager::{
    crypto::random_token,
    installation::{self, Archive, BackUp, KeySource, Keys, Silent},
    kernel::Secret,
};
use sqlx::PgPool;

use crate::bench::{Bare, Home, Parts};

async fn without_keys(home: &Home) {
    let job = BackUp {
        with_keys: false,
        ..home.job("sealed.tar")
    };
    installation::back_up(job, Arc::new(Silent)).await.unwrap();
}

fn find(bare: &Bare, given: Option<&Path>, file: &Path) -> anyhow::Result<Keys> {
    let archive = Archive::open(file, &Silent).unwrap();
    let keys = Keys::find(&bare.config, given, &archive)?;
    keys.check(&archive)?;
    Ok(keys)
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn keys_are_in_the_file_only_when_asked_for(pool: PgPool) {
    let home = Home::new(pool.clone()).await;
    home.back_up("all.tar").await;
    without_keys(&home).await;
    let (with, without) = (home.file("all.tar"), home.file("sealed.tar"));
    let key = fs::read(home.bench.t.data.path().join("keys/secret.keys")).unwrap();
    let key = key.trim_ascii_end();
    let holds = |file: &Path| {
        fs::read(file)
            .unwrap()
            .windows(key.len())
            .any(|it| it == key)
    };
    assert!(holds(&with));
    assert!(!holds(&without));
    assert!(
        Parts::of(&without)
            .0
            .iter()
            .all(|(name, _)| !name.starts_with("keys/"))
    );

    let bare = Bare::new(&pool).await;
    assert_eq!(find(&bare, None, &with).unwrap().source, KeySource::Archive);
    let error = find(&bare, None, &without).err().unwrap().to_string();
    assert!(error.contains("made without keys"), "{error}");
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn keys_come_from_wherever_they_were_kept(pool: PgPool) {
    let home = Home::new(pool.clone()).await;
    without_keys(&home).await;
    let file = home.file("sealed.tar");
    let kept = home.bench.t.data.path().join("keys");
    let bare = Bare::new(&pool).await;
    for given in [kept.clone(), kept.join("secret.keys")] {
        let keys = find(&bare, Some(&given), &file).unwrap();
        assert_eq!(keys.source, KeySource::Given);
    }
    let text = fs::read_to_string(kept.join("secret.keys")).unwrap();
    let mut set = Bare::new(&pool).await;
    set.config.secrets.keys = Some(Secret::new(text.trim()));
    assert_eq!(find(&set, None, &file).unwrap().source, KeySource::Setting);
    assert!(find(&set, Some(&kept), &file).is_err(), "twice");

    // Put back by hand: they are used, and stay.
    let place = bare.data.path().join("keys");
    fs::create_dir(&place).unwrap();
    fs::copy(kept.join("secret.keys"), place.join("secret.keys")).unwrap();
    assert_eq!(find(&bare, None, &file).unwrap().source, KeySource::InPlace);
    bare.restore(&file).await.unwrap();
    assert_eq!(fs::read_to_string(place.join("secret.keys")).unwrap(), text);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_wrong_key_is_found_before_anything_is_written(pool: PgPool) {
    let home = Home::new(pool.clone()).await;
    without_keys(&home).await;
    let file = home.file("sealed.tar");
    let bare = Bare::new(&pool).await;
    let wrong = home.file("wrong.keys");
    fs::write(&wrong, random_token()).unwrap();
    let error = find(&bare, Some(&wrong), &file).err().unwrap().to_string();
    assert!(error.contains("not the keys of this archive"), "{error}");
    for given in ["no-key", "missing"] {
        fs::write(home.file("no-key"), "x").unwrap();
        assert!(find(&bare, Some(&home.file(given)), &file).is_err());
    }
    let place = bare.data.path().join("keys");
    fs::create_dir(&place).unwrap();
    fs::copy(&wrong, place.join("secret.keys")).unwrap();
    assert!(bare.restore(&file).await.is_err());
    assert_eq!(bare.names(), ["keys"]);
    assert!(bare.is_empty().await);
}

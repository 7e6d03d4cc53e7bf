//! A restore that was killed, and folders that are in use.
use std::fs;

use openflow_manager::{
    installation::{self, Archive, Keys, Place, Silent, refuse_unfinished, target_of},
    kernel::SystemClock,
};
use sqlx::PgPool;

use crate::bench::{Bare, Home};

#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Killed {
    Marked,
    Unpacked,
    Loaded,
}

/// Goes so far and is gone.
async fn killed(at: Killed, bare: &Bare, file: &std::path::Path) {
    let archive = Archive::open(file, &Silent).unwrap();
    let keys = Keys::find(&bare.config, None, &archive).unwrap();
    let place = Place::prepare(&bare.config.data, &archive, &bare.target).unwrap();
    if Killed::Unpacked <= at {
        place.unpack(&archive, &keys, &Silent).unwrap();
    }
    if Killed::Loaded <= at {
        place.begin_database().unwrap();
        installation::load(&bare.db, &archive, &SystemClock, &Silent)
            .await
            .unwrap();
    }
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn wherever_a_restore_is_killed_nothing_starts_and_the_next_one_ends_well(pool: PgPool) {
    let home = Home::new(pool.clone()).await;
    home.back_up("all.tar").await;
    let file = home.file("all.tar");
    for at in [Killed::Marked, Killed::Unpacked, Killed::Loaded] {
        let bare = Bare::new(&pool).await;
        killed(at, &bare, &file).await;
        let error = refuse_unfinished(&bare.config.data).unwrap_err();
        assert!(error.to_string().contains("openflow restore"), "{error}");
        bare.restore(&file).await.unwrap();
        refuse_unfinished(&bare.config.data).unwrap();
        assert_eq!(bare.names(), ["instances", "keys", "mqtt", "settings.env"]);
        let users: i64 = sqlx::query_scalar("select count(*) from users")
            .fetch_one(&bare.pool)
            .await
            .unwrap();
        assert!(users > 0, "{at:?}");
    }
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn the_next_one_wipes_no_database_but_its_own(pool: PgPool) {
    let home = Home::new(pool.clone()).await;
    home.back_up("all.tar").await;
    let file = home.file("all.tar");
    let bare = Bare::new(&pool).await;
    killed(Killed::Loaded, &bare, &file).await;
    let other = Bare {
        target: target_of(Some("postgres://somebody@elsewhere/bare")),
        ..bare
    };
    let error = other.restore(&file).await.unwrap_err().to_string();
    assert!(error.contains("another database"), "{error}");
    assert!(!other.is_empty().await);
}

/// The second try fails before it came to the database: what is in there is
/// still half of something.
#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_second_try_that_fails_leaves_the_mark_for_a_third(pool: PgPool) {
    let home = Home::new(pool.clone()).await;
    home.back_up("all.tar").await;
    let file = home.file("all.tar");
    let bare = Bare::new(&pool).await;
    killed(Killed::Loaded, &bare, &file).await;
    let archive = Archive::open(&file, &Silent).unwrap();
    let second = Place::prepare(&bare.config.data, &archive, &bare.target).unwrap();
    second.undo().unwrap();
    refuse_unfinished(&bare.config.data).unwrap_err();
    bare.restore(&file).await.unwrap();
    refuse_unfinished(&bare.config.data).unwrap();
}

/// Somebody else's, named by mistake: the restore was killed before it looked.
#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_database_that_was_not_begun_is_never_emptied(pool: PgPool) {
    let home = Home::new(pool.clone()).await;
    home.back_up("all.tar").await;
    let file = home.file("all.tar");
    let bare = Bare::new(&pool).await;
    killed(Killed::Unpacked, &bare, &file).await;
    bare.db.migrate().await.unwrap();
    sqlx::query("insert into users (id, email, name, password_hash, created_at, updated_at) values (gen_random_uuid(), 'a@b', 'A', 'x', now(), now())")
        .execute(&bare.pool)
        .await
        .unwrap();
    let error = bare.restore(&file).await.unwrap_err().to_string();
    assert!(error.contains("has users already"), "{error}");
    let users: i64 = sqlx::query_scalar("select count(*) from users")
        .fetch_one(&bare.pool)
        .await
        .unwrap();
    assert_eq!(users, 1);
}

#[sqlx::test(migrator = "openflow_manager::db::MIGRATOR")]
async fn a_folder_in_use_is_refused_and_left_as_it_is(pool: PgPool) {
    let home = Home::new(pool.clone()).await;
    home.back_up("all.tar").await;
    let file = home.file("all.tar");
    for name in ["postgres", "instances", "notes.txt"] {
        let bare = Bare::new(&pool).await;
        fs::create_dir(bare.data.path().join(name)).unwrap();
        let error = bare.restore(&file).await.unwrap_err().to_string();
        assert!(error.contains(&format!("it holds {name}")), "{error}");
        assert_eq!(bare.names(), [name]);
        assert!(bare.is_empty().await);
    }
    // A fresh disk, and the backup itself, are no use.
    let bare = Bare::new(&pool).await;
    fs::create_dir(bare.data.path().join("lost+found")).unwrap();
    fs::write(bare.data.path().join("openflow.lock"), "").unwrap();
    let copy = bare.data.path().join("all.tar");
    fs::copy(&file, &copy).unwrap();
    bare.restore(&copy).await.unwrap();
    assert!(copy.exists());
}

//! `openflow restore FILE`: the whole installation on a bare machine.
use std::{path::PathBuf, sync::Arc};

use anyhow::Context as _;
use clap::Args;

use super::{
    console::{Step, say},
    database::Database,
    lock::DataLock,
    progress::Bars,
    signals,
};
use crate::{
    config::Config,
    db::Db,
    installation::{self, Archive, Keys, Manifest, NotEmptied, Place, Watch, target_of},
    kernel::SystemClock,
};

pub(super) const ABOUT: &str = "\
Bring a whole installation back from the file that openflow backup --all made

Openflow is installed, nothing of it runs, and the data folder (--data-dir) is empty, but for keys/ if you put it there. \
With DATABASE_URL, that database is empty. The file is read to its end and checked, and the keys are tried, before anything is \
written; if anything fails later, all of it is taken back. When it is cut short (power, kill -9), openflow up refuses to start, \
and the same openflow restore begins anew.

The keys: from --keys, from OPENFLOW_SECRET_KEYS, from <data-dir>/keys where you put them before, or from the file itself when it \
was made with --with-keys.

Afterwards openflow up brings every instance back as it was: what ran runs, what was stopped is stopped. Sign-ins, API tokens \
and editor sessions go on. The settings that were set are in <data-dir>/settings.env; they are not applied by themselves.";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// What openflow backup --all made
    file: PathBuf,
    /// The keys that were kept apart: a copy of the folder data/keys, or of secret.keys in it
    #[arg(long, value_name = "PATH")]
    keys: Option<PathBuf>,
}

pub(super) async fn run(config: Config, arguments: Arguments) -> anyhow::Result<()> {
    let stop = signals::stop_token()?;
    let bars = Arc::new(Bars::new(stop));
    let result = bring_back(&config, &arguments, bars.clone()).await;
    bars.end();
    let (archive, keys) = result?;
    report(&config, archive.manifest(), &keys);
    Ok(())
}

async fn bring_back(
    config: &Config,
    arguments: &Arguments,
    bars: Arc<Bars>,
) -> anyhow::Result<(Arc<Archive>, Arc<Keys>)> {
    let watch: Arc<dyn Watch> = bars;
    let file = arguments.file.clone();
    let archive = blocking({
        let watch = watch.clone();
        move || Archive::open(&file, &*watch)
    });
    let archive = Arc::new(archive.await?);
    let keys = Keys::find(config, arguments.keys.as_deref(), &archive)?;
    keys.check(&archive)?;
    let keys = Arc::new(keys);
    let url = config.database.url.as_ref();
    let target = target_of(url.map(|it| it.expose()));
    let lock = DataLock::take(&config.data)?;
    let place = Arc::new(Place::prepare(&config.data, &archive, &target)?);
    if let Err(error) = fill(config, &place, (&archive, &keys), (&lock, watch)).await {
        if error.is::<NotEmptied>() {
            return Err(error.context("the restore failed. Run it again: it cleans up first"));
        }
        let _step = Step::begin("Taking everything back");
        return Err(match place.undo() {
            Ok(()) if place.wipes_database => error.context(
                "nothing was restored, and the one before was cut short. Mend the reason and run it again",
            ),
            Ok(()) => error.context("nothing was restored, and the data folder is as it was"),
            Err(worse) => error.context(format!(
                "the restore failed, and it could not be taken back ({worse:#}). Run it again"
            )),
        });
    }
    Ok((archive, keys))
}

async fn fill(
    config: &Config,
    place: &Arc<Place>,
    (archive, keys): (&Arc<Archive>, &Arc<Keys>),
    (lock, watch): (&DataLock, Arc<dyn Watch>),
) -> anyhow::Result<()> {
    blocking({
        let (place, archive, keys, watch) =
            (place.clone(), archive.clone(), keys.clone(), watch.clone());
        move || place.unpack(&archive, &keys, &*watch)
    })
    .await?;
    let database = Database::open(config, lock).await?;
    let done = load(&database.db, place, archive, &*watch).await;
    database.close().await;
    done
}

async fn load(db: &Db, place: &Place, archive: &Archive, watch: &dyn Watch) -> anyhow::Result<()> {
    if place.wipes_database {
        installation::wipe(db).await?;
    }
    installation::refuse_used(db).await?;
    place.begin_database()?;
    installation::load(db, archive, &SystemClock, watch).await?;
    let _step = Step::begin("Putting everything in its place");
    let published = place.publish();
    if published.is_err()
        && let Err(worse) = installation::wipe(db).await
    {
        return Err(NotEmptied::from(worse).into());
    }
    published
}

fn report(config: &Config, manifest: &Manifest, keys: &Keys) {
    let dir = config.data.path().display();
    say(format!(
        "The installation of {} is in {dir} again, as it was on {} ({} instances; keys from {}).",
        manifest.public_url,
        manifest.created_at.format("%Y-%m-%d %H:%M UTC"),
        manifest.instances.len(),
        keys.source.name(),
    ));
    for remark in manifest.remarks() {
        say(format!("  {remark}"));
    }
    if manifest.public_url != config.public_url() {
        say(format!(
            "\nIt was at {}, and with the present settings it will be at {}. {dir}/settings.env says what was set.",
            manifest.public_url,
            config.public_url()
        ));
    }
    let mut images: Vec<&str> = manifest
        .instances
        .iter()
        .map(|it| it.image.as_str())
        .collect();
    images.sort_unstable();
    images.dedup();
    if !images.is_empty() {
        let images = images.join(", ");
        say(format!(
            "\nIts instances need the images {images} (make images builds Node-RED's, make n8n that of n8n)."
        ));
    }
    say(
        "Now start it: openflow up (or openflow manager). What ran will run, what was stopped is stopped.",
    );
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .context("a thread panicked")?
}

//! `openflow backup --all`: the whole installation in one file.
use std::{any::TypeId, path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::{Context as _, bail};
use clap::{ArgMatches, Args, parser::ValueSource};
use indicatif::HumanBytes;

use super::{
    console::{Step, say},
    database::Database,
    progress::Bars,
    signals,
};
use crate::{
    app::{self, Secrets, Settings},
    config::Config,
    installation::{self, BackUp, Given, KEY_FILES, Keys, Made, refuse_unfinished, settings_text},
    kernel::{Clock as _, Secret, SystemClock},
};

/// The file was made, but something in it is not as it should be.
const EXIT_CODE_REMARKS: u8 = 3;

pub(super) const ABOUT: &str = "\
Make one file of the whole installation: the database, all data folders, the MQTT broker's messages, the settings

openflow restore brings it back on a bare machine. It works while openflow up or openflow manager runs, and beside a \
stopped one. Each instance is frozen for a moment, so that its files are of one moment; most of it is copied before that. \
Call it with the settings of the installation: OPENFLOW_DATA_DIR, DATABASE_URL and the like.

WITHOUT THE KEYS THE FILE IS WORTHLESS. Secrets in it are sealed with the keys in <data-dir>/keys. They are left out, so that \
whoever gets hold of the file has no secrets: copy that folder to another place, once, and again after each key rotation. \
--with-keys puts them in; then the file alone opens everything, and wants to be kept like a password.

Not in it: backups of single instances (<data-dir>/backups), TLS certificates, container images.

Exit code 0: all is in it. 3: the file was made, and what it says last is not in it or not of one moment. 1: no file.";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Everything; a single instance is backed up on its page or by the API
    #[arg(long, required = true)]
    all: bool,
    /// The file to make, on another disk best [default: openflow-<time>.tar in the current folder]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Put the keys in, too: then the file alone opens every secret
    #[arg(long)]
    with_keys: bool,
    /// Freeze nothing: for when the container engine is away. Files that are written to meanwhile may be of different moments
    #[arg(long)]
    hot: bool,
}

/// The settings that are not at their defaults.
pub(super) fn given(matches: &ArgMatches) -> Vec<Given> {
    let set = |id: &str| {
        let source = matches.value_source(id);
        matches!(
            source,
            Some(ValueSource::CommandLine | ValueSource::EnvVariable)
        )
    };
    let command = super::command();
    let settings = command
        .get_arguments()
        .filter(|it| set(it.get_id().as_str()));
    settings
        .filter_map(|it| {
            let values = matches.get_raw(it.get_id().as_str())?;
            let values: Vec<_> = values.map(|it| it.to_string_lossy()).collect();
            let secret = it.get_value_parser().type_id() == TypeId::of::<Secret>();
            Some(Given {
                name: it.get_env()?.to_string_lossy().into_owned(),
                value: values.join(","),
                is_secret: secret,
            })
        })
        .collect()
}

pub(super) async fn run(
    config: Config,
    arguments: Arguments,
    given: Vec<Given>,
) -> anyhow::Result<ExitCode> {
    refuse_unfinished(&config.data)?;
    // Before the database is started: a wrong folder is the commonest mistake.
    let keys = Keys::in_use(&config)?;
    let stop = signals::stop_token()?;
    let bars = Arc::new(Bars::new(stop));
    let database = Database::open_beside(&config).await?;
    let made = make(&config, &arguments, (given, keys), &database, bars.clone()).await;
    bars.end();
    database.close().await;
    let (output, made) = made?;
    report(&config, &output, &made);
    Ok(match made.manifest.remarks().is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(EXIT_CODE_REMARKS),
    })
}

async fn make(
    config: &Config,
    arguments: &Arguments,
    (given, keys): (Vec<Given>, Keys),
    database: &Database,
    bars: Arc<Bars>,
) -> anyhow::Result<(PathBuf, Made)> {
    let settings = Settings {
        config: config.clone(),
        secrets: Secrets::of(&keys),
    };
    let instances = app::instances_beside(&settings, &database.db).await?;
    if !arguments.hot {
        let _step = Step::begin("Asking the container engine");
        if let Err(error) = instances.ask_engine().await {
            bail!(
                "the container engine does not answer, so that running instances cannot be frozen for their copy: {error}. \
                 Start it, or say --hot to copy them all the same."
            );
        }
    }
    let now = SystemClock.now();
    let name = || format!("openflow-{}.tar", now.format("%Y%m%dT%H%M%SZ")).into();
    let output = arguments.output.clone().unwrap_or_else(name);
    let job = BackUp {
        config: config.clone(),
        db: database.db.clone(),
        instances,
        keys,
        with_keys: arguments.with_keys,
        settings: settings_text(&given, arguments.with_keys),
        hot: arguments.hot,
        output: output.clone(),
        now,
    };
    let made = installation::back_up(job, bars).await;
    Ok((output, made.context("no backup was made")?))
}

fn report(config: &Config, output: &std::path::Path, made: &Made) {
    let manifest = &made.manifest;
    let running = manifest
        .instances
        .iter()
        .filter(|it| it.desired == "running");
    say(format!(
        "{} holds the whole installation: {} instances ({} running), {} of data in {}.",
        output.display(),
        manifest.instances.len(),
        running.count(),
        HumanBytes(manifest.data_bytes()),
        HumanBytes(made.bytes),
    ));
    let remarks = manifest.remarks();
    if !remarks.is_empty() {
        say("\nNOT ALL OF IT IS AS IT SHOULD BE:");
        remarks.iter().for_each(|it| say(format!("  {it}")));
    }
    if manifest.with_keys {
        say(
            "\nTHE KEYS ARE IN IT. Whoever has this file has every secret of the installation: keep it like a password.",
        );
        return;
    }
    let folder = config.data.key_file("");
    let folder = folder.display();
    say(
        "\nTHIS FILE IS WORTHLESS WITHOUT THE KEYS, AND THEY ARE NOT IN IT. Every secret in it is sealed with them.",
    );
    say(
        "Keep a copy of these files, at another place than the backups, so that who gets the one does not get the other:",
    );
    if config.secrets.keys.is_some() {
        say("  the text of OPENFLOW_SECRET_KEYS, from where it is set");
    }
    let there = |it: &&str| config.data.key_file(it).exists();
    for name in KEY_FILES.into_iter().filter(there) {
        say(format!("  {folder}{name}"));
    }
    say(format!(
        "For example: tar -C {} -cf - keys | age -p > /another/place/openflow-keys.tar.age",
        config.data.path().display()
    ));
    say("Once is enough, until keys are rotated. openflow backup --all --with-keys puts them in.");
}

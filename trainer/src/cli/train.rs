//! `resconv train`

use super::verbosity::VerbosityFlags;
use clap::Args;
use std::path::PathBuf;
use trainer::data::{self, DataError, FoundBy};
use trainer::output::report;
use trainer::settings::{MOST_SAMPLES, SettingsFlags, SettingsSource, resolve};
use trainer::system::ranks::Ranks;
use trainer::system::terminal::{print_end, print_result, print_status};
use trainer::train::{
    Resumable, RunContext, RunFolder, Start, TrainError, plan_text, release_followers, train, train_with,
};

#[derive(Debug, Args)]
pub(super) struct TrainArgs {
    /// TOML file of settings, such as the settings.toml of a run; flags win over it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A small network and few images: a picture after about a minute on two cores
    #[arg(long)]
    quick: bool,
    /// Go on from the newest good checkpoint in the run folder, with the settings of its run; begin the run if there is
    /// none yet. With more --samples than before, the run is lengthened: it goes on with the learning rate that a run
    /// of that length has at this point, also after a cosine that had fallen to 0
    #[arg(long, conflicts_with = "force")]
    resume: bool,
    /// Overwrite what an earlier run left in the run folder
    #[arg(long)]
    force: bool,
    /// Another word for --samples: so many times the number of training images
    #[arg(long, value_name = "NUMBER", conflicts_with = "samples", value_parser = clap::value_parser!(u64).range(1..))]
    epochs: Option<u64>,
    /// Print the network, every step of the training plan with its shapes and memory, and stop
    #[arg(long)]
    print_plan: bool,
    #[command(flatten)]
    verbosity: VerbosityFlags,
    #[command(flatten)]
    settings: SettingsFlags,
}

impl TrainArgs {
    /// The folder of a run that repeats another one, unless the user says where.
    fn repeated(&self) -> Option<PathBuf> {
        let config = self.config.as_ref()?;
        let said = self.settings.run.out.is_some() || self.resume || self.force;
        if said { None } else { RunFolder::beside(config) }
    }

    /// Names the settings, and not `--data`, if the folder of the dataset is from there.
    fn blame(&self, error: TrainError) -> TrainError {
        match error {
            TrainError::Data(DataError::NoDataset { found_by: FoundBy::Argument, path, problem })
                if self.settings.run.data.is_none() =>
            {
                DataError::NoDataset { found_by: FoundBy::Settings, path, problem }.into()
            }
            error => error,
        }
    }
}

pub(super) fn run(args: &TrainArgs, ranks: &Ranks) -> anyhow::Result<()> {
    args.verbosity.apply();
    let mut flags = args.settings.clone();
    // Until the number of training images is known, in whose stead this is: no other setting is too large for it.
    flags.training.samples = args.epochs.map(|_| MOST_SAMPLES).or(flags.training.samples);
    let mut sources = vec![SettingsSource::flags(&flags)?];
    if let Some(path) = &args.config {
        sources.push(SettingsSource::file(path)?);
    }
    let chosen = sources.len();
    if args.quick {
        sources.push(SettingsSource::quick());
    }
    let mut settings = resolve(&sources)?;
    if let Some(out) = args.repeated() {
        print_status(&format!("the run is repeated in {}", out.display()));
        settings.run.out = Some(out);
    }
    let mut start = if args.force { Start::Overwrite(None) } else { Start::New(None) };
    if args.resume {
        let out = settings.out();
        let found = RunFolder::new(&out).resume(&print_status)?;
        let run = match &found {
            Resumable::FromCheckpoint(resumed) => resumed.checkpoint.run.as_ref().map(|run| &run.settings),
            Resumable::FromStart(settings, _) => Some(&**settings),
            Resumable::Nothing(_) => None,
        };
        if let Some(run) = run {
            sources.insert(chosen, SettingsSource::resumed(run)?);
        }
        settings = resolve(&sources)?;
        settings.run.out = Some(out.clone());
        start = found.into();
        if !matches!(start, Start::Resume(_)) {
            print_status(&format!("no checkpoint in {} yet: the run begins at its beginning", out.display()));
        }
    }
    let data = match args.epochs {
        Some(_) => Some(data::open(&settings.data_request(), &print_status).map_err(|error| args.blame(error.into()))?),
        None => None,
    };
    if let (Some(epochs), Some(data)) = (args.epochs, &data) {
        let out = settings.run.out.take();
        flags.training.samples = Some(epochs.saturating_mul(data.train.len() as u64));
        sources[0] = SettingsSource::flags(&flags)?;
        settings = resolve(&sources)?;
        settings.run.out = out;
    }
    if args.print_plan {
        print_result(plan_text(&settings, ranks)?.trim_end())?;
        release_followers(ranks);
        return Ok(());
    }
    let out = settings.out();
    let renew = || {
        report::renew(&out);
    };
    let context = RunContext { on_results: Some(&renew), sweep: None, ranks: ranks.clone() };
    let trained = match &data {
        Some(data) => train_with(&settings, start, data, context),
        None => train(&settings, start, context),
    };
    if trained.is_ok() || matches!(trained, Err(TrainError::Stopped(_) | TrainError::NotFinite(_))) {
        renew();
    }
    let summary = trained.map_err(|error| args.blame(error))?;
    print_status(&summary.to_string());
    print_end(&format!("{:<28}{}", "written to", settings.out().display()));
    Ok(())
}

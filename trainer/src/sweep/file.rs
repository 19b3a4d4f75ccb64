//! Sweep files, and the runs that they describe.

use super::error::SweepError;
use super::flags::ListFlags;
use crate::published::Published;
use crate::settings::{Settings, SettingsSource, resolve, value_text};
use crate::system::files;
use crate::system::names::derived;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// Longest sweep file that is read, in bytes.
const MAX_BYTES: u64 = 1 << 20;
/// Most runs that a sweep may have.
const MAX_RUNS: usize = 10_000;
/// Settings that a sweep file cannot have: where the sweep is written, and where the dataset is.
const PLACES: [&str; 3] = ["data", "out", "unverified_data"];

/// A matrix of settings, expanded.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// What it compares.
    pub title: String,
    /// Published results to compare with, as CSV.
    pub published: Option<String>,
    /// Its runs.
    pub runs: Vec<PlannedRun>,
    /// Its folder, unless the user chooses another.
    pub default_out: PathBuf,
}

/// A run of a sweep.
#[derive(Clone, Debug)]
pub struct PlannedRun {
    /// Its name, which its folder has: the values that differ, and the seed.
    pub name: String,
    /// Its settings.
    pub settings: Settings,
}

impl PlannedRun {
    /// The run with its folder in `out`.
    pub(super) fn placed(&self, out: &Path) -> PlannedRun {
        let mut run = self.clone();
        run.settings.run.out = Some(out.join(&run.name));
        run
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SweepFile {
    title: Option<String>,
    reference: Option<PathBuf>,
    seeds: Option<Vec<u64>>,
    #[serde(default)]
    base: Table,
    #[serde(default)]
    matrix: Table,
}

/// A setting and its values in a sweep.
struct Axis {
    key: String,
    values: Vec<SettingsSource>,
}

impl Sweep {
    /// The sweep of the file `path`. Flags with one value win over the base and the matrix; flags with several replace
    /// the values in the matrix, or add to it.
    ///
    /// # Errors
    /// [`SweepError`] if a file cannot be read or does not have the right form, or the settings of a run are out of
    /// range.
    pub fn read(path: &Path, flags: &ListFlags) -> Result<Sweep, SweepError> {
        let text = files::read_text(path, MAX_BYTES)?;
        let read_published = |file: &Path| -> Result<String, SweepError> {
            let file = path.parent().unwrap_or(Path::new("")).join(file);
            let text = files::read_text(&file, MAX_BYTES)?;
            Published::parse(&file, &text)?;
            Ok(text)
        };
        Sweep::parse(path, &text, flags, &read_published)
    }

    /// The sweep of a file with this content. `path` names it in messages, and `read_published` reads its published
    /// results.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn parse(
        path: &Path,
        text: &str,
        flags: &ListFlags,
        read_published: &dyn Fn(&Path) -> Result<String, SweepError>,
    ) -> Result<Sweep, SweepError> {
        let wrong = |message: String| SweepError::Parse { path: path.to_owned(), message };
        let file: SweepFile = toml::from_str(text).map_err(|error| wrong(error.to_string().trim_end().to_owned()))?;
        for (table, settings) in [("base", &file.base), ("matrix", &file.matrix)] {
            if let Some(key) = PLACES.into_iter().find(|key| settings.contains_key(*key)) {
                return Err(wrong(format!("[{table}] {key}: say it with --{}", key.replace('_', "-"))));
            }
            if settings.contains_key("seed") {
                return Err(wrong(format!("[{table}] seed: say it above the tables, as `seeds = [0, 1, 2]`")));
            }
        }
        let base = SettingsSource::flat(path, "base", &file.base)?;
        let mut axes = matrix(path, &file.matrix)?;
        let mut named: BTreeSet<String> = axes.iter().map(|axis| axis.key.clone()).collect();
        let seeds = file.seeds.unwrap_or_else(|| vec![0]);
        let mut seed_axis = Axis { key: "seed".to_owned(), values: Vec::new() };
        for seed in seeds {
            let seed = i64::try_from(seed).map_err(|_| wrong(format!("seeds: {seed} is too large")))?;
            let value = Table::from_iter([("seed".to_owned(), Value::Integer(seed))]);
            seed_axis.values.push(SettingsSource::flat(path, "seeds", &value)?);
        }
        if seed_axis.values.is_empty() {
            return Err(wrong("seeds: the list is empty".to_owned()));
        }
        axes.push(seed_axis);
        for (key, values) in flags.sources()? {
            if values.len() > 1 {
                named.insert(key.clone());
            }
            match axes.iter_mut().find(|axis| axis.key == key) {
                Some(axis) => axis.values = values,
                // The seeds vary fastest.
                None => axes.insert(axes.len() - 1, Axis { key, values }),
            }
        }
        named.insert("seed".to_owned());
        let runs = expand(&axes, &named, &base).map_err(|error| match error {
            Expanded::Settings(error) => error.into(),
            Expanded::Other(message) => wrong(message),
        })?;
        let stem = path.file_stem().map_or_else(|| "sweep".to_owned(), |stem| stem.to_string_lossy().into_owned());
        let preset = &runs[0].settings.preset;
        let one_preset = runs.iter().all(|run| run.settings.preset == *preset);
        let end = if one_preset { format!("-{preset}") } else { String::new() };
        let default_out = Path::new("runs").join(derived(OsStr::new(&stem), &end));
        let published = file.reference.as_deref().map(read_published).transpose()?;
        Ok(Sweep { title: file.title.unwrap_or(stem), published, runs, default_out })
    }
}

fn matrix(path: &Path, matrix: &Table) -> Result<Vec<Axis>, SweepError> {
    let mut axes = Vec::new();
    for (key, values) in matrix {
        let wrong =
            |message: &str| SweepError::Parse { path: path.to_owned(), message: format!("[matrix] {key}: {message}") };
        let values = values.as_array().ok_or_else(|| wrong("expected a list of values"))?;
        if values.is_empty() {
            return Err(wrong("the list is empty"));
        }
        let source =
            |value: &Value| SettingsSource::flat(path, "matrix", &Table::from_iter([(key.clone(), value.clone())]));
        axes.push(Axis { key: key.clone(), values: values.iter().map(source).collect::<Result<_, _>>()? });
    }
    Ok(axes)
}

enum Expanded {
    Settings(crate::settings::SettingsError),
    Other(String),
}

/// One run for each combination of values; those of the last axis vary fastest.
fn expand(axes: &[Axis], named: &BTreeSet<String>, base: &SettingsSource) -> Result<Vec<PlannedRun>, Expanded> {
    let count = axes.iter().try_fold(1usize, |count, axis| count.checked_mul(axis.values.len()));
    let count = count.filter(|count| *count <= MAX_RUNS);
    let count = count.ok_or_else(|| Expanded::Other(format!("more than {MAX_RUNS} runs")))?;
    let mut names = BTreeSet::new();
    let mut runs = Vec::with_capacity(count);
    for number in 0..count {
        let mut rest = number;
        let mut sources: Vec<SettingsSource> = Vec::with_capacity(axes.len() + 1);
        for axis in axes.iter().rev() {
            sources.push(axis.values[rest % axis.values.len()].clone());
            rest /= axis.values.len();
        }
        sources.push(base.clone());
        let settings = resolve(&sources).map_err(Expanded::Settings)?;
        let name = name(axes, named, &settings);
        if !names.insert(name.clone()) {
            return Err(Expanded::Other(format!("two runs are the same: {name}")));
        }
        runs.push(PlannedRun { name, settings });
    }
    Ok(runs)
}

/// `layers-3_lr-0.001_seed-0`
fn name(axes: &[Axis], named: &BTreeSet<String>, settings: &Settings) -> String {
    let label = |axis: &Axis| {
        let value = settings.value(&axis.key).map_or_else(String::new, |value| value_text(&value));
        let safe = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
        format!("{}-{}", axis.key, value.chars().map(safe).collect::<String>())
    };
    let name = axes.iter().filter(|axis| named.contains(&axis.key)).map(label).collect::<Vec<_>>().join("_");
    derived(OsStr::new(&name), "").to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, Command, FromArgMatches};

    fn flags(arguments: &[&str]) -> ListFlags {
        let command = ListFlags::augment_args(Command::new("test").no_binary_name(true));
        ListFlags::from_arg_matches(&command.try_get_matches_from(arguments).unwrap()).unwrap()
    }

    fn parse(text: &str, arguments: &[&str]) -> Result<Sweep, SweepError> {
        Sweep::parse(Path::new("my.toml"), text, &flags(arguments), &|_| Ok(String::new()))
    }

    fn names(sweep: &Sweep) -> Vec<&str> {
        sweep.runs.iter().map(|run| run.name.as_str()).collect()
    }

    #[test]
    fn a_matrix_gives_every_combination() {
        let sweep =
            parse("seeds = [4, 5]\n[base]\nsamples = 60\n[matrix]\nlayers = [1, 2]\nlr = [1e-3]\n", &[]).unwrap();
        let expected = [
            "layers-1_lr-0.001_seed-4",
            "layers-1_lr-0.001_seed-5",
            "layers-2_lr-0.001_seed-4",
            "layers-2_lr-0.001_seed-5",
        ];
        assert_eq!(names(&sweep), expected);
        let last = &sweep.runs[3].settings;
        assert_eq!(
            (last.network.layers, last.training.lr, last.training.seed, last.training.samples),
            (2, 1e-3, 5, 60)
        );
        assert_eq!((sweep.title.as_str(), sweep.default_out), ("my", PathBuf::from("runs/my-default")));
    }

    #[test]
    fn flags_win_over_base_and_matrix() {
        let text = "[base]\nbatch = 32\npreset = 'original'\n[matrix]\nlayers = [1, 2, 3]\n";
        let sweep = parse(text, &["--layers=2,5", "--batch=16", "--channels=8,4:8", "--preset=default"]).unwrap();
        let expected = [
            "layers-2_channels-8_seed-0",
            "layers-2_channels-4-8_seed-0",
            "layers-5_channels-8_seed-0",
            "layers-5_channels-4-8_seed-0",
        ];
        assert_eq!(names(&sweep), expected);
        assert!(sweep.runs.iter().all(|run| run.settings.training.batch == 16));
        assert!(sweep.runs.iter().all(|run| run.settings.network.residual_weight == 1.0));
        // Numbers for layers are the same in a file and on the command line.
        let expected = ["channels-8_seed-0", "channels-16-64_seed-0", "channels-16-32-64_seed-0"];
        let in_file = "[base]\nlayers = 3\n[matrix]\nchannels = [8, '16:64', [16, 32, 64]]\n";
        let [in_file, flags] = [(in_file, &[][..]), ("[base]\nlayers = 3\n", &["--channels=8,16:64,[16,32,64]"])]
            .map(|(text, flags)| parse(text, flags).unwrap());
        assert_eq!((names(&in_file), names(&flags)), (expected.to_vec(), expected.to_vec()));
        for (a, b) in in_file.runs.iter().zip(&flags.runs) {
            assert_eq!(a.settings, b.settings);
        }
        let tasks = parse("", &["--task=[blur:1.5,noise:0.1],half-crop"]).unwrap();
        assert_eq!(tasks.runs[0].settings.training.task.to_string(), "blur:1.5,noise:0.1");
        assert_eq!(parse(text, &["--seed", "7"]).unwrap().runs[0].name, "layers-1_seed-7");
        assert_eq!(parse(text, &[]).unwrap().runs[0].settings.network.residual_weight, 0.1);
    }

    #[test]
    fn names_that_are_too_long_for_a_folder_are_shortened() {
        let axes: Vec<String> = ["batch_norm_encoder", "batch_norm_decoder"]
            .map(|key| format!("{key} = ['before_conv', 'after_activation']"))
            .into_iter()
            .chain(
                ["lr", "weight_decay", "residual_weight", "checkpoint_minutes"]
                    .map(|key| format!("{key} = [0.1234567890123, 0.2]")),
            )
            .chain(
                ["checkpoint_every", "validate_every", "samples", "warmup"]
                    .map(|key| format!("{key} = [123456789012]")),
            )
            .collect();
        let sweep = parse(&format!("[matrix]\n{}\n", axes.join("\n")), &[]).unwrap();
        assert_eq!(sweep.runs.len(), 64);
        assert!(sweep.runs.iter().all(|run| run.name.len() <= 255) && sweep.runs[0].name.len() == 255);
    }

    #[test]
    fn mistakes_name_the_file_and_the_setting() {
        for (text, arguments, told) in [
            ("[matrix]\nlyers = [1]", &[][..], "my.toml: [matrix] lyers: there is no setting of this name"),
            ("[base]\nlayers = 'x'", &[], "my.toml: [base] layers: invalid type: string \"x\", expected usize"),
            ("[matrix]\nlayers = 3", &[], "my.toml: [matrix] layers: expected a list of values"),
            ("[matrix]\nlayers = []", &[], "my.toml: [matrix] layers: the list is empty"),
            ("[matrix]\nlayers = [1, 0]", &[], "my.toml: [matrix] layers: expected 1 to 1000, got 0"),
            ("[base]\nbatch = 0", &[], "my.toml: [base] batch: expected a whole number from 1 to 65536, got 0"),
            ("[matrix]\nlayers = [3, 3]", &[], "my.toml: two runs are the same: layers-3_seed-0"),
            ("[matrix]\nseed = [1]", &[], "my.toml: [matrix] seed: say it above the tables, as `seeds = [0, 1, 2]`"),
            ("[base]\nout = 'x'", &[], "my.toml: [base] out: say it with --out"),
            ("seeds = []", &[], "my.toml: seeds: the list is empty"),
            ("", &["--layers=1,x"], "invalid value 'x' for '--layers <LAYERS>': invalid digit found in string"),
            (
                "",
                &["--layers=3", "--channels=[4,8,16,4]"],
                "--channels: expected a number for each of the 3 layers, got 4,8,16,4",
            ),
            ("", &["--lr=0"], "--lr: expected a finite number above 0, got 0"),
        ] {
            assert_eq!(parse(text, arguments).unwrap_err().to_string(), told);
        }
        let message = parse("[matrx]\n", &[]).unwrap_err().to_string();
        assert!(message.starts_with("my.toml: ") && message.contains("unknown field `matrx`"), "{message}");
        let many: Vec<String> = (1..=200).map(|n| n.to_string()).collect();
        let many = many.join(", ");
        let message = parse(&format!("seeds = [{many}]\n[matrix]\nlayers = [{many}]"), &[]).unwrap_err().to_string();
        assert_eq!(message, "my.toml: more than 10000 runs");
    }

    #[test]
    fn all_experiments_can_be_planned() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let files: Vec<_> = files.filter(|path| path.extension().is_some_and(|ending| ending == "toml")).collect();
        assert!(files.len() > 10, "{files:?}");
        for file in files {
            let sweep = Sweep::read(&file, &flags(&[])).unwrap_or_else(|error| panic!("{error}"));
            assert!(!sweep.runs.is_empty(), "{}", file.display());
        }
    }

    #[test]
    fn the_experiments_are_the_published_networks() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments");
        for (name, networks) in [
            ("layers-32", 12),
            ("layers-64", 12),
            ("residual-weight", 6),
            ("batch-norm-position", 16),
            ("activations", 21),
            ("channels", 16),
            ("kernel-size", 5),
            ("kernel-sizes", 25),
        ] {
            let file = folder.join(format!("{name}.toml"));
            let sweep = Sweep::read(&file, &flags(&["--preset=original"])).unwrap();
            let published = Published::parse(&file, sweep.published.as_deref().unwrap()).unwrap();
            assert_eq!(sweep.runs.len(), networks, "{name}");
            for run in &sweep.runs {
                let row =
                    published.of(&run.settings).unwrap_or_else(|| panic!("{name}: {} is not published", run.name));
                let network = model::ResConv::new(run.settings.network.clone()).unwrap();
                assert_eq!(network.parameter_count(), row.parameters, "{name}: {}", run.name);
            }
        }
    }
}

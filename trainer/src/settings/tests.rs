use super::*;
use crate::data::{Fit, Format};
use clap::{Args, Command, FromArgMatches};
use engine::Activation;
use model::{BatchNormPosition, BottleneckActivation, LayerActivation, Padding, Prediction, Ramp, ResConvConfig};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// What flags say, as the command line is parsed.
fn flags(arguments: &[&str]) -> SettingsSource {
    let command = SettingsFlags::augment_args(Command::new("test").no_binary_name(true));
    let matches = command.try_get_matches_from(arguments).unwrap();
    SettingsSource::flags(&SettingsFlags::from_arg_matches(&matches).unwrap()).unwrap()
}

/// What a settings file of this content says.
fn file(content: &str) -> Result<SettingsSource, SettingsError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("my.toml");
    std::fs::write(&path, content).unwrap();
    SettingsSource::file(&path)
}

/// Settings of which none has its default.
fn all_changed() -> Settings {
    Settings {
        preset: Preset::Original,
        network: ResConvConfig {
            layers: 4,
            channels: Ramp { first: 16, last: 64 }.into(),
            kernel_size: Ramp { first: 3, last: 9 }.into(),
            stride: Ramp { first: 2, last: 1 }.into(),
            padding: Padding::Fixed(1),
            groups: 4,
            in_channels: 1,
            out_channels: 1,
            predict: Prediction::Residual,
            residual_weight: 1e-7,
            activation: Activation::LeakyRelu.into(),
            bottleneck_activation: BottleneckActivation::Other(LayerActivation::Prelu),
            batch_norm_encoder: BatchNormPosition::AfterConv,
            batch_norm_decoder: BatchNormPosition::None,
            batch_norm_last_layers: false,
        },
        training: TrainingSettings {
            task: "noise:0.1".parse().unwrap(),
            size: 28,
            fit: Some(Fit::Crop),
            grey: true,
            validation_share: 0.25,
            augment: true,
            loss: LossSetting::Mse,
            samples: 1,
            batch: 3,
            lr: 1.0 / 3.0,
            weight_decay: 0.0,
            clip_grad_norm: Some(0.1),
            schedule: ScheduleSetting::Constant,
            warmup: 1,
            seed: i64::MAX as u64,
            init: Some(from_root("weights \"x\".safetensors")),
        },
        run: RunSettings {
            device: Device::Reference,
            precision: PrecisionSetting::Tf32x3,
            no_graphs: true,
            threads: 3,
            memory_limit: 700,
            checkpoint_every: 5,
            checkpoint_minutes: 0.5,
            keep_checkpoints: 7,
            on_nan: OnNan::Skip,
            validate_every: 6000,
            validate_images: Some(7),
            patience: 3,
            data_format: Format::FashionMnist,
            data_memory: 5,
            skip_unreadable: true,
            data: Some(from_root("data")),
            unverified_data: true,
            out: Some("out".into()),
            picture_truth: true,
        },
    }
}

/// The absolute path of a file in the root folder, which on Windows begins with the letter of a drive.
fn from_root(name: &str) -> PathBuf {
    std::path::absolute(Path::new("/").join(name)).unwrap()
}

/// `section.key` of every value.
fn keys(table: &Table) -> BTreeSet<String> {
    let section = |(name, value): (&String, &Value)| match value {
        Value::Table(section) => section.keys().map(|key| format!("{name}.{key}")).collect(),
        _ => vec![name.clone()],
    };
    table.iter().flat_map(section).collect()
}

#[test]
fn the_effective_settings_can_be_fed_back() {
    for settings in [Settings::default(), Preset::Original.settings(), all_changed()] {
        let text = settings.to_toml().unwrap();
        assert_eq!(resolve(&[file(&text).unwrap()]).unwrap(), settings, "{text}");
    }
}

#[test]
fn every_setting_is_a_flag() {
    let written = Table::try_from(all_changed()).unwrap();
    let command = SettingsFlags::augment_args(Command::new("test"));
    let flags: BTreeSet<String> = command.get_arguments().map(|argument| argument.get_id().to_string()).collect();
    let mut settings: BTreeSet<String> =
        keys(&written).iter().map(|key| key.rsplit('.').next().unwrap().to_owned()).collect();
    // They follow from the images and the task.
    assert!(settings.remove("in_channels") && settings.remove("out_channels"));
    assert_eq!(flags, settings);
}

#[test]
fn the_help_of_a_flag_tells_the_default_that_the_settings_have() {
    let command = SettingsFlags::augment_args(Command::new("test"));
    let help = |key: &str| {
        let flag = command.get_arguments().find(|flag| flag.get_id() == key).unwrap();
        flag.get_help().unwrap().to_string()
    };
    for (key, told) in [
        ("preset", "laid over [default: default]"),
        ("layers", "as many [default: 15]"),
        ("channels", "16,32,64 [default: 32]"),
        ("residual_weight", "connections [default: 1]"),
        ("batch_norm_last_layers", "too [default: true]"),
        ("lr", "rate [default: 0.0003]"),
        ("device", "very slow) [default: auto]"),
        ("checkpoint_minutes", "never [default: 10]"),
        ("data", "pictures [default: Fashion-MNIST, searched for, and fetched if there is none]"),
    ] {
        assert!(help(key).ends_with(told), "{}", help(key));
    }
    // A default that is written by hand would be a second one.
    for key in keys(&Table::try_from(Settings::default()).unwrap()) {
        let key = key.rsplit('.').next().unwrap();
        if let Some(value) = Settings::default().value(key).filter(|_| !["in_channels", "out_channels"].contains(&key))
        {
            let default = format!("[default: {}]", value_text(&value));
            assert_eq!(help(key).contains(&default), value != Value::Boolean(false), "{}", help(key));
        }
    }
}

#[test]
fn flags_say_what_they_are_named_after() {
    let arguments = [
        "--preset=original",
        "--layers=4",
        "--channels=16:64",
        "--kernel-size=3:9",
        "--predict=residual",
        "--stride=2:1",
        "--padding=1",
        "--groups=4",
        "--residual-weight=1e-7",
        "--activation=leaky_relu",
        "--bottleneck-activation=prelu",
        "--batch-norm-encoder=after_conv",
        "--batch-norm-decoder=none",
        "--batch-norm-last-layers=false",
        "--task=noise:0.1",
        "--size=28",
        "--fit=crop",
        "--grey",
        "--validation-share=0.25",
        "--augment",
        "--loss=mse",
        "--samples=1",
        "--batch=3",
        "--lr=0.3333333333333333",
        "--weight-decay=0",
        "--clip-grad-norm=0.1",
        "--schedule=constant",
        "--warmup=1",
        "--seed=9223372036854775807",
        "--init=/weights \"x\".safetensors",
        "--device=reference",
        "--precision=tf32x3",
        "--no-graphs",
        "--threads=3",
        "--memory-limit=700",
        "--checkpoint-every=5",
        "--checkpoint-minutes=0.5",
        "--keep-checkpoints=7",
        "--on-nan=skip",
        "--validate-every=6000",
        "--validate-images=7",
        "--patience=3",
        "--data=/data",
        "--data-format=fashion-mnist",
        "--data-memory=5",
        "--skip-unreadable",
        "--unverified-data",
        "--out=out",
        "--picture-truth",
    ];
    assert_eq!(resolve(&[flags(&arguments)]).unwrap(), all_changed());
}

#[test]
fn settings_of_earlier_versions_are_read() {
    let precision = |text: &str| resolve(&[file(text).unwrap()]).unwrap().run.precision;
    assert_eq!(precision("[run]\ntf32 = true"), PrecisionSetting::Tf32);
    assert_eq!(precision("[run]\ntf32 = false"), PrecisionSetting::F32);
    assert_eq!(precision("[run]\nprecision = 'tf32x3'"), PrecisionSetting::Tf32x3);
    // in the metadata of weights
    let settings: Settings = serde_json::from_str(r#"{"run": {"tf32": true}}"#).unwrap();
    assert_eq!(settings.run.precision, PrecisionSetting::Tf32);
    let error = file("[run]\nprecision = 'f16'").unwrap_err().to_string();
    assert!(error.contains("expected one of `f32`, `tf32x3`, `tf32`"), "{error}");
}

#[test]
fn what_stands_further_up_wins() {
    let file = file("preset = 'original'\n[network]\nlayers = 3\nresidual_weight = 0.5\n[run]\nthreads = 2").unwrap();
    let checkpoint = SettingsSource::resumed(&all_changed()).unwrap();
    let layers = [flags(&["--layers", "7"]), file, checkpoint, SettingsSource::quick()];
    let settings = resolve(&layers).unwrap();
    assert_eq!(settings.network.layers, 7, "flag over file");
    assert_eq!(settings.network.residual_weight, 0.5, "file over checkpoint");
    assert_eq!(settings.network.stride, Ramp { first: 2, last: 1 }.into(), "checkpoint over default");
    assert_eq!(settings.run.threads, 2, "a checkpoint does not tell how many threads");
    assert_eq!(settings.run.out, Some("runs/quick".into()), "a checkpoint does not tell where it lies");

    let quick = resolve(&[flags(&["--preset", "original"]), SettingsSource::quick()]).unwrap();
    assert_eq!(quick.network.residual_weight, 0.1, "preset over default");
    assert_eq!(quick.network.bottleneck_activation, BottleneckActivation::None);
    assert!(quick.training.samples < Settings::default().training.samples, "quick over preset");
    assert_eq!(resolve(&[]).unwrap(), Settings::default());
}

#[test]
fn mistakes_in_files_name_file_and_key() {
    for (content, told) in [
        ("[network]\nlyers = 3", "unknown field `lyers`"),
        ("[netwrok]\nlayers = 3", "unknown field `netwrok`"),
        ("layers = 3", "unknown field `layers`"),
        ("[training]\nbatch = 'many'", "batch = 'many'"),
        ("[training]\nlr = 1e-3.", "lr = 1e-3."),
        ("preset = 'orignal'", "orignal"),
        ("[network]\nactivation = 'gulu'", "gulu"),
    ] {
        let message = file(content).unwrap_err().to_string();
        assert!(message.contains("my.toml") && message.contains(told), "{content}: {message}");
    }
    let missing = SettingsSource::file(Path::new("nowhere/my.toml")).unwrap_err().to_string();
    assert!(missing.contains("could not read nowhere/my.toml"), "{missing}");
}

#[test]
fn values_out_of_range_name_where_they_come_from() {
    for (argument, told) in [
        ("--layers=0", "--layers: expected 1 to 1000, got 0"),
        ("--groups=5", "--groups: expected a divisor of the 32 channels of encoder layer 1, got 5"),
        ("--residual-weight=inf", "--residual-weight: expected a finite number, got inf"),
        ("--size=1", "--size: expected a whole number from 2 to 1024, got 1"),
        ("--samples=0", "--samples: expected a whole number from 1 to 1000000000000, got 0"),
        ("--batch=0", "--batch: expected a whole number from 1 to 65536, got 0"),
        ("--lr=nan", "--lr: expected a finite number above 0, got NaN"),
        ("--lr=-1", "--lr: expected a finite number above 0, got -1"),
        ("--lr=0", "--lr: expected a finite number above 0, got 0"),
        ("--clip-grad-norm=0", "--clip-grad-norm: expected a finite number above 0, got 0"),
        ("--weight-decay=-0.1", "--weight-decay: expected a finite number of 0 or more, got -0.1"),
        ("--warmup=180001", "--warmup: expected a whole number from 0 to 180000, got 180001"),
        ("--keep-checkpoints=0", "--keep-checkpoints: expected a whole number from 1 to 1000000, got 0"),
        ("--checkpoint-minutes=inf", "--checkpoint-minutes: expected a finite number of 0 or more, got inf"),
        ("--threads=100000", "--threads: expected a whole number from 0 to 1024, got 100000"),
    ] {
        assert_eq!(resolve(&[flags(&[argument])]).unwrap_err().to_string(), told);
    }
    let in_file = |content: &str| resolve(&[flags(&[]), file(content).unwrap()]).unwrap_err().to_string();
    let message = in_file("[training]\nbatch = 0");
    assert!(
        message.ends_with("my.toml: [training] batch: expected a whole number from 1 to 65536, got 0"),
        "{message}"
    );
    let message = in_file("[network]\nin_channels = 2");
    assert!(
        message.ends_with("my.toml: [network] in_channels: expected 1 for grey images, 3 for colours, got 2"),
        "{message}"
    );
    let filled = |channels| format!("[network]\nin_channels = {channels}\n[training]\ntask = 'box,fill'");
    assert!(resolve(&[flags(&[]), file(&filled(4)).unwrap()]).is_ok());
    assert_eq!(resolve(&[flags(&["--task=box,fill"])]).unwrap().network.in_channels, 2);
    let message = in_file(&filled(5));
    assert!(message.ends_with("1 for grey images, 3 for colours, and 1 for what is missing, got 5"), "{message}");
}

#[test]
fn a_run_is_resumed_with_its_own_numbers_only() {
    type Change = fn(&mut Settings);
    let had = all_changed();
    assert!(had.check_resumes(&had).is_ok());
    let harmless: [Change; 4] = [
        |s| s.run = RunSettings::default(),
        |s| s.run.threads = 1,
        |s| s.run.validate_every = 9,
        |s| s.preset = Preset::Default,
    ];
    for change in harmless {
        let mut now = had.clone();
        change(&mut now);
        assert!(now.check_resumes(&had).is_ok());
    }
    let other: [(Change, &str); 4] = [
        (|s| s.network.layers = 5, "another layers: the run was started with 4, now it is 5"),
        (|s| s.training.lr = 0.5, "another lr: the run was started with 0.3333333333333333, now it is 0.5"),
        (|s| s.network.channels = 8.into(), "another channels: the run was started with \"16:64\", now it is 8"),
        (|s| s.training.init = None, "another init: "),
    ];
    for (change, told) in other {
        let mut now = had.clone();
        change(&mut now);
        let message = now.check_resumes(&had).unwrap_err().to_string();
        assert!(message.contains(told), "{message}");
        assert!(had.check_resumes(&now).is_err(), "{told}");
    }
}

#[test]
fn a_run_without_a_folder_is_named_after_its_settings() {
    let settings = resolve(&[flags(&["--preset", "original", "--layers", "3", "--seed", "9"])]).unwrap();
    assert_eq!(settings.out(), Path::new("runs/original-l3-s9"));
    assert_eq!(all_changed().out(), Path::new("out"));
}

#[test]
fn paths_mean_the_same_wherever_the_run_is_resumed() {
    let flags = SettingsFlags {
        training: TrainingFlags { init: Some("weights".into()), ..TrainingFlags::default() },
        run: RunFlags { data: Some("data".into()), ..RunFlags::default() },
        ..SettingsFlags::default()
    };
    let settings = resolve(&[SettingsSource::flags(&flags).unwrap()]).unwrap();
    let here = std::env::current_dir().unwrap();
    assert_eq!(
        (settings.training.init.as_ref(), settings.run.data.as_ref()),
        (Some(&here.join("weights")), Some(&here.join("data")))
    );
    // A checkpoint of an older version has what was given.
    let mut older = settings.clone();
    older.training.init = Some("weights".into());
    settings.check_resumes(&older).unwrap();
    // The settings of a folder do not say which folder it is.
    let mut placed = settings.clone();
    placed.run.out = Some("runs/a".into());
    assert_eq!(placed.to_toml_of_folder().unwrap(), settings.to_toml().unwrap());
}

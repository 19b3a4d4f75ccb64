use super::error::VERSION;
use super::file::{FORMAT_VERSION, POSITION, run_state};
use super::tensors::load_optimizer;
use super::*;
use crate::settings::{NetworkFlags, Preset, Settings, SettingsSource, resolve};
use crate::train::plans::{NetworkPlan, PlanKind, Plans};
use engine::{Activation, Reference, Session, Statistics};
use model::{BatchNormPosition, BottleneckActivation, LayerActivation, Ramp, ResConvConfig};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use std::collections::HashMap;
use std::path::Path;

fn small(layers: usize) -> ResConvConfig {
    ResConvConfig { layers, channels: 3.into(), ..ResConvConfig::default() }
}

/// A session of the network that has one plan, over two images of 8 x 8.
fn session(config: &ResConvConfig) -> (Session<Reference>, NetworkPlan) {
    let mut plans = Plans::new(&Settings { network: config.clone(), ..Settings::default() }).unwrap();
    let plan = plans.add_sized(PlanKind::Inference(Statistics::Running), 2, [8; 2]).unwrap();
    let mut session = plans.session(Reference).unwrap();
    session.initialize(1);
    (session, plan)
}

fn bare(session: &Session<Reference>) -> Checkpoint {
    Checkpoint { path: "x.safetensors".into(), tensors: state_dict(session, 7).unwrap(), run: None }
}

/// A checkpoint with every kind of tensor.
fn whole() -> Checkpoint {
    let (session, _) = session(&small(1));
    let mut checkpoint = bare(&session);
    checkpoint.tensors.extend(optimizer_state(&session).unwrap());
    let odd = Values::F32(vec![-0.0, f32::MIN_POSITIVE, f32::from_bits(0x7fc0_1234)]);
    checkpoint.tensors.insert("odd".to_owned(), Tensor { shape: vec![3, 1], values: odd });
    checkpoint.run = Some(RunState {
        settings: Preset::Original.settings(),
        position: Some(Position {
            step: 7,
            samples: 448,
            seconds: 0.1,
            skipped: 1,
            missing: 0,
            backend: "reference".to_owned(),
        }),
    });
    checkpoint
}

fn read(bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
    Checkpoint::from_bytes(Path::new("x.safetensors"), bytes)
}

/// As text, in which NaN is like NaN, and 0 is not like -0.
fn text(checkpoint: &Checkpoint) -> String {
    format!("{checkpoint:?}")
}

#[test]
fn a_checkpoint_is_read_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut checkpoint = whole();
    checkpoint.path = folder.path().join("x.safetensors");
    checkpoint.write().unwrap();
    assert_eq!(text(&Checkpoint::read(&checkpoint.path).unwrap()), text(&checkpoint));
    assert!(matches!(&checkpoint.tensors["encoder.layer_1.conv.bias"].values, Values::F64(values) if values[0] != 0.0));
    let counter = &checkpoint.tensors["decoder.layer_1.bn.num_batches_tracked"];
    assert_eq!(*counter, Tensor { shape: Vec::new(), values: Values::I64(vec![7]) });
}

#[test]
fn no_damaged_byte_goes_unnoticed() {
    let checkpoint = whole();
    let bytes = checkpoint.to_bytes().unwrap();
    for at in 0..bytes.len() {
        for flip in [1, 0x80] {
            let mut damaged = bytes.clone();
            damaged[at] ^= flip;
            match read(&damaged) {
                Err(error) => assert!(error.to_string().contains("x.safetensors"), "{error}"),
                Ok(_) => panic!("byte {at} ^ {flip} went unnoticed"),
            }
        }
    }
}

#[test]
fn a_file_that_ends_anywhere_too_early_is_an_error() {
    let bytes = whole().to_bytes().unwrap();
    for end in 0..bytes.len() {
        let message = read(&bytes[..end]).unwrap_err().to_string();
        assert!(message.starts_with("x.safetensors: not a valid safetensors file: "), "{end}: {message}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(matches!(read(&longer), Err(CheckpointError::Content { problem: Problem::Corrupt(_), .. })));
}

#[test]
fn headers_that_promise_too_much_are_errors() {
    let header = |json: &str| [&(json.len() as u64).to_le_bytes(), json.as_bytes()].concat();
    let tensor = |shape: &str, end: &str| {
        header(&format!(r#"{{"a":{{"dtype":"F32","shape":{shape},"data_offsets":[0,{end}]}}}}"#))
    };
    for bytes in [
        u64::MAX.to_le_bytes().to_vec(),
        99_999_999u64.to_le_bytes().to_vec(),
        tensor("[4294967296,4294967296,4294967296]", "4"),
        tensor("[1099511627776]", "4398046511104"),
        tensor("[2]", "4"),
        header("[]"),
    ] {
        assert!(matches!(read(&bytes), Err(CheckpointError::Content { problem: Problem::Corrupt(_), .. })));
    }
    let other = header(r#"{"a":{"dtype":"U16","shape":[0],"data_offsets":[0,0]}}"#);
    let message = read(&other).unwrap_err().to_string();
    assert_eq!(message, "x.safetensors: tensor `a`: expected type F32, F64, F16, BF16 or I64, got U16");
}

#[test]
fn halves_are_read_as_floats() {
    // 1, -0.3333, the smallest and the largest number, and infinity.
    let f16 = [0x3c00u16, 0xb555, 0x0001, 0x7bff, 0x7c00];
    let bf16 = [0x3f80u16, 0xbeab, 0x0001, 0x7f7f, 0x7f80];
    let bytes = |bits: [u16; 5]| bits.into_iter().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let [a, b] = [bytes(f16), bytes(bf16)];
    let views = [("a", Dtype::F16, &a), ("b", Dtype::BF16, &b)]
        .map(|(name, dtype, bytes)| (name, TensorView::new(dtype, vec![5], bytes).unwrap()));
    let checkpoint = read(&safetensors::serialize(views, None).unwrap()).unwrap();
    let values = |name: &str| checkpoint.tensors[name].values.clone();
    assert_eq!(values("a"), Values::F32(vec![1.0, -0.333_251_95, 5.960_464_5e-8, 65504.0, f32::INFINITY]));
    let smallest = f32::from_bits(0x0001_0000);
    assert_eq!(values("b"), Values::F32(vec![1.0, -0.333_984_38, smallest, 3.389_531_4e38, f32::INFINITY]));
}

#[test]
fn the_same_content_gives_the_same_file() {
    let checkpoint = whole();
    let bytes = checkpoint.to_bytes().unwrap();
    for _ in 0..8 {
        assert!(checkpoint.to_bytes().unwrap() == bytes);
    }
}

#[test]
fn weights_alone_have_settings_and_cannot_be_resumed() {
    let mut settings = Preset::Original.settings();
    settings.run.out = Some("here".into());
    settings.training.init = Some("there".into());
    let mut weights = bare(&session(&small(1)).0);
    weights.run = Some(RunState::of_weights(&settings));
    let read = read(&weights.to_bytes().unwrap()).unwrap();
    assert_eq!(read, weights);
    assert_eq!(read.run.as_ref().unwrap().settings, Preset::Original.settings(), "without paths of this machine");
    assert!(matches!(read.resumable(), Err(CheckpointError::Content { problem: Problem::NotResumable, .. })));
}

/// The settings of the folder's run, and weights that fit them.
#[test]
fn the_weights_of_the_published_results_have_their_settings() {
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    let folders = std::fs::read_dir(results).unwrap().map(|entry| entry.unwrap().path());
    // Results of which nothing uses the weights are without them.
    let folders: Vec<_> = folders.filter(|folder| folder.join("model.safetensors").exists()).collect();
    assert!(folders.len() >= 29, "{folders:?}");
    for folder in folders {
        let checkpoint = Checkpoint::read(&folder.join("model.safetensors")).unwrap();
        let settings = Settings::read(&folder.join("settings.toml")).unwrap();
        assert_eq!(checkpoint.run, Some(RunState::of_weights(&settings)), "{}", folder.display());
        load_weights(&mut session(&settings.network).0, &checkpoint).unwrap();
    }
}

#[test]
fn a_bare_state_dict_is_protected_too() {
    let bytes = bare(&session(&small(1)).0).to_bytes().unwrap();
    for at in (0..bytes.len()).step_by(3) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 4;
        assert!(read(&damaged).is_err(), "byte {at}");
    }
    assert!(read(&bytes).unwrap().run.is_none());
}

#[test]
fn tensors_that_change_places_are_noticed() {
    let mut checkpoint = whole();
    let metadata = |bytes: &[u8]| SafeTensors::read_metadata(bytes).unwrap().1.metadata().clone();
    let original = metadata(&checkpoint.to_bytes().unwrap());
    let [a, b] =
        ["optimizer.exp_avg.", "optimizer.exp_avg_sq."].map(|kind| format!("{kind}encoder.layer_1.conv.weight"));
    let moved = checkpoint.tensors.insert(a, Tensor { shape: vec![3, 1, 3, 3], values: Values::F64(vec![1.0; 27]) });
    checkpoint.tensors.insert(b, moved.unwrap());
    let swapped = safetensors::serialize(&checkpoint.tensors, original).unwrap();
    assert!(matches!(read(&swapped), Err(CheckpointError::Content { problem: Problem::Checksum { .. }, .. })));
}

#[test]
fn another_version_is_told_apart_from_damage() {
    let file = |metadata: &[(&str, &str)]| {
        let metadata = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        safetensors::serialize(&whole().tensors, Some(metadata)).unwrap()
    };
    let message = read(&file(&[(FORMAT_VERSION, "2")])).unwrap_err().to_string();
    assert_eq!(message, "x.safetensors: checkpoint format version 2, this build reads version 1");
    let message = read(&file(&[(FORMAT_VERSION, VERSION)])).unwrap_err().to_string();
    assert_eq!(message, "x.safetensors: not a valid safetensors file: no metadata entry `resconv.sha256`");
    let metadata = HashMap::from([(POSITION.to_owned(), "{}".to_owned())]);
    let message = run_state(Path::new("x"), &metadata).unwrap_err().to_string();
    assert_eq!(message, "x: not a valid safetensors file: no metadata entry `resconv.settings`");
}

#[test]
fn what_is_not_finite_is_named() {
    let mut checkpoint = bare(&session(&small(1)).0);
    assert_eq!(checkpoint.non_finite(), None);
    let name = "encoder.layer_1.conv.bias";
    checkpoint.tensors.get_mut(name).unwrap().values = Values::F64(vec![0.0, f64::INFINITY, 0.0]);
    assert_eq!(checkpoint.non_finite(), Some(name));
}

#[cfg(target_os = "linux")]
#[test]
fn a_device_that_never_ends_is_not_read() {
    let message = Checkpoint::read(Path::new("/dev/zero")).unwrap_err().to_string();
    assert!(message.contains("which is not the length of a header"), "{message}");
}

#[test]
fn a_position_outside_of_its_run_is_an_error() {
    // The run has 180,000 images in batches of 64: 2,812 full ones, and one of 32.
    for (step, samples, skipped, missing, right) in [
        (0, 0, 0, 0, true),
        (7, 448, 7, 0, true),
        (2812, 179_968, 0, 0, true),
        (2813, 180_000, 0, 0, true),
        (7, 449, 0, 0, false),
        (2813, 180_032, 0, 0, false),
        (2814, 180_000, 0, 0, false),
        (u64::MAX, 180_000, 0, 0, false),
        (7, 448, 8, 0, false),
        // It was lengthened after a batch of 60.
        (7, 444, 0, 4, true),
        (2813, 180_000, 0, 4, true),
        (7, 448, 0, 4, false),
        (7, 0, 0, u64::MAX, false),
    ] {
        let mut checkpoint = whole();
        let position = checkpoint.run.as_mut().unwrap().position.as_mut().unwrap();
        (position.step, position.samples) = (step, samples);
        (position.skipped, position.missing) = (skipped, missing);
        let read = read(&checkpoint.to_bytes().unwrap());
        assert_eq!(read.is_ok(), right, "step {step}, {samples} images, {skipped} skipped");
        if let Err(error) = read {
            let told = format!("step {step} after {samples} images is not a position of a run with its settings");
            assert!(error.to_string().ends_with(&told), "{error}");
        }
    }
}

#[test]
fn weights_and_moments_come_back_bit_for_bit() {
    let config = small(2);
    let (mut first, _) = session(&config);
    for info in first.tensors().to_vec() {
        let values: Vec<f64> = (0..info.shape.len()).map(|i| (i as f64 + 0.1).sqrt()).collect();
        first.set_tensor(&info.name, &values).unwrap();
        if info.trained {
            let second: Vec<f64> = values.iter().map(|v| v * v).collect();
            first.set_optimizer_state(&info.name, [&values, &second]).unwrap();
        }
    }
    let mut checkpoint = bare(&first);
    checkpoint.tensors.extend(optimizer_state(&first).unwrap());
    let (mut second, _) = session(&config);
    assert_eq!(load_weights(&mut second, &checkpoint).unwrap(), 7);
    load_optimizer(&mut second, &checkpoint, 5).unwrap();
    assert_eq!(second.optimizer_step(), 5);
    let mut again = bare(&second);
    again.tensors.extend(optimizer_state(&second).unwrap());
    assert_eq!(again, checkpoint);
    for info in first.tensors() {
        assert_eq!(first.tensor(&info.name).unwrap(), second.tensor(&info.name).unwrap(), "{}", info.name);
    }
}

#[test]
fn what_does_not_fit_is_named_and_changes_nothing() {
    let (mut target, _) = session(&small(2));
    let before = bare(&target);
    let mut refuse = |change: &dyn Fn(&mut Checkpoint)| {
        let mut checkpoint = before.clone();
        checkpoint.tensors.values_mut().for_each(|tensor| {
            if let Values::F64(values) = &mut tensor.values {
                values.fill(9.0);
            }
        });
        change(&mut checkpoint);
        let message = load_weights(&mut target, &checkpoint).unwrap_err().to_string();
        assert_eq!(bare(&target), before, "{message}");
        message
    };
    let name = "encoder.layer_2.conv.weight";
    assert_eq!(
        refuse(&|c| drop(c.tensors.remove(name))),
        format!("x.safetensors: no tensor `{name}` of shape [3, 3, 3, 3]: this is a checkpoint of another network")
    );
    assert_eq!(
        refuse(&|c| c.tensors.get_mut(name).unwrap().shape = vec![3, 9, 3, 1]),
        format!(
            "x.safetensors: tensor `{name}`: expected shape [3, 3, 3, 3], got [3, 9, 3, 1]: \
             this is a checkpoint of another network"
        )
    );
    assert_eq!(
        refuse(&|c| c.tensors.get_mut(name).unwrap().values = Values::I64(vec![0; 81])),
        format!("x.safetensors: tensor `{name}`: expected type F32 or F64, got I64")
    );
    let extra = Tensor { shape: vec![1], values: Values::F32(vec![0.0]) };
    assert_eq!(
        refuse(&|c| drop(c.tensors.insert("head.weight".to_owned(), extra.clone()))),
        "x.safetensors: the network has no tensor `head.weight`: this is a checkpoint of another network"
    );
    let counter = "encoder.layer_1.bn.num_batches_tracked";
    assert_eq!(
        refuse(&|c| c.tensors.get_mut(counter).unwrap().values = Values::F64(vec![1.0])),
        format!("x.safetensors: tensor `{counter}`: expected type I64, got F64")
    );
    assert!(refuse(&|c| *c = bare(&session(&small(3)).0)).contains("expected shape"));
    assert!(refuse(&|c| *c = bare(&session(&small(1)).0)).contains("no tensor `encoder.layer_2."));
    let mut old = before.clone();
    old.tensors.retain(|name, _| !name.ends_with("num_batches_tracked"));
    assert_eq!(load_weights(&mut target, &old).unwrap(), 0, "old versions of PyTorch have no counters");
    assert!(load_optimizer(&mut target, &before, 1).is_err());
}

#[test]
fn the_architecture_is_seen_from_shapes() {
    let prelu = BottleneckActivation::Other(LayerActivation::Prelu);
    let networks: [&dyn Fn(&mut ResConvConfig); 13] = [
        &|_| (),
        &|c| c.layers = 1,
        &|c| (c.channels, c.kernel_size) = (Ramp { first: 4, last: 8 }.into(), Ramp { first: 3, last: 5 }.into()),
        &|c| (c.channels, c.groups) = (8.into(), 4),
        &|c| c.batch_norm_encoder = BatchNormPosition::None,
        &|c| c.batch_norm_decoder = BatchNormPosition::None,
        &|c| {
            (c.batch_norm_encoder, c.batch_norm_decoder) = (BatchNormPosition::AfterConv, BatchNormPosition::AfterConv)
        },
        &|c| (c.layers, c.batch_norm_last_layers) = (4, false),
        &|c| (c.batch_norm_encoder, c.batch_norm_decoder) = (BatchNormPosition::None, BatchNormPosition::None),
        &|c| c.activation = LayerActivation::Prelu,
        &|c| (c.activation, c.bottleneck_activation) = (LayerActivation::Prelu, BottleneckActivation::None),
        &|c| c.bottleneck_activation = prelu,
        &|c| (c.layers, c.bottleneck_activation) = (1, prelu),
    ];
    for change in networks {
        let mut config = small(3);
        change(&mut config);
        let (mut target, _) = session(&config);
        let checkpoint = bare(&target);
        let architecture = checkpoint.architecture().unwrap();
        // What does not follow is said.
        let all = Settings { network: config.clone(), ..Settings::default() };
        let said = architecture.unknown.iter().map(|unknown| (unknown.key.to_owned(), all.value(unknown.key).unwrap()));
        let said = SettingsSource::flat(Path::new("said"), "said", &said.collect()).unwrap();
        let sources = [said, SettingsSource::inferred(&architecture.network).unwrap()];
        let mut found = resolve(&sources).unwrap().network;
        if config.batch_norm_encoder == BatchNormPosition::None && config.batch_norm_decoder == BatchNormPosition::None
        {
            found.batch_norm_last_layers = config.batch_norm_last_layers; // Without batch norm it means nothing.
        }
        assert_eq!(found, config, "{:?}", architecture.unknown);
        load_weights(&mut target, &checkpoint).unwrap();
    }
}

#[test]
fn what_shapes_do_not_tell_is_unknown() {
    let unknown = |config: ResConvConfig| bare(&session(&config).0).architecture().unwrap().unknown;
    let keys = |config| -> Vec<&str> { unknown(config).iter().map(|unknown| unknown.key).collect() };
    let always = ["stride", "padding"];
    let activations = ["bottleneck_activation", "activation"];
    assert_eq!(keys(small(2)), [&always[..], &["residual_weight"], &activations].concat());
    // With one layer, nothing is added.
    assert_eq!(keys(small(1)), [&always[..], &activations].concat());
    let prelu = ResConvConfig { activation: LayerActivation::Prelu, ..small(1) };
    assert_eq!(keys(prelu), always);

    let after = ResConvConfig { batch_norm_encoder: BatchNormPosition::AfterActivation, ..small(2) };
    let position = *unknown(after).last().unwrap();
    assert_eq!(position, Unknown { key: "batch_norm_encoder", may_be_preset: false });
    // A side whose layers have as many channels before as after does not show it.
    let level = ResConvConfig { channels: 1.into(), ..small(2) };
    assert!(unknown(level).contains(&Unknown { key: "batch_norm_decoder", may_be_preset: true }));
}

#[test]
fn other_networks_are_refused() {
    let mut checkpoint = bare(&session(&small(1)).0);
    checkpoint.tensors.get_mut("encoder.layer_1.conv.weight").unwrap().shape = vec![27];
    let message = checkpoint.architecture().unwrap_err().to_string();
    assert!(message.contains("expected a square kernel [K, C, R, R], got [27]"), "{message}");
    checkpoint.tensors.clear();
    let message = checkpoint.architecture().unwrap_err().to_string();
    assert!(
        message.contains("not a network of this program: it has no tensor `encoder.layer_1.conv.weight`"),
        "{message}"
    );
}

/// `tests/data/make_state_dict.py` made both files with PyTorch.
#[test]
fn a_state_dict_of_pytorch_does_here_what_it_does_there() {
    let file = |name: &str| Checkpoint::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name));
    let (checkpoint, expected) = (file("state_dict.safetensors").unwrap(), file("inference.safetensors").unwrap());
    let architecture = checkpoint.architecture().unwrap().network;
    let config = resolve(&[SettingsSource::inferred(&architecture).unwrap()]).unwrap().network;
    assert_eq!(config, ResConvConfig { layers: 2, channels: 4.into(), ..ResConvConfig::default() });
    let (mut session, plan) = session(&config);
    assert_eq!(load_weights(&mut session, &checkpoint).unwrap(), 3);
    let [x, y] = ["x", "y"].map(|name| match &expected.tensors[name].values {
        Values::F32(values) => values.iter().map(|&v| f64::from(v)).collect::<Vec<f64>>(),
        other => panic!("{name} is {other}"),
    });
    let mut output = vec![0.0; y.len()];
    // One channel: PyTorch's NCHW is NHWC.
    plan.infer(&mut session, &x, &mut output).unwrap();
    for (ours, theirs) in output.iter().zip(&y) {
        assert!((ours - theirs).abs() < 1e-6, "{ours} and {theirs}");
    }
    // Another activation in the bottleneck is another network.
    let flags = NetworkFlags {
        bottleneck_activation: Some(BottleneckActivation::Other(Activation::Relu.into())),
        ..architecture
    };
    let other = resolve(&[SettingsSource::inferred(&flags).unwrap()]).unwrap().network;
    let (mut session, plan) = self::session(&other);
    load_weights(&mut session, &checkpoint).unwrap();
    plan.infer(&mut session, &x, &mut output).unwrap();
    assert!(output.iter().zip(&y).any(|(ours, theirs)| (ours - theirs).abs() > 1e-4));
}

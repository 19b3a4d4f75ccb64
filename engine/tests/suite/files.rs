//! Weights and checkpoints as files.

use crate::common::{norm_nodes, numbers, snapshot};
use engine::collective::Alone;
use engine::*;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::sync::Arc;

const PLAN: PlanId = PlanId(0);

/// A session for training of a network with a convolution, batch normalization, dropout, a linear layer and a frozen
/// parameter. Nothing is initialized, but the inputs are written.
fn session<B: Backend>(backend: B, options: SessionOptions) -> Session<B> {
    let mut graph = Graph::new();
    let g = &mut graph;
    let x = g.input("x", [2, 3, 3, 2]).unwrap();
    let target = g.input("target", [2, 3]).unwrap();
    let w = g.parameter("conv.weight", [3, 2, 2, 3], Init::kaiming_uniform(12)).unwrap();
    let bias = g.parameter("conv.bias", [3], Init::kaiming_uniform(12)).unwrap();
    let y = g.conv2d(x, w, Some(bias), Conv2d { padding: [1, 0], ..Conv2d::default() }).unwrap();
    let nodes = norm_nodes(g, "bn", 3);
    let y = g.batch_norm(y, nodes, BatchNorm::default()).unwrap();
    let y = g.dropout(y, 0.3).unwrap();
    let y = g.flatten(y).unwrap();
    let w = g.parameter("fc.weight", [18, 3], Init::kaiming_uniform(18)).unwrap();
    let bias = g.parameter("fc.bias", [3], Init::Constant(0.1)).unwrap();
    g.set_group(bias, Group { lr: 0.0, ..Group::default() }).unwrap();
    let y = g.linear(y, w, Some(bias)).unwrap();
    let loss = g.mse_loss(y, target).unwrap();
    let plan = Plan::training(&graph, loss).unwrap();
    let mut session = Session::with_options(backend, Arc::new(Alone), vec![plan], options).unwrap();
    for (input, len, seed) in [(x, 36, 1), (target, 6, 2)] {
        let values: Vec<B::Element> = numbers(len, seed).into_iter().map(B::Element::from_f64).collect();
        session.write_input(PLAN, input, &values).unwrap();
    }
    session
}

const ALL: SessionOptions = SessionOptions { accumulate: true, average: true };

fn adamw() -> Step {
    Step { average: Some(0.9), ..Step::new(AdamW::default(), 0.01) }
}

fn sgd() -> Step {
    Step { clip_norm: Some(0.5), ..Step::new(Sgd { momentum: 0.9, ..Sgd::default() }, 0.05) }
}

/// Takes steps of two micro-batches each, so that there are more runs than steps, and returns their losses.
fn train<B: Backend>(session: &mut Session<B>, step: &Step, steps: usize) -> Vec<f64> {
    let mut all = Vec::new();
    for _ in 0..steps {
        (0..2).for_each(|_| session.accumulate(PLAN, 0.5).unwrap());
        session.start_accumulated_step(step).unwrap();
        let mut losses = Vec::new();
        assert!(session.finish_steps(&mut losses));
        all.extend(losses);
    }
    all
}

/// A trained session.
fn trained<B: Backend>(backend: B) -> Session<B> {
    let mut session = session(backend, ALL);
    session.initialize(5);
    train(&mut session, &adamw(), 2);
    session
}

/// The tensors of a file: type, shape, bytes.
type Content = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

fn content(bytes: &[u8]) -> Content {
    let file = SafeTensors::deserialize(bytes).unwrap();
    let tensor = |view: TensorView<'_>| (view.dtype(), view.shape().to_vec(), view.data().to_vec());
    file.tensors().into_iter().map(|(name, view)| (name, tensor(view))).collect()
}

/// A file as another program would write it.
fn file(content: &Content) -> Vec<u8> {
    let views: HashMap<_, _> = content
        .iter()
        .map(|(name, (dtype, shape, bytes))| (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap()))
        .collect();
    safetensors::serialize(views, None).unwrap()
}

#[test]
fn a_file_of_weights_has_the_names_and_layouts_of_pytorch() {
    let session = trained(Cpu::new(1).unwrap());
    let found = content(&session.weights_to_bytes().unwrap());
    let shapes: Vec<(&str, &[usize])> = found.iter().map(|(name, (_, shape, _))| (name.as_str(), &**shape)).collect();
    let expected: [(&str, &[usize]); 8] = [
        ("bn.bias", &[3]),
        ("bn.running_mean", &[3]),
        ("bn.running_var", &[3]),
        ("bn.weight", &[3]),
        ("conv.bias", &[3]),
        ("conv.weight", &[3, 2, 3, 2]),
        ("fc.bias", &[3]),
        ("fc.weight", &[3, 18]),
    ];
    assert_eq!(shapes, expected);
    let (dtype, _, bytes) = &found["fc.weight"];
    assert_eq!(*dtype, Dtype::F32);
    // [out][in], from [in][out]
    let ours = session.tensor("fc.weight").unwrap();
    for (i, bytes) in bytes.as_chunks().0.iter().enumerate() {
        assert_eq!(f32::from_le_bytes(*bytes), ours[i % 18 * 3 + i / 18]);
    }
}

fn weights_come_back<B: Backend>(backend: impl Fn() -> B) {
    let before = trained(backend());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    before.save_weights(&path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), before.weights_to_bytes().unwrap());
    let checkpoint = before.checkpoint_to_bytes().unwrap();

    let mut from_weights = session(backend(), ALL);
    from_weights.load_weights(&path).unwrap();
    let mut from_checkpoint = session(backend(), ALL);
    from_checkpoint.load_weights_from_bytes(&checkpoint).unwrap();
    for after in [&from_weights, &from_checkpoint] {
        for tensor in before.tensors() {
            let name = &tensor.name;
            assert_eq!(after.tensor(name).unwrap(), before.tensor(name).unwrap(), "{name}");
            if tensor.trained {
                assert_eq!(after.average(name).unwrap(), before.tensor(name).unwrap(), "average of {name}");
                assert!(after.optimizer_state(name).unwrap().concat().iter().all(|x| x.to_f64() == 0.0));
            }
        }
        assert_eq!((after.optimizer_step(), after.training_runs()), (0, 0));
    }
}

#[test]
fn weights_come_back_with_the_same_bits() {
    weights_come_back(|| Reference);
    weights_come_back(|| Cpu::new(1).unwrap());
}

#[test]
fn averages_in_the_place_of_the_parameters_are_saved_as_weights() {
    let mut before = trained(Reference);
    let average = before.average("fc.weight").unwrap();
    assert_ne!(average, before.tensor("fc.weight").unwrap());
    before.swap_averages().unwrap();
    let mut after = session(Reference, SessionOptions::default());
    after.load_weights_from_bytes(&before.weights_to_bytes().unwrap()).unwrap();
    assert_eq!(after.tensor("fc.weight").unwrap(), average);
}

fn resumes<B: Backend>(backend: impl Fn() -> B, step: &Step, options: SessionOptions) {
    let mut uninterrupted = session(backend(), options);
    uninterrupted.initialize(u64::MAX - 6);
    let losses = train(&mut uninterrupted, step, 6);

    let mut before = session(backend(), options);
    before.initialize(u64::MAX - 6);
    assert_eq!(train(&mut before, step, 3), losses[..3]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.safetensors");
    before.save_checkpoint(&path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), before.checkpoint_to_bytes().unwrap());

    let mut after = session(backend(), options);
    // What was there before is gone.
    after.initialize(3);
    train(&mut after, step, 1);
    if options.average {
        after.swap_averages().unwrap();
    }
    after.load_checkpoint(&path).unwrap();
    assert_eq!((after.optimizer_step(), after.training_runs()), (3, 6));
    assert_eq!(train(&mut after, step, 3), losses[3..]);
    assert_eq!(snapshot(&after), snapshot(&uninterrupted));
    assert_eq!(after.checkpoint_to_bytes().unwrap(), uninterrupted.checkpoint_to_bytes().unwrap());
}

#[test]
fn a_resumed_training_has_the_same_bits_as_an_uninterrupted_one() {
    let without_averages = SessionOptions { average: false, ..ALL };
    resumes(|| Reference, &adamw(), ALL);
    resumes(|| Reference, &sgd(), without_averages);
    resumes(|| Cpu::new(1).unwrap(), &adamw(), ALL);
    resumes(|| Cpu::new(1).unwrap(), &sgd(), without_averages);
}

/// Loads bytes into a session that holds something else: it must load all, or fail and change nothing.
fn load_damaged(session: &mut Session<Cpu>, other: &[u8], good: &[u8], damaged: &[u8]) -> bool {
    match session.load_checkpoint_from_bytes(damaged) {
        Ok(()) => {
            assert!(session.checkpoint_to_bytes().unwrap() == good, "something else was loaded");
            session.load_checkpoint_from_bytes(other).unwrap();
            true
        }
        Err(Error::File { file, message }) => {
            assert!(file == "checkpoint" && !message.is_empty());
            false
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn damaged_files_change_nothing() {
    let good = trained(Cpu::new(1).unwrap()).checkpoint_to_bytes().unwrap();
    let mut session = session(Cpu::new(1).unwrap(), ALL);
    session.initialize(1);
    let other = session.checkpoint_to_bytes().unwrap();
    let mut load = |damaged: &[u8]| load_damaged(&mut session, &other, &good, damaged);
    assert!(load(&good));
    for len in 0..good.len() {
        assert!(!load(&good[..len]), "the first {len} bytes");
    }
    let mut damaged = good.clone();
    for bit in 0..8 * good.len() {
        damaged[bit / 8] ^= 1 << (bit % 8);
        // Only in the name of the checksum's entry may a bit be lost.
        let in_name = good.windows(15).position(|bytes| bytes == b"engine.checksum").unwrap();
        assert!(!load(&damaged) || (in_name..in_name + 15).contains(&(bit / 8)), "bit {bit}");
        damaged[bit / 8] ^= 1 << (bit % 8);
    }
    for length in [0, 1, u64::from(u32::MAX), 1 << 40, u64::MAX / 2, u64::MAX - 7, u64::MAX] {
        damaged[..8].copy_from_slice(&length.to_le_bytes());
        assert!(!load(&damaged), "a header of {length} bytes");
    }
    damaged.copy_from_slice(&good);
    damaged.push(0);
    assert!(!load(&damaged), "a byte too many");
    assert!(session.checkpoint_to_bytes().unwrap() == other);
}

#[test]
fn what_does_not_fit_is_named_and_changes_nothing() {
    let good = content(&trained(Reference).checkpoint_to_bytes().unwrap());
    let mut session = session(Reference, ALL);
    session.initialize(1);
    let before = session.checkpoint_to_bytes().unwrap();
    let mut fails = |change: &dyn Fn(&mut Content), is_weights: bool| {
        let mut changed = good.clone();
        change(&mut changed);
        let error = match is_weights {
            true => session.load_weights_from_bytes(&file(&changed)),
            false => session.load_checkpoint_from_bytes(&file(&changed)),
        };
        assert!(session.checkpoint_to_bytes().unwrap() == before);
        error.unwrap_err().to_string()
    };
    let no_weight = |content: &mut Content| drop(content.remove("fc.weight"));
    assert_eq!(fails(&no_weight, true), "weights: no tensor `fc.weight`, expected shape [3, 18]");
    let no_moment = |content: &mut Content| drop(content.remove("optimizer.exp_avg_sq.conv.bias"));
    assert_eq!(fails(&no_moment, false), "checkpoint: no tensor `optimizer.exp_avg_sq.conv.bias`, expected shape [3]");
    let no_average = |content: &mut Content| drop(content.remove("average.bn.bias"));
    assert_eq!(fails(&no_average, false), "checkpoint: no tensor `average.bn.bias`, expected shape [3]");
    let no_seed = |content: &mut Content| drop(content.remove("session.seed"));
    assert_eq!(fails(&no_seed, false), "checkpoint: no tensor `session.seed`, expected shape []");
    let more = |content: &mut Content| drop(content.insert("head".to_owned(), (Dtype::F32, vec![1], vec![0; 4])));
    for is_weights in [true, false] {
        let error = fails(&more, is_weights);
        assert!(error.ends_with("tensor `head` is left over: the session has none of this name"), "{error}");
    }
    let frozen = |content: &mut Content| {
        content.insert("optimizer.exp_avg.fc.bias".to_owned(), (Dtype::F64, vec![3], vec![0; 24]));
    };
    assert!(fails(&frozen, false).contains("`optimizer.exp_avg.fc.bias` is left over"));
    let shape = |content: &mut Content| content.get_mut("fc.weight").unwrap().1 = vec![18, 3];
    assert_eq!(fails(&shape, true), "weights: tensor `fc.weight` has shape [18, 3], expected [3, 18]");
    let integers = |content: &mut Content| content.get_mut("fc.weight").unwrap().0 = Dtype::I64;
    assert_eq!(fails(&integers, true), "weights: tensor `fc.weight` is I64, expected F16, BF16, F32 or F64");
    let float = |content: &mut Content| content.get_mut("session.seed").unwrap().0 = Dtype::F64;
    assert_eq!(fails(&float, false), "checkpoint: tensor `session.seed` is F64, expected U64");

    let mut other = self::session(Reference, SessionOptions::default());
    let error = other.load_checkpoint_from_bytes(&file(&good)).unwrap_err().to_string();
    assert!(error.contains("`average.bn.bias` is left over"), "{error}");
}

#[test]
fn a_state_dict_of_pytorch_of_any_floating_point_type_can_be_loaded() {
    let mut weights = content(&trained(Reference).weights_to_bytes().unwrap());
    weights.insert("bn.num_batches_tracked".to_owned(), (Dtype::I64, vec![], vec![9; 8]));
    let bits: [(&str, Dtype, Vec<u8>); 4] = [
        // 1.5, -2 and infinity
        ("conv.bias", Dtype::F16, [0x3e00_u16, 0xc000, 0x7c00].map(u16::to_le_bytes).concat()),
        ("bn.weight", Dtype::BF16, [0x3fc0_u16, 0xc000, 0x7f80].map(u16::to_le_bytes).concat()),
        ("bn.bias", Dtype::F32, [1.5_f32, -2.0, f32::INFINITY].map(f32::to_le_bytes).concat()),
        ("fc.bias", Dtype::F64, [1.5_f64, -2.0, f64::INFINITY].map(f64::to_le_bytes).concat()),
    ];
    for (name, dtype, bytes) in bits {
        weights.insert(name.to_owned(), (dtype, vec![3], bytes));
    }
    let mut session = session(Cpu::new(1).unwrap(), SessionOptions::default());
    session.load_weights_from_bytes(&file(&weights)).unwrap();
    for name in ["conv.bias", "bn.weight", "bn.bias", "fc.bias"] {
        assert_eq!(session.tensor(name).unwrap(), [1.5, -2.0, f32::INFINITY], "{name}");
    }
}

/// As the documentation of `load_weights` says. `fc` reads images of 3 x 2 pixels and 3 channels.
#[test]
fn features_of_a_flattened_image_are_put_in_order() {
    let mut weights = content(&trained(Reference).weights_to_bytes().unwrap());
    // The weight is the number of its feature in PyTorch: (channel 3 + row) 2 + column.
    let features = (0..3).flat_map(|_| (0..18).flat_map(|feature| f64::from(feature).to_le_bytes())).collect();
    weights.get_mut("fc.weight").unwrap().2 = features;
    let mut session = session(Reference, SessionOptions::default());
    session.load_weights_from_bytes(&file(&weights)).unwrap();
    let theirs = pytorch::weight_to_pytorch(&[18, 3], &session.tensor("fc.weight").unwrap());
    session.set_tensor("fc.weight", &flattened_linear_weight(&theirs, [3, 2, 3], 3).unwrap()).unwrap();
    let ours = session.tensor("fc.weight").unwrap();
    for (row, column, channel) in [(0, 0, 1), (1, 1, 0), (2, 1, 2)] {
        let feature = (row * 2 + column) * 3 + channel;
        assert_eq!(ours[feature * 3..][..3], [((channel * 3 + row) * 2 + column) as f64; 3]);
    }
}

#[test]
fn a_checkpoint_in_the_middle_of_a_step_is_refused() {
    let mut session = trained(Reference);
    let fails = |session: &Session<Reference>| session.checkpoint_to_bytes().unwrap_err().to_string();
    session.start_step(PLAN, &adamw()).unwrap();
    assert_eq!(fails(&session), "1 training steps have been started: call `finish_steps` before a checkpoint");
    assert!(session.finish_steps(&mut Vec::new()));
    session.accumulate(PLAN, 1.0).unwrap();
    assert!(fails(&session).contains("1 micro-batches have been accumulated"));
    session.start_accumulated_step(&adamw()).unwrap();
    assert!(session.finish_steps(&mut Vec::new()));
    session.swap_averages().unwrap();
    assert!(fails(&session).contains("averages are in the place of the parameters"));
    session.swap_averages().unwrap();
    session.checkpoint_to_bytes().unwrap();
}

#[test]
fn tensors_of_one_name_are_refused() {
    let mut graph = Graph::new();
    let x = graph.parameter("x", [1], Init::Ones).unwrap();
    let y = graph.parameter("optimizer.exp_avg.x", [1], Init::Ones).unwrap();
    let loss = graph.mse_loss(x, y).unwrap();
    let session = Session::new(Reference, vec![Plan::training(&graph, loss).unwrap()]).unwrap();
    let error = session.checkpoint_to_bytes().unwrap_err().to_string();
    assert_eq!(error, "checkpoint: two tensors would be named `optimizer.exp_avg.x`");
    session.weights_to_bytes().unwrap();
}

#[test]
fn a_file_is_whole_or_as_it_was_and_messages_name_it() {
    let mut session = trained(Reference);
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let names = || {
        let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    fs::create_dir(at("folder")).unwrap();
    for path in [at("folder"), at("absent/weights"), at("")] {
        let error = session.save_weights(&path).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{}: cannot be written: ", path.display())), "{error}");
        let error = session.load_weights(&path).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{}: cannot be read: ", path.display())), "{error}");
    }
    fs::write(at("weights"), "no weights").unwrap();
    let error = session.load_weights(at("weights")).unwrap_err().to_string();
    let expected = format!("{}: not a whole safetensors file: ", at("weights").display());
    assert!(error.starts_with(&expected), "{error}");
    session.save_weights(at("weights")).unwrap();
    session.load_weights(at("weights")).unwrap();
    assert_eq!(names(), ["folder", "weights"]);
}

#[cfg(unix)]
#[test]
fn links_and_rights_stay() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;
    let session = trained(Reference);
    let folder = tempfile::tempdir().unwrap();
    let [file, link] = ["file", "link"].map(|name| folder.path().join(name));
    fs::write(&file, "before").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    symlink("file", &link).unwrap();
    session.save_weights(&link).unwrap();
    assert_eq!(fs::read_link(&link).unwrap(), Path::new("file"));
    assert_eq!(fs::read(&file).unwrap(), session.weights_to_bytes().unwrap());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    let error = session.save_weights("/dev/null").unwrap_err().to_string();
    assert_eq!(error, "/dev/null: cannot be written: it is not a file");
}

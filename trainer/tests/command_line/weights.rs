//! The commands that use weights: what they take the network for.

use crate::common::{Place, train};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use trainer::train::checkpoint::{Checkpoint, Tensor, Values};

const DATA: [&str; 2] = ["--data=data", "--unverified-data"];

/// A run of a network that no preset has, in the folder `run`.
fn trained() -> Place {
    let place = Place::new();
    let network = ["--preset=original", "--residual-weight=0.5", "--activation=relu"];
    place.succeed(&train(&[&network[..], &["--samples=48", "--lr=1e-2", "--out=run"]].concat()));
    place
}

fn eval(place: &Place, weights: &str, more: &[&str]) -> String {
    place.succeed(&[&["eval", weights], &DATA[..], more].concat())
}

/// Writes the tensors of a file as another program would.
fn write(place: &Place, name: &str, tensors: impl IntoIterator<Item = (String, Tensor)>) {
    let tensors = tensors.into_iter().collect();
    Checkpoint { path: place.path(name), tensors, run: None }.write().unwrap();
}

fn tensors(place: &Place) -> Vec<(String, Tensor)> {
    Checkpoint::read(&place.path("run/model.safetensors")).unwrap().tensors.into_iter().collect()
}

#[test]
fn weights_know_their_network_as_the_checkpoint_does() {
    let place = trained();
    let expected = eval(&place, "run/checkpoint.safetensors", &[]);
    for weights in ["run/model.safetensors", "run/best.safetensors"] {
        assert_eq!(eval(&place, weights, &[]), expected, "{weights}");
    }
    // The network is another one with the preset's settings: they do not win over those of the file.
    assert_eq!(eval(&place, "run/model.safetensors", &["--preset=default"]), expected);
    assert_ne!(eval(&place, "run/model.safetensors", &["--residual-weight=1"]), expected);
    for (weights, out) in [("run/checkpoint.safetensors", "a"), ("run/model.safetensors", "b")] {
        place.succeed(&["export", weights, &format!("--out={out}.onnx")]);
        image::GrayImage::from_pixel(8, 8, image::Luma([99])).save(place.path("i.png")).unwrap();
        place.succeed(&["restore", weights, "i.png", "--missing=left", &format!("--out={out}")]);
    }
    assert_eq!(place.read("a.onnx"), place.read("b.onnx"));
    assert_eq!(place.read("a/i-restored.png"), place.read("b/i-restored.png"));
}

#[test]
fn a_folder_of_a_run_stands_for_its_weights() {
    let place = trained();
    let expected = eval(&place, "run/model.safetensors", &[]);
    assert_eq!(eval(&place, "run", &[]), expected);
    image::GrayImage::from_pixel(8, 8, image::Luma([99])).save(place.path("i.png")).unwrap();
    place.succeed(&["restore", "run", "i.png", "--missing=left"]);
    place.succeed(&["export", "run"]);
    assert!(place.path("run/model.onnx").is_file());
    place.succeed(&train(&["--preset=original", "--samples=8", "--out=next", "--init=run"]));

    // While a run goes on, it has checkpoints alone.
    std::fs::create_dir_all(place.path("runs/b")).unwrap();
    std::fs::create_dir(place.path("runs/none")).unwrap();
    std::fs::rename(place.path("run/checkpoint.safetensors"), place.path("runs/b/checkpoint.safetensors")).unwrap();
    std::fs::rename(place.path("next"), place.path("runs/a")).unwrap();
    assert_eq!(eval(&place, "runs/b", &[]), expected);
    let both = format!("runs/a\n{}\nruns/b\n{expected}", eval(&place, "runs/a", &[]));
    assert_eq!(eval(&place, "runs", &[]).trim_end(), both.trim_end());

    let told = "a folder without model.safetensors and checkpoint.safetensors: expected a file of weights or the folder \
                of a run, such as runs/a, runs/b";
    for command in
        [&["export", "runs"][..], &["restore", "runs", "i.png", "--missing=top"], &["eval", "runs", "--errors=e"]]
    {
        assert_eq!(place.fail(command), format!("runs: {told}"));
    }
}

#[test]
fn weights_without_settings_need_them_said() {
    let place = trained();
    let expected = eval(&place, "run/checkpoint.safetensors", &[]);
    write(&place, "bare.safetensors", tensors(&place));
    image::GrayImage::from_pixel(8, 8, image::Luma([99])).save(place.path("i.png")).unwrap();
    let missing = "size, stride, padding, residual_weight, bottleneck_activation, activation: ";
    for arguments in [
        &["eval", "bare.safetensors"][..],
        &["export", "bare.safetensors"],
        &["restore", "bare.safetensors", "i.png", "--missing=top"],
    ] {
        let message = place.fail(arguments);
        let told = format!("bare.safetensors: weights without settings, which do not show {missing}");
        assert!(message.starts_with(&told), "{message}");
        assert!(
            message
                .ends_with("or with --size --stride --padding --residual-weight --bottleneck-activation --activation"),
            "{message}"
        );
    }
    let flags = ["--size=8", "--stride=1", "--padding=1", "--residual-weight=0.5", "--bottleneck-activation=none"];
    let message = place.fail(&[&["eval", "bare.safetensors"], &flags[..]].concat());
    assert!(message.contains("do not show activation: ") && message.contains("with --preset"), "{message}");

    let batch = ["--batch=8"];
    assert_eq!(eval(&place, "bare.safetensors", &["--config=run/settings.toml"]), expected);
    assert_eq!(eval(&place, "bare.safetensors", &[&flags[..], &["--activation=relu"], &batch].concat()), expected);
    let preset = ["--preset=original", "--size=8", "--residual-weight=0.5", "--activation=relu"];
    assert_eq!(eval(&place, "bare.safetensors", &[&preset[..], &batch].concat()), expected);
}

#[test]
fn a_run_tells_that_its_first_weights_are_of_another_network() {
    let place = trained();
    let begin =
        |more: &[&str]| place.succeed(&train(&[&["--samples=8", "--init=run/model.safetensors"], more].concat()));
    let out = begin(&["--out=other"]);
    for told in ["residual_weight 0.5, now it is 1.0", "activation \"relu\", now it is \"gelu\""] {
        assert!(out.contains(&format!("run/model.safetensors: trained with {told}\n")), "{out}");
    }
    let out = begin(&["--out=same", "--preset=original", "--residual-weight=0.5", "--activation=relu"]);
    assert!(!out.contains("trained with"), "{out}");
}

/// The same tensors with half the bits, as `tensor.half()` and `tensor.bfloat16()` give them.
fn halved(place: &Place, name: &str, dtype: Dtype, bits: fn(f32) -> [u8; 2]) {
    let tensors = tensors(place);
    let bytes: Vec<(Dtype, Vec<u8>)> = tensors
        .iter()
        .map(|(_, tensor)| match &tensor.values {
            Values::F32(values) => (dtype, values.iter().flat_map(|value| bits(*value)).collect()),
            Values::I64(values) => (Dtype::I64, values.iter().flat_map(|value| value.to_le_bytes()).collect()),
            Values::F64(_) => panic!("trained on the CPU"),
        })
        .collect();
    let views = tensors.iter().zip(&bytes).map(|((name, tensor), (dtype, bytes))| {
        (format!("module.{name}"), TensorView::new(*dtype, tensor.shape.clone(), bytes).unwrap())
    });
    std::fs::write(place.path(name), safetensors::serialize(views, None).unwrap()).unwrap();
}

#[test]
fn weights_from_elsewhere_are_read() {
    let place = trained();
    let config = ["--config=run/settings.toml"];
    let expected = eval(&place, "run/model.safetensors", &[]);
    let wrapped = |prefix: &str| -> Vec<(String, Tensor)> {
        tensors(&place).into_iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor)).collect()
    };
    for (prefix, told) in [
        ("module.", "`module.`"),
        ("_orig_mod.", "`_orig_mod.`"),
        ("model.", "`model.`"),
        ("model._orig_mod.", "`model.` and `_orig_mod.`"),
    ] {
        write(&place, "wrapped.safetensors", wrapped(prefix));
        let out = eval(&place, "wrapped.safetensors", &config);
        assert_eq!(out, format!("wrapped.safetensors: names are taken without their beginning {told}\n{expected}"));
    }
    let out = place.succeed(&train(&["--samples=8", "--out=again", "--init=wrapped.safetensors"]));
    assert!(out.contains("wrapped.safetensors: names are taken without"), "{out}");
    write(&place, "other.safetensors", wrapped("net."));
    let message = place.fail(&[&["eval", "other.safetensors"], &config[..]].concat());
    assert!(
        message.ends_with("no tensor `encoder.layer_1.conv.weight`, but `net.decoder.layer_1.bn.bias`"),
        "{message}"
    );

    // Some three digits are left of the weights, and of the loss.
    let loss = |out: &str| -> f64 {
        let line = out.lines().find(|line| line.starts_with("running statistics")).unwrap();
        line.split_whitespace().nth(2).unwrap().parse().unwrap()
    };
    halved(&place, "f16.safetensors", Dtype::F16, |value| half::f16::from_f32(value).to_le_bytes());
    halved(&place, "bf16.safetensors", Dtype::BF16, |value| half::bf16::from_f32(value).to_le_bytes());
    for weights in ["f16.safetensors", "bf16.safetensors"] {
        let out = eval(&place, weights, &config);
        assert!((loss(&out) - loss(&expected)).abs() < 0.01 * loss(&expected), "{out}{expected}");
    }
}

#[test]
fn a_pickle_is_refused_with_the_line_that_converts_it() {
    let place = Place::new();
    let zip = [b"PK\x03\x04\0\0\x08\x08\0\0\0\0\0\0", &[0; 16][..], b"archive/data.pklFB", &[90; 2000]].concat();
    std::fs::write(place.path("w.pt"), zip).unwrap();
    let absolute = place.path("w.pt").display().to_string();
    for (arguments, path) in [
        (&["eval", "w.pt", "--preset=default"][..], "w.pt"),
        (&train(&["--out=run", "--init=w.pt"]), absolute.as_str()),
    ] {
        let message = place.fail(arguments);
        let reason = format!("{path}: a pickle, as torch.save writes it, and not a safetensors file");
        assert!(message.starts_with(&reason), "{message}");
        let result = path.replace(".pt", ".safetensors");
        assert!(message.contains(&format!("torch.load(\"{path}\", ")), "{message}");
        assert!(message.ends_with(&format!(", \"{result}\")")), "{message}");
    }
    assert_eq!(place.files("run"), [""; 0]);
}

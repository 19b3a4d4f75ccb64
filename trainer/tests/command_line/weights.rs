//! The commands that use weights: what they take the network for.

use crate::common::{Place, train};
use trainer::train::checkpoint::{Checkpoint, Tensor};

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

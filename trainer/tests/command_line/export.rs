//! `resconv export`: what it writes, and what it refuses. That other programs read it is checked in
//! `.ci/check_exports.py`.

use crate::common::{Place, train};
use trainer::train::checkpoint::{Checkpoint, Values};

#[test]
fn a_network_is_exported_with_an_example() {
    let place = Place::new();
    place.succeed(&train(&["--samples=16", "--out=run"]));
    let arguments = ["export", "run/model.safetensors", "--data=data", "--unverified-data"];
    let out = place.succeed(&[&arguments[..], &["--example=example.safetensors", "--out=n.onnx"]].concat());
    assert!(out.ends_with("n.onnx\n"), "{out}");
    let file = place.read("n.onnx");
    let has = |text: &str| file.windows(text.len()).any(|window| window == text.as_bytes());
    for text in
        ["encoder.layer_1.bn.running_var", "ConvTranspose", "BatchNormalization", "Gelu", "decoder.layer_2.skip"]
    {
        assert!(has(text), "{text}");
    }
    let example = Checkpoint::read(&place.path("example.safetensors")).unwrap();
    for name in ["input", "output"] {
        assert_eq!(example.tensors[name].shape, [16, 1, 8, 8]);
        let Values::F32(values) = &example.tensors[name].values else { panic!("{name}: not F32") };
        assert!(values.iter().all(|value| (0.0..=1.0).contains(value)));
    }

    let message = place.fail(&[&arguments[..], &["--out=n.onnx"]].concat());
    assert_eq!(message, "n.onnx exists: use --force to overwrite it, or choose another place");
    place.succeed(&[&arguments[..], &["--out=n.onnx", "--force"]].concat());
    // Weights of another network are refused, and nothing is written.
    let message = place.fail(&["export", "run/model.safetensors", "--layers=3"]);
    assert!(message.contains("no tensor") || message.contains("shape"), "{message}");
    assert!(!place.path("run/model.onnx").exists());
}

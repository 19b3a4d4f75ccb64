//! `resconv restore` on generated images.

use crate::common::{Place, fixture};
use image::imageops::FilterType;
use image::{GrayImage, Luma, Rgb, RgbImage};
use std::path::Path;
use trainer::train::checkpoint::{Checkpoint, Values};

fn floats(checkpoint: &Checkpoint, name: &str) -> Vec<f32> {
    match &checkpoint.tensors[name].values {
        Values::F32(values) => values.clone(),
        other => panic!("{name} is {other}"),
    }
}

fn gray(place: &Place, name: &str) -> GrayImage {
    let image = image::open(place.path(name)).unwrap();
    assert_eq!(image.color(), image::ColorType::L8, "{name}");
    image.to_luma8()
}

/// The first image of `tests/data/inference.safetensors`, with something in the half that is going to be taken away,
/// and what PyTorch makes of it.
fn pytorch(place: &Place, name: &str) -> Vec<f32> {
    let inference = Checkpoint::read(Path::new(&fixture("inference.safetensors"))).unwrap();
    let (x, y) = (floats(&inference, "x"), floats(&inference, "y"));
    let level = |i: u32, j: u32| if j < 4 { 77 } else { (x[(i * 8 + j) as usize] * 255.0).round() as u8 };
    GrayImage::from_fn(8, 8, |j, i| Luma([level(i, j)])).save(place.path(name)).unwrap();
    y[..64].to_vec()
}

#[test]
fn a_png_is_restored_as_pytorch_would() {
    let place = Place::new();
    let expected = pytorch(&place, "boot.png");
    let weights = fixture("state_dict.safetensors");
    let restore = ["restore", &weights, "--preset=default", "--size=8", "--missing=left", "--out=out", "boot.png"];
    let out = place.succeed(&restore);
    assert!(out.contains("boot-restored.png: written") && !out.contains("resized"), "{out}");
    assert_eq!(place.files("out"), ["boot-restored.png"]);
    let restored = gray(&place, "out/boot-restored.png");
    assert_eq!(restored.dimensions(), (8, 8));
    for (pixel, value) in restored.pixels().zip(&expected) {
        assert!((f32::from(pixel.0[0]) - value * 255.0).abs() < 0.51, "{} and {}", pixel.0[0], value * 255.0);
    }
}

#[test]
fn a_colour_jpeg_is_made_grey_and_small_and_that_is_said() {
    let place = Place::new();
    let photo = RgbImage::from_fn(40, 20, |x, y| Rgb([x as u8 * 6, 200, y as u8 * 12]));
    photo.save(place.path("photo.jpeg")).unwrap();
    let weights = fixture("state_dict.safetensors");
    let arguments = ["--preset=default", "--size=8", "--missing=bottom", "--with-input", "--scale=3", "photo.jpeg"];
    let out = place.succeed(&[&["restore", &weights], &arguments[..]].concat());
    for said in ["photo.jpeg: ", "grey", "resized from 40 x 20 to 8 x 4"] {
        assert!(out.contains(said), "{said}: {out}");
    }
    let (input, restored) = (gray(&place, "photo-input.png"), gray(&place, "photo-restored.png"));
    assert_eq!((input.dimensions(), restored.dimensions()), ((24, 24), (24, 24)));
    // The photo is wide: it lies in rows 2 to 5 of 8, of which the lower half is taken away.
    assert!((9..12).all(|y| input.get_pixel(12, y).0[0] > 50), "the upper half is kept");
    assert!((12..24).all(|y| (0..24).all(|x| input.get_pixel(x, y).0[0] == 0)), "the lower half is missing");
    assert!((12..24).any(|y| (0..24).any(|x| restored.get_pixel(x, y).0[0] > 0)), "the lower half is restored");
}

#[test]
fn files_are_not_overwritten_unasked() {
    let place = Place::new();
    pytorch(&place, "a.png");
    pytorch(&place, "b.png");
    std::fs::write(place.path("b-restored.png"), "mine").unwrap();
    let weights = fixture("state_dict.safetensors");
    let restore = ["restore", &weights, "--preset=default", "--size=8", "--missing=left", "a.png", "b.png"];
    let message = place.fail(&restore);
    assert_eq!(message, "./b-restored.png exists: use --force to overwrite it, or choose another place");
    assert_eq!(place.read_text("b-restored.png"), "mine");
    assert!(!place.path("a-restored.png").exists(), "nothing is written if something cannot be");
    place.succeed(&[&restore[..], &["--force"]].concat());
    assert_eq!(place.read("a-restored.png"), place.read("b-restored.png"));
}

#[test]
fn what_is_no_image_is_refused_before_anything_is_written() {
    let place = Place::new();
    pytorch(&place, "a.png");
    std::fs::write(place.path("b.png"), &place.read("a.png")[..60]).unwrap();
    std::fs::write(place.path("c.jpg"), "words").unwrap();
    image::open(place.path("a.png"))
        .unwrap()
        .resize(64, 64, FilterType::Nearest)
        .save(place.path("whole.jpg"))
        .unwrap();
    let whole = place.read("whole.jpg");
    std::fs::write(place.path("half.jpg"), &whole[..whole.len() / 2]).unwrap();
    let weights = fixture("state_dict.safetensors");
    for (image, told) in [
        ("b.png", "b.png: not a readable PNG or JPEG image: "),
        ("c.jpg", "c.jpg: not a readable PNG or JPEG image: "),
        ("half.jpg", "half.jpg: not a readable PNG or JPEG image: it is cut off "),
        ("d.png", "could not open d.png: "),
    ] {
        let message = place.fail(&[
            "restore",
            &weights,
            "--preset=default",
            "--size=8",
            "--missing=top",
            "--out=out",
            "a.png",
            image,
        ]);
        assert!(message.starts_with(told), "{message}");
        assert_eq!(place.files("out"), [""; 0]);
    }
}

//! `--data` of a folder of pictures.

use crate::common::Place;
use crate::resume::kill_after_a_checkpoint;
use image::{GrayImage, Luma, Rgb, RgbImage};
use std::fs;

/// Twelve photographs of different sizes and formats in `photos`, of which one is grey, and a file that is none.
fn with_photos() -> Place {
    let place = Place::new();
    fs::create_dir_all(place.path("photos/more")).unwrap();
    for i in 0..11u32 {
        let photo = RgbImage::from_fn(9 + 7 * i, 40 - 3 * i, |x, y| {
            Rgb([(x * 5 + i * 20) as u8, (y * 6) as u8, ((x / 4 + y / 4) % 2 * 200) as u8])
        });
        let end = ["png", "jpg", "bmp", "webp"][i as usize % 4];
        photo.save(place.path("photos").join(["", "more"][i as usize % 2]).join(format!("{i}.{end}"))).unwrap();
    }
    GrayImage::from_fn(30, 30, |x, y| Luma([(x * y) as u8])).save(place.path("photos/grey.png")).unwrap();
    fs::write(place.path("photos/notes.txt"), "not a picture").unwrap();
    place
}

fn train<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let small = ["train", "--data=photos", "--layers=2", "--channels=4", "--size=8", "--batch=8", "--augment"];
    small.into_iter().chain(more.iter().copied()).collect()
}

#[test]
fn a_killed_run_on_photographs_resumes_bit_for_bit_in_memory_or_not() {
    for grey in ["--grey=false", "--grey=true"] {
        let place = with_photos();
        let run =
            ["--samples=2404", "--checkpoint-every=80", "--validate-every=300", "--task=half-crop,noise:0..0.2", grey];
        let arguments = |more: &[&'static str]| train(&[&run[..], more].concat());
        place.succeed(&arguments(&["--out=whole", "--threads=1"]));
        kill_after_a_checkpoint(&place, &arguments(&["--out=killed", "--threads=2", "--data-memory=0"]));
        place.succeed(&["train", "--resume", "--out=killed", "--threads=1"]);
        for file in ["metrics.csv", "validation.csv", "model.safetensors", "reconstruction.png"] {
            assert_eq!(place.read(&format!("whole/{file}")), place.read(&format!("killed/{file}")), "{grey}: {file}");
        }
    }
}

#[test]
fn a_network_for_grey_images_is_not_evaluated_on_colours() {
    let place = with_photos();
    let message = place.fail(&["eval", "half-crop", "--data=photos"]);
    let expected =
        "the images have 3 channels, and those that the network was trained with 1: expected images with as many";
    assert!(message.ends_with(expected), "{message}");
}

#[test]
fn what_is_there_is_told() {
    let place = with_photos();
    let out = place.succeed(&["data", "--data=photos"]);
    for told in [
        "reading 12 pictures\n12 pictures in colour, 0.0 megapixels, ",
        "\nenlarging 12 pictures smaller than 32 x 32 pixels\n",
        "\nphotos (--data): 11 pictures to train with, 1 to validate with (a share of 0.1, drawn)\n",
        "\n  format          pictures\n  to train with   11 images in colour, 9 x 40 to ",
        "\n  to validate     1 image in colour, ",
    ] {
        assert!(out.contains(told), "{told}: {out}");
    }
    let of_another = place.fail(&["data", "--data=photos", "--data-format=cifar10"]);
    assert!(of_another.contains("holds no binary files of CIFAR-10; looked for data_batch_1.bin "), "{of_another}");
    let idx = place.succeed(&["data", "--data=data", "--data-format=idx"]);
    assert!(idx.contains("\n  to validate     20 images in grey, 28 x 28 pixels, of 1 class"), "{idx}");
}

#[test]
fn an_unreadable_picture_is_named_or_left_out() {
    let place = with_photos();
    fs::write(place.path("photos/broken.png"), b"\x89PNG").unwrap();
    let run = ["--samples=16", "--out=run", "--validation-share=0.5"];
    let broken = place.path("photos/broken.png");
    let told = format!("{}: not a readable PNG, JPEG, WebP or BMP picture: ", broken.display());
    let message = place.fail(&train(&run));
    assert!(message.starts_with(&told), "{message}");
    let out = place.succeed(&train(&[&run[..], &["--skip-unreadable"]].concat()));
    assert!(out.contains(&format!("left out 1 unreadable picture: {}\n", broken.display())), "{out}");
}

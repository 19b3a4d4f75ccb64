//! `resconv restore` on generated images.

use crate::common::{Place, fixture, write_photos};
use image::imageops::FilterType;
use image::{GrayImage, ImageBuffer, Luma, Rgb, RgbImage, Rgba, RgbaImage};
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
    // The left half is the network's, the right one was known.
    let original = gray(&place, "boot.png");
    for ((x, y, pixel), value) in restored.enumerate_pixels().zip(&expected) {
        let value = if x < 4 { value * 255.0 } else { f32::from(original.get_pixel(x, y).0[0]) };
        assert!((f32::from(pixel.0[0]) - value).abs() < 0.51, "{} and {value}", pixel.0[0]);
    }
    place.succeed(&[&restore[..], &["--keep-known=false", "--force"]].concat());
    for (pixel, value) in gray(&place, "out/boot-restored.png").pixels().zip(&expected) {
        assert!((f32::from(pixel.0[0]) - value * 255.0).abs() < 0.51, "{} and {}", pixel.0[0], value * 255.0);
    }
}

/// A run's folder with a tiny network of a task.
fn trained(place: &Place, name: &str, arguments: &[&str]) {
    write_photos(place);
    let out = format!("--out={name}");
    let always =
        ["--data=photos", "--size=12", "--samples=64", "--batch=16", "--threads=1", "--validate-images=9", &out];
    place.succeed(&[&["train"], &always[..], arguments].concat());
}

#[test]
fn a_large_picture_in_tiles_is_the_same_as_in_one_piece() {
    let place = Place::new();
    let photo = RgbImage::from_fn(700, 430, |x, y| Rgb([(x % 256) as u8, (y % 256) as u8, ((x * y) % 256) as u8]));
    photo.save(place.path("photo.png")).unwrap();
    GrayImage::from_fn(700, 430, |x, y| Luma([u8::from(x / 90 % 2 == 1 && y / 50 % 2 == 1)]))
        .save(place.path("mask.png"))
        .unwrap();
    let small = ["--layers=2", "--channels=4"];
    for (name, task) in [
        ("grey", &["--task=noise:25/255", "--predict=residual", "--grey"][..]),
        ("rgb", &["--task=noise:25/255", "--predict=residual"]),
        ("strided", &["--task=blur:1", "--stride=2", "--predict=residual"]),
        ("even", &["--task=blur:1", "--kernel-size=4"]),
        ("enlarged", &["--task=downscale:2", "--predict=residual"]),
        ("colours", &["--task=colorize"]),
        ("filled", &["--task=box,fill", "--predict=residual", "--stride=1,2"]),
        ("filled-grey", &["--task=box,fill", "--predict=residual", "--grey"]),
    ] {
        trained(&place, name, &[&small, task].concat());
        let restore = |out: &str, limit: &str| {
            let (out, limit) = (format!("--out={out}"), format!("--memory-limit={limit}"));
            let mask: &[&str] = if name.starts_with("filled") { &["--mask=mask.png"] } else { &[] };
            place.succeed(&[&["restore", name, "photo.png", &out, &limit], mask].concat());
        };
        restore("whole", "2000");
        restore("tiles", "3");
        let [whole, tiles] = ["whole", "tiles"]
            .map(|folder| image::open(place.path(&format!("{folder}/photo-restored.png"))).unwrap().into_rgb8());
        let factor = if name == "enlarged" { 2 } else { 1 };
        assert_eq!((whole.dimensions(), tiles.dimensions()), ((700 * factor, 430 * factor), whole.dimensions()));
        // Rounding may fall to the other side of a level.
        let largest = whole.as_raw().iter().zip(tiles.as_raw()).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(largest <= Some(1), "{name}: {largest:?}");
        assert!(whole.pixels().any(|pixel| *pixel != *whole.get_pixel(0, 0)), "{name}");
        std::fs::remove_dir_all(place.path("whole")).unwrap();
        std::fs::remove_dir_all(place.path("tiles")).unwrap();
    }
    trained(&place, "large", &["--layers=3", "--task=blur:1"]);
    let message = place.fail(&["restore", "large", "photo.png", "--out=out", "--memory-limit=1"]);
    assert!(message.starts_with("--memory-limit: the network needs "), "{message}");
}

#[test]
fn missing_pixels_come_from_the_network_and_the_others_stay() {
    let place = Place::new();
    trained(&place, "boxes", &["--task=box", "--layers=2", "--channels=4"]);
    let photo = RgbImage::from_fn(50, 30, |x, y| Rgb([x as u8 * 5, y as u8 * 8, 77]));
    photo.save(place.path("photo.png")).unwrap();
    let is_missing = |x: u32, y: u32| (10..25).contains(&x) && (5..20).contains(&y);
    GrayImage::from_fn(50, 30, |x, y| Luma([u8::from(is_missing(x, y)) * 255])).save(place.path("mask.png")).unwrap();
    RgbaImage::from_fn(50, 30, |x, y| {
        let Rgb([r, g, b]) = *photo.get_pixel(x, y);
        Rgba([r, g, b, u8::from(!is_missing(x, y)) * 255])
    })
    .save(place.path("holes.png"))
    .unwrap();
    place.succeed(&["restore", "boxes", "photo.png", "--mask=mask.png", "--with-input", "--compare=photo.png"]);
    let out = place.succeed(&["restore", "boxes", "holes.png"]);
    assert!(out.contains("holes-restored.png: written"), "{out}");
    let open = |name: &str| image::open(place.path(name)).unwrap().into_rgb8();
    let (restored, input) = (open("photo-restored.png"), open("photo-input.png"));
    assert_eq!(restored, open("holes-restored.png"));
    for (x, y, pixel) in photo.enumerate_pixels() {
        let expected = if is_missing(x, y) { Rgb([0; 3]) } else { *pixel };
        assert_eq!(*input.get_pixel(x, y), expected);
        assert!(is_missing(x, y) || restored.get_pixel(x, y) == pixel);
    }
    let message = place.fail(&["restore", "boxes", "photo.png", "--force"]);
    assert!(message.starts_with("photo.png: none of its pixels is missing: "), "{message}");
    GrayImage::new(9, 9).save(place.path("mask.png")).unwrap();
    let message = place.fail(&["restore", "boxes", "photo.png", "--mask=mask.png", "--force"]);
    assert_eq!(message, "mask.png: 9 x 9 pixels (height x width); expected 30 x 50, as photo.png");
}

#[test]
fn missing_pixels_are_filled_in_smoothly_before_the_network_improves_them() {
    let place = Place::new();
    let photo = RgbImage::from_fn(60, 40, |x, y| Rgb([x as u8 * 4, y as u8 * 6, 90]));
    photo.save(place.path("photo.png")).unwrap();
    let is_missing = |x: u32, y: u32| (20..40).contains(&x) && (10..25).contains(&y);
    GrayImage::from_fn(60, 40, |x, y| Luma([u8::from(is_missing(x, y)) * 255])).save(place.path("mask.png")).unwrap();
    let always = ["--task=box,fill", "--layers=2", "--channels=4", "--predict=residual"];
    for (name, more) in [("colours", &["--lr=1e-9"][..]), ("grey", &["--lr=1e-9", "--grey"])] {
        trained(&place, name, &[&always, more].concat());
        let out = format!("--out={name}-out");
        place.succeed(&["restore", name, "photo.png", "--mask=mask.png", "--with-input", &out]);
        let open = |file: &str| image::open(place.path(&format!("{name}-out/{file}"))).unwrap().into_rgb8();
        let (restored, input) = (open("photo-restored.png"), open("photo-input.png"));
        for (x, y, pixel) in photo.enumerate_pixels() {
            let [filled, restored] = [&input, &restored].map(|picture| picture.get_pixel(x, y));
            let is_near = |(a, b): (&u8, &u8)| a.abs_diff(*b) <= 4; // the picture is a slope
            assert!(filled.0.iter().zip(&pixel.0).all(is_near), "{filled:?} at {x}, {y} for {pixel:?}");
            assert!(is_missing(x, y) || [filled, restored] == [pixel; 2]);
        }
        let changed = restored.pixels().zip(input.pixels()).filter(|(restored, input)| restored != input).count();
        assert!((1..=20 * 15).contains(&changed), "{changed} pixels are the network's");
        // What is not the damage of validation is not told twice.
        place.succeed(&["restore", name, "photo.png", "--damage", "--with-input", "--out=damaged", "--force"]);
        let message = place.fail(&["restore", name, "photo.png", "--force"]);
        assert!(message.contains("none of its pixels is missing"), "{message}");
        let eval = place.succeed(&["eval", name, "--data=photos", "--picture", &format!("{name}.png")]);
        assert!(eval.contains("damaged: ") && eval.contains("missing L1"), "{eval}");
    }
}

#[test]
fn folders_are_restored_with_their_subfolders_and_compared() {
    let place = Place::new();
    trained(&place, "run", &["--task=noise:0.1", "--layers=1", "--channels=2", "--predict=residual"]);
    let out = place.succeed(&["restore", "run", "photos", "--out=out", "--damage", "--compare=photos"]);
    assert_eq!(out.matches("PSNR").count(), 6, "{out}");
    assert!(place.path("out/validation/2-restored.png").is_file());
    std::fs::create_dir(place.path("empty")).unwrap();
    let message = place.fail(&["restore", "run", "empty"]);
    assert!(message.starts_with("empty: no PNG, JPEG, WebP or BMP pictures"), "{message}");
    let message = place.fail(&["restore", "run", "photos/train/0.png", "--missing=left"]);
    assert!(message.contains("--task noise:0.1, which changes whole pictures"), "{message}");
}

#[test]
fn sixteen_bits_are_read_and_written() {
    let place = Place::new();
    trained(&place, "run", &["--task=noise:0.1", "--layers=1", "--channels=2", "--predict=residual", "--grey"]);
    let deep = ImageBuffer::from_fn(20, 20, |x, y| Luma([(x * 3000 + y * 77) as u16]));
    deep.save(place.path("deep.png")).unwrap();
    place.succeed(&["restore", "run", "deep.png"]);
    let restored = image::open(place.path("deep-restored.png")).unwrap();
    assert_eq!(restored.color(), image::ColorType::L16);
    assert!(restored.into_luma16().pixels().any(|pixel| pixel.0[0] % 257 != 0), "more than 256 levels");
}

#[test]
fn a_colour_jpeg_is_made_grey_and_small_and_that_is_said() {
    let place = Place::new();
    let photo = RgbImage::from_fn(40, 20, |x, y| Rgb([x as u8 * 6, 200, y as u8 * 12]));
    photo.save(place.path("photo.jpeg")).unwrap();
    let weights = fixture("state_dict.safetensors");
    let arguments =
        ["--preset=default", "--size=8", "--missing=bottom", "--resize", "--with-input", "--scale=3", "photo.jpeg"];
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
        ("b.png", "b.png: not a readable PNG, JPEG, WebP or BMP picture: "),
        ("c.jpg", "c.jpg: not a readable PNG, JPEG, WebP or BMP picture: "),
        ("half.jpg", "half.jpg: not a readable PNG, JPEG, WebP or BMP picture: it is cut off "),
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

#[test]
fn networks_that_ship_have_names() {
    let place = Place::new();
    GrayImage::from_fn(40, 32, |x, y| Luma([(x * 3 + y * 2) as u8])).save(place.path("photo.png")).unwrap();
    let out = place.succeed(&["restore", "half-crop", "--missing=left", "photo.png"]);
    assert!(out.contains("./photo-restored.png: written"), "{out}");
    let message = place.fail(&["restore", "half", "photo.png"]);
    assert!(
        message.starts_with("half: no such file or folder, and not the name of a network that ships: "),
        "{message}"
    );
    // What is there goes first.
    std::fs::create_dir(place.path("half-crop")).unwrap();
    assert!(place.fail(&["eval", "half-crop"]).starts_with("half-crop: a folder without model.safetensors"));
}

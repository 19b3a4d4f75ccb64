//! What is true of all kinds of damage.

use super::damage::{Damaged, Draws};
use super::task::Task;
use cpu_time::ThreadTime;
use proptest::prelude::*;

/// Pixels whose neighbours differ, as the scripts had them that the pinned values are from.
pub(super) fn image([height, width]: [usize; 2], channels: usize) -> Vec<f32> {
    (0..height * width * channels).map(|i| ((i * 37 % 101) as f64 / 100.0) as f32).collect()
}

/// Pixels whose neighbours are alike, from 0 to 1.
pub(super) fn smooth([height, width]: [usize; 2], channels: usize) -> Vec<f32> {
    let value = |row: usize, column: usize, channel: usize| {
        let [row, column] = [row as f32 / height as f32, column as f32 / width as f32];
        0.5 + 0.5 * ((7.0 + 3.0 * channel as f32) * row).sin() * (5.0 * column).cos()
    };
    let of_row = |row| (0..width).flat_map(move |column| (0..channels).map(move |channel| value(row, column, channel)));
    (0..height).flat_map(of_row).collect()
}

/// [`image`] after a task, with the draws of a validation image.
pub(super) fn damaged(task: &str, size: [usize; 2], channels: usize, place: u64) -> Damaged {
    let mut now = Damaged::new(size, channels, image(size, channels));
    task.parse::<Task>().unwrap().apply(&mut now, &mut Draws::of_validation(place));
    now
}

pub(super) fn assert_close(got: &[f32], expected: &[f32]) {
    assert_eq!(got.len(), expected.len());
    let far = got
        .iter()
        .zip(expected)
        .position(|(got, expected)| (got - expected).abs().is_nan() || (got - expected).abs() > 1e-5);
    assert!(far.is_none(), "element {far:?}: {got:?}, expected {expected:?}");
}

/// One of each kind.
const ALL: [&str; 13] = [
    "half-crop",
    "box",
    "box:1..4:1/8..0.25",
    "pixels:0.5",
    "box:2:0.2..0.6,fill",
    "half-crop,pixels:0.2,fill",
    "noise:0..50/255",
    "blur:0.5..2",
    "downscale:3",
    "downscale:2:box",
    "quantize:4",
    "jpeg:10..40",
    "colorize",
];

#[test]
fn every_kind_damages_images_of_any_size() {
    for task in ALL {
        let is_mask = ["half", "box", "pixels"].iter().any(|name| task.starts_with(name));
        let fills = task.ends_with("fill");
        assert_eq!(task.parse::<Task>().map(|task| [task.is_mask(), task.fills()]), Ok([is_mask, fills]), "{task}");
        for (size, channels) in [([1, 1], 1), ([1, 1], 3), ([9, 14], 1), ([14, 9], 3), ([1, 30], 3), ([30, 1], 1)] {
            for place in 0..5 {
                let now = damaged(task, size, channels, place);
                let [height, width] = size;
                assert_eq!(now.channels, task.parse::<Task>().unwrap().damaged_channels(channels), "{task}");
                assert_eq!(now.pixels.len(), height * width * now.channels, "{task}");
                assert_eq!(now.known.len(), height * width, "{task}");
                assert!(now.pixels.iter().all(|value| value.is_finite()), "{task}");
                let input_channels = task.parse::<Task>().unwrap().input_channels(channels);
                assert_eq!(now.network_input().len(), height * width * input_channels, "{task}");
                let before = image(size, channels);
                for (pixel, known) in now.known.iter().enumerate().filter(|_| is_mask) {
                    let [now, before] = [&now.pixels, &before].map(|all| &all[pixel * channels..][..channels]);
                    let right = if *known { now == before } else { fills || now.iter().all(|value| *value == 0.0) };
                    assert!(right, "{task}: {now:?} for {before:?}");
                }
                assert!(
                    is_mask || channels == 1 && task == "colorize" || now.known.iter().all(|known| !known),
                    "{task}"
                );
            }
        }
    }
}

#[test]
fn damage_depends_on_seed_and_position_alone() {
    for task in ALL {
        let task: Task = task.parse().unwrap();
        let of = |seed, position| {
            let mut now = Damaged::new([32, 24], 3, image([32, 24], 3));
            task.apply(&mut now, &mut Draws::of_training(seed, position));
            now.network_input().into_owned()
        };
        assert_eq!(of(3, 70), of(3, 70), "{task}");
        let text = task.to_string();
        let draws_nothing = ["downscale", "quantize", "colorize"].iter().any(|name| text.starts_with(name));
        let others = [of(3, 71), of(3, 72), of(3, 73), of(4, 70), of(5, 70)];
        assert_eq!(others.iter().all(|other| *other == of(3, 70)), draws_nothing, "{task}");
    }
}

#[test]
fn kinds_follow_each_other_in_their_order() {
    let (first, second) = (damaged("quantize:2,blur:1", [9, 12], 3, 0), damaged("blur:1,quantize:2", [9, 12], 3, 0));
    assert!(second.pixels.iter().all(|value| [0.0, 1.0].contains(value)) && first.pixels != second.pixels);
    let mut expected = damaged("quantize:2", [9, 12], 3, 0);
    "blur:1".parse::<Task>().unwrap().apply(&mut expected, &mut Draws::of_validation(0));
    assert_eq!(first, expected);

    // A chain of masks is a mask: what one of them takes is missing.
    let (chain, half) = (damaged("half-crop,pixels:0.5", [20, 20], 3, 1), damaged("half-crop", [20, 20], 3, 1));
    assert!("half-crop,pixels:0.5".parse::<Task>().unwrap().is_mask());
    let pixels = damaged("pixels:0.5", [20, 20], 3, 1);
    let both: Vec<bool> = half.known.iter().zip(&pixels.known).map(|(a, b)| *a && *b).collect();
    assert_eq!(chain.known, both);
    assert!(!"half-crop,noise:0.1".parse::<Task>().unwrap().is_mask());

    let task: Task = "colorize,noise:0.1".parse().unwrap();
    assert_eq!([task.damaged_channels(3), task.damaged_channels(1)], [1, 1]);
    assert_eq!(damaged("colorize,noise:0.1", [4, 5], 3, 0).pixels.len(), 20);
}

#[test]
fn only_images_in_colour_can_be_colourized() {
    let check =
        |task: &str, channels| task.parse::<Task>().unwrap().check_channels(channels).map_err(|e| e.to_string());
    assert_eq!(check("blur:1,colorize", 3), Ok(()));
    for task in ALL.iter().filter(|task| **task != "colorize") {
        assert_eq!([check(task, 1), check(task, 3)], [Ok(()), Ok(())]);
    }
    let told = "the task blur:1,colorize is for images in colour: `colorize` does nothing to grey ones";
    assert_eq!(check("blur:1,colorize", 1), Err(told.to_owned()));
    assert!(check("colorize,colorize", 3).is_err());
}

#[test]
fn mistakes_show_the_right_form() {
    let told = |text: &str| text.parse::<Task>().unwrap_err().to_string();
    let message = told("smear");
    assert!(
        message.starts_with("expected one of half-crop, box[:COUNT[:SIDE]], pixels:SHARE, fill, noise:SIGMA, "),
        "{message}"
    );
    assert!(message.ends_with(", jpeg:QUALITY, colorize, got `smear`"), "{message}");
    assert_eq!(
        told("noise:0.1,blur"),
        "expected blur:SIGMA (Gaussian blur of deviation 0 to 32 pixels: blur:1.5), got `blur`"
    );
    for text in [
        "",
        ",",
        "half-crop,",
        "half-crop:left",
        "half-crop:",
        "Box",
        "box:",
        "box:0",
        "box:101",
        "box:1.5",
        "box:1:2",
        "box:1:0.5:1",
        "pixels",
        "pixels:1.1",
        "pixels:-0.1",
        "pixels:0.1:0.2",
        "noise",
        "noise:2",
        "noise:0.2..0.1",
        "blur:33",
        "blur:x",
        "downscale",
        "downscale:1",
        "downscale:5",
        "downscale:2.5",
        "downscale:2:bicubic",
        "downscale:2..4",
        "quantize:1",
        "quantize:256",
        "jpeg:0",
        "jpeg:101",
        "jpeg:50.5",
        "colorize:1",
        " blur:1",
        "fill",
        "fill,box",
        "box,fill,fill",
        "box,fill,pixels:0.1",
        "noise:0.1,fill",
        "box,noise:0.1,fill",
        "box,fill:1",
    ] {
        let message = told(text);
        assert!(message.starts_with("expected ") && message.contains(", got `"), "{text}: {message}");
    }
}

#[test]
fn the_help_has_a_short_line_for_each_kind() {
    let help = super::kinds();
    assert!(help.lines().all(|line| line.len() <= 110), "{help}");
    for task in ALL {
        let name = task.split([':', ',']).next().unwrap();
        assert_eq!(
            help.lines().filter(|line| line.trim().split([':', '[', ' ']).next() == Some(name)).count(),
            1,
            "{name}"
        );
    }
}

/// Texts of all kinds with any parameters.
fn text() -> impl Strategy<Value = String> {
    let number = || {
        prop_oneof![
            (0..=1000u32).prop_map(|n| format!("{}", f64::from(n) / 1000.0)),
            (0..=255u32).prop_map(|n| format!("{n}/255"))
        ]
    };
    let range = || prop_oneof![number(), (number(), number()).prop_map(|(a, b)| format!("{a}..{b}"))];
    let whole = |low: u32, high: u32| {
        prop_oneof![
            (low..=high).prop_map(|n| n.to_string()),
            (low..=high, low..=high).prop_map(|(a, b)| format!("{}..{}", a.min(b), a.max(b)))
        ]
    };
    prop_oneof![
        Just("half-crop".to_owned()),
        Just("colorize".to_owned()),
        Just("box".to_owned()),
        whole(1, 100).prop_map(|count| format!("box:{count}")),
        (whole(1, 100), range()).prop_map(|(count, side)| format!("box:{count}:{side}")),
        (prop_oneof!["pixels", "noise", "blur"], range()).prop_map(|(name, range)| format!("{name}:{range}")),
        (2..=4, prop_oneof!["", ":box"]).prop_map(|(factor, filter)| format!("downscale:{factor}{filter}")),
        whole(2, 255).prop_map(|levels| format!("quantize:{levels}")),
        whole(1, 100).prop_map(|quality| format!("jpeg:{quality}")),
    ]
}

proptest! {
    #[test]
    fn a_task_is_read_as_it_is_written(texts in prop::collection::vec(text(), 1..4)) {
        // Ranges whose ends are in the wrong order are mistakes.
        let Ok(task) = texts.join(",").parse::<Task>() else { return Ok(()) };
        let again: Task = task.to_string().parse().unwrap();
        prop_assert_eq!(again.to_string(), task.to_string());
        let of = |task: &Task| {
            let mut now = Damaged::new([6, 5], 3, image([6, 5], 3));
            task.apply(&mut now, &mut Draws::of_training(1, 2));
            now
        };
        prop_assert_eq!(of(&again), of(&task));
    }

    #[test]
    fn no_text_panics(text in "[a-z:,./0-9\\-\\[\\]]{0,30}") {
        let _ = text.parse::<Task>();
    }
}

/// For a look at the time: `cargo test -p resconv --lib how_long -- --ignored --nocapture`.
#[test]
#[ignore = "prints times"]
fn how_long_a_batch_takes() {
    for task in ALL {
        let task: Task = task.parse().unwrap();
        for channels in [1, 3] {
            let pixels = smooth([64, 64], channels);
            let batch = || {
                let begun = ThreadTime::now();
                for position in 0..64 {
                    let mut now = Damaged::new([64, 64], channels, pixels.clone());
                    task.apply(&mut now, &mut Draws::of_training(0, position));
                    std::hint::black_box(now);
                }
                begun.elapsed().as_secs_f64() * 1e3
            };
            let fastest = (0..9).map(|_| batch()).fold(f64::INFINITY, f64::min);
            println!("{task}: 64 images of 64 x 64 x {channels} in {fastest:.2} ms");
        }
    }
}

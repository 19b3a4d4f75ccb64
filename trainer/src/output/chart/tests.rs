use super::color::{Color, ramp};
use super::scale::Scale;
use super::*;
use proptest::prelude::*;

fn chart(y: Scaling, series: Vec<Series>) -> Chart {
    Chart {
        id: "c".to_owned(),
        title: "t & u".to_owned(),
        note: String::new(),
        x: Axis::new("samples", Scaling::FromZero),
        y: Axis::new("loss", y),
        series,
    }
}

#[test]
fn files_and_elements_have_every_series() {
    let mark = Mark { range: Some((0.05, 0.2)), ..Mark::new(100.0, 0.1, "m") };
    let line = vec![(0.0, 1.0), (50.0, f64::NAN), (100.0, 0.1)];
    let [blue, red] = [Color::new(0x2563c9, 0x6ea3f5), Color::new(0xc2570c, 0xf0954f)];
    let chart = chart(
        Scaling::Logarithmic,
        vec![
            Series::new("a <b>", blue).line(Stroke::DASHED, line).marks(Shape::Diamond, vec![mark]),
            Series::new("", red).marks(Shape::Cross, vec![Mark::new(50.0, 0.5, "no legend")]),
        ],
    );
    let file = chart.svg();
    for part in [
        "xmlns=",
        ">t &amp; u</text>",
        ">a &lt;b&gt;</text>",
        "stroke-dasharray",
        ">samples</text>",
        ">0.1</text>",
        "[fill=\"#2563c9\"]{fill:#6ea3f5}",
    ] {
        assert!(file.contains(part), "{part}: {file}");
    }
    assert!(!file.contains("var(") && !file.contains("></text>"), "{file}");

    let element = chart.element(Size::PHONE, "narrow");
    assert!(
        !element.contains("NaN") && !element.contains("<style>") && !element.contains('#') || element.contains("--l:#")
    );
    assert!(element.contains("data-plot=\"c\"") && element.contains("stroke=\"var(--c)\""), "{element}");

    let png = image::load_from_memory(&chart.png()).unwrap().into_rgb8();
    let pixels_of = |color: u32| {
        let [_, red, green, blue] = color.to_be_bytes();
        png.pixels().filter(|pixel| pixel.0 == [red, green, blue]).count()
    };
    for color in [blue, red, TEXT] {
        assert!(pixels_of(color.light) > 50, "{color:?}");
    }
    assert_eq!((png.height(), png.get_pixel(0, 0).0), (1040, [255; 3]));
}

#[test]
fn nothing_and_one_value_alone_have_scales() {
    for values in [&[][..], &[0.0], &[3.0]] {
        for scaling in [Scaling::Linear, Scaling::FromZero, Scaling::Logarithmic] {
            let scale = Scale::new(scaling, values.iter().copied(), (0.0, 100.0));
            assert!(scale.place(0.5).is_finite() && !scale.ticks(5, &|_, _| 0.0).is_empty(), "{values:?} {scaling:?}");
        }
    }
}

#[test]
fn ticks_are_round_and_labelled_without_needless_digits() {
    let ticks = |scaling, low, high, most| {
        let scale = Scale::between(scaling, low, high);
        scale.ticks(most, &|_, _| 0.0).into_iter().map(|(_, label)| label).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(ticks(Scaling::Linear, 0.0, 1.0, 7), "0.0 0.2 0.4 0.6 0.8 1.0");
    assert_eq!(ticks(Scaling::Linear, 0.037, 0.41, 7), "0.1 0.2 0.3 0.4");
    assert_eq!(ticks(Scaling::Linear, 0.0, 45_000.0, 10), "0 5000 10k 15k 20k 25k 30k 35k 40k 45k");
    assert_eq!(ticks(Scaling::Linear, 0.0, 3e6, 7), "0 500k 1.0M 1.5M 2.0M 2.5M 3.0M");
    assert_eq!(ticks(Scaling::Linear, -3.0, 40.0, 7), "0 10 20 30 40");
    assert_eq!(ticks(Scaling::Logarithmic, 0.047, 0.42, 9), "0.05 0.06 0.07 0.08 0.09 0.1 0.2 0.3 0.4");
    assert_eq!(ticks(Scaling::Logarithmic, 0.047, 1.5, 9), "0.05 0.07 0.1 0.2 0.3 0.5 0.7 1");
    assert_eq!(ticks(Scaling::Logarithmic, 0.052, 0.058, 9), "0.052 0.054 0.056 0.058");
    assert_eq!(ticks(Scaling::Logarithmic, 1e-9, 3e-7, 9), "1e-9 2e-9 5e-9 1e-8 2e-8 5e-8 1e-7 2e-7");
    assert_eq!(ticks(Scaling::Logarithmic, 600.0, 400e3, 6), "1000 3000 10k 30k 100k 300k");
    assert_eq!(ticks(Scaling::Logarithmic, 1e-9, 1e9, 6), "1e-9 1e-6 0.001 1 1000 1M 1e9");
}

#[test]
fn labels_of_an_axis_leave_each_other_room() {
    // 80, 90 and 100 of a logarithmic axis are near each other.
    for (low, high) in [(5.0, 200.0), (3.0, 1200.0), (990.0, 1010.0), (1e-9, 1e12)] {
        let scale = Scale::new(Scaling::Logarithmic, [low, high].into_iter(), (60.0, 900.0));
        let room = |a: &str, b: &str| 4.0 * (a.len() + b.len()) as f64 + 6.0;
        let ticks = scale.ticks(13, &room);
        assert!(ticks.len() >= 3, "{ticks:?}");
        for pair in ticks.windows(2) {
            let far = scale.place(pair[1].0) - scale.place(pair[0].0);
            assert!(far >= room(&pair[0].1, &pair[1].1), "{pair:?} of {ticks:?}");
        }
    }
}

#[test]
fn a_long_title_has_several_lines() {
    let title = "42 layers, preset default, ".to_owned() + &"batch norm encoder none, ".repeat(9);
    let chart = Chart { title: title.clone(), ..chart(Scaling::Linear, vec![Series::new("a", TEXT)]) };
    let svg = chart.svg();
    let lines: Vec<&str> = svg.lines().filter(|line| line.contains("font-size=\"16.9")).collect();
    assert!(lines.len() >= 2, "{svg}");
    let text = |line: &&str| line.split('>').nth(1).unwrap().trim_end_matches("</text").to_owned();
    assert!(lines.iter().all(|line| text(line).len() < 95), "{lines:?}");
    assert_eq!(lines.iter().map(text).collect::<Vec<_>>().join(" ").trim_end(), title.trim_end());
}

#[test]
fn the_ramp_goes_from_end_to_end() {
    assert_eq!([ramp(-1.0), ramp(0.5), ramp(2.0)], [[13, 8, 135], [203, 70, 121], [240, 249, 33]]);
    assert_eq!(Color::new(10, 0xff0000).style(), "--l:#00000a;--d:#ff0000");
}

proptest! {
    #[test]
    fn any_values_are_drawn_inside_the_plot(
        values in prop::collection::vec(prop_oneof![0.01f64..10.0, any::<f64>()], 0..20), logarithmic: bool,
    ) {
        let scaling = if logarithmic { Scaling::Logarithmic } else { Scaling::Linear };
        let scale = Scale::new(scaling, values.iter().copied(), (1000.0, 0.0));
        let ticks = scale.ticks(12, &|_, _| 14.0);
        prop_assert!((2..=13).contains(&ticks.len()), "{ticks:?}");
        for value in values.iter().copied().filter(|value| scale.shows(*value)) {
            prop_assert!((0.0..=1000.0).contains(&scale.place(value)), "{value}");
        }
        let line = values.iter().enumerate().map(|(i, value)| (i as f64, *value)).collect();
        let svg = chart(scaling, vec![Series::new("a", TEXT).line(Stroke::PLAIN, line)]).svg();
        prop_assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}

//! The loss of a run over the images that it has seen.

use super::chart::{Axis, Chart, Color, Mark, Point, Scaling, Series, Shape, Stroke, TEXT};
use crate::settings::LossSetting;

/// The training loss is drawn as at most this many stretches; of each, only the extremes are shown.
const STRETCHES: usize = 1500;

/// The running mean is over this share of the training points, and over no more than [`MOST_AVERAGED`].
const AVERAGED_SHARE: usize = 50;

/// See [`AVERAGED_SHARE`].
const MOST_AVERAGED: usize = 1000;

const TRAINING: Color = Color::new(0xb5d4ea, 0x2f4d63);
const TRAINING_MEAN: Color = Color::new(0x1f77b4, 0x5aa9e0);
const RUNNING: Color = Color::new(0xd6451c, 0xf0784f);
const BATCH: Color = Color::new(0x2c8c3c, 0x62bd70);

/// The chart of a run: the training loss of every step, thin and pale, and its running mean; the validation losses with
/// running and with batch statistics; and the published loss, as a level line. A point is images seen, and a loss:
/// `loss` in training, L1 in validations.
pub fn chart(
    title: &str,
    loss: LossSetting,
    training: &[Point],
    [running, batch]: [&[Point]; 2],
    published: Option<f64>,
) -> Chart {
    let finite: Vec<Point> = training.iter().copied().filter(|point| point.1.is_finite()).collect();
    let (mean, window) = running_mean(&finite);
    let mut series = vec![
        Series::new(&format!("training{}", of_kind(loss)), TRAINING).line(Stroke::THIN, extremes(&finite)),
        Series::new(&format!("training{}, mean of {window}", of_kind(loss)), TRAINING_MEAN)
            .line(Stroke::PLAIN, extremes(&mean)),
    ];
    let last = training.iter().chain(running).map(|point| point.0).fold(0.0, f64::max);
    if let Some(loss) = published {
        series.push(Series::new("study", TEXT).line(Stroke::DASHED, vec![(0.0, loss), (last, loss)]));
    }
    let kind = if loss == LossSetting::L1 { "" } else { " (L1)" };
    for (statistics, points, color) in [("running statistics", running, RUNNING), ("batch statistics", batch, BATCH)] {
        let name = &format!("validation{kind}, {statistics}");
        let marks = points.iter().map(|&(images, loss)| Mark::new(images, loss, name)).collect();
        series.push(Series::new(name, color).line(Stroke::PLAIN, points.to_vec()).marks(Shape::Disc, marks));
    }
    series.retain(|series| !series.line.is_empty());
    Chart {
        id: "loss".to_owned(),
        title: title.to_owned(),
        note: String::new(),
        x: Axis::new("training images seen", Scaling::FromZero),
        y: Axis::new(&axis_label(&loss.to_string()), Scaling::Logarithmic),
        series,
    }
}

/// Behind the name of a training loss, its kind, unless it is the one of validations.
fn of_kind(loss: LossSetting) -> String {
    if loss == LossSetting::L1 { String::new() } else { format!(" ({loss})") }
}

/// The axis of training losses of these kinds, and of validations.
pub(crate) fn axis_label(kinds: &str) -> String {
    match kinds {
        "L1" => "L1 loss".to_owned(),
        others => format!("loss (training: {others}, validation: L1)"),
    }
}

/// Every point's mean with as many before and after it, as far as there are, and the length of that window.
pub(crate) fn running_mean(points: &[Point]) -> (Vec<Point>, usize) {
    let reach = (points.len() / AVERAGED_SHARE).min(MOST_AVERAGED) / 2;
    let mean = |(i, point): (usize, &Point)| {
        let window = &points[i.saturating_sub(reach)..points.len().min(i + reach + 1)];
        (point.0, window.iter().map(|point| point.1).sum::<f64>() / window.len() as f64)
    };
    (points.iter().enumerate().map(mean).collect(), 2 * reach + 1)
}

/// The smallest and the largest loss of every stretch of the curve, or all points if there are few.
fn extremes(points: &[Point]) -> Vec<Point> {
    if points.len() <= 2 * STRETCHES {
        return points.to_vec();
    }
    let mut kept = Vec::with_capacity(2 * STRETCHES);
    for stretch in points.chunks(points.len().div_ceil(STRETCHES)) {
        let by_loss = |a: &&Point, b: &&Point| a.1.total_cmp(&b.1);
        let (smallest, largest) = (stretch.iter().min_by(by_loss), stretch.iter().max_by(by_loss));
        let mut pair: Vec<Point> = smallest.into_iter().chain(largest).copied().collect();
        pair.sort_by(|a, b| a.0.total_cmp(&b.0));
        kept.extend(pair);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_in_the_chart() {
        let training: Vec<Point> = (0..500).map(|i| (64.0 * i as f64, 0.3 / (1.0 + i as f64 / 50.0))).collect();
        let skipped = [&training[..], &[(32_000.0, f64::NAN)]].concat();
        let (running, batch) = ([(10_000.0, 0.2), (32_000.0, 0.1)], [(32_000.0, 0.09)]);
        let chart = chart("run <1> & co", LossSetting::L1, &skipped, [&running, &batch], Some(0.0541));
        let svg = chart.svg();
        for text in [
            "run &lt;1&gt; &amp; co",
            "L1 loss",
            "training images seen",
            "training, mean of 11",
            "validation, running statistics",
            "validation, batch statistics",
            "study",
            "30k",
            "0.05",
        ] {
            assert!(svg.contains(&format!(">{text}</text>")), "{text} is not in {svg}");
        }
        // Three validations, and two dots in the legend.
        assert_eq!(svg.matches("<circle").count(), 5);
        assert!(!svg.contains("NaN"));
        let nothing = super::chart("", LossSetting::Mse, &[], [&[], &[]], None);
        assert!(nothing.series.is_empty() && nothing.svg().contains("training images seen"));
        assert!(nothing.svg().contains(">loss (training: MSE, validation: L1)</text>"));
        let of_mse = super::chart("", LossSetting::Mse, &training, [&running, &batch], None);
        let names: Vec<&str> = of_mse.series.iter().map(|series| series.name.as_str()).collect();
        assert_eq!(names[0], "training (MSE)");
        assert_eq!(names[2], "validation (L1), running statistics");
    }

    #[test]
    fn the_running_mean_is_centred() {
        let points: Vec<Point> = (0..200).map(|i| (f64::from(i), f64::from(i))).collect();
        let (mean, window) = running_mean(&points);
        assert_eq!((mean.len(), window), (200, 5));
        assert!(mean[2..198].iter().all(|&(images, mean)| mean == images));
        assert_eq!((mean[0].1, mean[199].1), (1.0, 198.0));
        assert_eq!(running_mean(&points[..10]), (points[..10].to_vec(), 1));
    }

    #[test]
    fn of_many_points_the_extremes_stay() {
        let mut points: Vec<Point> = (0..100_000).map(|i| (f64::from(i), 1.0 + f64::from(i % 10))).collect();
        points[77_777].1 = 50.0;
        points[33_333].1 = 0.1;
        let kept = extremes(&points);
        assert!(kept.len() <= 2 * STRETCHES);
        assert!(kept.is_sorted_by_key(|point| point.0));
        assert!(kept.contains(&(77_777.0, 50.0)) && kept.contains(&(33_333.0, 0.1)));
        assert_eq!(extremes(&points[..3000]), points[..3000]);
    }
}

//! The charts of a report.

use super::groups::{Group, Groups, Spread};
use super::runs::Run;
use crate::output::chart::{Axis, Chart, Color, Mark, Point, Scaling, Series, Shape, Stroke};
use crate::output::loss_curve::running_mean;
use crate::published::Row;

/// A line has about this number of points.
const POINTS: usize = 240;

/// All charts of a report, the curves first.
pub(super) fn all(groups: &Groups<'_>) -> Vec<Chart> {
    let mut charts = vec![curves(groups)];
    let of_setting = |key: &str| {
        let ours = move |group: &Group<'_>| group.settings().shown(key).parse().ok();
        let published =
            move |row: &Row| row.settings.iter().find(|(name, _)| name == key).and_then(|(_, text)| text.parse().ok());
        losses(groups, &format!("loss-over-{}", key.replace('_', "-")), &key.replace('_', " "), &ours, &published)
    };
    charts.extend(groups.differing.iter().filter_map(|key| of_setting(key)));
    let parameters = |group: &Group<'_>| Some(group.runs[0].parameters as f64);
    let published = |row: &Row| Some(row.parameters as f64);
    charts.extend(losses(groups, "loss-over-parameters", "model parameters", &parameters, &published));
    let minutes = |group: &Group<'_>| group.minutes().map(|minutes| minutes.mean);
    let published = |row: &Row| Some(row.minutes);
    charts.extend(losses(groups, "loss-over-time", "minutes of training", &minutes, &published));
    charts
}

/// The loss of every run over the images that it has seen.
fn curves(groups: &Groups<'_>) -> Chart {
    let count = groups.runs().count();
    let series = groups.runs().enumerate().map(|(i, (group, run))| {
        let finite = run.validations.iter().filter(|row| row.batch.is_finite());
        let marks = finite.map(|row| Mark::new(row.samples, row.batch, "validation")).collect();
        // The worst is dark, the best is bright: where the lines are close, the best ones stand out.
        let color = Color::of(count - 1 - i, count);
        Series::new(&group.label_of(run), color).line(Stroke::PLAIN, smooth(run)).marks(Shape::Disc, marks)
    });
    Chart {
        id: "curves".to_owned(),
        title: "Loss over the training images seen".to_owned(),
        note: "Lines: training loss, smoothed. Dots: validation with batch statistics.".to_owned(),
        x: Axis::new("training images seen", Scaling::FromZero),
        y: Axis::new("L1 loss", Scaling::Logarithmic),
        series: series.collect(),
    }
}

/// The running mean of the training loss, at about [`POINTS`] places.
fn smooth(run: &Run) -> Vec<Point> {
    let finite: Vec<Point> = run.training.iter().copied().filter(|(_, loss)| loss.is_finite()).collect();
    let (mean, _) = running_mean(&finite);
    let every = mean.len().div_ceil(POINTS).max(1);
    let last = mean.len().saturating_sub(1);
    let kept = mean.iter().enumerate().filter(|(i, _)| i % every == 0 || *i == last);
    // Four digits are more than a pixel.
    kept.map(|(_, &(images, loss))| (images, (loss * 1e5).round() / 1e5)).collect()
}

/// The validation losses over a number that groups and published networks have, or nothing if it is the same for all
/// groups.
fn losses(
    groups: &Groups<'_>,
    id: &str,
    label: &str,
    ours: &dyn Fn(&Group<'_>) -> Option<f64>,
    published: &dyn Fn(&Row) -> Option<f64>,
) -> Option<Chart> {
    let marks = |loss: &dyn Fn(&Group<'_>) -> Option<Spread>| -> Vec<Mark> {
        let mark = |group: &Group<'_>| {
            let (x, loss) = (ours(group)?, loss(group)?);
            let range = loss.deviation.map(|_| (loss.low, loss.high));
            Some(Mark { range, ..Mark::new(x, loss.mean, &group.label) })
        };
        sorted(groups.all.iter().filter_map(mark).collect())
    };
    let (batch, running) = (marks(&|group| group.batch()), marks(&|group| group.running()));
    let xs: Vec<f64> = batch.iter().map(|mark| mark.x).collect();
    if !xs.iter().any(|x| *x != xs[0]) {
        return None;
    }
    let row = |row: &Row| {
        let name = row.settings.iter().filter(|(key, _)| groups.differing.contains(key));
        let name: Vec<String> = name.map(|(key, value)| format!("{} {value}", key.replace('_', " "))).collect();
        Some(Mark::new(published(row)?, row.validation_loss, &name.join(", ")))
    };
    let published = sorted(groups.published.rows().iter().filter_map(row).collect());
    let series = |name: &str, color: Color, stroke: Stroke, shape: Shape, marks: Vec<Mark>| {
        Series::new(name, color).line(stroke, marks.iter().map(|mark| (mark.x, mark.y)).collect()).marks(shape, marks)
    };
    let (low, high) = xs.iter().fold((f64::INFINITY, 0f64), |(low, high), x| (low.min(*x), high.max(*x)));
    let scaling = if low > 0.0 && high / low > 30.0 { Scaling::Logarithmic } else { Scaling::Linear };
    let mut all = vec![
        series("published", Color::new(0x6b7280, 0x9aa1ad), Stroke::DASHED, Shape::Diamond, published),
        series("ours, running statistics", Color::new(0xc2570c, 0xf0954f), Stroke::PLAIN, Shape::Ring, running),
        series("ours, batch statistics", Color::new(0x2563c9, 0x6ea3f5), Stroke::PLAIN, Shape::Disc, batch),
    ];
    all.retain(|series| !series.marks.is_empty());
    Some(Chart {
        id: id.to_owned(),
        title: format!("Validation loss over {label}"),
        note: String::new(),
        x: Axis::new(label, scaling),
        y: Axis::new("validation loss", Scaling::Linear),
        series: all,
    })
}

fn sorted(mut marks: Vec<Mark>) -> Vec<Mark> {
    marks.sort_by(|a, b| a.x.total_cmp(&b.x));
    marks
}

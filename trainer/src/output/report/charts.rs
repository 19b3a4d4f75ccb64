//! Which plots a report has.

use super::chart::{Axis, Chart, Color, Mark, Series, Shape};
use super::groups::{Group, Groups, Spread};
use super::runs::Run;
use crate::output::plot::running_mean;
use crate::published::Row;

/// A line has about so many points.
const POINTS: usize = 240;

/// All plots of a report, the curves first.
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
    let series = groups.runs().enumerate().map(|(i, (group, run))| Series {
        name: group.label_of(run),
        // The worst is dark, the best is bright: where the lines are close, the best ones stand out.
        color: Color::of(count - 1 - i, count),
        line: smooth(run),
        dashed: false,
        marks: run
            .validations
            .iter()
            .map(|&[samples, _, loss]| Mark { x: samples, y: loss, range: None, name: "validation".to_owned() })
            .collect(),
        shape: Shape::Disc,
    });
    Chart {
        id: "curves".to_owned(),
        title: "Loss over the training images seen".to_owned(),
        note: "Lines: training loss, smoothed. Dots: validation with batch statistics.".to_owned(),
        x: Axis { label: "training images seen".to_owned(), logarithmic: false, from_zero: true },
        y: Axis { label: "L1 loss".to_owned(), logarithmic: true, from_zero: false },
        series: series.collect(),
    }
}

/// The running mean of the training loss, at about [`POINTS`] places.
fn smooth(run: &Run) -> Vec<(f64, f64)> {
    let finite = run.training.iter().filter(|(_, loss)| loss.is_finite());
    let points: Vec<(u64, f64)> = finite.map(|(samples, loss)| (*samples as u64, *loss)).collect();
    let (mean, _) = running_mean(&points);
    let every = mean.len().div_ceil(POINTS).max(1);
    let last = mean.len().saturating_sub(1);
    let kept = mean.iter().enumerate().filter(|(i, _)| i % every == 0 || *i == last);
    // Four digits are more than a pixel.
    kept.map(|(_, &(samples, loss))| (samples as f64, (loss * 1e5).round() / 1e5)).collect()
}

/// The validation losses over something that groups and published networks have; nothing if it is the same for all.
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
            Some(Mark { x, y: loss.mean, range, name: group.label.clone() })
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
        Some(Mark { x: published(row)?, y: row.validation_loss, range: None, name: name.join(", ") })
    };
    let published = sorted(groups.reference.rows().iter().filter_map(row).collect());
    let series = |name: &str, color: Color, marks: Vec<Mark>, shape: Shape, dashed: bool| Series {
        name: name.to_owned(),
        color,
        line: marks.iter().map(|mark| (mark.x, mark.y)).collect(),
        dashed,
        marks,
        shape,
    };
    let (low, high) = xs.iter().fold((f64::INFINITY, 0f64), |(low, high), x| (low.min(*x), high.max(*x)));
    let mut all = Vec::new();
    if !published.is_empty() {
        all.push(series("published", Color::new("#6b7280", "#9aa1ad"), published, Shape::Diamond, true));
    }
    all.push(series("ours, running statistics", Color::new("#c2570c", "#f0954f"), running, Shape::Ring, false));
    all.push(series("ours, batch statistics", Color::new("#2563c9", "#6ea3f5"), batch, Shape::Disc, false));
    Some(Chart {
        id: id.to_owned(),
        title: format!("Validation loss over {label}"),
        note: String::new(),
        x: Axis { label: label.to_owned(), logarithmic: low > 0.0 && high / low > 30.0, from_zero: false },
        y: Axis { label: "validation loss".to_owned(), logarithmic: false, from_zero: false },
        series: all,
    })
}

fn sorted(mut marks: Vec<Mark>) -> Vec<Mark> {
    marks.sort_by(|a, b| a.x.total_cmp(&b.x));
    marks
}

//! The charts of a report.

use super::groups::{Group, Groups, Spread, label as label_of};
use super::runs::Run;
use crate::output::chart::{Axis, Chart, Color, Mark, Point, Scaling, Series, Shape, Stroke};
use crate::output::loss_curve::{axis_label, running_mean};
use crate::published::Row;
use std::collections::BTreeSet;

/// A line has about this number of points.
const POINTS: usize = 240;

/// All charts of a report, the curves first.
pub(super) fn all(groups: &Groups<'_>) -> Vec<Chart> {
    let mut charts = vec![curves(groups)];
    let of_setting = |key: &str| {
        let ours = move |group: &Group<'_>| group.settings().shown(key).parse().ok();
        let published = move |row: &Row| row.setting(key)?.parse().ok();
        let (id, label) = (format!("loss-over-{}", key.replace('_', "-")), key.replace('_', " "));
        losses(groups, &Over { id: &id, label: &label, setting: Some(key), ours: &ours, published: &published })
    };
    charts.extend(groups.differing.iter().filter_map(|key| of_setting(key)));
    let parameters = |group: &Group<'_>| Some(group.runs[0].parameters as f64);
    let published = |row: &Row| Some(row.parameters as f64);
    let (id, label) = ("loss-over-parameters", "model parameters");
    charts.extend(losses(groups, &Over { id, label, setting: None, ours: &parameters, published: &published }));
    // On a machine that others used, too, times are theirs as much as the networks'.
    if groups.all.iter().all(|group| !group.is_shared()) {
        let minutes = |group: &Group<'_>| group.minutes().map(|minutes| minutes.mean);
        let published = |row: &Row| Some(row.minutes);
        let (id, label) = ("loss-over-time", "minutes of training");
        charts.extend(losses(groups, &Over { id, label, setting: None, ours: &minutes, published: &published }));
    }
    charts
}

/// The loss of every run over the images that it has seen.
fn curves(groups: &Groups<'_>) -> Chart {
    let count = groups.runs().count();
    let series = groups.runs().enumerate().map(|(i, (group, run))| {
        let finite = run.validations.iter().filter(|row| row.running.is_finite());
        let marks = finite.map(|row| Mark::new(row.samples, row.running, "validation")).collect();
        // The worst is dark, the best is bright: where the lines are close, the best ones stand out.
        let color = Color::of(count - 1 - i, count);
        Series::new(&group.label_of(run), color).line(Stroke::PLAIN, smooth(run)).marks(Shape::Disc, marks)
    });
    let kinds: BTreeSet<String> = groups.all.iter().map(|group| group.settings().training.loss.to_string()).collect();
    let kinds = kinds.into_iter().collect::<Vec<_>>().join(" or ");
    Chart {
        id: "curves".to_owned(),
        title: "Loss over the training images seen".to_owned(),
        note: format!("Lines: training loss ({kinds}), smoothed. Dots: validation loss (L1, running statistics)."),
        x: Axis::new("training images seen", Scaling::FromZero),
        y: Axis::new(&axis_label(&kinds), Scaling::Logarithmic),
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

/// What losses are drawn over: a number that groups and published networks have.
struct Over<'a> {
    id: &'a str,
    label: &'a str,
    /// The setting that it is, if it is one.
    setting: Option<&'a str>,
    ours: &'a dyn Fn(&Group<'_>) -> Option<f64>,
    published: &'a dyn Fn(&Row) -> Option<f64>,
}

/// The validation losses over a number, or nothing if it is the same for all groups. Lines join only networks that
/// differ in one setting.
fn losses(groups: &Groups<'_>, over: &Over<'_>) -> Option<Chart> {
    let Over { id, label, setting, ours, published } = *over;
    let mark = |group: &Group<'_>, loss: Option<Spread>| {
        let (x, loss) = (ours(group)?, loss?);
        let range = loss.deviation.map(|_| (loss.low, loss.high));
        Some(Mark { range, ..Mark::new(x, loss.mean, &group.label) })
    };
    // What the networks of a line have in common.
    let others: Vec<String> = groups.differing.iter().filter(|key| setting != Some(key.as_str())).cloned().collect();
    let joins = setting.is_some() || groups.differing.len() == 1;
    let mut lines: Vec<(String, Vec<&Group<'_>>)> = Vec::new();
    for group in &groups.all {
        let common = if joins { label_of(&others, group.settings()) } else { String::new() };
        match lines.iter_mut().find(|(known, _)| *known == common) {
            Some((_, members)) => members.push(group),
            None => lines.push((common, vec![group])),
        }
    }
    if setting.is_some() {
        // A network that differs in more from every other one says nothing about this setting.
        lines.retain(|(_, members)| members.len() > 1);
    }
    let shown = lines.iter().flat_map(|(_, members)| members).filter(|group| group.running().is_some());
    let xs: Vec<f64> = shown.filter_map(|group| ours(group)).collect();
    if !xs.iter().any(|x| *x != xs[0]) {
        return None;
    }
    let marks = |members: &[&Group<'_>], loss: fn(&Group<'_>) -> Option<Spread>| {
        sorted(members.iter().filter_map(|group| mark(group, loss(group))).collect())
    };
    let row = |row: &Row| {
        let name = row.settings.iter().filter(|(key, _)| groups.differing.contains(key));
        let name: Vec<String> = name.map(|(key, value)| format!("{} {value}", key.replace('_', " "))).collect();
        Some(Mark::new(published(row)?, row.validation_loss, &name.join(", ")))
    };
    let one_line = joins && lines.len() == 1;
    let series = |name: &str, color: Color, stroke: Stroke, shape: Shape, marks: Vec<Mark>, joined: bool| {
        let line =
            if joined && marks.len() > 1 { marks.iter().map(|mark| (mark.x, mark.y)).collect() } else { Vec::new() };
        Series::new(name, color).line(stroke, line).marks(shape, marks)
    };
    let rows = sorted(groups.published.rows().iter().filter_map(row).collect());
    let grey = Color::new(0x6b7280, 0x9aa1ad);
    let mut all = vec![series("published", grey, Stroke::DASHED, Shape::Diamond, rows, one_line)];
    if lines.len() == 1 {
        let members = &lines[0].1;
        let (orange, blue) = (Color::new(0xc2570c, 0xf0954f), Color::new(0x2563c9, 0x6ea3f5));
        let (batch, running) = (marks(members, |group| group.batch()), marks(members, |group| group.running()));
        all.push(series("ours, batch statistics", orange, Stroke::PLAIN, Shape::Ring, batch, joins));
        all.push(series("ours, running statistics", blue, Stroke::PLAIN, Shape::Disc, running, joins));
    } else {
        for (i, (common, members)) in lines.iter().enumerate() {
            let running = marks(members, |group| group.running());
            all.push(series(common, Color::of(i, lines.len()), Stroke::PLAIN, Shape::Disc, running, true));
        }
    }
    all.retain(|series| !series.marks.is_empty());
    let (low, high) = xs.iter().fold((f64::INFINITY, 0f64), |(low, high), x| (low.min(*x), high.max(*x)));
    let scaling = if low > 0.0 && high / low > 30.0 { Scaling::Logarithmic } else { Scaling::Linear };
    Some(Chart {
        id: id.to_owned(),
        title: format!("Validation loss over {label}"),
        note: String::new(),
        x: Axis::new(label, scaling),
        y: Axis::new("validation loss (L1)", Scaling::Linear),
        series: all,
    })
}

fn sorted(mut marks: Vec<Mark>) -> Vec<Mark> {
    marks.sort_by(|a, b| a.x.total_cmp(&b.x));
    marks
}

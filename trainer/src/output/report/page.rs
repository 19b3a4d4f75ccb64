//! The HTML file. It loads no other file, and only sorting, switching and hovering need its script.

use super::Problem;
use super::groups::{Group, Groups, Spread};
use super::maps;
use super::runs::Run;
use super::table::{Column, RUN, Table};
use crate::data::Fit;
use crate::output::chart::{Chart, Size, escape, ramp, root_style};
use crate::output::summary::Summary;
use crate::settings::{Settings, value_text};
use crate::sweep::Status;
use crate::system::machine::Machine;
use crate::system::progress::about;
use crate::validation::{Errors, HalfErrors};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use indicatif::HumanCount;
use std::collections::{BTreeMap, BTreeSet};
use toml::Table as Toml;

/// A policy that the browser enforces: the page loads nothing from anywhere.
const POLICY: &str = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'";

/// What a page is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    /// A file, which needs nothing else.
    File,
    /// The page of all runs of a server, whose runs are links if there are several.
    All,
    /// The page of one of its runs.
    One,
}

impl View {
    /// While a run goes on, the page loads itself again after so many seconds. A file changes every half a minute.
    fn reload(self) -> u32 {
        if self == View::File { 30 } else { 5 }
    }
}

/// What a page shows.
pub(super) struct Page<'a> {
    pub(super) title: &'a str,
    pub(super) groups: &'a Groups<'a>,
    pub(super) table: &'a Table,
    pub(super) charts: &'a [Chart],
    pub(super) problems: &'a [Problem],
    pub(super) view: View,
}

/// The address of a run's page on the server.
pub(super) fn address(name: &str) -> String {
    let mut address = "/run/".to_owned();
    for byte in name.bytes() {
        match byte {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'_' => address.push(byte.into()),
            _ => address += &format!("%{byte:02X}"),
        }
    }
    address
}

/// Training images after which the published losses were measured.
const PUBLISHED_SAMPLES: u64 = 180_000;

/// The column that the table is sorted by at first.
const MAIN: &str = "running_loss";

/// A chart with more series than this has a key that switches all of them.
const MANY: usize = 4;

/// The page of a report.
pub(super) fn html(shown: &Page<'_>) -> String {
    let &Page { title, groups, table, charts, problems, view } = shown;
    let title = escape(title);
    // Inside the element, not only its end tag means something, but `<!--` and `<script`, too.
    let data = serde_json::to_string(charts).unwrap_or_else(|_| "[]".to_owned()).replace('<', "\\u003c");
    let goes_on = groups.runs().any(|(_, run)| run.status == Status::Running);
    let reload = match goes_on {
        true => format!("<meta http-equiv=\"refresh\" content=\"{}\">\n", view.reload()),
        false => String::new(),
    };
    let back = if view == View::One { "<p><a href=\"/\">All runs</a></p>\n" } else { "" };
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n{reload}<title>{title}</title>\n<style>\n{}{}</style>\n</head>\n<body>\n\
         <header>{back}<h1>{title}</h1>\n{}</header>\n<main>\n",
        root_style(),
        include_str!("page.css"),
        lead(groups, problems)
    );
    page += &results(table, groups, view == View::All);
    if let Some((curves, others)) = charts.split_first() {
        page += &format!("<section id=\"{}\">{}</section>\n", curves.id, figure(curves, Size::WIDE));
        let others: String =
            others.iter().map(|chart| format!("<div>{}</div>\n", figure(chart, Size::SMALL))).collect();
        if !others.is_empty() {
            page += &format!("<section id=\"plots\"><div class=\"grid\">\n{others}</div></section>\n");
        }
    }
    for section in [pictures, errors, parts, settings] {
        page += &section(groups);
    }
    let (version, script) = (env!("CARGO_PKG_VERSION"), include_str!("page.js"));
    page + &format!(
        "</main>\n<footer>Made by resconv {version}.{}</footer>\n<div id=\"tip\" role=\"status\" hidden></div>\n\
         <script type=\"application/json\" id=\"data\">{data}</script>\n<script>\n{script}</script>\n</body>\n</html>\n",
        if view == View::File {
            " The same table is in table.md and table.csv, the plots are SVG files beside this one."
        } else {
            ""
        }
    )
}

/// The best and the worst result, which runs are not done, and what could not be read.
fn lead(groups: &Groups<'_>, problems: &[Problem]) -> String {
    let mut lines = Vec::new();
    if let Some((worst, best)) = groups.extremes() {
        let told = |group: &Group<'_>| {
            let loss = |spread: Option<Spread>| spread.map_or(f64::NAN, |loss| loss.mean);
            let published = group.published.map_or(String::new(), |row| {
                let batch = loss(group.batch());
                format!(" (with batch statistics {batch:.4}, published: {:.4})", row.validation_loss)
            });
            format!("{:.4}{published}", loss(group.running()))
        };
        let name = |group: &Group<'_>| format!("<strong>{}</strong>", escape(&group.label));
        lines.push(match groups.all.len() {
            1 => format!("<p class=\"lead\">The validation loss of {} is {}.</p>", name(best), told(best)),
            _ => format!(
                "<p class=\"lead\">Of {} networks, {} has the lowest validation loss, {}; {} the highest, {}.</p>",
                groups.all.len(),
                name(best),
                told(best),
                name(worst),
                told(worst)
            ),
        });
    } else {
        lines.push("<p class=\"lead\">There is no validation loss yet.</p>".to_owned());
    }
    if let [group] = &groups.all[..] {
        lines.push(format!("<p class=\"note\">{}</p>", escape(&group.settings().told())));
    }
    if let [(_, run)] = groups.runs().collect::<Vec<_>>()[..] {
        lines.extend(state(run).map(|state| format!("<p>{}</p>", escape(&state))));
    } else {
        lines.extend(states(groups));
    }
    let early = groups.runs().filter_map(|(_, run)| Some((&run.name, run.summary.as_ref()?.early_stop?)));
    lines.extend(early.map(|(name, stop)| format!("<p class=\"note\">{} stopped early: {stop}.</p>", escape(name))));
    let failed = groups.runs().filter_map(|(_, run)| Some((&run.name, run.error.as_ref()?)));
    let warned =
        groups.runs().filter_map(|(_, run)| Some(format!("{}: {}", run.name, run.summary.as_ref()?.warning()?)));
    let told = failed
        .map(|(name, error)| format!("{name}: {error}"))
        .chain(warned)
        .chain(problems.iter().map(Problem::to_string));
    let failed: Vec<String> = told.map(|line| format!("<li class=\"failed\">{}</li>", escape(&line))).collect();
    if !failed.is_empty() {
        lines.push(format!("<ul>{}</ul>", failed.concat()));
    }
    lines.join("\n") + "\n"
}

/// What a single run is doing, or did.
fn state(run: &Run) -> Option<String> {
    if let Some(Summary { samples, minutes, .. }) = &run.summary {
        return Some(format!("It is done: {} training images in {minutes:.1} minutes.", HumanCount(*samples)));
    }
    let go_on = || format!("go on with `resconv train --resume --out {}`.", run.folder.display());
    let told = run.state()?;
    match run.status {
        Status::Done => None,
        Status::Running => Some(format!("It is {told}.")),
        Status::Failed => Some(format!("It {told}; {}", go_on())),
        Status::Stopped | Status::Pending => Some(format!("It was {told}; {}", go_on())),
    }
}

/// How many of several runs are not done, and how long that takes.
fn states(groups: &Groups<'_>) -> Option<String> {
    let mut states: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, run) in groups.runs() {
        *states.entry(run.word()).or_default() += 1;
    }
    let told: Vec<String> = states.iter().map(|(state, runs)| format!("{runs} {state}")).collect();
    let left = groups.runs().filter_map(|(_, run)| run.time_left_in_all()).max();
    let left = left.map_or_else(String::new, |left| format!(" In all, {} left.", about(left)));
    let all_done = states.keys().eq(["done"].iter());
    (!all_done).then(|| format!("<p>Of {} runs that have begun: {}.{left}</p>", groups.runs().count(), told.join(", ")))
}

fn results(table: &Table, groups: &Groups<'_>, links: bool) -> String {
    let mut html = "<section id=\"results\"><h2>Results</h2>\n<div class=\"scroll\"><table>\n<thead><tr>".to_owned();
    for column in &table.columns {
        let class = class(table, column);
        let sorted = if column.name == MAIN { " aria-sort=\"ascending\"" } else { "" };
        let title = escape(&column.title);
        html += &format!("<th scope=\"col\" class=\"{class}\"{sorted}><button type=\"button\">{title}</button></th>");
    }
    html += "</tr></thead>\n<tbody>\n";
    let link = |run: &&Run| format!("<a href=\"{}\">{}</a>", address(&run.name), escape(&run.name));
    for (row, group) in table.rows.iter().zip(&groups.all) {
        html += "<tr>";
        for (cell, column) in row.iter().zip(&table.columns) {
            let (class, value) = (class(table, column), escape(&cell.value));
            let text = match links && column.name == RUN && groups.runs().count() > 1 {
                true => group.runs.iter().map(link).collect::<Vec<_>>().join(", "),
                false => escape(&cell.text),
            };
            html += &format!("<td class=\"{class}\" data-value=\"{value}\">{text}</td>");
        }
        html += "</tr>\n";
    }
    html += "</tbody></table></div>\n<p class=\"note\">“Validation loss” is the mean absolute error (L1) over the validation \
             images with running statistics, as a network is used, whatever it was trained with; it is also what the \
             pictures show and what best.safetensors is chosen by. With batch statistics, batch norm sees whole batches, and random slopes \
             (rrelu) are drawn, as the published losses were measured.";
    if groups.runs().any(|(_, run)| run.shared().is_some()) {
        html += " Times with ≈ are of a machine that other programs used, too.";
    }
    if groups.all.iter().any(|group| group.measure(|row| row.psnr.or(row.ssim).or(row.missing_l1)).is_some()) {
        html += " PSNR, SSIM and the losses of the known and of the missing pixels alone are means over the images, with \
                 running statistics.";
    }
    if groups.all.iter().any(|group| group.published.is_some()) {
        let samples: BTreeSet<u64> = groups.runs().map(|(_, run)| run.settings.training.samples).collect();
        if samples.iter().any(|samples| *samples != PUBLISHED_SAMPLES) {
            let seen: Vec<String> = samples.iter().map(|samples| HumanCount(*samples).to_string()).collect();
            let (published, seen) = (HumanCount(PUBLISHED_SAMPLES), seen.join(" or "));
            html += &format!(" Published losses are after {published} training images, ours after {seen}.");
        }
    }
    html + "</p></section>\n"
}

/// The CSS classes of a column: whether it has words, is the main result, or is a setting that all rows share. Phones
/// leave the shared ones out.
fn class(table: &Table, column: &Column) -> String {
    let at = table.columns.iter().position(|other| other.name == column.name).unwrap_or_default();
    let values = || table.rows.iter().map(|row| row[at].value.as_str());
    let shared = column.is_setting && table.rows.len() > 1 && values().all(|value| Some(value) == values().next());
    let classes = [("words", !column.is_number), ("main", column.name == MAIN), ("shared", shared)];
    classes.iter().filter(|(_, holds)| *holds).map(|(class, _)| *class).collect::<Vec<_>>().join(" ")
}

/// A chart under its title, drawn for wide screens and for phones, with a key for each series.
fn figure(chart: &Chart, size: Size) -> String {
    let (id, title) = (&chart.id, escape(&chart.title));
    let (wide, phone) = (chart.element(size, "desk"), chart.element(Size::PHONE, "phone"));
    let mut html = format!("<h2>{title}</h2>\n<figure>\n{wide}{phone}<div class=\"keys\">");
    for (i, series) in chart.series.iter().enumerate() {
        let (style, name) = (series.color.style(), escape(&series.name));
        html += &format!(
            "<button type=\"button\" class=\"key\" data-plot=\"{id}\" data-series=\"{i}\" aria-pressed=\"true\" style=\"{style}\">\
             {name}</button>"
        );
    }
    if chart.series.len() > MANY {
        html += &format!("<button type=\"button\" class=\"key all\" data-plot=\"{id}\">all / none</button>");
    }
    html + &format!("</div>\n<figcaption>{}</figcaption></figure>\n", escape(&chart.note))
}

/// What `has` gives of the runs: the worst and the best one side by side, where others can be chosen, and all of them
/// on demand. Empty if no run has anything.
fn compared(groups: &Groups<'_>, kind: &str, has: &dyn Fn(&Group<'_>, &Run) -> Option<String>) -> String {
    let runs: Vec<(String, String)> = groups
        .runs()
        .filter(|(_, run)| run.validation().is_some() || groups.all.len() == 1)
        .filter_map(|(group, run)| Some((group.label_of(run), has(group, run)?)))
        .collect();
    let Some(((best, content), rest)) = runs.split_first() else { return String::new() };
    let last = runs.len() - 1;
    let Some((worst, worst_content)) = rest.last() else {
        return format!("<figure><div class=\"caption\">{}</div>{content}</figure>\n", escape(best));
    };
    let mut html = "<div class=\"pair\">\n".to_owned();
    for (side, chosen, label, content) in
        [("highest loss", last, worst, worst_content), ("lowest loss", 0, best, content)]
    {
        let place = format!("{kind}-place-{chosen}");
        let option = |(i, (label, _)): (usize, &(String, String))| {
            let selected = if i == chosen { " selected" } else { "" };
            format!("<option value=\"{i}\"{selected}>{}</option>", escape(label))
        };
        let (options, label): (String, String) = (runs.iter().enumerate().map(option).collect(), escape(label));
        html += &format!(
            "<figure><div class=\"caption\"><select data-shows=\"{kind}\" data-place=\"{place}\" aria-label=\"network\">{options}\
             </select> <span class=\"note\">{side}: {label}</span></div>\n<div id=\"{place}\">{content}</div></figure>\n"
        );
    }
    html += &format!("</div>\n<details><summary>All {}</summary><div class=\"gallery\">\n", runs.len());
    for (i, (label, content)) in runs.iter().enumerate() {
        let caption = format!("<div class=\"caption\">{}</div>", escape(label));
        html += &format!("<figure>{caption}<div id=\"{kind}-{i}\">{content}</div></figure>\n");
    }
    html + "</div></details>\n"
}

fn data_url(png: &[u8]) -> String {
    format!("data:image/png;base64,{}", STANDARD.encode(png))
}

fn pictures(groups: &Groups<'_>) -> String {
    let content = compared(groups, "pictures", &|group, run| {
        let picture = run.picture.as_ref()?;
        let label = escape(&group.label_of(run));
        Some(format!("<img class=\"wide\" alt=\"Reconstructions: {label}\" src=\"{}\">", data_url(picture)))
    });
    if content.is_empty() {
        return content;
    }
    format!(
        "<section id=\"pictures\"><h2>What the networks restore</h2>\n<p class=\"note\">{}</p>\n{content}</section>\n",
        picture_note(groups)
    )
}

/// Which images the pictures show, and what their rows are.
fn picture_note(groups: &Groups<'_>) -> String {
    let any = |has: &dyn Fn(&Settings) -> bool| groups.all.iter().any(|group| has(group.settings()));
    let (squares, whole) = (any(&|s| s.training.fit == Some(Fit::Crop)), any(&|s| s.training.fit != Some(Fit::Crop)));
    let images = match (squares, whole) {
        (true, true) => "The first validation images, or squares spread over them",
        (true, false) => "Squares spread over the validation images",
        _ => "The first validation images",
    };
    let truth = match (any(&|s| s.run.picture_truth), any(&|s| !s.run.picture_truth)) {
        (true, true) => ", and in some pictures a third row of the true images",
        (true, false) => ", and a third row of the true images",
        _ => "",
    };
    format!("{images}: in each group of rows, what the network sees, below it what it makes of that{truth}.")
}

fn errors(groups: &Groups<'_>) -> String {
    let limit = maps::limit(groups.runs().map(|(_, run)| run));
    let content = compared(groups, "maps", &|group, run| {
        let Errors { size, halves, .. } = run.errors.as_ref()?;
        let label = escape(&group.label_of(run));
        let map = |half: &HalfErrors| {
            let url = data_url(&maps::map(&half.pixels, *size, limit));
            let title = escape(&half.title());
            format!("<div><img alt=\"{label}, {title}\" src=\"{url}\"><span>{title}</span></div>")
        };
        Some(format!("<div class=\"maps\">{}</div>", halves.iter().map(map).collect::<String>()))
    });
    if content.is_empty() {
        return content;
    }
    let stops: Vec<String> =
        (0..=8).map(|i| ramp(f64::from(i) / 8.0)).map(|[r, g, b]| format!("rgb({r},{g},{b})")).collect();
    let each = if has_halves(groups) { ", for each missing half" } else { "" };
    format!(
        "<section id=\"errors\"><h2>Where in the image the error lies</h2>\n\
         <p class=\"note\">Mean absolute error of each pixel{each}, with running statistics; one scale for all.</p>\n\
         <div class=\"scale\">0<i style=\"background:linear-gradient(90deg,{})\"></i>{limit:.2} and more</div>\n{content}</section>\n",
        stops.join(",")
    )
}

/// Whether a run has a task that takes halves away.
fn has_halves(groups: &Groups<'_>) -> bool {
    groups.runs().any(|(_, run)| run.errors.as_ref().is_some_and(Errors::has_halves))
}

/// The loss for each missing half and each class. Runs may have different classes.
fn parts(groups: &Groups<'_>) -> String {
    let mut names: Vec<String> = Vec::new();
    let mut rows: Vec<(String, BTreeMap<String, f64>)> = Vec::new();
    for (group, run) in groups.runs() {
        let Some(errors) = &run.errors else { continue };
        let halves =
            errors.halves.iter().map(|half| (half.title(), half.pixels.iter().sum::<f64>() / half.pixels.len() as f64));
        let mut losses = BTreeMap::new();
        for (name, loss) in halves.chain(errors.classes.iter().map(|class| (class.class.clone(), class.loss))) {
            if !names.contains(&name) {
                names.push(name.clone());
            }
            losses.insert(name, loss);
        }
        losses.retain(|_, loss| loss.is_finite());
        rows.push((group.label_of(run), losses));
    }
    let halves = if has_halves(groups) { "missing half and by " } else { "" };
    if rows.is_empty() || halves.is_empty() && names.len() < 2 {
        return String::new();
    }
    let all = || rows.iter().flat_map(|(_, losses)| losses.values().copied());
    let (low, high) = all().fold((f64::INFINITY, 0f64), |(low, high), loss| (low.min(loss), high.max(loss)));
    let mut html = format!(
        "<section id=\"parts\"><h2>By {halves}class</h2>\n\
         <p class=\"note\">Validation loss with running statistics; the stronger the colour, the higher.</p>\n\
         <div class=\"scroll\"><table class=\"heat\"><thead><tr><th class=\"words\" scope=\"col\"><span>network</span></th>"
    );
    for name in &names {
        html += &format!("<th scope=\"col\"><span>{}</span></th>", escape(name));
    }
    html += "</tr></thead>\n<tbody>\n";
    for (label, losses) in &rows {
        html += &format!("<tr><td class=\"words\">{}</td>", escape(label));
        for name in &names {
            html += &losses.get(name).map_or("<td></td>".to_owned(), |loss| {
                let value = (loss - low) / (high - low).max(1e-9);
                format!("<td class=\"cell\" style=\"--v:{value:.2}\">{loss:.4}</td>")
            });
        }
        html += "</tr>\n";
    }
    html + "</tbody></table></div></section>\n"
}

/// The settings that all runs have in common, and the machines.
fn settings(groups: &Groups<'_>) -> String {
    let mut html = "<section id=\"settings\"><h2>Settings and machine</h2>\n<dl>".to_owned();
    let mut item = |name: &str, value: &str| {
        html += &format!("<div><dt>{}</dt><dd>{}</dd></div>", escape(name), escape(value));
    };
    if let Some(group) = groups.all.first() {
        item("preset", &group.settings().preset.to_string());
        let table = Toml::try_from(group.settings()).unwrap_or_default();
        let sections = ["network", "training"].into_iter().filter_map(|section| table.get(section)?.as_table());
        for (key, value) in sections.flatten() {
            let value = match groups.differing.contains(key) || key == "seed" {
                true => {
                    let values: BTreeSet<String> = groups.runs().map(|(_, run)| run.settings.shown(key)).collect();
                    if values.len() > 1 { "see the table".to_owned() } else { values.into_iter().collect() }
                }
                false => value_text(value),
            };
            item(&key.replace('_', " "), &value);
        }
    }
    html += "</dl>\n";
    let machines: BTreeSet<String> = groups.runs().filter_map(|(_, run)| run.summary.as_ref()).map(machine).collect();
    let shared = groups.runs().filter_map(|(_, run)| run.shared()).reduce(f64::max);
    if !machines.is_empty() {
        let items: String = machines.iter().map(|machine| format!("<li>{}</li>", escape(machine))).collect();
        html += &format!("<h2 style=\"margin-top:16px\">Computed on</h2><ul>{items}</ul>\n");
    }
    if let Some(share) = shared {
        html += &format!(
            "<p class=\"note\">Meanwhile, other programs used up to {:.0} % of the machine: times are too long to compare.</p>\n",
            100.0 * share
        );
    }
    html + "</section>\n"
}

fn machine(summary: &Summary) -> String {
    let Summary { device, threads, ranks, machine, .. } = summary;
    let ranks = if *ranks > 1 { format!(" on each of {ranks} ranks") } else { String::new() };
    let told = format!("{device}, threads: {threads}{ranks}");
    match machine {
        Some(Machine { processor, cores, system, version }) => {
            let processor = processor.as_deref().unwrap_or("unknown processor");
            format!("{processor}, threads of the machine: {cores}, {system}; {told}; resconv {version}")
        }
        None => told,
    }
}

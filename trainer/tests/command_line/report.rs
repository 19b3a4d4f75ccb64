//! `resconv report`: what users name their files and runs is text, whatever it looks like.

use crate::common::{Place, train};
use std::fs;

/// A folder's name that is markup in HTML, in SVG, in a script and in Markdown, and a character that XML cannot have.
const NAME: &str = "a<b>&\"'|<!--<script>alert(1)`*\u{1b}";

#[test]
fn names_that_contain_markup_are_shown_as_text() {
    let place = Place::new();
    place.succeed(&train(&["--samples=16", "--out=first"]));
    // In a folder `…<` that has a folder `script>`, so that the path has an end tag.
    let folder = format!("{NAME}/{NAME}</script>");
    fs::create_dir_all(place.path(&folder)).unwrap();
    let weights = format!("{folder}/weights");
    fs::copy(place.path("first/model.safetensors"), place.path(&weights)).unwrap();
    let out = format!("{folder}/run{NAME}");
    place.succeed(&train(&["--samples=16", "--init", &weights, "--out", &out]));
    let title = format!("{NAME}</title></script>");
    place.succeed(&["report", "first", &out, "--out=report", "--title", &title]);
    place.succeed(&["report", &out, "--out=alone"]);

    for folder in ["report", "alone"] {
        let page = place.read_text(&format!("{folder}/report.html"));
        assert_eq!(
            ["<script", "</script", "<!--", "</title", "<b>a"].map(|tag| page.matches(tag).count()),
            [2, 2, 0, 1, 0]
        );
        let begin = page.find("id=\"data\">").unwrap() + 10;
        let data = &page[begin..begin + page[begin..].find("</script>").unwrap()];
        let charts: serde_json::Value = serde_json::from_str(data).unwrap();
        let names: Vec<&str> =
            charts[0]["series"].as_array().unwrap().iter().map(|series| series["name"].as_str().unwrap()).collect();
        assert!(names.iter().any(|name| name.contains(NAME)), "{names:?}");
        assert!(page.contains("a&lt;b&gt;&amp;&quot;&#39;|&lt;!--&lt;script&gt;alert(1)`*\u{fffd}"));
        let svg = place.read_text(&format!("{folder}/curves.svg"));
        assert!(!svg.contains("<b>") && !svg.contains("<script") && !svg.contains('\u{1b}'), "{svg}");
    }
    // The path of the weights is a column of the table.
    let table = place.read_text("report/table.md");
    assert!(table.contains("a\\<b>\\&\"'\\|\\<!--\\<script>alert(1)\\`\\* /"), "{table}");
    assert_eq!(table.lines().count(), 4, "{table}");
    let csv = place.read("report/table.csv");
    let mut csv = csv::Reader::from_reader(&csv[..]);
    assert!(csv.records().all(|record| record.is_ok()));
}

/// A folder of runs is reported with the names of its runs. The same network and seed twice is one seed, not two.
#[test]
fn runs_keep_their_names_and_the_same_seed_twice_says_nothing_about_others() {
    let place = Place::new();
    place.succeed(&train(&["--samples=16", "--out=runs/first"]));
    place.succeed(&train(&["--samples=16", "--out=runs/again", "--threads=1"]));
    place.succeed(&train(&["--samples=16", "--out=runs/wide", "--channels=6", "--loss=mse"]));
    place.succeed(&["report", "runs", "--out=report"]);
    let mut table = csv::Reader::from_path(place.path("report/table.csv")).unwrap();
    let headings: Vec<String> = table.headers().unwrap().iter().map(str::to_owned).collect();
    let at = |name: &str| headings.iter().position(|heading| heading == name);
    let rows: Vec<csv::StringRecord> = table.records().map(Result::unwrap).collect();
    let mut names: Vec<(&str, &str)> =
        rows.iter().map(|row| (&row[at("run").unwrap()], &row[at("seeds").unwrap()])).collect();
    names.sort_unstable();
    assert_eq!(names, [("again, first", "1"), ("wide", "1")]);
    assert_eq!(at("running_loss_deviation"), None);
    let page = place.read_text("report/report.html");
    assert!(page.contains("<h1>runs</h1>") && page.contains("<strong>wide</strong>") && !page.contains("±"), "{page}");
    assert!(page.contains(">loss (training: L1 or MSE, validation: L1)</text>"), "{page}");
    // No two networks differ in the channels alone. A single run is told in a sentence.
    assert!(!place.path("report/loss-over-channels.svg").exists());
    assert!(!place.read_text("report/loss-over-parameters.svg").contains("stroke-width=\"2\" stroke-linejoin"));
    let page = place.read_text("runs/wide/report.html");
    assert!(page.contains("<p class=\"lead\">The validation loss of <strong>wide</strong> is 0."), "{page}");
    let told = "2 layers, preset default, channels 6, batch 8, loss mse, samples 16, size 8";
    assert!(page.contains(&format!("<p class=\"note\">{told}</p>")), "{page}");
    let curve = place.read_text("runs/wide/loss.svg");
    for told in ["preset default, channels 6", "loss mse", "training (MSE)", "validation (L1), running statistics"] {
        assert!(curve.contains(told), "{told}: {curve}");
    }
}

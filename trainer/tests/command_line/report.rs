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

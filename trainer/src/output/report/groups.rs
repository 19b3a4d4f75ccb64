//! Runs that are the same but for their seeds, and how settings differ.

use super::runs::Run;
use crate::published::{Published, Row};
use crate::settings::{Settings, value_text};
use crate::train::ValidationRow;
use std::collections::{BTreeMap, BTreeSet};
use toml::Table;

/// All runs of a report, by their settings.
#[derive(Debug)]
pub(super) struct Groups<'a> {
    /// The best first, those without a result last.
    pub(super) all: Vec<Group<'a>>,
    /// The settings that differ between groups, by their names.
    pub(super) differing: Vec<String>,
    /// All published results.
    pub(super) published: &'a Published,
}

/// The runs of one setting.
#[derive(Debug)]
pub(super) struct Group<'a> {
    /// The name of a run; in the report of one sweep, the values that differ from those of other groups, in words.
    pub(super) label: String,
    /// Its runs: other seeds, or the same one again.
    pub(super) runs: Vec<&'a Run>,
    /// Published results of the network.
    pub(super) published: Option<&'a Row>,
}

/// A figure over several seeds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) mean: f64,
    /// Standard deviation, of two or more.
    pub(super) deviation: Option<f64>,
    pub(super) low: f64,
    pub(super) high: f64,
}

impl Spread {
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt());
        let low = values.iter().copied().reduce(f64::min)?;
        let high = values.iter().copied().reduce(f64::max)?;
        Some(Spread { mean, deviation, low, high })
    }
}

impl<'a> Groups<'a> {
    /// The groups of these runs, which are named after what differs, or else as they are.
    pub(super) fn new(runs: &'a [Run], published: &'a Published, after_settings: bool) -> Groups<'a> {
        let mut all: Vec<Group<'a>> = Vec::new();
        for run in runs {
            let same = |group: &&mut Group| same_but_for_the_seed(&group.runs[0].settings, &run.settings);
            match all.iter_mut().find(same) {
                Some(group) => group.runs.push(run),
                None => {
                    let row = published.of(&run.settings);
                    all.push(Group { label: String::new(), runs: vec![run], published: row });
                }
            }
        }
        let settings: Vec<&Settings> = all.iter().map(|group| &group.runs[0].settings).collect();
        let differing = differing(&settings);
        for group in &mut all {
            group.label = match after_settings && !differing.is_empty() {
                true => label(&differing, group.settings()),
                false => group.short_name(),
            };
        }
        all.sort_by(|a, b| {
            let key = |group: &Group| group.running().map_or(f64::INFINITY, |loss| loss.mean);
            key(a).total_cmp(&key(b))
        });
        Groups { all, differing, published }
    }

    /// All runs, those of the best group first.
    pub(super) fn runs(&self) -> impl Iterator<Item = (&Group<'a>, &'a Run)> {
        self.all.iter().flat_map(|group| group.runs.iter().map(move |run| (group, *run)))
    }

    /// The worst group that has a result, and the best one; the same if there is only one.
    pub(super) fn extremes(&self) -> Option<(&Group<'a>, &Group<'a>)> {
        let mut with_result = self.all.iter().filter(|group| group.running().is_some());
        let best = with_result.next()?;
        Some((with_result.next_back().unwrap_or(best), best))
    }
}

impl Group<'_> {
    pub(super) fn settings(&self) -> &Settings {
        &self.runs[0].settings
    }

    /// The names of its runs.
    pub(super) fn names(&self) -> String {
        self.runs.iter().map(|run| run.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// The shortest of the names of its runs, and how many more there are.
    fn short_name(&self) -> String {
        let name = self.runs.iter().map(|run| run.name.as_str()).min_by_key(|name| name.len()).unwrap_or_default();
        match self.runs.len() {
            1 => name.to_owned(),
            runs => format!("{name} (and {} more)", runs - 1),
        }
    }

    /// The name of a run among those of the report.
    pub(super) fn label_of(&self, run: &Run) -> String {
        let seed = run.settings.training.seed;
        let same_seed = self.runs.iter().filter(|other| other.settings.training.seed == seed).count();
        match self.runs.len() {
            1 => self.label.clone(),
            _ if same_seed > 1 || self.label == self.short_name() => run.name.clone(),
            _ => format!("{}, seed {seed}", self.label),
        }
    }

    /// The seeds that have a result.
    pub(super) fn seeds(&self) -> usize {
        let with_result = self.runs.iter().filter(|run| run.validation().is_some());
        with_result.map(|run| run.settings.training.seed).collect::<BTreeSet<u64>>().len()
    }

    /// Validation loss with running statistics.
    pub(super) fn running(&self) -> Option<Spread> {
        self.measure(|row| Some(row.running))
    }

    /// Validation loss with batch statistics.
    pub(super) fn batch(&self) -> Option<Spread> {
        self.measure(|row| Some(row.batch))
    }

    /// A number of the last validation.
    pub(super) fn measure(&self, of: impl Fn(&ValidationRow) -> Option<f64>) -> Option<Spread> {
        self.over_seeds(|run| of(&run.validation()?))
    }

    /// A number of each seed. Runs of the same seed say nothing about others: they count as one, with their mean.
    fn over_seeds(&self, of: impl Fn(&Run) -> Option<f64>) -> Option<Spread> {
        let mut seeds: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
        for run in &self.runs {
            let value = of(run).filter(|value| value.is_finite());
            seeds.entry(run.settings.training.seed).or_default().extend(value);
        }
        Spread::of(seeds.values().map(|values| values.iter().sum::<f64>() / values.len() as f64))
    }

    /// Minutes of training.
    pub(super) fn minutes(&self) -> Option<Spread> {
        self.over_seeds(|run| Some(run.summary.as_ref()?.minutes))
    }

    /// Whether the machine of a run was shared, so that its times say little.
    pub(super) fn is_shared(&self) -> bool {
        self.runs.iter().any(|run| run.shared().is_some())
    }
}

/// A run's settings in their sections, without those that change no results, or only their last digits.
fn numbers(settings: &Settings) -> Table {
    let mut table = Table::try_from(settings).unwrap_or_default();
    if let Some(training) = table.get_mut("training").and_then(toml::Value::as_table_mut) {
        training.remove("seed");
    }
    // Of the section `run`, only the precision changes more than last digits.
    if let Some(run) = table.get_mut("run").and_then(toml::Value::as_table_mut) {
        run.retain(|key, _| key == "precision");
    }
    table.remove("preset");
    table
}

fn same_but_for_the_seed(a: &Settings, b: &Settings) -> bool {
    numbers(a) == numbers(b)
}

fn differing(settings: &[&Settings]) -> Vec<String> {
    let tables: Vec<Table> = settings.iter().map(|settings| numbers(settings)).collect();
    let keys: BTreeSet<String> = tables
        .iter()
        .flat_map(|table| table.values().filter_map(toml::Value::as_table))
        .flat_map(|section| section.keys().cloned())
        .collect();
    let values = |key: &str| settings.iter().map(|settings| settings.shown(key)).collect::<BTreeSet<String>>();
    keys.into_iter().filter(|key| values(key).len() > 1).collect()
}

/// Some settings in words.
pub(super) fn label(keys: &[String], settings: &Settings) -> String {
    let part = |key: &String| {
        let value = settings.value(key).map_or_else(|| "none".to_owned(), |value| value_text(&value));
        match key.as_str() {
            "layers" if value == "1" => "1 layer".to_owned(),
            "layers" | "channels" => format!("{value} {key}"),
            "activation" => value,
            _ => format!("{} {value}", key.replace('_', " ")),
        }
    };
    keys.iter().map(part).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::PrecisionSetting;

    #[test]
    fn the_spread_is_over_what_is_finite() {
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([f64::NAN, 2.0]), Some(Spread { mean: 2.0, deviation: None, low: 2.0, high: 2.0 }));
        let spread = Spread::of([1.0, 3.0]).unwrap();
        assert_eq!((spread.mean, spread.deviation, spread.low, spread.high), (2.0, Some(2f64.sqrt()), 1.0, 3.0));
    }

    #[test]
    fn settings_that_differ_are_told_and_seeds_are_not() {
        let settings = |change: fn(&mut Settings)| {
            let mut settings = Settings::default();
            change(&mut settings);
            settings
        };
        let (a, b) = (settings(|s| s.training.seed = 1), settings(|s| s.run.threads = 2));
        let c = settings(|s| (s.network.layers, s.network.activation) = (3, engine::Activation::Relu.into()));
        assert!(same_but_for_the_seed(&a, &b) && !same_but_for_the_seed(&a, &c));
        assert_eq!(differing(&[&a, &b, &c]), ["activation", "layers"]);
        assert_eq!(differing(&[&a, &b]), [""; 0]);
        let d = settings(|s| s.run.precision = PrecisionSetting::Tf32);
        assert!(!same_but_for_the_seed(&a, &d));
        assert_eq!(differing(&[&a, &d]), ["precision"]);
    }
}

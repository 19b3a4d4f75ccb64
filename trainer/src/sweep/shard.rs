//! The part of a sweep that one job of an array does.

use super::file::PlannedRun;
use std::fmt;
use std::str::FromStr;

/// A part of a sweep: as text, `2/4` is the second of four.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Its number, from 1.
    number: usize,
    /// How many there are.
    count: usize,
}

/// The whole sweep.
impl Default for Shard {
    fn default() -> Shard {
        Shard { number: 1, count: 1 }
    }
}

impl Shard {
    /// Its runs: every so many-th, because neighbours differ least, and take about the same time.
    pub(super) fn of<'a>(&self, runs: &'a [PlannedRun]) -> impl Iterator<Item = (usize, &'a PlannedRun)> + use<'a> {
        runs.iter().enumerate().skip(self.number - 1).step_by(self.count)
    }

    /// How many of so many runs it has.
    pub fn count_of(&self, runs: usize) -> usize {
        (self.number - 1..runs).step_by(self.count).len()
    }

    /// Whether it is the whole sweep.
    pub fn is_whole(&self) -> bool {
        self.count == 1
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.count)
    }
}

/// A text that is not a part of a sweep.
#[derive(Debug, thiserror::Error)]
#[error("expected K/N, the K-th of N parts, as in 2/4")]
pub struct NoShard;

impl FromStr for Shard {
    type Err = NoShard;
    fn from_str(text: &str) -> Result<Shard, NoShard> {
        let (number, count) = text.split_once('/').ok_or(NoShard)?;
        let [number, count] = [number, count].map(str::parse::<usize>);
        let shard = Shard { number: number.map_err(|_| NoShard)?, count: count.map_err(|_| NoShard)? };
        if (1..=shard.count).contains(&shard.number) { Ok(shard) } else { Err(NoShard) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    #[test]
    fn every_run_is_in_one_part() {
        let runs = |count: usize| -> Vec<PlannedRun> {
            (0..count).map(|i| PlannedRun { name: i.to_string(), settings: Settings::default() }).collect()
        };
        for (count, parts) in [(7, 3), (2, 4), (5, 1)] {
            let runs = runs(count);
            let mut all: Vec<usize> = (1..=parts)
                .flat_map(|part| format!("{part}/{parts}").parse::<Shard>().unwrap().of(&runs).map(|(i, _)| i))
                .collect();
            all.sort_unstable();
            let counts = (1..=parts).map(|part| Shard { number: part, count: parts }.count_of(count));
            assert_eq!(counts.sum::<usize>(), count);
            assert_eq!(all, (0..count).collect::<Vec<_>>());
        }
        for wrong in ["0/4", "5/4", "1", "1/0", "/", "-1/2", "1/x"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }
}

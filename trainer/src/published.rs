//! The published results that ours are compared with: CSV files whose columns are settings by their names, and three
//! results.

use crate::data::{Fit, TEST_IMAGES};
use crate::settings::{LossSetting, Settings};
use crate::system::files::{self, FileError};
use csv::{ReaderBuilder, StringRecord};
use model::{Padding, Prediction, ResConvConfig};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Longest table that is read, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Columns that are not settings.
const RESULTS: [&str; 3] = ["validation_loss", "parameters", "train_minutes"];

/// A table of published results.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Published {
    rows: Vec<Row>,
}

/// The result of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Settings by their names, as text.
    pub settings: Vec<(String, String)>,
    /// Validation loss with batch statistics.
    pub validation_loss: f64,
    /// Trained parameters.
    pub parameters: usize,
    /// Minutes of training.
    pub minutes: f64,
}

impl Row {
    /// The value of a setting, if the table has it.
    pub(crate) fn setting(&self, key: &str) -> Option<&str> {
        self.settings.iter().find(|(name, _)| name == key).map(|(_, text)| text.as_str())
    }
}

/// A table cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PublishedError {
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is not of the right form.
    #[error("{}: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
}

impl Published {
    /// Reads a table.
    ///
    /// # Errors
    /// If the file cannot be read, a column is missing, or a row has another number of columns, or results that are no
    /// numbers.
    pub fn read(path: &Path) -> Result<Published, PublishedError> {
        Published::parse(path, &files::read_text(path, MAX_BYTES)?)
    }

    /// The table with this content; `path` is for messages only.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn parse(path: &Path, text: &str) -> Result<Published, PublishedError> {
        let wrong = |reason: String| PublishedError::Format { path: path.to_owned(), reason };
        let mut reader = ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
        let header = reader.headers().map_err(|error| wrong(error.to_string()))?.clone();
        let column = |name: &str| {
            let at = header.iter().position(|column| column == name);
            at.ok_or_else(|| wrong(format!("no column `{name}`")))
        };
        let [validation_loss, parameters, minutes] = RESULTS.map(column);
        let results = [validation_loss?, parameters?, minutes?];
        let row = |record: Result<StringRecord, csv::Error>| -> Result<Row, PublishedError> {
            let record = record.map_err(|error| wrong(error.to_string()))?;
            let line = record.position().map_or(0, csv::Position::line);
            if record.len() != header.len() {
                return Err(wrong(format!("line {line}: expected {} columns, got {}", header.len(), record.len())));
            }
            let number = |at: usize| {
                let number = record[at].parse().ok().filter(|number: &f64| number.is_finite());
                let told = || format!("line {line}: {}: expected a number, got `{}`", &header[at], &record[at]);
                number.ok_or_else(|| wrong(told()))
            };
            let others = header.iter().zip(&record).filter(|(column, _)| !RESULTS.contains(column));
            Ok(Row {
                settings: others.map(|(column, text)| (column.to_owned(), text.to_owned())).collect(),
                validation_loss: number(results[0])?,
                parameters: number(results[1])? as usize,
                minutes: number(results[2])?,
            })
        };
        Ok(Published { rows: reader.records().map(row).collect::<Result<_, PublishedError>>()? })
    }

    /// All results.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The result of the network of these settings, by the settings that the table has.
    pub fn of(&self, settings: &Settings) -> Option<&Row> {
        self.rows.iter().find(|row| row.settings.iter().all(|(key, text)| *text == settings.shown(key)))
    }
}

/// The study's figures for a depth.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Study {
    /// Validation loss with batch statistics after 180,000 images.
    pub validation_loss: f64,
    /// Minutes on its author's GPU.
    pub minutes: f64,
}

/// The study's table of depths: 32 x 32 pixels, 32 channels, 3 x 3 kernels.
const LAYERS_TABLE: &str = include_str!("../published/layers-32.csv");

impl Study {
    /// The study's figures for the network of these settings, trained on Fashion-MNIST. They are those of the preset
    /// `original`, but every network with the same layers is compared with them, if it learns the same and is validated
    /// in the same way.
    pub fn of(settings: &Settings) -> Option<Study> {
        let Settings { network, training, run, .. } = settings;
        let base = ResConvConfig::default();
        let same_layers = network.channels == base.channels
            && network.kernel_size == base.kernel_size
            && network.stride == base.stride
            && matches!(network.padding, Padding::Auto | Padding::Fixed(1))
            && network.groups == base.groups;
        let same_task = training.task.is_half_crop()
            && training.size == 32
            && training.fit.is_none_or(|fit| fit == Fit::Resize)
            && !training.grey
            && training.loss == LossSetting::L1
            && network.predict == Prediction::Image
            && [network.in_channels, network.out_channels] == [1, 1]
            && run.validate_images.is_none_or(|images| images >= u64::from(TEST_IMAGES.dims[0]));
        if !same_layers || !same_task {
            return None;
        }
        // The other columns of the table are the same in all its rows.
        let table = Published::parse(Path::new("layers-32.csv"), LAYERS_TABLE).ok()?;
        let of_depth = |row: &&Row| row.settings.contains(&("layers".to_owned(), network.layers.to_string()));
        let row = table.rows().iter().find(of_depth)?;
        Some(Study { validation_loss: row.validation_loss, minutes: row.minutes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Preset, TrainingSettings};
    use model::Ramp;

    #[test]
    fn a_row_belongs_to_the_networks_of_its_columns() {
        let table = "layers,kernel_size,padding,validation_loss,parameters,train_minutes\n3,3:9,auto,0.5,7,1.5\n3,5,2,0.25,8,2\n";
        let published = Published::parse(Path::new("t.csv"), table).unwrap();
        let loss = |change: fn(&mut Settings)| {
            let mut settings = Settings::default();
            settings.network.layers = 3;
            change(&mut settings);
            published.of(&settings).map(|row| row.validation_loss)
        };
        assert_eq!(loss(|s| s.network.kernel_size = Ramp { first: 3, last: 9 }.into()), Some(0.5));
        assert_eq!(loss(|s| s.network.kernel_size = 5.into()), Some(0.25));
        assert_eq!(loss(|s| (s.network.kernel_size, s.network.padding) = (5.into(), Padding::Fixed(1))), None);
        assert_eq!(loss(|_| ()), None);
    }

    #[test]
    fn mistakes_name_the_line_and_the_column() {
        for (content, told) in [
            ("layers\n1\n", "t.csv: no column `validation_loss`"),
            ("validation_loss,parameters,train_minutes\n1,2\n", "t.csv: line 2: expected 3 columns, got 2"),
            (
                "validation_loss,parameters,train_minutes\n1,2,3\nx,2,3\n",
                "t.csv: line 3: validation_loss: expected a number, got `x`",
            ),
        ] {
            assert_eq!(Published::parse(Path::new("t.csv"), content).unwrap_err().to_string(), told);
        }
    }

    #[test]
    fn the_study_is_quoted_for_its_own_networks_only() {
        let study = |change: fn(&mut Settings)| {
            let mut settings = Preset::Original.settings();
            change(&mut settings);
            Study::of(&settings)
        };
        let all = [1, 2, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21];
        for layers in all {
            let mut settings = Settings::default();
            settings.network.layers = layers;
            assert!(Study::of(&settings).is_some(), "{layers} layers");
        }
        assert_eq!(study(|s| s.network.layers = 1), Some(Study { validation_loss: 0.164834, minutes: 0.36 }));
        assert_eq!(study(|s| s.network.layers = 15), Some(Study { validation_loss: 0.054141, minutes: 4.17 }));
        assert_eq!(study(|s| s.network.layers = 4), None);
        assert_eq!(study(|s| s.training.size = 28), None);
        assert_eq!(study(|s| s.network.channels = 16.into()), None);
        assert_eq!(study(|s| s.network.kernel_size = 5.into()), None);
        assert_eq!(study(|s| s.network.stride = 2.into()), None);
        assert_eq!(study(|s| s.network.predict = Prediction::Residual), None);
        assert_eq!(study(|s| (s.network.in_channels, s.network.out_channels) = (3, 3)), None);
        for task in ["half-crop,noise:0.1", "noise:0.1", "box", "blur:0"] {
            let settings = Settings::default();
            let training = TrainingSettings { task: task.parse().unwrap(), ..settings.training.clone() };
            assert!(Study::of(&settings).is_some());
            assert_eq!(Study::of(&Settings { training, ..settings }), None, "{task}");
        }
        assert_eq!(study(|s| s.training.loss = LossSetting::Mse), None);
        assert_eq!(study(|s| s.training.grey = true), None);
        assert_eq!(study(|s| s.training.fit = Some(Fit::Crop)), None);
        assert_eq!(study(|s| s.run.validate_images = Some(500)), None);
        assert!(study(|s| (s.training.fit, s.run.validate_images) = (Some(Fit::Resize), Some(10_000))).is_some());
    }
}

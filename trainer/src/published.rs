//! Published results that ours are compared with: a CSV file whose columns are settings by their names, and three results.

use crate::settings::Settings;
use crate::system::files::{self, FileError};
use std::path::{Path, PathBuf};
use toml::Value;

/// Longest table that is read, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Columns that are no settings.
const RESULTS: [&str; 3] = ["validation_loss", "parameters", "train_minutes"];

/// A table of published results.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reference {
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

/// A table cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReferenceError {
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

impl Reference {
    /// Reads a table.
    ///
    /// # Errors
    /// If the file cannot be read, a column is missing, or a row has another number of columns, or results that are no numbers.
    pub fn read(path: &Path) -> Result<Reference, ReferenceError> {
        Reference::parse(path, &files::read_text(path, MAX_BYTES)?)
    }

    /// The table with this content; `path` is for messages only.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn parse(path: &Path, text: &str) -> Result<Reference, ReferenceError> {
        let wrong = |reason: String| ReferenceError::Format { path: path.to_owned(), reason };
        let mut lines = text.lines();
        let header: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
        for name in RESULTS {
            if !header.contains(&name) {
                return Err(wrong(format!("no column `{name}`")));
            }
        }
        let mut rows = Vec::new();
        for (number, line) in lines.enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let fields: Vec<&str> = line.split(',').collect();
            let at = number + 2;
            if fields.len() != header.len() {
                return Err(wrong(format!("line {at}: expected {} columns, got {}", header.len(), fields.len())));
            }
            let field = |name: &str| header.iter().zip(&fields).find(|(column, _)| **column == name);
            let number = |name: &str| -> Result<f64, ReferenceError> {
                let text = field(name).map_or("", |(_, text)| text);
                let number = text.parse().ok().filter(|number: &f64| number.is_finite());
                number.ok_or_else(|| wrong(format!("line {at}: {name}: expected a number, got `{text}`")))
            };
            let [validation_loss, parameters, minutes] =
                [number(RESULTS[0])?, number(RESULTS[1])?, number(RESULTS[2])?];
            let settings = header.iter().zip(&fields).filter(|(column, _)| !RESULTS.contains(column));
            rows.push(Row {
                settings: settings.map(|(column, text)| ((*column).to_owned(), (*text).to_owned())).collect(),
                validation_loss,
                parameters: parameters as usize,
                minutes,
            });
        }
        Ok(Reference { rows })
    }

    /// All results.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The result of the network of these settings, by the settings that the table has.
    pub fn of(&self, settings: &Settings) -> Option<&Row> {
        self.rows.iter().find(|row| row.settings.iter().all(|(key, text)| *text == shown(settings, key)))
    }
}

/// The value of a setting as tables show it; a padding that depends on the kernel as the number that it is.
pub fn shown(settings: &Settings, key: &str) -> String {
    let kernel = settings.network.kernel_size;
    if key == "padding" && settings.network.padding == model::Padding::Auto && kernel.first == kernel.last {
        return (kernel.first / 2).to_string();
    }
    settings.value(key).map_or_else(String::new, |value| text(&value))
}

/// A setting's value as on the command line: `16:64` for a list.
pub fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Float(number) => number.to_string(),
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(":"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Ramp;

    #[test]
    fn a_row_belongs_to_the_networks_of_its_columns() {
        let table = "layers,kernel_size,padding,validation_loss,parameters,train_minutes\n3,3:9,auto,0.5,7,1.5\n3,5,2,0.25,8,2\n";
        let reference = Reference::parse(Path::new("t.csv"), table).unwrap();
        let loss = |change: fn(&mut Settings)| {
            let mut settings = Settings::default();
            settings.network.layers = 3;
            change(&mut settings);
            reference.of(&settings).map(|row| row.validation_loss)
        };
        assert_eq!(loss(|s| s.network.kernel_size = Ramp { first: 3, last: 9 }), Some(0.5));
        assert_eq!(loss(|s| s.network.kernel_size = 5.into()), Some(0.25));
        assert_eq!(loss(|s| (s.network.kernel_size, s.network.padding) = (5.into(), model::Padding::Fixed(1))), None);
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
            assert_eq!(Reference::parse(Path::new("t.csv"), content).unwrap_err().to_string(), told);
        }
    }
}

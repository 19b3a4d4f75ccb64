//! Settings as lists on the command line: `--layers 1,2,3`. Brackets keep the commas of a value together: `--channels
//! 8,16:64,[16,32,64]`.

use super::error::SweepError;
use crate::settings::{SettingsFlags, SettingsSource};
use clap::builder::NonEmptyStringValueParser;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

/// Settings whose values may contain commas: paths.
const SINGLE: [&str; 3] = ["data", "init", "out"];

/// The flags of [`SettingsFlags`], each of which may list several values. They are read as those of `resconv train`
/// are.
#[derive(Clone, Debug, Default)]
pub struct ListFlags {
    /// Settings by their names, and the texts of their values.
    lists: Vec<(String, Vec<String>)>,
}

impl ListFlags {
    /// Removes a setting. Returns its values, if it was given.
    pub fn take(&mut self, key: &str) -> Option<Vec<String>> {
        let at = self.lists.iter().position(|(name, _)| name == key)?;
        Some(self.lists.remove(at).1)
    }

    /// Each value of each setting as a source of settings.
    pub(super) fn sources(&self) -> Result<Vec<(String, Vec<SettingsSource>)>, SweepError> {
        let read = |(key, texts): &(String, Vec<String>)| {
            let sources: Result<Vec<SettingsSource>, SweepError> = texts.iter().map(|text| source(key, text)).collect();
            Ok((key.clone(), sources?))
        };
        self.lists.iter().map(read).collect()
    }
}

/// A setting with this value, read as a flag.
fn source(key: &str, text: &str) -> Result<SettingsSource, SweepError> {
    let command = SettingsFlags::augment_args(Command::new("resconv").no_binary_name(true));
    let flag = format!("--{}={text}", key.replace('_', "-"));
    let flags = command.try_get_matches_from([flag]).and_then(|matches| SettingsFlags::from_arg_matches(&matches));
    let flags = flags.map_err(|error| {
        let message = error.to_string();
        let line = message.lines().next().unwrap_or_default();
        SweepError::Flag(line.strip_prefix("error: ").unwrap_or(line).to_owned())
    })?;
    Ok(SettingsSource::flags(&flags)?)
}

impl Args for ListFlags {
    fn augment_args(command: Command) -> Command {
        let flags = SettingsFlags::augment_args(Command::new(""));
        flags.get_arguments().cloned().map(listed).fold(command, Command::arg)
    }

    fn augment_args_for_update(command: Command) -> Command {
        ListFlags::augment_args(command)
    }
}

fn listed(flag: Arg) -> Arg {
    let flag = flag.value_parser(NonEmptyStringValueParser::new());
    if SINGLE.iter().any(|key| flag.get_id() == key) {
        return flag.action(ArgAction::Set);
    }
    flag.action(ArgAction::Append)
}

/// The values in a text, which are separated by commas outside of brackets. A value loses the brackets around it.
fn split(text: &str) -> Vec<String> {
    let mut depth = 0;
    let is_between = |c: char| {
        depth += i32::from(c == '[') - i32::from(c == ']');
        c == ',' && depth == 0
    };
    let plain = |part: &str| part.strip_prefix('[').and_then(|part| part.strip_suffix(']')).unwrap_or(part).to_owned();
    text.split(is_between).map(plain).collect()
}

impl FromArgMatches for ListFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<ListFlags, clap::Error> {
        let mut flags = ListFlags::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        let command = SettingsFlags::augment_args(Command::new(""));
        for key in command.get_arguments().map(|flag| flag.get_id().as_str()) {
            if let Some(values) = matches.get_many::<String>(key) {
                let is_single = SINGLE.contains(&key);
                let parts = |text: &String| if is_single { vec![text.clone()] } else { split(text) };
                self.lists.push((key.to_owned(), values.flat_map(parts).collect()));
            }
        }
        Ok(())
    }
}

//! TensorBoard's event files: the curves and pictures of a run, for `tensorboard --logdir runs`.
//!
//! A file is a sequence of records. Each is a length, its checksum, an event as a protocol buffer, and its checksum.
//!
//! Every process of a run writes its own file. If the run was resumed, the file begins with a mark that makes readers
//! forget all later steps of the earlier files. So a reader that follows a run stays right, whatever happens to the
//! run.
//!
//! The settings of a run are those of its session for the plugin "hparams", which sorts runs by them and by the last
//! values of their curves.
//!
//! Source: TensorFlow's `event.proto`, `summary.proto`, `tensor.proto` and `record_writer.cc`; TensorBoard's
//! `plugins/hparams/plugin_data.proto` and `api.proto`; `struct.proto` of protocol buffers.

use crate::system::files::{self, FileError};
use prost::Message;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What the names of event files begin with.
const PREFIX: &str = "events.out.tfevents.";

/// The first event of every file.
const VERSION: &str = "brain.Event:2";

/// `SessionLog.START`
const START: i32 = 1;

/// `STATUS_SUCCESS` of the plugin "hparams".
const SUCCESS: i32 = 1;

/// `DT_FLOAT`
const FLOAT: i32 = 1;

/// An event file that is being written.
#[derive(Debug)]
pub struct Events {
    path: PathBuf,
    file: BufWriter<File>,
    /// The time in its name, and when that was.
    begun: (Duration, Instant),
}

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(oneof = "What", tags = "3, 5, 7")]
    what: Option<What>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum What {
    #[prost(string, tag = "3")]
    FileVersion(String),
    #[prost(message, tag = "5")]
    Summary(Summary),
    #[prost(message, tag = "7")]
    SessionLog(SessionLog),
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<SummaryValue>,
}

#[derive(Clone, PartialEq, Message)]
struct SummaryValue {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(oneof = "Value", tags = "2, 4, 8")]
    value: Option<Value>,
    #[prost(message, optional, tag = "9")]
    metadata: Option<Metadata>,
}

#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(message, optional, tag = "1")]
    plugin_data: Option<PluginData>,
}

#[derive(Clone, PartialEq, Message)]
struct PluginData {
    #[prost(string, tag = "1")]
    plugin_name: String,
    #[prost(bytes = "vec", tag = "2")]
    content: Vec<u8>,
}

/// What the plugin "hparams" reads of a run.
#[derive(Clone, PartialEq, Message)]
struct Hparams {
    #[prost(oneof = "Session", tags = "3, 4")]
    session: Option<Session>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Session {
    #[prost(message, tag = "3")]
    Start(SessionStart),
    #[prost(message, tag = "4")]
    End(SessionEnd),
}

#[derive(Clone, PartialEq, Message)]
struct SessionStart {
    #[prost(btree_map = "string, message", tag = "1")]
    hparams: BTreeMap<String, Setting>,
    #[prost(double, tag = "5")]
    start_time_secs: f64,
}

#[derive(Clone, PartialEq, Message)]
struct SessionEnd {
    #[prost(int32, tag = "1")]
    status: i32,
    #[prost(double, tag = "2")]
    end_time_secs: f64,
}

/// `google.protobuf.Value`
#[derive(Clone, PartialEq, Message)]
struct Setting {
    #[prost(oneof = "Hparam", tags = "2, 3, 4")]
    value: Option<Hparam>,
}

/// The value of a setting.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Hparam {
    /// A number.
    #[prost(double, tag = "2")]
    Number(f64),
    /// A word, or a list of numbers as text.
    #[prost(string, tag = "3")]
    Text(String),
    /// On or off.
    #[prost(bool, tag = "4")]
    Switch(bool),
}

/// `TensorProto`: the plugin wants one, and does not read it.
#[derive(Clone, PartialEq, Message)]
struct Tensor {
    #[prost(int32, tag = "1")]
    dtype: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<TensorShape>,
    #[prost(float, repeated, tag = "5")]
    float_val: Vec<f32>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorShape {
    #[prost(message, repeated, tag = "2")]
    dim: Vec<Dim>,
}

#[derive(Clone, PartialEq, Message)]
struct Dim {
    #[prost(int64, tag = "1")]
    size: i64,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Value {
    #[prost(float, tag = "2")]
    Scalar(f32),
    #[prost(message, tag = "4")]
    Image(Image),
    #[prost(message, tag = "8")]
    Tensor(Tensor),
}

#[derive(Clone, PartialEq, Message)]
struct Image {
    #[prost(int32, tag = "1")]
    height: i32,
    #[prost(int32, tag = "2")]
    width: i32,
    /// 1 for grey.
    #[prost(int32, tag = "3")]
    colorspace: i32,
    #[prost(bytes = "vec", tag = "4")]
    encoded: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct SessionLog {
    #[prost(int32, tag = "1")]
    status: i32,
}

impl Events {
    /// A new file in `folder`. If the run goes on after step `resumed`, readers forget what the folder's other files
    /// say of later steps.
    pub fn create(folder: &Path, resumed: Option<u64>) -> Result<Events, FileError> {
        // Readers take the files in the order of their names. The clock may have been set back since the last one.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = event_files(folder)?.iter().filter_map(|path| end(path)).fold(now, Duration::max);
        let path = folder.join(format!("{PREFIX}{:010}.{:09}.resconv", now.as_secs(), now.subsec_nanos()));
        let file = OpenOptions::new().write(true).create_new(true).open(&path);
        let file = BufWriter::new(file.map_err(FileError::at("create", &path))?);
        let mut events = Events { path, file, begun: (now, Instant::now()) };
        events.write(0, What::FileVersion(VERSION.to_owned()))?;
        if let Some(step) = resumed {
            events.write(step, What::SessionLog(SessionLog { status: START }))?;
        }
        events.flush()?;
        Ok(events)
    }

    /// Removes the event files of a folder.
    pub fn remove_all(folder: &Path) -> Result<(), FileError> {
        event_files(folder)?.iter().try_for_each(|path| files::remove(path))
    }

    /// Adds named numbers of a step.
    pub fn scalars(&mut self, step: u64, values: &[(&str, f32)]) -> Result<(), FileError> {
        let value = |&(tag, value): &(&str, f32)| SummaryValue::new(tag, Value::Scalar(value));
        self.write(step, What::Summary(Summary { value: values.iter().map(value).collect() }))
    }

    /// Adds a grey picture, the content of a PNG file.
    pub fn picture(&mut self, step: u64, tag: &str, png: Vec<u8>) -> Result<(), FileError> {
        // A PNG file begins with 8 bytes of signature, 4 of length and 4 of name; then come width and height.
        let number = |at: usize| png.get(at..at + 4).and_then(|bytes| Some(i32::from_be_bytes(bytes.try_into().ok()?)));
        let (width, height) = (number(16).unwrap_or(0), number(20).unwrap_or(0));
        let image = Image { height, width, colorspace: 1, encoded: png };
        let value = SummaryValue::new(tag, Value::Image(image));
        self.write(step, What::Summary(Summary { value: vec![value] }))
    }

    /// Adds the settings of the run. Readers keep the first ones of a run.
    pub fn settings(
        &mut self,
        step: u64,
        settings: impl IntoIterator<Item = (String, Hparam)>,
    ) -> Result<(), FileError> {
        let setting = |(name, value)| (name, Setting { value: Some(value) });
        let hparams = settings.into_iter().map(setting).collect();
        let start = SessionStart { hparams, start_time_secs: self.now() };
        self.session(step, "_hparams_/session_start_info", Session::Start(start))
    }

    /// Adds that the run came to its end.
    pub fn ended(&mut self, step: u64) -> Result<(), FileError> {
        let end = SessionEnd { status: SUCCESS, end_time_secs: self.now() };
        self.session(step, "_hparams_/session_end_info", Session::End(end))
    }

    fn session(&mut self, step: u64, tag: &str, session: Session) -> Result<(), FileError> {
        let content = Hparams { session: Some(session) }.encode_to_vec();
        let shape = Some(TensorShape { dim: vec![Dim { size: 1 }] });
        let tensor = Value::Tensor(Tensor { dtype: FLOAT, shape, float_val: vec![0.0] });
        let plugin_data = Some(PluginData { plugin_name: "hparams".to_owned(), content });
        let value = SummaryValue { metadata: Some(Metadata { plugin_data }), ..SummaryValue::new(tag, tensor) };
        self.write(step, What::Summary(Summary { value: vec![value] }))
    }

    /// Makes what was added visible to readers.
    pub fn flush(&mut self) -> Result<(), FileError> {
        self.file.flush().map_err(FileError::at("write", &self.path))
    }

    /// Seconds since 1970, which never go back.
    fn now(&self) -> f64 {
        let (begun, clock) = self.begun;
        (begun + clock.elapsed()).as_secs_f64()
    }

    fn write(&mut self, step: u64, what: What) -> Result<(), FileError> {
        let event = Event { wall_time: self.now(), step: step as i64, what: Some(what) };
        record(&mut self.file, &event.encode_to_vec()).map_err(FileError::at("write", &self.path))
    }
}

impl SummaryValue {
    fn new(tag: &str, value: Value) -> SummaryValue {
        SummaryValue { tag: tag.to_owned(), value: Some(value), metadata: None }
    }
}

/// The event files of a folder.
fn event_files(folder: &Path) -> Result<Vec<PathBuf>, FileError> {
    let look = FileError::at("look into", folder);
    let list = || -> io::Result<Vec<PathBuf>> {
        let entries: Vec<fs::DirEntry> = fs::read_dir(folder)?.collect::<io::Result<_>>()?;
        let is_one = |entry: &&fs::DirEntry| entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        Ok(entries.iter().filter(is_one).map(fs::DirEntry::path).collect())
    };
    list().map_err(look)
}

/// A time after all that is in an event file: after the time in its name, and not before its last change.
fn end(path: &Path) -> Option<Duration> {
    let name = path.file_name()?.to_str()?.strip_prefix(PREFIX)?;
    let mut numbers = name.split('.');
    let seconds = Duration::from_secs(numbers.next()?.parse().ok()?);
    let nanoseconds = numbers.next().and_then(|text| text.parse().ok()).unwrap_or(0);
    let named = seconds.checked_add(Duration::from_nanos(nanoseconds))?.checked_add(Duration::from_nanos(1))?;
    let changed = path.metadata().and_then(|file| file.modified()).ok();
    Some(changed.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map_or(named, |changed| named.max(changed)))
}

fn record(file: &mut impl Write, content: &[u8]) -> io::Result<()> {
    let length = (content.len() as u64).to_le_bytes();
    file.write_all(&length)?;
    file.write_all(&masked(crc32c(&length)).to_le_bytes())?;
    file.write_all(content)?;
    file.write_all(&masked(crc32c(content)).to_le_bytes())
}

/// The form in which a checksum is stored: data with plain checksums in it would make weak checksums itself.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), bit by bit: event files are small.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_rfc_3720() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
    }

    #[test]
    fn a_file_comes_after_those_that_are_there_whatever_the_clock_says() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        // An earlier process, before the clock was set back by a day; and a file of another program.
        let tomorrow = now.as_secs() + 86_400;
        let before = folder.path().join(format!("{PREFIX}{tomorrow}.999999999.resconv"));
        fs::write(&before, "").unwrap();
        fs::write(folder.path().join(format!("{PREFIX}{}.machine", tomorrow - 9)), "").unwrap();
        let mut files = vec![before.clone()];
        for step in [3, 5] {
            let events = Events::create(folder.path(), Some(step)).unwrap();
            assert!(&events.path > files.last().unwrap(), "{:?} is not after {files:?}", events.path);
            files.push(events.path.clone());
        }
        let changed = now + Duration::from_secs(9 * 86_400);
        File::options().write(true).open(&before).unwrap().set_modified(UNIX_EPOCH + changed).unwrap();
        let mut events = Events::create(folder.path(), Some(7)).unwrap();
        assert!(&events.path > files.last().unwrap() && events.begun.0 == changed);
        events.scalars(8, &[("loss", 0.5)]).unwrap();
        events.flush().unwrap();
        // The time of the events is after those before, too.
        let bytes = fs::read(&events.path).unwrap();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            assert!(Event::decode(&rest[12..12 + length]).unwrap().wall_time >= changed.as_secs_f64());
            rest = &rest[16 + length..];
        }
        assert!(Events::create(&folder.path().join("none"), None).is_err());
    }

    #[test]
    fn records_come_back_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut events = Events::create(folder.path(), Some(3)).unwrap();
        events.scalars(4, &[("loss", 0.5), ("lr", 1e-3)]).unwrap();
        let png = [&[0; 16][..], &[0, 0, 0, 7, 0, 0, 1, 0]].concat();
        events.picture(4, "restored", png.clone()).unwrap();
        events.flush().unwrap();
        let bytes = fs::read(&events.path).unwrap();
        let (mut rest, mut read) = (&bytes[..], Vec::new());
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            assert_eq!(rest[8..12], masked(crc32c(&rest[..8])).to_le_bytes());
            let content = &rest[12..12 + length];
            assert_eq!(rest[12 + length..16 + length], masked(crc32c(content)).to_le_bytes());
            read.push(Event::decode(content).unwrap());
            rest = &rest[16 + length..];
        }
        assert_eq!(read.iter().map(|event| event.step).collect::<Vec<_>>(), [0, 3, 4, 4]);
        assert_eq!(read[0].what, Some(What::FileVersion(VERSION.to_owned())));
        assert_eq!(read[1].what, Some(What::SessionLog(SessionLog { status: START })));
        let image = Image { height: 256, width: 7, colorspace: 1, encoded: png };
        let value = SummaryValue::new("restored", Value::Image(image));
        assert_eq!(read[3].what, Some(What::Summary(Summary { value: vec![value] })));

        // Windows removes a file when nobody has it open any more.
        drop(events);
        fs::write(folder.path().join("mine.txt"), "x").unwrap();
        Events::remove_all(folder.path()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

//! A task: the damage that a network is trained to undo.

use super::blur::Blur;
use super::boxes::Boxes;
use super::colorize::Colorize;
use super::damage::{Damage, Damaged, Draws, Enlargement, Kind};
use super::downscale::Downscale;
use super::fill::Fill;
use super::half_crop::HalfCrop;
use super::jpeg::Jpeg;
use super::noise::Noise;
use super::pixels::Pixels;
use super::quantize::Quantize;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// One or more kinds of damage, done one after another. As text: `half-crop`, `noise:25/255`, `blur:1.5,noise:0.1`.
#[derive(Clone, Debug)]
pub struct Task {
    damage: Vec<Arc<dyn Damage>>,
}

impl Task {
    /// Damages an image.
    pub(crate) fn apply(&self, image: &mut Damaged, draws: &mut Draws) {
        self.damage.iter().for_each(|damage| damage.apply(image, draws));
    }

    /// Whether it takes pixels away and leaves all others as they are.
    pub(crate) fn is_mask(&self) -> bool {
        self.damage.iter().all(|damage| damage.is_mask())
    }

    /// Whether one of four halves is taken away, as in the study.
    pub(crate) fn is_half_crop(&self) -> bool {
        self.to_string() == HalfCrop.to_string()
    }

    /// Checks that images of `channels` channels can be damaged in this way.
    ///
    /// # Errors
    /// [`NeedsColors`] for damage to colours that there are none of.
    pub(crate) fn check_channels(&self, mut channels: usize) -> Result<(), NeedsColors> {
        for damage in &self.damage {
            if damage.needs_colors() && channels == 1 {
                return Err(NeedsColors { task: self.to_string(), damage: damage.to_string() });
            }
            channels = damage.out_channels(channels);
        }
        Ok(())
    }

    /// How a picture is enlarged before such a network improves it.
    pub(crate) fn enlargement(&self) -> Option<Enlargement> {
        self.damage.iter().find_map(|damage| damage.enlargement())
    }

    /// Channels of a damaged image that had `channels`.
    pub(crate) fn damaged_channels(&self, channels: usize) -> usize {
        self.damage.iter().fold(channels, |channels, damage| damage.out_channels(channels))
    }

    /// Channels of what the network gets of an image of `channels`.
    pub(crate) fn input_channels(&self, channels: usize) -> usize {
        self.damaged_channels(channels) + usize::from(self.fills())
    }

    /// Whether missing pixels are filled in, and the network is told which they are.
    pub(crate) fn fills(&self) -> bool {
        self.damage.iter().any(|damage| damage.is_fill())
    }

    /// The pixels of damaged images, of what the network gets of them.
    pub(crate) fn damaged_pixels<'a, T: Copy>(&self, input: &'a [T], channels: usize) -> Cow<'a, [T]> {
        if !self.fills() {
            return Cow::Borrowed(input);
        }
        let pixels = input.chunks_exact(self.input_channels(channels));
        pixels.flat_map(|pixel| &pixel[..pixel.len() - 1]).copied().collect()
    }
}

impl Default for Task {
    fn default() -> Task {
        Task { damage: vec![Arc::new(HalfCrop)] }
    }
}

impl PartialEq for Task {
    fn eq(&self, other: &Task) -> bool {
        self.to_string() == other.to_string()
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, damage) in self.damage.iter().enumerate() {
            write!(f, "{}{damage}", if i > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

/// A task is for images in colour.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the task {task} is for images in colour: `{damage}` does nothing to grey ones")]
pub struct NeedsColors {
    task: String,
    damage: String,
}

/// A kind of damage, by how users write it.
#[derive(Clone, Copy)]
struct KnownKind {
    form: &'static str,
    about: &'static str,
    parse: fn(&[&str]) -> Option<Arc<dyn Damage>>,
}

impl KnownKind {
    const fn of<K: Kind>() -> KnownKind {
        let parse = |parameters: &[&str]| K::parse(parameters).map(|damage| Arc::new(damage) as Arc<dyn Damage>);
        KnownKind { form: K::FORM, about: K::ABOUT, parse }
    }

    fn name(&self) -> &'static str {
        self.form.split([':', '[']).next().unwrap_or_default()
    }
}

/// What tasks are made of.
static KINDS: [KnownKind; 10] = [
    KnownKind::of::<HalfCrop>(),
    KnownKind::of::<Boxes>(),
    KnownKind::of::<Pixels>(),
    KnownKind::of::<Fill>(),
    KnownKind::of::<Noise>(),
    KnownKind::of::<Blur>(),
    KnownKind::of::<Downscale>(),
    KnownKind::of::<Quantize>(),
    KnownKind::of::<Jpeg>(),
    KnownKind::of::<Colorize>(),
];

/// All kinds of damage, a line each, for the help of the command line.
pub fn kinds() -> String {
    let width = KINDS.iter().map(|kind| kind.form.len()).max().unwrap_or(0) + 2;
    KINDS.iter().map(|KnownKind { form, about, .. }| format!("  {form:width$}{about}\n")).collect()
}

/// The text is not a task.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, got `{got}`")]
pub struct UnknownTask {
    expected: String,
    got: String,
}

impl FromStr for Task {
    type Err = UnknownTask;

    fn from_str(text: &str) -> Result<Task, UnknownTask> {
        let damage = text.split(',').map(parse).collect::<Result<Vec<_>, _>>()?;
        let before = damage.iter().position(|damage| damage.is_fill());
        let is_last =
            |before: usize| before + 1 == damage.len() && before > 0 && damage.iter().all(|damage| damage.is_mask());
        if before.is_some_and(|before| !is_last(before)) {
            let expected = "fill at the end, after half-crop, box or pixels (as in box,fill)".to_owned();
            return Err(UnknownTask { expected, got: text.to_owned() });
        }
        Ok(Task { damage })
    }
}

fn parse(text: &str) -> Result<Arc<dyn Damage>, UnknownTask> {
    let wrong = |expected: String| UnknownTask { expected, got: text.to_owned() };
    let mut parts = text.split(':');
    let (name, parameters) = (parts.next(), parts.collect::<Vec<_>>());
    let Some(kind) = KINDS.iter().find(|kind| Some(kind.name()) == name) else {
        let forms = KINDS.map(|kind| kind.form).join(", ");
        return Err(wrong(format!("one of {forms}")));
    };
    (kind.parse)(&parameters).ok_or_else(|| wrong(format!("{} ({})", kind.form, kind.about)))
}

impl Serialize for Task {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Task {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Task, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

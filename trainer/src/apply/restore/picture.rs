//! The pictures to restore: where they are, and what the network gets of each.

use super::photo::Photo;
use super::source::Source;
use super::{Missing, Request};
use crate::apply::ApplyError;
use crate::data::picture_file::{Decoded, decode_file};
use crate::data::picture_files;
use crate::output::picture::load_gray;
use crate::settings::Settings;
use crate::system::{files, names};
use crate::tasks::{Damaged, Draws};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A picture, and where its results go.
#[derive(Debug)]
pub(super) struct Picture {
    pub(super) path: PathBuf,
    /// The folder of the results.
    pub(super) folder: PathBuf,
    pub(super) restored: PathBuf,
    pub(super) input: Option<PathBuf>,
    /// The true picture.
    pub(super) truth: Option<PathBuf>,
}

/// The pictures of a request, those of a folder in order.
///
/// # Errors
/// [`ApplyError`] if a folder has none, two would be written to one file, or a file is in the way.
pub(super) fn find(request: &Request) -> Result<Vec<Picture>, ApplyError> {
    let mut pictures = Vec::new();
    for argument in &request.images {
        if !argument.is_dir() {
            let place = argument.file_name().map(PathBuf::from).unwrap_or_default();
            pictures.push(Picture::new(request, argument.clone(), &place));
            continue;
        }
        let found = picture_files(argument)?;
        if found.is_empty() {
            return Err(ApplyError::NoPictures { path: argument.clone() });
        }
        for path in found {
            let place = path.strip_prefix(argument).unwrap_or(&path).to_owned();
            pictures.push(Picture::new(request, path, &place));
        }
    }
    if pictures.len() > 1 && request.compare.as_ref().is_some_and(|compare| !compare.is_dir()) {
        return Err(ApplyError::OneTruth { pictures: pictures.len() });
    }
    let mut taken = BTreeSet::new();
    for path in pictures.iter().flat_map(|picture| [Some(&picture.restored), picture.input.as_ref()]).flatten() {
        if !taken.insert(path.clone()) {
            return Err(ApplyError::SameName { path: path.clone() });
        }
    }
    files::check_outputs(taken.iter().map(PathBuf::as_path), request.overwrite)?;
    Ok(pictures)
}

impl Picture {
    /// The picture `path`, whose results are beside `place` in the folder of the results.
    fn new(request: &Request, path: PathBuf, place: &Path) -> Picture {
        let folder = place.parent().map_or_else(|| request.out.clone(), |parent| request.out.join(parent));
        let target =
            |what: &str| folder.join(names::derived(path.file_stem().unwrap_or_default(), &format!("-{what}.png")));
        let truth = request.compare.as_ref();
        Picture {
            restored: target("restored"),
            input: request.with_input.then(|| target("input")),
            truth: truth.map(|truth| if truth.is_dir() { truth.join(place) } else { truth.clone() }),
            folder,
            path,
        }
    }

    /// Reads the picture. `number` gives the random numbers of its damage.
    ///
    /// # Errors
    /// [`ApplyError`] if it cannot be read, or it is not known which of its pixels are missing.
    pub(super) fn source(
        &self,
        settings: &Settings,
        request: &Request,
        number: usize,
        status: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Source, ApplyError> {
        let task = &settings.training.task;
        let mut say = |change: &str| status(&format!("{}: {change}", self.path.display()));
        let (mut photo, transparent) = if request.resize {
            let image = load_gray(&self.path, settings.training.size)?;
            image.changes.iter().for_each(|change| say(change));
            (Photo::of_gray(&image.pixels, settings.training.size), None)
        } else {
            let Decoded { picture, changes } = decode_file(&self.path)?;
            changes.iter().for_each(|change| say(change));
            Photo::of(picture)
        };
        let network = &settings.network;
        let in_channels = network.in_channels - usize::from(task.fills());
        let channels = if in_channels == network.out_channels { in_channels } else { 3 };
        if photo.channels < channels {
            say("grey turned to colours");
            photo = photo.with_channels(channels);
        }
        if request.damage {
            let mut damaged = Damaged::new(photo.size, photo.channels, photo.values());
            task.apply(&mut damaged, &mut Draws::of_validation(number as u64));
            return Ok(Source::damaged(photo, damaged, task));
        }
        if in_channels < network.out_channels && photo.channels > in_channels {
            photo = photo.with_channels(in_channels);
        }
        if !task.is_mask() {
            if transparent.is_some() {
                say("transparency turned to black");
            }
            return Ok(match task.enlargement() {
                Some(enlargement) if !request.enlarged => Source::enlarged(photo, enlargement),
                _ => Source::of(photo, None),
            });
        }
        let missing = match &request.missing {
            Missing::Transparent => transparent,
            Missing::Half(half) => Some(half.pixels(photo.size)),
            Missing::Mask(mask) => Some(read_mask(mask, &self.path, photo.size)?),
        };
        match missing {
            Some(missing) if missing.contains(&true) && task.fills() => Ok(Source::filled(photo, missing)),
            Some(missing) if missing.contains(&true) => Ok(Source::of(photo, Some(missing))),
            _ => Err(ApplyError::NotMissing { path: self.path.clone() }),
        }
    }
}

/// The pixels of a mask that are not black.
fn read_mask(mask: &Path, picture: &Path, size: [usize; 2]) -> Result<Vec<bool>, ApplyError> {
    let (photo, _) = Photo::of(decode_file(mask)?.picture);
    if photo.size != size {
        return Err(ApplyError::OtherSize {
            path: mask.to_owned(),
            size: photo.size,
            of: picture.to_owned(),
            expected: size,
        });
    }
    let values = photo.values();
    Ok(values.chunks_exact(photo.channels).map(|pixel| pixel.iter().any(|value| *value > 0.0)).collect())
}

/// The true picture, with the channels of the restored one.
///
/// # Errors
/// [`ApplyError`] if it cannot be read, or has another size.
pub(super) fn truth(path: &Path, restored: &Photo) -> Result<Photo, ApplyError> {
    let (truth, _) = Photo::of(decode_file(path)?.picture);
    if truth.size != restored.size {
        return Err(ApplyError::OtherSize {
            path: path.to_owned(),
            size: truth.size,
            of: "the restored picture".into(),
            expected: restored.size,
        });
    }
    Ok(truth.with_channels(restored.channels))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::files::OutputError;
    use crate::tasks::Half;

    fn request(images: &[&str], out: &Path, overwrite: bool) -> Request {
        Request {
            images: images.iter().map(PathBuf::from).collect(),
            missing: Missing::Half(Half::Left),
            keep_known: true,
            damage: false,
            enlarged: false,
            resize: false,
            compare: None,
            memory_limit: 100,
            out: out.to_owned(),
            with_input: true,
            scale: 1,
            overwrite,
        }
    }

    #[test]
    fn nothing_is_overwritten_unasked() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path();
        let names = find(&request(&["a/boot.png", "bag.v2.jpeg"], out, false)).unwrap();
        assert_eq!(names[0].restored, out.join("boot-restored.png"));
        assert_eq!(names[1].input, Some(out.join("bag.v2-input.png")));
        std::fs::write(out.join("boot-input.png"), b"mine").unwrap();
        let refused = find(&request(&["boot.png"], out, false));
        let path = match refused {
            Err(ApplyError::Output(OutputError::Exists { path })) => path,
            _ => panic!("not refused"),
        };
        assert!(path.ends_with("boot-input.png"), "{path:?}");
        assert!(find(&request(&["boot.png"], out, true)).is_ok());
        let refused = find(&request(&["a/boot.png", "b/boot.jpg"], out, true));
        assert!(matches!(refused, Err(ApplyError::SameName { path }) if path.ends_with("boot-restored.png")));
    }
}

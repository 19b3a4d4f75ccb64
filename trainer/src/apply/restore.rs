//! Restoring the missing half of the user's own images.

use super::error::ApplyError;
use crate::output::picture::{self, LoadedImage};
use crate::settings::Settings;
use crate::system::{files, names};
use crate::tasks::Half;
use crate::train::backend::{self, ImageBackend, to_pixels, with_backend};
use crate::train::checkpoint::{self, Checkpoint};
use crate::train::plans::{NetworkPlan, PlanKind, Plans};
use engine::{Session, Statistics};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Which images to restore, and where to write them.
#[derive(Clone, Debug)]
pub struct Request {
    /// PNG or JPEG images.
    pub images: Vec<PathBuf>,
    /// The half that they lack, or that is blanked.
    pub missing: Half,
    /// Folder for `NAME-restored.png`.
    pub out: PathBuf,
    /// Whether to write the network's input, too, as `NAME-input.png`.
    pub with_input: bool,
    /// Side of the square that shows a pixel.
    pub scale: usize,
    /// Whether files may be overwritten.
    pub overwrite: bool,
}

/// Where an image's results go.
struct Targets {
    restored: PathBuf,
    input: Option<PathBuf>,
}

/// Restores images with the network of `settings` and the weights of `checkpoint`. `status` gets a line for each change
/// of an image, and for each file that is written.
///
/// Nothing is written before all images are read and no file is in the way of the results.
///
/// # Errors
/// [`ApplyError`].
pub fn restore(
    settings: &Settings,
    checkpoint: &Checkpoint,
    request: &Request,
    status: &mut (dyn FnMut(&str) + Send),
) -> Result<(), ApplyError> {
    let targets = targets(request)?;
    let size = settings.training.size;
    let mut images = Vec::with_capacity(request.images.len());
    for path in &request.images {
        let image = picture::load_gray(path, size)?;
        for change in &image.changes {
            status(&format!("{}: {change}", path.display()));
        }
        images.push(image);
    }
    let mut plans = Plans::new(&settings.network, size)?;
    let plan = plans.add(PlanKind::Inference(Statistics::Running), 1)?;
    let backend = backend::open(&settings.run, status)?;
    with_backend!(backend, |backend| {
        let mut session = plans.session(backend)?;
        checkpoint::load_weights(&mut session, checkpoint)?;
        files::create_folder(&request.out)?;
        session.enter(|session| write_all(session, &plan, request, &images, &targets, size, status))
    })
}

fn targets(request: &Request) -> Result<Vec<Targets>, ApplyError> {
    let mut taken = BTreeSet::new();
    let mut targets = Vec::with_capacity(request.images.len());
    for image in &request.images {
        let restored = target(&request.out, image, "restored");
        let input = request.with_input.then(|| target(&request.out, image, "input"));
        for path in [Some(&restored), input.as_ref()].into_iter().flatten() {
            if !taken.insert(path.clone()) {
                return Err(ApplyError::SameName { path: path.clone() });
            }
        }
        targets.push(Targets { restored, input });
    }
    files::check_outputs(taken.iter().map(PathBuf::as_path), request.overwrite)?;
    Ok(targets)
}

/// `out/NAME-what.png` of the image `.../NAME.any`.
fn target(out: &Path, image: &Path, what: &str) -> PathBuf {
    out.join(names::derived(image.file_stem().unwrap_or_default(), &format!("-{what}.png")))
}

fn write_all<B: ImageBackend>(
    session: &mut Session<B>,
    plan: &NetworkPlan,
    request: &Request,
    images: &[LoadedImage],
    targets: &[Targets],
    size: usize,
    status: &mut (dyn FnMut(&str) + Send),
) -> Result<(), ApplyError> {
    let mut output = vec![B::Element::default(); size * size];
    for (image, targets) in images.iter().zip(targets) {
        let mut pixels = image.pixels.clone();
        request.missing.blank(&mut pixels, size);
        let input: Vec<B::Element> = pixels.iter().map(|&pixel| pixel.into()).collect();
        plan.infer(session, &input, &mut output)?;
        picture::save_gray(&targets.restored, &to_pixels(&output), size, request.scale)?;
        status(&format!("{}: written", targets.restored.display()));
        if let Some(path) = &targets.input {
            picture::save_gray(path, &pixels, size, request.scale)?;
            status(&format!("{}: written", path.display()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::files::OutputError;

    fn request(images: &[&str], out: &Path, overwrite: bool) -> Request {
        Request {
            images: images.iter().map(PathBuf::from).collect(),
            missing: Half::Left,
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
        let names = targets(&request(&["a/boot.png", "bag.v2.jpeg"], out, false)).unwrap();
        assert_eq!(names[0].restored, out.join("boot-restored.png"));
        assert_eq!(names[1].input, Some(out.join("bag.v2-input.png")));
        std::fs::write(out.join("boot-input.png"), b"mine").unwrap();
        let refused = targets(&request(&["boot.png"], out, false));
        let path = match refused {
            Err(ApplyError::Output(OutputError::Exists { path })) => path,
            _ => panic!("not refused"),
        };
        assert!(path.ends_with("boot-input.png"), "{path:?}");
        assert!(targets(&request(&["boot.png"], out, true)).is_ok());
        let refused = targets(&request(&["a/boot.png", "b/boot.jpg"], out, true));
        assert!(matches!(refused, Err(ApplyError::SameName { path }) if path.ends_with("boot-restored.png")));
    }
}

//! Restoring the user's own pictures.
//!
//! A picture keeps its size and its colours: `tiles.rs` says how a large one is restored piece by piece, and `photo.rs`
//! how it is kept in memory. A network for grey pictures restores the colours of a picture one by one.

mod photo;
mod picture;
mod source;
mod tiles;

use super::error::ApplyError;
use crate::data::Fit;
use crate::measures::{psnr, ssim};
use crate::settings::Settings;
use crate::system::files;
use crate::system::progress::Counter;
use crate::tasks::Half;
use crate::train::backend::{self, ImageBackend, with_backend};
use crate::train::checkpoint::{self, Checkpoint};
use crate::train::plans::{NetworkPlan, PlanKind, Plans};
use engine::{Session, Statistics, mib};
use photo::Photo;
use picture::Picture;
use source::Source;
use std::path::PathBuf;
use tiles::{Reach, Span, spans};

/// Which pictures to restore, how, and where to write them.
#[derive(Clone, Debug)]
pub struct Request {
    /// Picture files, and folders of them.
    pub images: Vec<PathBuf>,
    /// What the pictures lack, for a network that adds what is missing. Transparent pixels are missing, too.
    pub missing: Missing,
    /// Whether pixels that are not missing stay as they are.
    pub keep_known: bool,
    /// Whether the pictures are damaged first, as validation images are.
    pub damage: bool,
    /// Whether pictures to be enlarged have been enlarged already.
    pub enlarged: bool,
    /// Whether pictures are made grey and of the network's size first, as small pictures of whole objects are.
    pub resize: bool,
    /// The true picture, or a folder with the true pictures under the same names.
    pub compare: Option<PathBuf>,
    /// MiB that the network may take.
    pub memory_limit: usize,
    /// Folder for `NAME-restored.png`.
    pub out: PathBuf,
    /// Whether to write the network's input, too, as `NAME-input.png`.
    pub with_input: bool,
    /// Side of the square that shows a pixel.
    pub scale: usize,
    /// Whether files may be overwritten.
    pub overwrite: bool,
}

/// Which pixels of a picture are missing.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Missing {
    /// Those that are transparent.
    #[default]
    Transparent,
    /// A half.
    Half(Half),
    /// Those that are not black in this picture.
    Mask(PathBuf),
}

/// Smallest and largest side of a tile's window in pixels, before the halo is added.
const TILES: [usize; 2] = [64, 2048];

/// Restores pictures with the network of `settings` and the weights of `checkpoint`. `status` gets a line for each
/// change of a picture, and for each file that is written.
///
/// Nothing is written before all pictures have been found and no file is in the way of the results.
///
/// # Errors
/// [`ApplyError`].
pub fn restore(
    settings: &Settings,
    checkpoint: &Checkpoint,
    request: &Request,
    status: &mut (dyn FnMut(&str) + Send),
) -> Result<(), ApplyError> {
    let pictures = picture::find(request)?;
    let task = &settings.training.task;
    if !task.is_mask() && request.missing != Missing::Transparent {
        return Err(ApplyError::NothingMissing { task: task.to_string() });
    }
    for picture in &pictures {
        picture.source(settings, request, 0, &mut |_| ())?;
    }
    let training = &settings.training;
    if training.fit != Some(Fit::Crop) && !request.resize {
        status(&format!(
            "the network was trained with small pictures of whole objects, {0} x {0} pixels: it restores larger pictures as \
             if they were many of these; --resize makes them so small first",
            training.size
        ));
    }
    for (number, picture) in pictures.iter().enumerate() {
        let source = picture.source(settings, request, number, status)?;
        let restored = restore_one(settings, checkpoint, request, picture, &source, status)?;
        files::create_folder(&picture.folder)?;
        if let Some(path) = &picture.input {
            source.input().save(path, request.scale)?;
            status(&format!("{}: written", path.display()));
        }
        restored.save(&picture.restored, request.scale)?;
        status(&format!("{}: written", picture.restored.display()));
        if let Some(truth) = &picture.truth {
            status(&compared(&restored, picture, &picture::truth(truth, &restored)?));
        }
    }
    Ok(())
}

/// The restored picture of a source.
fn restore_one(
    settings: &Settings,
    checkpoint: &Checkpoint,
    request: &Request,
    picture: &Picture,
    source: &Source,
    status: &mut (dyn FnMut(&str) + Send),
) -> Result<Photo, ApplyError> {
    let backend = backend::open(&settings.run, status)?;
    let mut restored = with_backend!(backend, |backend| {
        let tiled = Tiled::new(settings, request, &backend, source)?;
        let mut restored = source.black(tiled.output_channels(source));
        let mut counter =
            Counter::new(&picture.path.display().to_string(), "tiles", tiled.rows.len() * tiled.columns.len());
        tiled.run(backend, checkpoint, source, &mut |spans, output| {
            copy_core(&mut restored, spans, output);
            counter.advance();
        })?;
        counter.finish();
        Ok::<_, ApplyError>(restored)
    })?;
    if request.keep_known {
        source.keep_known(&mut restored);
    }
    Ok(restored)
}

/// The plans of a picture.
struct Tiled {
    plans: Plans,
    /// The plan for each size of a window.
    sizes: Vec<([usize; 2], NetworkPlan)>,
    rows: Vec<Span>,
    columns: Vec<Span>,
    /// Channels of an image that the network restores, and of its output.
    channels: [usize; 2],
}

impl Tiled {
    /// The largest tiles that fit into memory.
    fn new<B: ImageBackend>(
        settings: &Settings,
        request: &Request,
        backend: &B,
        source: &Source,
    ) -> Result<Tiled, ApplyError> {
        let mut side = TILES[1];
        loop {
            let tiled = Tiled::with_side(settings, source, side)?;
            let needed = |(_, plan): &([usize; 2], NetworkPlan)| tiled.plans.plan(plan).memory(backend).total();
            let needed = tiled.sizes.iter().map(needed).max().unwrap_or(0);
            if needed <= request.memory_limit << 20 {
                return Ok(tiled);
            }
            if side <= TILES[0] {
                let (needed, limit) = (mib(needed).ceil() as usize, request.memory_limit);
                return Err(ApplyError::Memory { needed, limit });
            }
            side = side * 3 / 4;
        }
    }

    fn with_side(settings: &Settings, source: &Source, side: usize) -> Result<Tiled, ApplyError> {
        let mut plans = Plans::new(settings)?;
        let reach = Reach::of(plans.network());
        let config = plans.network().config();
        let told = usize::from(settings.training.task.fills());
        let channels = [config.in_channels - told, config.out_channels];
        let most = side.saturating_add(reach.halo.saturating_mul(2)).saturating_add(reach.step);
        let [rows, columns] = source.size().map(|len| spans(len, most, reach).unwrap_or_default());
        let mut sizes: Vec<([usize; 2], NetworkPlan)> = Vec::new();
        for size in rows.iter().flat_map(|row| columns.iter().map(|column| [row.window.len(), column.window.len()])) {
            if sizes.iter().all(|(known, _)| *known != size) {
                let batch = source.channels() / channels[0];
                sizes.push((size, plans.add_sized(PlanKind::Inference(Statistics::Running), batch, size)?));
            }
        }
        Ok(Tiled { plans, sizes, rows, columns, channels })
    }

    /// Channels of the restored picture.
    fn output_channels(&self, source: &Source) -> usize {
        source.channels() / self.channels[0] * self.channels[1]
    }

    /// Restores tile by tile. `keep` gets each tile's spans and what the network made of its window.
    fn run<B: ImageBackend>(
        self,
        backend: B,
        checkpoint: &Checkpoint,
        source: &Source,
        keep: &mut (dyn FnMut([&Span; 2], &[f32]) + Send),
    ) -> Result<(), ApplyError> {
        let Tiled { plans, sizes, rows, columns, channels } = self;
        let mut session = plans.session(backend)?;
        checkpoint::load_weights(&mut session, checkpoint)?;
        let batch = source.channels() / channels[0];
        session.enter(|session: &mut Session<B>| -> Result<(), ApplyError> {
            for row in &rows {
                for column in &columns {
                    let size = [row.window.len(), column.window.len()];
                    let Some((_, plan)) = sizes.iter().find(|(known, _)| *known == size) else { continue };
                    let input = source.read_images(&row.window, &column.window, batch);
                    let input: Vec<B::Element> = input.into_iter().map(B::Element::from).collect();
                    let mut output = vec![B::Element::default(); size[0] * size[1] * batch * channels[1]];
                    plan.infer(session, &input, &mut output)?;
                    keep([row, column], &joined(&backend::to_pixels(&output), batch));
                }
            }
            Ok(())
        })
    }
}

/// The inverse of [`source::split`].
fn joined(images: &[f32], batch: usize) -> Vec<f32> {
    if batch == 1 {
        return images.to_vec();
    }
    let pixels = images.len() / batch;
    (0..pixels).flat_map(|pixel| (0..batch).map(move |image| images[image * pixels + pixel])).collect()
}

/// Copies the core of a tile's output into the picture.
fn copy_core(restored: &mut Photo, [row, column]: [&Span; 2], output: &[f32]) {
    let channels = restored.channels;
    let width = restored.size[1];
    for i in row.core.clone() {
        for j in column.core.clone() {
            let from = (i - row.window.start) * column.window.len() + j - column.window.start;
            restored.set_pixel(i * width + j, &output[from * channels..][..channels]);
        }
    }
}

/// The line about how close a restored picture is to the true one.
fn compared(restored: &Photo, picture: &Picture, truth: &Photo) -> String {
    let [a, b] = [restored, truth].map(Photo::values);
    let similarity = ssim(&a, &b, restored.size, restored.channels);
    let similarity = similarity.map_or_else(String::new, |ssim| format!(", SSIM {ssim:.4}"));
    format!("{}: PSNR {:.2} dB{similarity}", picture.restored.display(), psnr(&a, &b))
}

#[cfg(test)]
mod tests {
    use super::source::split;
    use super::*;
    use crate::networks::NETWORKS;
    use engine::Cpu;
    use image::{GrayImage, Luma};

    /// What a network makes of a source, in windows of about `side` pixels, and the number of windows.
    fn restored(settings: &Settings, checkpoint: &Checkpoint, source: &Source, side: usize) -> (Vec<f32>, usize) {
        let tiled = Tiled::with_side(settings, source, side).unwrap();
        let (windows, width) = (tiled.rows.len() * tiled.columns.len(), source.size()[1]);
        let channels = tiled.output_channels(source);
        let mut whole = vec![f32::NAN; source.size()[0] * width * channels];
        let keep = &mut |[row, column]: [&Span; 2], output: &[f32]| {
            for i in row.core.clone() {
                let from =
                    ((i - row.window.start) * column.window.len() + column.core.start - column.window.start) * channels;
                let to = (i * width + column.core.start) * channels;
                let len = column.core.len() * channels;
                whole[to..to + len].copy_from_slice(&output[from..from + len]);
            }
        };
        tiled.run(Cpu::new(1).unwrap(), checkpoint, source, keep).unwrap();
        (whole, windows)
    }

    #[test]
    fn tiles_of_the_networks_that_ship_differ_from_the_whole_by_rounding_alone() {
        for network in NETWORKS {
            let checkpoint = network.checkpoint().unwrap();
            let settings = checkpoint.run.as_ref().unwrap().settings.clone();
            let fills = settings.training.task.fills();
            let channels = settings.network.in_channels - usize::from(fills);
            let level = |x: u32, y: u32| (128.0 + 100.0 * f64::from(x * x + 3 * y * x).sin()) as u8;
            let grey = GrayImage::from_fn(299, 210, |x, y| Luma([level(x, y)]));
            let picture = if channels == 1 { grey.into() } else { image::DynamicImage::from(grey).to_rgb8().into() };
            let photo = Photo::of(picture).0;
            let missing = || (0..photo.pixels()).map(|pixel| pixel % 80 < 30 && pixel / 299 % 50 < 25).collect();
            let source = if fills { Source::filled(photo.clone(), missing()) } else { Source::of(photo, None) };
            let [whole, tiles] = [1000, 64].map(|side| restored(&settings, &checkpoint, &source, side));
            assert!(whole.1 == 1 && tiles.1 > 4, "{}: {} and {} windows", network.name, whole.1, tiles.1);
            let difference = whole.0.iter().zip(&tiles.0).map(|(a, b)| f64::from((a - b).abs()));
            let largest = difference.fold(0.0, f64::max);
            assert!(largest < 1e-5, "{}: {largest}", network.name);
            assert!(whole.0.iter().chain(&tiles.0).all(|value| value.is_finite()), "{}", network.name);
        }
    }

    #[test]
    fn channels_become_images_and_channels_again() {
        let pixels = [1.0, 10.0, 100.0, 2.0, 20.0, 200.0];
        assert_eq!(split(&pixels, 3), [1.0, 2.0, 10.0, 20.0, 100.0, 200.0]);
        assert_eq!(joined(&split(&pixels, 3), 3), pixels);
        assert_eq!(joined(&split(&pixels, 1), 1), pixels);
    }
}

//! A set of images.

use super::error::DataError;
use super::idx::Idx;
use super::image::Image;
use super::known::SIDE;
use super::picture_file::PictureFile;
use std::borrow::Cow;

/// Images that have the same number of channels, with their classes if these are known. Their bytes are in memory, or
/// in files that are decoded whenever they are needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    channels: usize,
    images: Vec<Stored>,
    pixels: Vec<u8>,
    /// The class of each image; empty if they are not known.
    labels: Vec<u8>,
    /// Names of the classes, by their numbers; none if they are not known.
    class_names: &'static [&'static str],
}

/// An image of the set.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stored {
    height: u32,
    width: u32,
    place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// The pixels are those of the set from here on.
    Memory(usize),
    /// The file is decoded again for every use.
    File(PictureFile),
}

impl Dataset {
    /// A set without images, of images with 1 or 3 channels.
    pub fn new(channels: usize) -> Dataset {
        Dataset { channels, images: Vec::new(), pixels: Vec::new(), labels: Vec::new(), class_names: &[] }
    }

    /// The images `pixels[N][height][width][channels]`.
    ///
    /// # Panics
    /// If these are not whole images.
    pub fn of_equal_size(pixels: Vec<u8>, [height, width]: [usize; 2], channels: usize) -> Dataset {
        let bytes = height * width * channels;
        assert!(bytes > 0 && pixels.len().is_multiple_of(bytes), "images of {height} x {width} x {channels}");
        let stored = |i: usize| Stored { height: height as u32, width: width as u32, place: Place::Memory(i * bytes) };
        Dataset { images: (0..pixels.len() / bytes).map(stored).collect(), pixels, ..Dataset::new(channels) }
    }

    /// The grey images of an idx file.
    ///
    /// # Panics
    /// If it does not hold images.
    pub(super) fn of_idx(images: Idx) -> Dataset {
        let Idx { dims, data } = images;
        assert_eq!(dims.len(), 3, "dimensions of images");
        Dataset::of_equal_size(data, [dims[1] as usize, dims[2] as usize], 1)
    }

    /// The grey images `pixels[N][28][28]` (0: black, 255: white) and a class for each image.
    ///
    /// # Panics
    /// If the lengths do not fit together.
    pub fn of_classes(pixels: Vec<u8>, labels: Vec<u8>) -> Dataset {
        Dataset::of_equal_size(pixels, [SIDE, SIDE], 1).with_labels(labels)
    }

    /// The same with a class for each image.
    ///
    /// # Panics
    /// If there are not as many classes as images.
    pub fn with_labels(self, labels: Vec<u8>) -> Dataset {
        assert_eq!(self.len(), labels.len(), "images and their classes");
        Dataset { labels, ..self }
    }

    /// The same with names for its classes, in the order of their numbers.
    pub fn with_class_names(self, class_names: &'static [&'static str]) -> Dataset {
        Dataset { class_names, ..self }
    }

    /// Adds an image, which stays in memory.
    ///
    /// # Panics
    /// If it has another number of channels than the set, or not as many bytes as it should.
    pub(crate) fn push(&mut self, image: &Image<'_>) {
        assert_eq!(image.channels, self.channels, "channels");
        assert_eq!(image.pixels.len(), image.area() * image.channels, "bytes of an image");
        self.push_stored(image, Place::Memory(self.pixels.len()));
        self.pixels.extend_from_slice(&image.pixels);
    }

    /// Adds an image of which only the size is kept: its file is decoded for every use.
    pub(super) fn push_file(&mut self, image: &Image<'_>, file: PictureFile) {
        self.push_stored(image, Place::File(file));
    }

    fn push_stored(&mut self, image: &Image<'_>, place: Place) {
        self.images.push(Stored { height: image.height as u32, width: image.width as u32, place });
    }

    /// The set as bytes, for another process; `None` if some images are in files. Class names are left out.
    pub(crate) fn to_bytes(&self) -> Option<Vec<u8>> {
        let mut bytes = Vec::with_capacity(24 + 8 * self.len() + self.labels.len() + self.pixels.len());
        for number in [self.channels, self.len(), self.labels.len()] {
            bytes.extend((number as u64).to_le_bytes());
        }
        for Stored { height, width, place } in &self.images {
            if matches!(place, Place::File(_)) {
                return None;
            }
            bytes.extend(height.to_le_bytes().into_iter().chain(width.to_le_bytes()));
        }
        bytes.extend(&self.labels);
        bytes.extend(&self.pixels);
        Some(bytes)
    }

    /// The set that [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Panics
    /// If it did not write that.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Dataset {
        let (header, rest) = bytes.split_at(24);
        let [channels, images, labels] = [0, 8, 16]
            .map(|at| u64::from_le_bytes(*header[at..].first_chunk().expect("a header of three numbers")) as usize);
        let (sizes, rest) = rest.split_at(8 * images);
        let (labels, pixels) = rest.split_at(labels);
        let mut start = 0;
        let stored = sizes.as_chunks::<4>().0.as_chunks::<2>().0.iter().map(|size| {
            let [height, width] = size.map(u32::from_le_bytes);
            let place = Place::Memory(start);
            start += height as usize * width as usize * channels;
            Stored { height, width, place }
        });
        let images = stored.collect();
        Dataset { channels, images, pixels: pixels.to_vec(), labels: labels.to_vec(), class_names: &[] }
    }

    /// Channels of every image.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The name of a class if it is known, or its number.
    pub fn class_name(&self, class: u8) -> String {
        self.class_names.get(usize::from(class)).map_or_else(|| class.to_string(), |name| (*name).to_owned())
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.images.len()
    }

    /// Height and width of image `i`, in pixels.
    ///
    /// # Panics
    /// If there is no such image.
    pub fn size(&self, i: usize) -> [usize; 2] {
        [self.images[i].height as usize, self.images[i].width as usize]
    }

    /// Number of images that are in files.
    pub(crate) fn in_files(&self) -> usize {
        self.images.iter().filter(|image| matches!(image.place, Place::File(_))).count()
    }

    /// Bytes of the images that are in memory.
    pub fn bytes_in_memory(&self) -> usize {
        self.pixels.len()
    }

    /// The classes of all images; empty if they are not known.
    pub fn labels(&self) -> &[u8] {
        &self.labels
    }

    /// The class of image `i`, if it is known.
    ///
    /// # Panics
    /// If classes are known, but there is no such image.
    pub fn label(&self, i: usize) -> Option<u8> {
        if self.labels.is_empty() { None } else { Some(self.labels[i]) }
    }

    /// Image `i`.
    ///
    /// # Errors
    /// [`DataError`] if it is in a file that cannot be read any more, or that has changed its size.
    ///
    /// # Panics
    /// If there is no such image.
    pub fn image(&self, i: usize) -> Result<Image<'_>, DataError> {
        let [height, width] = self.size(i);
        let channels = self.channels;
        match &self.images[i].place {
            Place::Memory(start) => {
                let pixels = Cow::Borrowed(&self.pixels[*start..][..height * width * channels]);
                Ok(Image { height, width, channels, pixels })
            }
            Place::File(file) => Ok(file.read_again([height, width], channels)?),
        }
    }

    /// Writes images of 28 x 28 pixels one after another, as numbers from 0 (black) to 1 (white), and their classes.
    ///
    /// # Panics
    /// If there is no such image, it has no class, another size or is not in memory, or there are not as many places as
    /// images.
    pub fn write_batch(&self, images: impl IntoIterator<Item = usize>, pixels: &mut [f32], classes: &mut [f32]) {
        let mut written = 0;
        for (i, image) in images.into_iter().enumerate() {
            let Place::Memory(start) = &self.images[image].place else { panic!("image {image} is in a file") };
            assert_eq!((self.size(image), self.channels), ([SIDE; 2], 1), "image {image}");
            let pixels = &mut pixels[i * SIDE * SIDE..][..SIDE * SIDE];
            pixels.iter_mut().zip(&self.pixels[*start..]).for_each(|(to, from)| *to = f32::from(*from) / 255.0);
            classes[i] = f32::from(self.labels[image]);
            written += 1;
        }
        let places = [pixels.len() / (SIDE * SIDE), classes.len()];
        assert_eq!(places, [written; 2], "places for pixels and for classes of {written} images");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dataset_gives_its_images() {
        let dataset = Dataset::of_classes((0..2 * 784).map(|i| (i / 784) as u8).collect(), vec![7, 8]);
        assert_eq!((dataset.len(), dataset.label(1), dataset.size(1)), (2, Some(8), [28, 28]));
        assert_eq!(dataset.image(1).unwrap().pixels[..], [1; 784]);
        assert_eq!(dataset.class_name(1), "1");
        let (mut pixels, mut classes) = (vec![0.0; 3 * 784], [0.0; 3]);
        dataset.write_batch([1, 0, 1], &mut pixels, &mut classes);
        assert_eq!((pixels[0], pixels[784], classes), (1.0 / 255.0, 0.0, [8.0, 7.0, 8.0]));
        let named = dataset.with_class_names(&["shoe", "bag"]);
        assert_eq!([0, 1, 2].map(|class| named.class_name(class)), ["shoe", "bag", "2"]);
    }

    #[test]
    fn images_of_a_set_may_differ_in_size() {
        let image = |height: usize, width: usize, first: u8| Image {
            height,
            width,
            channels: 3,
            pixels: (0..height * width * 3).map(|i| first + i as u8).collect(),
        };
        let mut dataset = Dataset::new(3);
        [image(2, 3, 0), image(1, 1, 100)].iter().for_each(|image| dataset.push(image));
        assert_eq!((dataset.len(), dataset.channels(), dataset.label(0)), (2, 3, None));
        assert_eq!([0, 1].map(|i| dataset.image(i).unwrap()), [image(2, 3, 0), image(1, 1, 100)]);
        assert_eq!(dataset.bytes_in_memory(), 21);
        assert_eq!(Dataset::from_bytes(&dataset.to_bytes().unwrap()), dataset);
    }
}

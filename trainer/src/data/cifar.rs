//! The binary format of CIFAR-10 and CIFAR-100: for each image its class (of CIFAR-100 first the superclass, then the
//! class), and its 32 x 32 pixels as three planes, red, green and blue.

use std::io::{self, Read};

/// Side of the images in pixels.
pub(super) const SIDE: usize = 32;

/// Bytes of the planes of an image.
const PLANES: usize = 3 * SIDE * SIDE;

/// Most images that are read of a file.
const MAX_IMAGES: usize = 1_000_000;

/// What a file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// The pixels `[N][32][32][3]`.
    pub pixels: Vec<u8>,
    /// The class of each image.
    pub classes: Vec<u8>,
}

/// Reads records of `header` bytes, of which the last is a class below `classes`, and an image.
///
/// # Errors
/// If the source cannot be read, or does not hold at least one record, whole records only, and classes as they should
/// be.
///
/// # Panics
/// If `header` is 0.
pub fn parse(source: impl Read, header: usize, classes: usize) -> io::Result<Records> {
    let record = header + PLANES;
    let mut bytes = Vec::new();
    source.take((MAX_IMAGES * record) as u64 + 1).read_to_end(&mut bytes)?;
    let wrong = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let images = bytes.len() / record;
    if !(1..=MAX_IMAGES).contains(&images) || !bytes.len().is_multiple_of(record) {
        let expected = format!("expected from 1 to {MAX_IMAGES} records of {record} bytes");
        return Err(wrong(format!("{expected}, got {} bytes", bytes.len())));
    }
    let mut records = Records { pixels: Vec::with_capacity(images * PLANES), classes: Vec::with_capacity(images) };
    for (i, record) in bytes.chunks_exact(record).enumerate() {
        let (header, planes) = record.split_at(header);
        let class = header[header.len() - 1];
        if usize::from(class) >= classes {
            return Err(wrong(format!("record {i}: expected a class below {classes}, got {class}")));
        }
        records.classes.push(class);
        let pixels = (0..SIDE * SIDE).flat_map(|pixel| [0, 1, 2].map(|plane| planes[plane * SIDE * SIDE + pixel]));
        records.pixels.extend(pixels);
    }
    Ok(records)
}

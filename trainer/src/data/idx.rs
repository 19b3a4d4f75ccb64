//! The idx format of the MNIST family of datasets, plain or compressed by gzip.
//!
//! A file is `0 0 8 rank` (8: unsigned bytes), then `rank` dimensions as big-endian 32-bit numbers, then the bytes in
//! row-major order. The caller says which dimensions it expects. A file with other dimensions is refused before
//! anything is allocated, and content that never ends takes no more memory than those dimensions need.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};

/// The first bytes of gzip data. An idx file begins with 0.
pub(super) const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// An array of bytes, as an idx file holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idx {
    /// Lengths of the dimensions, outermost first.
    pub dims: Vec<u32>,
    /// The elements, row-major.
    pub data: Vec<u8>,
}

impl Idx {
    /// The SHA-256 digest of the uncompressed file, header and all, in hexadecimal.
    ///
    /// It does not depend on the compression, which differs between the distributors of one dataset.
    pub fn sha256(&self) -> String {
        let mut hasher = Sha256::new();
        hasher.update(header(&self.dims));
        hasher.update(&self.data);
        hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// An idx file that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct IdxError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with an idx file.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The system could not open or read it.
    #[error("could not be read: {0}")]
    Read(io::Error),
    /// The compressed data is damaged.
    #[error("damaged gzip data after {at} bytes of content: {cause}")]
    Gzip {
        /// Number of bytes that came out before.
        at: u64,
        /// The decoder's error.
        cause: io::Error,
    },
    /// The first four bytes are not those of an idx file of unsigned bytes with the expected number of dimensions.
    #[error("not the expected idx file: it begins with the bytes {got:02x?}, expected {expected:02x?}")]
    Magic {
        /// The right bytes.
        expected: [u8; 4],
        /// Those that were found.
        got: [u8; 4],
    },
    /// The dimensions are not the expected ones.
    #[error("holds an array of {}, expected {}", times(got), times(expected))]
    Dimensions {
        /// The right lengths.
        expected: Vec<u32>,
        /// Those that were found.
        got: Vec<u32>,
    },
    /// There are more items than are read.
    #[error("holds {got} items, expected at most {MAX_ITEMS}")]
    TooLarge {
        /// Number of items that the header gives.
        got: u32,
    },
    /// The items have no elements, or are larger than any that are read.
    #[error("holds items of {}, expected from 1 to {MAX_SIDE} a dimension and at most {} MiB in all", times(got), MAX_BYTES >> 20)]
    Items {
        /// The lengths of the dimensions of an item that the header gives.
        got: Vec<u32>,
    },
    /// The content ends too early.
    #[error("truncated: the content ends at byte {got} of {expected}")]
    Truncated {
        /// Number of bytes that should be there, uncompressed, with the header.
        expected: u64,
        /// Number of bytes that are.
        got: u64,
    },
    /// The content does not end where it should.
    #[error("goes on after the {expected} bytes that it should have")]
    Trailing {
        /// Number of bytes that should be there, uncompressed, with the header.
        expected: u64,
    },
}

fn times(dims: &[u32]) -> String {
    dims.iter().map(u32::to_string).collect::<Vec<_>>().join(" x ")
}

fn magic(rank: u8) -> [u8; 4] {
    [0, 0, 8, rank]
}

fn header(dims: &[u32]) -> Vec<u8> {
    magic(dims.len() as u8).into_iter().chain(dims.iter().flat_map(|dim| dim.to_be_bytes())).collect()
}

/// Most items of a file whose number of items is not known: 784 MB of images of 28 x 28.
const MAX_ITEMS: u32 = 1_000_000;

/// Longest side of an item of a file whose dimensions are not known.
const MAX_SIDE: u32 = 16_384;

/// Most bytes of such a file.
const MAX_BYTES: u64 = 4 << 30;

/// The dimensions that a file should have.
#[derive(Clone, Copy, Debug)]
pub enum Expected<'a> {
    /// These.
    Exactly(&'a [u32]),
    /// This many. The outermost may be anything up to a million, the others anything reasonable.
    Rank(u8),
}

impl Expected<'_> {
    fn rank(self) -> u8 {
        match self {
            Expected::Exactly(dims) => dims.len() as u8,
            Expected::Rank(rank) => rank,
        }
    }

    /// Bytes of the elements, if they are known before the file is read.
    fn bytes(self) -> u64 {
        match self {
            Expected::Exactly(dims) => product(dims),
            Expected::Rank(_) => 0,
        }
    }

    /// Checks the dimensions of a file, which are as many as they should be.
    fn check(self, found: &[u32]) -> Result<(), Problem> {
        match self {
            Expected::Exactly(dims) if found == dims => Ok(()),
            Expected::Exactly(dims) => Err(Problem::Dimensions { expected: dims.to_vec(), got: found.to_vec() }),
            Expected::Rank(_) => {
                let items = found.first().copied().unwrap_or(1);
                let sides = found.get(1..).unwrap_or_default();
                if items > MAX_ITEMS {
                    return Err(Problem::TooLarge { got: items });
                }
                let is_right = sides.iter().all(|side| (1..=MAX_SIDE).contains(side)) && product(found) <= MAX_BYTES;
                if is_right { Ok(()) } else { Err(Problem::Items { got: sides.to_vec() }) }
            }
        }
    }
}

/// Number of elements of an array of these dimensions.
fn product(dims: &[u32]) -> u64 {
    dims.iter().fold(1u64, |len, &dim| len.saturating_mul(dim.into()))
}

/// Reads the file `path`, which should hold an array of `expected` unsigned bytes. Its first bytes show whether it is
/// compressed.
///
/// # Errors
/// [`IdxError`] if it cannot be read, is damaged, or holds anything else.
pub fn read(path: &Path, expected: Expected<'_>) -> Result<Idx, IdxError> {
    let at = |problem| IdxError { path: path.to_owned(), problem };
    let file = File::open(path).map_err(|error| at(Problem::Read(error)))?;
    parse(file, expected).map_err(at)
}

/// Reads an array of `expected` unsigned bytes from the idx format, as [`read`] does.
///
/// # Errors
/// [`Problem`] if the source cannot be read, is damaged, or holds anything else.
pub fn parse(source: impl Read, expected: Expected<'_>) -> Result<Idx, Problem> {
    let mut source = BufReader::with_capacity(1 << 16, source);
    let start = source.fill_buf().map_err(Problem::Read)?;
    if start.starts_with(&GZIP_MAGIC) {
        parse_content(MultiGzDecoder::new(source), expected)
    } else {
        parse_content(source, expected)
    }
}

fn parse_content(source: impl Read, expected: Expected<'_>) -> Result<Idx, Problem> {
    let rank = expected.rank();
    let header_len = 4 + 4 * u64::from(rank);
    let mut content = Content { source, position: 0, expected: expected.bytes().saturating_add(header_len) };

    let start = content.take(4)?;
    if start != magic(rank) {
        return Err(Problem::Magic { expected: magic(rank), got: [start[0], start[1], start[2], start[3]] });
    }
    let found = content.take(header_len - 4)?;
    let found: Vec<u32> = found.as_chunks().0.iter().map(|&bytes| u32::from_be_bytes(bytes)).collect();
    expected.check(&found)?;
    content.expected = product(&found).saturating_add(header_len);
    let data = content.take(product(&found))?;
    content.end()?;
    Ok(Idx { dims: found, data })
}

/// Most bytes that are reserved before the content is read: the largest file of the dataset needs no more.
const MAX_RESERVED: u64 = 47_040_000;

/// Uncompressed content of known length.
struct Content<R> {
    source: R,
    position: u64,
    expected: u64,
}

impl<R: Read> Content<R> {
    /// The next `len` bytes.
    fn take(&mut self, len: u64) -> Result<Vec<u8>, Problem> {
        let mut bytes = Vec::with_capacity(len.min(MAX_RESERVED) as usize);
        let result = self.source.by_ref().take(len).read_to_end(&mut bytes);
        self.position += bytes.len() as u64;
        match result {
            Ok(_) if bytes.len() as u64 == len => Ok(bytes),
            Ok(_) => Err(self.truncated()),
            Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => Err(self.truncated()),
            Err(cause) => Err(self.failed(cause)),
        }
    }

    /// Makes sure that this is the end. The gzip decoder compares the checksum only when it is asked for what follows
    /// the content.
    fn end(&mut self) -> Result<(), Problem> {
        let mut more = Vec::new();
        match self.source.by_ref().take(1).read_to_end(&mut more) {
            Ok(0) => Ok(()),
            Ok(_) => Err(Problem::Trailing { expected: self.expected }),
            Err(cause) => Err(self.failed(cause)),
        }
    }

    fn truncated(&self) -> Problem {
        Problem::Truncated { expected: self.expected, got: self.position }
    }

    fn failed(&self, cause: io::Error) -> Problem {
        match cause.kind() {
            // Kinds of error that come from the decoder, not from a file.
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => {
                Problem::Gzip { at: self.position, cause }
            }
            _ => Problem::Read(cause),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;
    use std::io::Write;

    fn plain(dims: &[u32], data: &[u8]) -> Vec<u8> {
        [header(dims), data.to_vec()].concat()
    }

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    /// Two images of 3 x 4.
    const DIMS: [u32; 3] = [2, 3, 4];

    fn small() -> Idx {
        Idx { dims: DIMS.to_vec(), data: (100..124).collect() }
    }

    fn small_file() -> Vec<u8> {
        plain(&DIMS, &small().data)
    }

    fn message(bytes: &[u8]) -> String {
        parse(bytes, Expected::Exactly(&DIMS)).unwrap_err().to_string()
    }

    #[test]
    fn plain_and_compressed_files_hold_the_same() {
        assert_eq!(parse(&small_file()[..], Expected::Exactly(&DIMS)).unwrap(), small());
        assert_eq!(parse(&gzip(&small_file())[..], Expected::Exactly(&DIMS)).unwrap(), small());
        let members = [gzip(&small_file()[..9]), gzip(&small_file()[9..])].concat();
        assert_eq!(parse(&members[..], Expected::Exactly(&DIMS)).unwrap(), small());
    }

    #[test]
    fn the_dimensions_may_be_left_open() {
        let any = Expected::Rank(3);
        assert_eq!(parse(&small_file()[..], any).unwrap(), small());
        let other = Idx { dims: vec![2, 4, 3], ..small() };
        assert_eq!(parse(&plain(&other.dims, &other.data)[..], any).unwrap(), other);
        assert_eq!(parse(&plain(&[3], b"abc")[..], Expected::Rank(1)).unwrap().data, b"abc");
        for [height, width] in [[0, 4], [3, 0], [16_385, 1]] {
            let message = parse(&plain(&[2, height, width], &[0; 24])[..], any).unwrap_err().to_string();
            let told = "expected from 1 to 16384 a dimension and at most 4096 MiB in all";
            assert_eq!(message, format!("holds items of {height} x {width}, {told}"));
        }
        let huge = parse(&plain(&[900_000, 16_384, 16_384], &[0; 24])[..], any).unwrap_err().to_string();
        assert!(huge.starts_with("holds items of 16384 x 16384, expected "), "{huge}");
        // A header may promise only so much, and what it promises is not reserved before it is there.
        let endless = parse(&plain(&[u32::MAX, 3, 4], &[0; 24])[..], any).unwrap_err().to_string();
        assert_eq!(endless, "holds 4294967295 items, expected at most 1000000");
        let large = parse(&plain(&[1_000_000, 3, 4], &[0; 24])[..], any).unwrap_err().to_string();
        assert_eq!(large, "truncated: the content ends at byte 40 of 12000016");
    }

    #[test]
    fn the_digest_is_that_of_the_uncompressed_file() {
        let digest = Idx { dims: vec![3], data: b"abc".to_vec() }.sha256();
        let whole = Sha256::digest(b"\0\0\x08\x01\0\0\0\x03abc");
        assert_eq!(digest, whole.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    }

    #[test]
    fn a_file_that_ends_anywhere_too_early_is_truncated() {
        let file = small_file();
        for end in 0..file.len() {
            assert_eq!(message(&file[..end]), format!("truncated: the content ends at byte {end} of 40"));
        }
    }

    #[test]
    fn a_compressed_file_that_ends_anywhere_too_early_is_an_error() {
        let file = gzip(&small_file());
        for end in 0..file.len() {
            let message = message(&file[..end]);
            let told =
                message.starts_with("truncated: the content ends at byte ") || message.starts_with("damaged gzip data");
            assert!(told, "{end}: {message}");
        }
        // What is compressed is truncated, too.
        assert_eq!(message(&gzip(&small_file()[..39])), "truncated: the content ends at byte 39 of 40");
    }

    #[test]
    fn a_flipped_bit_of_a_compressed_file_is_found() {
        let file = gzip(&small_file());
        let mut found = 0;
        for bit in 0..file.len() * 8 {
            let mut flipped = file.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            match parse(&flipped[..], Expected::Exactly(&DIMS)) {
                Err(_) => found += 1,
                Ok(idx) => assert_eq!(idx, small(), "bit {bit} changed the content"),
            }
        }
        // Harmless are only the time, the system and such in the gzip header, and what fills the last byte of
        // compressed data.
        let harmless = file.len() * 8 - found;
        assert!(harmless <= 7 * 8 + 7, "{harmless}");
    }

    #[test]
    fn trailing_bytes_are_an_error() {
        let expected = "goes on after the 40 bytes that it should have";
        assert_eq!(message(&[small_file(), vec![0]].concat()), expected);
        assert_eq!(message(&gzip(&[small_file(), vec![0]].concat())), expected);
        assert_eq!(message(&[gzip(&small_file()), gzip(&[0])].concat()), expected);
        let junk = message(&[gzip(&small_file()), vec![1, 2, 3]].concat());
        assert!(junk.starts_with("damaged gzip data after 40 bytes of content: "), "{junk}");
    }

    #[test]
    fn a_gzip_bomb_is_left_unread() {
        // 1 GiB of zeros after the content would be read for seconds, or held in memory.
        let bomb = [gzip(&small_file()), gzip(&vec![0; 1 << 20]).repeat(1 << 10)].concat();
        let mut source = &bomb[..];
        assert!(matches!(parse(&mut source, Expected::Exactly(&DIMS)), Err(Problem::Trailing { expected: 40 })));
        assert!(source.len() > bomb.len() / 2, "{} of {} bytes are unread", source.len(), bomb.len());
    }

    #[test]
    fn other_dimensions_are_an_error_before_anything_is_allocated() {
        for dims in [[1 << 31, 1 << 31, 1 << 31], [u32::MAX, 3, 4], [0, 3, 4], [2, 4, 3]] {
            let expected = format!("holds an array of {} x {} x {}, expected 2 x 3 x 4", dims[0], dims[1], dims[2]);
            assert_eq!(message(&plain(&dims, &small().data)), expected);
        }
        let labels = plain(&[24], &small().data);
        let expected =
            "not the expected idx file: it begins with the bytes [00, 00, 08, 01], expected [00, 00, 08, 03]";
        assert_eq!(message(&labels), expected);
        assert!(
            message(b"<!DOCTYPE html>").starts_with("not the expected idx file: it begins with the bytes [3c, 21, ")
        );
    }

    #[test]
    fn a_file_is_named_in_its_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t10k-images-idx3-ubyte.gz");
        let missing = read(&path, Expected::Exactly(&DIMS)).unwrap_err().to_string();
        assert!(missing.starts_with(&format!("{}: could not be read: ", path.display())), "{missing}");
        std::fs::write(&path, &small_file()[..20]).unwrap();
        let truncated = read(&path, Expected::Exactly(&DIMS)).unwrap_err().to_string();
        assert_eq!(truncated, format!("{}: truncated: the content ends at byte 20 of 40", path.display()));
        assert!(read(folder.path(), Expected::Exactly(&DIMS)).unwrap_err().to_string().contains("could not be read: "));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(dims in prop::collection::vec(0u32..6, 1..5), salt: u8) {
            let len = dims.iter().product::<u32>() as usize;
            let data: Vec<u8> = (0..len).map(|i| (i as u8).wrapping_mul(31).wrapping_add(salt)).collect();
            let file = plain(&dims, &data);
            for bytes in [gzip(&file), file] {
                let idx = parse(&bytes[..], Expected::Exactly(&dims)).unwrap();
                prop_assert_eq!((&idx.dims, &idx.data), (&dims, &data));
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), start in 0usize..3) {
            let starts: [&[u8]; 3] = [&[], &[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4], &[0x1f, 0x8b, 8, 0]];
            let file = [starts[start], &bytes].concat();
            let whole = start == 1 && bytes.len() == 24;
            prop_assert_eq!(parse(&file[..], Expected::Exactly(&DIMS)).is_ok(), whole);
        }
    }
}

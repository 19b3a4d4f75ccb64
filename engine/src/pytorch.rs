//! Conversion between the engine's layouts and PyTorch's, which exist only in files.
//!
//! | tensor | engine | PyTorch |
//! | --- | --- | --- |
//! | weight of a convolution | `[kh][kw][in / groups][out]` | OIHW: `[out][in / groups][kh][kw]` |
//! | weight of a transposed convolution | `[kh][kw][out / groups][in]` | IOHW: `[in][out / groups][kh][kw]` |
//! | weight of a linear layer | `[in][out]` | `[out][in]` |
//! | bias, scale, running statistics | `[channels]` | `[channels]` |
//! | image | NHWC | NCHW |
//!
//! All weights follow one rule, whatever the layer: the last two dimensions change places and go to the front. So a
//! tensor's shape says how it is permuted. PyTorch also keeps a scalar `num_batches_tracked` beside `running_mean`,
//! which nothing here needs.
//!
//! The features of a flattened image have another order, too:
//! [`flattened_linear_weight`](crate::flattened_linear_weight) is for the weight of a linear layer behind a flatten.

/// PyTorch's shape of a weight, bias or statistics of shape `dims` in the engine.
pub fn weight_shape(dims: &[usize]) -> Vec<usize> {
    match dims {
        [taps @ .., c, k] => [*k, *c].into_iter().chain(taps.iter().copied()).collect(),
        _ => dims.to_vec(),
    }
}

/// Converts a weight, bias or statistics of shape `dims` in the engine from the engine's layout to PyTorch's.
///
/// # Panics
/// If `data` does not have as many elements as the shape.
pub fn weight_to_pytorch<T: Copy>(dims: &[usize], data: &[T]) -> Vec<T> {
    reverse_axes(matrix_of_taps(dims), data)
}

/// The inverse of [`weight_to_pytorch`]. `dims` is again the shape in the engine.
///
/// # Panics
/// If `data` does not have as many elements as the shape.
pub fn weight_from_pytorch<T: Copy>(dims: &[usize], data: &[T]) -> Vec<T> {
    let [taps, c, k] = matrix_of_taps(dims);
    reverse_axes([k, c, taps], data)
}

/// Converts images of shape `[n, h, w, c]` in the engine from PyTorch's layout `[n][c][h][w]` to the engine's
/// `[n][h][w][c]`.
///
/// # Panics
/// If `data` does not have as many elements as the shape.
pub fn image_from_pytorch<T: Copy>([n, h, w, c]: [usize; 4], data: &[T]) -> Vec<T> {
    assert_eq!(data.len(), n * h * w * c, "elements of {n} images of {h}x{w} pixels and {c} channels");
    data.chunks(c * h * w).flat_map(|image| reverse_axes([c, 1, h * w], image)).collect()
}

/// A shape as `[taps, c, k]`; a vector has one tap and one `c`.
fn matrix_of_taps(dims: &[usize]) -> [usize; 3] {
    match dims {
        [taps @ .., c, k] => [taps.iter().product(), *c, *k],
        _ => [1, 1, dims.iter().product()],
    }
}

/// From `[a][b][c]` to `[c][b][a]`.
fn reverse_axes<T: Copy>([a, b, c]: [usize; 3], data: &[T]) -> Vec<T> {
    assert_eq!(data.len(), a * b * c, "elements of a tensor of {a} x {b} x {c}");
    let index = |k, j, i| (i * b + j) * c + k;
    (0..c).flat_map(|k| (0..b).flat_map(move |j| (0..a).map(move |i| data[index(k, j, i)]))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value of an element is its index in the engine's layout, digit by digit.
    #[test]
    fn weights_are_permuted_to_kcrs_and_back() {
        let (r, s, c, k) = (2, 3, 4, 5);
        let engine: Vec<usize> = indices(r, s, c, k).map(|(r, s, c, k)| 1000 * r + 100 * s + 10 * c + k).collect();
        let pytorch: Vec<usize> = indices(k, c, r, s).map(|(k, c, r, s)| 1000 * r + 100 * s + 10 * c + k).collect();
        assert_eq!(weight_shape(&[r, s, c, k]), [k, c, r, s]);
        assert_eq!(weight_to_pytorch(&[r, s, c, k], &engine), pytorch);
        assert_eq!(weight_from_pytorch(&[r, s, c, k], &pytorch), engine);
    }

    #[test]
    fn matrices_are_transposed_and_vectors_are_not() {
        assert_eq!(weight_shape(&[2, 3]), [3, 2]);
        assert_eq!(weight_to_pytorch(&[2, 3], &[1, 2, 3, 4, 5, 6]), [1, 4, 2, 5, 3, 6]);
        assert_eq!(weight_from_pytorch(&[2, 3], &[1, 4, 2, 5, 3, 6]), [1, 2, 3, 4, 5, 6]);
        assert_eq!(weight_shape(&[3]), [3]);
        assert_eq!(weight_to_pytorch(&[3], &[1, 2, 3]), [1, 2, 3]);
        assert_eq!(weight_from_pytorch(&[3], &[1, 2, 3]), [1, 2, 3]);
    }

    #[test]
    fn images_become_channels_last() {
        let (n, h, w, c) = (2, 3, 4, 5);
        let pytorch: Vec<usize> = indices(n, c, h, w).map(|(n, c, h, w)| 1000 * n + 100 * h + 10 * w + c).collect();
        let engine: Vec<usize> = indices(n, h, w, c).map(|(n, h, w, c)| 1000 * n + 100 * h + 10 * w + c).collect();
        assert_eq!(image_from_pytorch([n, h, w, c], &pytorch), engine);
    }

    fn indices(a: usize, b: usize, c: usize, d: usize) -> impl Iterator<Item = (usize, usize, usize, usize)> {
        (0..a * b * c * d).map(move |i| (i / (b * c * d), i / (c * d) % b, i / d % c, i % d))
    }
}

//! Compares many tensors at once, and makes a table of those that differ.

use std::fmt::Write;

/// Unit roundoff of f32, `2^-24`: the largest relative error of one rounded operation.
pub const F32_ROUNDOFF: f64 = f32::EPSILON as f64 / 2.0;

/// Collects how much tensors differ from what they should be. [`finish`](Self::finish) fails if one differs too much.
#[must_use]
pub struct Comparison {
    title: String,
    tensors: usize,
    failures: Vec<Failure>,
}

/// The worst element of a tensor that differs too much.
struct Failure {
    tensor: String,
    outside: usize,
    len: usize,
    index: usize,
    got: f64,
    want: f64,
    bound: f64,
}

impl Comparison {
    /// A comparison without tensors. The title says what is compared: the backend and the network.
    pub fn new(title: impl Into<String>) -> Comparison {
        Comparison { title: title.into(), tensors: 0, failures: Vec::new() }
    }

    /// Compares a tensor element by element: element `i` may differ by `bound(i)`. Tensors of different lengths, and
    /// numbers that are not finite, always fail.
    pub fn tensor(&mut self, name: &str, got: &[f64], want: &[f64], bound: impl Fn(usize) -> f64) {
        assert_eq!(got.len(), want.len(), "{}: elements of {name}", self.title);
        self.tensors += 1;
        let excess = |i: usize| {
            let error = (got[i] - want[i]).abs();
            if error <= bound(i) {
                None
            } else {
                Some((i, if error.is_nan() { f64::INFINITY } else { error / bound(i) }))
            }
        };
        let outside: Vec<(usize, f64)> = (0..got.len()).filter_map(excess).collect();
        if let Some(&(index, _)) = outside.iter().max_by(|a, b| a.1.total_cmp(&b.1)) {
            let (got, want, bound, len) = (got[index], want[index], bound(index), got.len());
            self.failures.push(Failure {
                tensor: name.to_owned(),
                outside: outside.len(),
                len,
                index,
                got,
                want,
                bound,
            });
        }
    }

    /// Compares a tensor whose elements may each differ by `relative` times its largest magnitude, plus `absolute`.
    pub fn tensor_within(&mut self, name: &str, got: &[f64], want: &[f64], relative: f64, absolute: f64) {
        let bound = relative * largest(want) + absolute;
        self.tensor(name, got, want, |_| bound);
    }

    /// Fails with a table of the tensors that differ too much, each with its worst element.
    ///
    /// # Panics
    /// If there are any, or if nothing was compared.
    pub fn finish(self) {
        assert!(self.tensors > 0, "{}: nothing was compared", self.title);
        assert!(self.failures.is_empty(), "{}", self.table());
    }

    fn table(&self) -> String {
        let mut table = format!("{}: {} of {} tensors differ\n", self.title, self.failures.len(), self.tensors);
        let width = self.failures.iter().map(|failure| failure.tensor.len()).max().unwrap_or(0);
        let header = ["outside", "index", "got", "want", "error", "relative", "bound"];
        write!(table, "{:width$}", "tensor").unwrap();
        header.iter().for_each(|column| write!(table, " {column:>14}").unwrap());
        for Failure { tensor, outside, len, index, got, want, bound } in &self.failures {
            let error = (got - want).abs();
            write!(
                table,
                "\n{tensor:width$} {:>14} {index:>14} {got:>14.6e} {want:>14.6e}",
                format!("{outside}/{len}")
            )
            .unwrap();
            write!(table, " {error:>14.2e} {:>14.2e} {bound:>14.2e}", error / want.abs()).unwrap();
        }
        table
    }
}

/// The largest magnitude; 0 if there are no values.
pub fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |largest, value| value.abs().max(largest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_close_passes() {
        let mut comparison = Comparison::new("close");
        comparison.tensor("a", &[1.0, 2.0], &[1.0, 2.1], |i| if i == 0 { 0.0 } else { 0.11 });
        comparison.tensor_within("b", &[100.0, 0.5], &[100.0, 0.0], 1e-3, 0.4);
        comparison.finish();
    }

    #[test]
    fn the_table_names_the_worst_element_of_every_tensor_that_differs() {
        let mut comparison = Comparison::new("cpu-avx2, 3 layers");
        comparison.tensor("close", &[1.0], &[1.0], |_| 0.0);
        comparison.tensor("far", &[1.0, 2.0, 3.5, 4.2], &[1.0, 2.0, 3.0, 4.0], |i| [0.0, 0.0, 0.1, 0.01][i]);
        comparison.tensor("nan", &[f64::NAN, 9.0], &[0.0, 0.0], |_| 1.0);
        let table = comparison.table();
        let words: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(words[0].join(" "), "cpu-avx2, 3 layers: 2 of 3 tensors differ");
        assert_eq!(words[1].join(" "), "tensor outside index got want error relative bound");
        assert_eq!(words[2].join(" "), "far 2/4 3 4.200000e0 4.000000e0 2.00e-1 5.00e-2 1.00e-2");
        assert_eq!(words[3][..4].join(" "), "nan 2/2 0 NaN");
        assert!(std::panic::catch_unwind(|| comparison.finish()).is_err());
    }

    #[test]
    #[should_panic(expected = "nothing was compared")]
    fn a_comparison_of_nothing_fails() {
        Comparison::new("empty").finish();
    }
}

//! [`SessionOptions`]: what a session keeps besides what its plans need.

/// What a session keeps besides what its plans need. By default nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionOptions {
    /// Sums of gradients, as large as the gradients, for [`Session::accumulate`](crate::Session::accumulate).
    pub accumulate: bool,
    /// Averages of the parameters, as large as these, for [`Step::average`](crate::Step::average).
    pub average: bool,
}

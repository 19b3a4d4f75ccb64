//! [`Mark`]: a moment in the order of the passes.

#[cfg(feature = "cuda")]
use crate::gpu::Event;
use std::time::Instant;

/// A moment in the order of a backend's passes; [`Backend::mark`](crate::Backend::mark) makes one.
#[derive(Debug)]
pub struct Mark(Moment);

#[derive(Debug)]
enum Moment {
    /// By the host's clock.
    Host(Instant),
    /// By a GPU's.
    #[cfg(feature = "cuda")]
    Gpu(Event),
}

impl Mark {
    /// This moment, for a backend whose passes have ended when they return.
    pub fn now() -> Mark {
        Mark(Moment::Host(Instant::now()))
    }

    #[cfg(feature = "cuda")]
    pub(crate) fn gpu(event: Event) -> Mark {
        Mark(Moment::Gpu(event))
    }

    /// Seconds that passed since an earlier mark of the same backend. Waits until this one is reached.
    ///
    /// # Panics
    /// If the earlier mark is of another backend.
    pub fn seconds_since(&self, earlier: &Mark) -> f64 {
        match (&self.0, &earlier.0) {
            (Moment::Host(to), Moment::Host(from)) => to.duration_since(*from).as_secs_f64(),
            #[cfg(feature = "cuda")]
            (Moment::Gpu(to), Moment::Gpu(from)) => to.seconds_since(from),
            #[cfg(feature = "cuda")]
            _ => panic!("{self:?} and {earlier:?} are of different backends"),
        }
    }
}

//! Ranks that are threads of one process.

use super::communicator::{Communicator, check_all_gather, check_all_to_all};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Ranks that are threads of one process: for tests, and to try out what several ranks compute.
#[derive(Debug)]
pub struct Threads;

impl Threads {
    /// Runs `f` for each of `ranks` ranks in a thread of its own, and returns the results in the order of the ranks.
    ///
    /// # Panics
    /// If there are no ranks, or one panics. The others then panic where they wait for it.
    pub fn run<R: Send>(ranks: usize, f: impl Fn(Arc<dyn Communicator>) -> R + Sync) -> Vec<R> {
        assert!(ranks > 0, "no ranks");
        let state = State { given: vec![None; ranks], taken: 0, is_broken: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        std::thread::scope(|scope| {
            let f = &f;
            let spawn = |rank| {
                let shared = Arc::clone(&shared);
                scope.spawn(move || {
                    let guard = BreakOnPanic(Arc::clone(&shared));
                    let result = f(Arc::new(Thread { rank, ranks, shared }));
                    drop(guard);
                    result
                })
            };
            let threads: Vec<_> = (0..ranks).map(spawn).collect();
            threads.into_iter().map(|thread| thread.join().expect("no rank panics")).collect()
        })
    }
}

/// One rank.
#[derive(Debug)]
struct Thread {
    rank: usize,
    ranks: usize,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// What each rank has given to the current exchange.
    given: Vec<Option<Vec<u8>>>,
    /// Number of ranks that have taken what they need from it.
    taken: usize,
    /// Whether a rank has panicked.
    is_broken: bool,
}

impl Shared {
    /// Waits until `ready`, or panics if a rank has panicked.
    fn wait_until(&self, ready: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while !state.is_broken && !ready(&state) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        assert!(!state.is_broken, "another rank has panicked");
        state
    }
}

struct BreakOnPanic(Arc<Shared>);

impl Drop for BreakOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.state.lock().unwrap_or_else(PoisonError::into_inner).is_broken = true;
            self.0.changed.notify_all();
        }
    }
}

impl Thread {
    /// Gives `data` to all ranks, and calls `take` with what they give.
    fn exchange(&self, data: &[u8], take: impl FnOnce(&[Option<Vec<u8>>])) {
        // The last rank to take ends an exchange. The next one must not begin before that.
        let mut state = self.shared.wait_until(|state| state.given[self.rank].is_none());
        state.given[self.rank] = Some(data.to_vec());
        drop(state);
        self.shared.changed.notify_all();
        let mut state = self.shared.wait_until(|state| state.given.iter().all(Option::is_some));
        take(&state.given);
        state.taken += 1;
        if state.taken == self.ranks {
            state.taken = 0;
            state.given.fill(None);
            self.shared.changed.notify_all();
        }
    }
}

impl Communicator for Thread {
    fn rank(&self) -> usize {
        self.rank
    }

    fn ranks(&self) -> usize {
        self.ranks
    }

    fn local_rank(&self) -> usize {
        self.rank
    }

    fn shares_process(&self) -> bool {
        true
    }

    fn all_gather(&self, from: &[u8], to: &mut [u8]) {
        check_all_gather(self.ranks, from, to);
        self.exchange(from, |given| {
            for (i, data) in given.iter().flatten().enumerate() {
                to[i * from.len()..][..from.len()].copy_from_slice(data);
            }
        });
    }

    fn all_to_all(&self, from: &[u8], to: &mut [u8]) {
        check_all_to_all(self.ranks, from, to);
        let piece = from.len() / self.ranks;
        self.exchange(from, |given| {
            for (i, data) in given.iter().flatten().enumerate() {
                to[i * piece..][..piece].copy_from_slice(&data[self.rank * piece..][..piece]);
            }
        });
    }

    fn broadcast(&self, data: &mut [u8]) {
        let given = if self.rank == 0 { data.to_vec() } else { Vec::new() };
        self.exchange(&given, |given| data.copy_from_slice(given[0].as_deref().expect("every rank has given")));
    }

    fn abort(&self, code: u8) -> ! {
        std::process::exit(code.into())
    }
}

//! The only level of parallelism: a pass is cut into tasks, whose boundaries depend only on its shape.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A persistent pool of threads that run the tasks of one pass at a time.
///
/// Any thread may run any task, so tasks must not share outputs. Sums over tasks are taken afterwards, in task order,
/// so the bits of a result do not depend on the number of threads.
#[derive(Clone)]
pub struct Pool {
    pool: Arc<rayon::ThreadPool>,
    /// Nanoseconds: see [`time_in_tasks`](Self::time_in_tasks).
    in_tasks: Arc<AtomicU64>,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("threads", &self.threads()).finish()
    }
}

/// The operating system refused to start the pool's threads.
#[derive(Debug, thiserror::Error)]
#[error("could not start {threads} threads: {source}")]
pub struct PoolError {
    /// Number of threads asked for.
    pub threads: usize,
    source: rayon::ThreadPoolBuildError,
}

impl Pool {
    /// A pool of `threads` threads; 0 means one per core.
    ///
    /// # Errors
    /// [`PoolError`] if the threads cannot be started.
    pub fn new(threads: usize) -> Result<Pool, PoolError> {
        // Given 0, rayon would heed its own environment variable.
        let threads = if threads > 0 { threads } else { std::thread::available_parallelism().map_or(1, usize::from) };
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("kernels-{i}"))
            .build()
            .map_err(|source| PoolError { threads, source })?;
        Ok(Pool { pool: Arc::new(pool), in_tasks: Arc::default() })
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// Runs `f` on a thread of the pool. Passes called inside it start without switching threads and without
    /// allocating. Wrap a training loop in it.
    pub fn enter<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        self.pool.install(f)
    }

    /// Wall time since the pool was made during which tasks ran. The rest of a computation is serial: more threads do
    /// not shorten it.
    pub fn time_in_tasks(&self) -> Duration {
        Duration::from_nanos(self.in_tasks.load(Ordering::Relaxed))
    }

    /// Adds the time of `run` to [`time_in_tasks`](Self::time_in_tasks).
    fn timed(&self, run: impl FnOnce()) {
        let start = Instant::now();
        run();
        self.in_tasks.fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
    }

    /// Runs `task(0)` to `task(tasks - 1)`, in any order, and returns when all have ended.
    pub fn for_each(&self, tasks: usize, task: impl Fn(usize) + Sync) {
        self.timed(|| match tasks {
            0 => {}
            1 => task(0),
            _ if self.threads() == 1 => (0..tasks).for_each(task),
            _ => self.pool.install(|| split(0, tasks, &task)),
        });
    }

    /// Like [`for_each`](Self::for_each), and gives each task a piece of `scratch`. There are
    /// [`threads`](Self::threads) pieces of equal length, and no two tasks use a piece at the same time. A piece holds
    /// whatever the last task left there.
    ///
    /// # Panics
    /// If `scratch.len()` is not a multiple of the number of threads.
    pub fn for_each_with_scratch<T: Send>(
        &self,
        tasks: usize,
        scratch: &mut [T],
        task: impl Fn(usize, &mut [T]) + Sync,
    ) {
        let threads = self.threads();
        assert_eq!(scratch.len() % threads, 0, "scratch of {} elements for {threads} threads", scratch.len());
        let piece = scratch.len() / threads;
        let shared = SharedSlice::new(scratch);
        self.timed(|| {
            self.pool.install(|| {
                split(0, tasks, &|i| {
                    let thread = rayon::current_thread_index().expect("tasks run on the pool");
                    // SAFETY: pieces of different threads are disjoint, and a thread runs one task at a time: tasks do
                    // not fork, so rayon cannot start another one inside it.
                    task(i, unsafe { shared.slice(thread * piece, piece) });
                });
            });
        });
    }
}

/// Halves the range down to single tasks. `join` keeps its jobs on the stack, so this does not allocate.
fn split(start: usize, end: usize, task: &(impl Fn(usize) + Sync)) {
    match end - start {
        0 => {}
        1 => task(start),
        n => {
            let middle = start + n / 2;
            rayon::join(|| split(start, middle, task), || split(middle, end, task));
        }
    }
}

/// A mutable slice whose elements are divided among tasks that write them.
#[derive(Clone, Copy)]
pub struct SharedSlice<'a, T> {
    ptr: *mut T,
    len: usize,
    lifetime: std::marker::PhantomData<&'a mut [T]>,
}

// SAFETY: parts are handed out by `slice`, whose caller promises that they are disjoint.
unsafe impl<T: Send> Send for SharedSlice<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for SharedSlice<'_, T> {}

impl<'a, T> SharedSlice<'a, T> {
    /// Shares `slice` for as long as it is borrowed.
    pub fn new(slice: &'a mut [T]) -> SharedSlice<'a, T> {
        SharedSlice { ptr: slice.as_mut_ptr(), len: slice.len(), lifetime: std::marker::PhantomData }
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first element, for tasks whose elements are not contiguous. Writes through it must stay inside the slice,
    /// and the safety rule of [`slice`](Self::slice) holds for them.
    pub fn as_mut_ptr(&self) -> *mut T {
        self.ptr
    }

    /// The `len` elements at `start`.
    ///
    /// # Safety
    /// No other live borrow may include any of these elements.
    ///
    /// # Panics
    /// If they are not inside the slice.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn slice(&self, start: usize, len: usize) -> &'a mut [T] {
        assert!(start <= self.len && len <= self.len - start, "{start}+{len} exceeds {}", self.len);
        // SAFETY: inside the slice, and disjoint from every other borrow by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.add(start), len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once() {
        for threads in [1, 2, 5] {
            let pool = Pool::new(threads).unwrap();
            assert_eq!(pool.threads(), threads);
            for tasks in [0, 1, 2, 3, 17, 100] {
                let mut runs = vec![0u32; tasks];
                let shared = SharedSlice::new(&mut runs);
                // SAFETY: every task has its own element.
                pool.for_each(tasks, |i| unsafe { shared.slice(i, 1)[0] += 1 });
                assert!(runs.iter().all(|&n| n == 1));
            }
        }
    }

    #[test]
    fn the_time_of_tasks_is_counted_and_no_other() {
        let (pool, nap) = (Pool::new(2).unwrap(), Duration::from_millis(20));
        std::thread::sleep(nap);
        assert_eq!(pool.time_in_tasks(), Duration::ZERO);
        pool.for_each(1, |_| std::thread::sleep(nap));
        pool.for_each_with_scratch(2, &mut [0; 2], |_, _| std::thread::sleep(nap));
        assert!(pool.time_in_tasks() >= 2 * nap);
    }

    #[test]
    fn scratch_is_not_shared_at_one_time() {
        let pool = Pool::new(3).unwrap();
        let mut scratch = vec![0u64; 3 * 4];
        pool.for_each_with_scratch(200, &mut scratch, |i, piece| {
            assert_eq!(piece.len(), 4);
            piece.fill(i as u64);
            std::thread::yield_now();
            assert!(piece.iter().all(|&x| x == i as u64));
        });
    }
}

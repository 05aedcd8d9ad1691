//! Locks and atomics of what many threads use at once: those of `parking_lot` and of the standard library.
//!
//! With the feature `explored`, which only tests have, they are also the places at which [Shuttle] may let another thread go
//! on. Under its scheduler the threads of a test are coroutines of one thread, and which of them runs on is drawn at each
//! look at a lock or an atomic; a lock that is taken is waited for by letting others run. What happens between two such
//! places happens at once, and memory is as if all orderings were the strongest. Outside of [`explore`] nothing changes.
//!
//! [Shuttle]: https://docs.rs/shuttle

#[cfg(not(feature = "explored"))]
pub(crate) use parking_lot::{Mutex, RwLock};
#[cfg(not(feature = "explored"))]
pub(crate) use std::sync::atomic;

#[cfg(feature = "explored")]
pub(crate) use explored::{Mutex, RwLock, atomic};

#[cfg(feature = "explored")]
mod explored {
    use parking_lot::{MutexGuard, RwLockReadGuard, RwLockWriteGuard};
    use std::cell::Cell;

    thread_local! {
        static IS_EXPLORING: Cell<bool> = const { Cell::new(false) };
    }

    /// Runs `story` so many times, each time with its threads interleaved in another way, which a seed draws. What fails
    /// says how it is run again.
    #[cfg(test)]
    pub(crate) fn explore(times: usize, story: impl Fn() + Send + Sync + 'static) {
        struct Exploring;
        impl Drop for Exploring {
            fn drop(&mut self) {
                IS_EXPLORING.set(false);
            }
        }
        IS_EXPLORING.set(true);
        let _exploring = Exploring;
        let scheduler = shuttle::scheduler::RandomScheduler::new_from_seed(1, times);
        let mut config = shuttle::Config::new();
        // Futures of whole commits lie on it.
        config.stack_size = 256 * 1024;
        shuttle::Runner::new(scheduler, config).run(story);
    }

    /// A place at which another thread may go on. Says whether there is any.
    fn point() -> bool {
        let is_exploring = IS_EXPLORING.get();
        if is_exploring {
            shuttle::thread::yield_now();
        }
        is_exploring
    }

    /// What `attempt` gives at last; `block` where no other thread can make it succeed.
    fn attempt<T>(attempt: impl Fn() -> Option<T>, block: impl Fn() -> T) -> T {
        while point() {
            if let Some(done) = attempt() {
                return done;
            }
        }
        block()
    }

    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(parking_lot::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Mutex<T> {
            Mutex(parking_lot::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            attempt(|| self.0.try_lock(), || self.0.lock())
        }

        pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            point();
            self.0.try_lock()
        }
    }

    #[derive(Debug, Default)]
    pub(crate) struct RwLock<T>(parking_lot::RwLock<T>);

    impl<T> RwLock<T> {
        pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
            attempt(|| self.0.try_read(), || self.0.read())
        }

        pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
            attempt(|| self.0.try_write(), || self.0.write())
        }
    }

    /// As `std::sync::atomic`, as far as it is used.
    pub(crate) mod atomic {
        use super::point;
        pub(crate) use std::sync::atomic::Ordering;

        macro_rules! atomic {
            ($name:ident, $value:ty, $($exchange:ident),*) => {
                #[derive(Debug, Default)]
                pub(crate) struct $name(std::sync::atomic::$name);

                impl $name {
                    pub(crate) fn load(&self, ordering: Ordering) -> $value {
                        point();
                        self.0.load(ordering)
                    }

                    pub(crate) fn store(&self, value: $value, ordering: Ordering) {
                        point();
                        self.0.store(value, ordering);
                    }

                    $(pub(crate) fn $exchange(&self, value: $value, ordering: Ordering) -> $value {
                        point();
                        self.0.$exchange(value, ordering)
                    })*
                }
            };
        }

        macro_rules! number {
            ($name:ident, $value:ty, $($exchange:ident),*) => {
                atomic!($name, $value, $($exchange),*);

                impl $name {
                    pub(crate) fn new(value: $value) -> $name {
                        $name(std::sync::atomic::$name::new(value))
                    }
                }
            };
        }

        atomic!(AtomicBool, bool, swap);
        number!(AtomicU64, u64, fetch_add, fetch_max);
        number!(AtomicUsize, usize, fetch_add, fetch_sub);
    }
}

#[cfg(all(test, feature = "explored"))]
pub(crate) use explored::explore;

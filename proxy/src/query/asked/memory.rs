//! How much is held in all: bodies of requests until there is an answer, and beginnings of answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus::IntGauge;

/// A bound on bytes. Nobody waits for room: whoever gets none says so. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Memory(Arc<Room>);

#[derive(Debug)]
struct Room {
    most: usize,
    taken: AtomicUsize,
    gauge: IntGauge,
}

/// Some of it, given back on drop.
#[derive(Debug)]
pub(crate) struct Held {
    room: Arc<Room>,
    bytes: usize,
}

impl Memory {
    /// At most so many bytes (`query_memory`); the gauge says how many are taken.
    pub(crate) fn new(most: usize, gauge: IntGauge) -> Self {
        Self(Arc::new(Room {
            most,
            taken: AtomicUsize::new(0),
            gauge,
        }))
    }

    /// So many, which may be none; nothing when there is not that much room.
    pub(crate) fn take(&self, bytes: usize) -> Option<Held> {
        self.0.take(bytes).then(|| Held {
            room: Arc::clone(&self.0),
            bytes,
        })
    }

    /// How many there are in all.
    pub(crate) fn most(&self) -> usize {
        self.0.most
    }
}

impl Held {
    /// So many more; when there is no room for them what is held stays.
    #[must_use]
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        let more = self.room.take(bytes);
        if more {
            self.bytes += bytes;
        }
        more
    }

    /// How many are held.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.room.taken.fetch_sub(self.bytes, Ordering::Relaxed);
        self.room.gauge.sub(counted(self.bytes));
    }
}

impl Room {
    fn take(&self, bytes: usize) -> bool {
        // Only the number matters, no other memory goes with it.
        let order = Ordering::Relaxed;
        let fits = |taken: usize| taken.checked_add(bytes).filter(|&sum| sum <= self.most);
        let taken = self.taken.fetch_update(order, order, fits).is_ok();
        if taken {
            self.gauge.add(counted(bytes));
        }
        taken
    }
}

fn counted(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(most: usize) -> (Memory, IntGauge) {
        let gauge = IntGauge::new("held", "Bytes.").unwrap();
        (Memory::new(most, gauge.clone()), gauge)
    }

    #[test]
    fn what_is_taken_is_counted_and_given_back() {
        let (memory, gauge) = memory(100);
        let first = memory.take(60).unwrap();
        assert!(memory.take(41).is_none());
        let mut second = memory.clone().take(0).unwrap();
        assert!(second.grow(40));
        assert!(!second.grow(1));
        assert_eq!((second.bytes(), gauge.get()), (40, 100));
        drop(first);
        assert!(second.grow(60));
        assert!(!second.grow(usize::MAX), "no sum goes round");
        drop(second);
        assert_eq!(gauge.get(), 0);
        assert_eq!(memory.take(100).unwrap().bytes(), 100);
    }

    #[test]
    fn many_at_once_never_take_more_than_there_is() {
        let (memory, gauge) = memory(1000);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for n in 0..10_000 {
                        let mut held = memory.take(n % 400);
                        if let Some(held) = &mut held {
                            let _ = held.grow(n % 7);
                        }
                        assert!(memory.0.taken.load(Ordering::Relaxed) <= 1000);
                    }
                });
            }
        });
        assert_eq!(gauge.get(), 0);
        assert_eq!(memory.0.taken.load(Ordering::Relaxed), 0);
    }
}

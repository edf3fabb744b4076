//! The handlers' side of the scheduler: places in the queue, and handing over jobs.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
    mpsc::{Receiver, Sender, channel},
};

use super::job::Job;

/// What handlers and scheduler both see.
#[derive(Debug)]
struct Shared {
    waiting: AtomicUsize,
    running: AtomicUsize,
    most_waiting: usize,
    stopping: AtomicBool,
    alive: AtomicBool,
}

/// Orders to the scheduler.
#[derive(Debug)]
pub enum Order {
    /// Make this answer.
    Make(Box<Job>),
    /// Take no more, end what runs before this moment.
    Stop(std::time::Instant),
}

/// Lets handlers hand over jobs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    shared: Arc<Shared>,
    orders: Sender<Order>,
}

/// A place in the queue, given back when it is dropped.
#[derive(Debug)]
pub struct Place(Arc<Shared>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The queue is full.
    #[error("{waiting} answers are waiting already, and the queue holds {most}")]
    Full {
        /// Answers in the queue.
        waiting: usize,
        /// Its size.
        most: usize,
    },
    /// More than the queue can ever hold.
    #[error("{count} answers are asked for at once, and the queue holds {most}")]
    TooMany {
        /// Answers asked for.
        count: usize,
        /// The queue's size.
        most: usize,
    },
    /// The server ends.
    #[error("the server is stopping")]
    Stopping,
    /// The scheduler's thread has ended.
    #[error("the scheduler has ended")]
    Gone,
}

impl Handle {
    /// A handle, and the channel of its orders for the scheduler. `most_waiting` is the size of the
    /// queue.
    #[must_use]
    pub fn new(most_waiting: usize) -> (Handle, Receiver<Order>) {
        let (orders, receiver) = channel();
        let shared = Shared {
            waiting: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            most_waiting: most_waiting.max(1),
            stopping: AtomicBool::new(false),
            alive: AtomicBool::new(true),
        };
        (Handle { shared: Arc::new(shared), orders }, receiver)
    }

    /// Places for `count` answers, all or none.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn places(&self, count: usize) -> Result<Vec<Place>, Refusal> {
        if self.is_stopping() {
            return Err(Refusal::Stopping);
        }
        if !self.is_alive() {
            return Err(Refusal::Gone);
        }
        let most = self.shared.most_waiting;
        if count > most {
            return Err(Refusal::TooMany { count, most });
        }
        let add = |waiting: usize| waiting.checked_add(count).filter(|&total| total <= most);
        match self.shared.waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, add) {
            Ok(_) => Ok((0..count).map(|_| Place(Arc::clone(&self.shared))).collect()),
            Err(waiting) => Err(Refusal::Full { waiting, most }),
        }
    }

    /// Hands a job over.
    ///
    /// # Errors
    /// [`Refusal::Gone`] if the scheduler has ended.
    pub fn make(&self, job: Job) -> Result<(), Refusal> {
        self.orders.send(Order::Make(Box::new(job))).map_err(|_| Refusal::Gone)
    }

    /// Takes no more jobs, and has what runs ended before `deadline`.
    pub fn stop(&self, deadline: std::time::Instant) {
        self.shared.stopping.store(true, Ordering::Release);
        let _ = self.orders.send(Order::Stop(deadline)); // a scheduler that has ended has stopped
    }

    /// Answers that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.waiting.load(Ordering::Acquire)
    }

    /// Answers that are being made.
    #[must_use]
    pub fn running(&self) -> usize {
        self.shared.running.load(Ordering::Acquire)
    }

    /// Size of the queue.
    #[must_use]
    pub fn most_waiting(&self) -> usize {
        self.shared.most_waiting
    }

    /// Whether the server ends.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.shared.stopping.load(Ordering::Acquire)
    }

    /// Whether the scheduler works.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.shared.alive.load(Ordering::Acquire)
    }

    /// The scheduler's side.
    pub(super) fn status(&self) -> Status {
        Status(Arc::clone(&self.shared))
    }
}

/// Where the scheduler publishes its state. It cannot hand over jobs, so that the channel closes
/// with the last [`Handle`].
#[derive(Debug, Clone)]
pub(super) struct Status(Arc<Shared>);

impl Status {
    pub(super) fn waiting(&self) -> usize {
        self.0.waiting.load(Ordering::Acquire)
    }

    pub(super) fn set_running(&self, running: usize) {
        self.0.running.store(running, Ordering::Release);
    }

    pub(super) fn set_ended(&self) {
        self.0.alive.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_given_all_or_none_and_come_back() {
        let (handle, _orders) = Handle::new(3);
        let two = handle.places(2).expect("room");
        assert_eq!(handle.places(2).err(), Some(Refusal::Full { waiting: 2, most: 3 }));
        assert_eq!(handle.waiting(), 2);
        drop(two);
        assert_eq!(handle.places(3).expect("room").len(), 3);
        assert_eq!(handle.waiting(), 0);
    }

    #[test]
    fn more_than_the_queue_can_ever_hold_is_no_matter_of_waiting() {
        let (handle, _orders) = Handle::new(3);
        for count in [4, usize::MAX] {
            assert_eq!(handle.places(count).err(), Some(Refusal::TooMany { count, most: 3 }));
        }
    }

    #[test]
    fn a_server_that_stops_has_no_places() {
        let (handle, orders) = Handle::new(3);
        handle.stop(std::time::Instant::now());
        assert_eq!(handle.places(1).err(), Some(Refusal::Stopping));
        assert!(matches!(orders.try_recv(), Ok(Order::Stop(_))));
    }
}

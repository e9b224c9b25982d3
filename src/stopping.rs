//! The end of a node: who asks for it, and who waits for it.
//!
//! SIGTERM and SHUTDOWN ask. The control thread waits for that, hands the node's shards over, and ends the process. While
//! it hands over, whoever asked may think again; once it is [certain](Stopping::make_certain) nobody can.

use tokio::sync::watch;

/// How a node is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// It hands its shards over first.
    Gracefully,
    /// It leaves them to whoever takes them over.
    Now,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    Asked(Stop),
    Certain,
}

/// Whether a node is to end.
#[derive(Debug)]
pub struct Stopping(watch::Sender<State>);

impl Default for Stopping {
    fn default() -> Self {
        Self(watch::Sender::new(State::Running))
    }
}

impl Stopping {
    /// Asks the node to end. Of several who ask, the most urgent one counts.
    pub fn ask(&self, stop: Stop) {
        self.0.send_if_modified(|state| {
            let next = match *state {
                State::Running => State::Asked(stop),
                State::Asked(before) => State::Asked(before.max(stop)),
                State::Certain => State::Certain,
            };
            std::mem::replace(state, next) != next
        });
    }

    /// Has the node go on after all. Returns `false` if nobody has asked it to end, or if it is too late.
    pub fn take_back(&self) -> bool {
        self.0.send_if_modified(|state| {
            let asked = matches!(state, State::Asked(_));
            if asked {
                *state = State::Running;
            }
            asked
        })
    }

    /// Ends the time to think again. Returns `false` if that has happened already.
    pub fn make_certain(&self) -> bool {
        self.0.send_if_modified(|state| {
            let asked = matches!(state, State::Asked(_));
            if asked {
                *state = State::Certain;
            }
            asked
        })
    }

    /// Waits until the node is asked to end, and says how.
    pub async fn asked(&self) -> Stop {
        let mut states = self.0.subscribe();
        loop {
            if let State::Asked(stop) = *states.borrow_and_update() {
                return stop;
            }
            // The sender lives as long as this borrow.
            let _ = states.changed().await;
        }
    }

    /// Waits until the node is not to end in this way any more: it goes on, or ends in another one.
    pub async fn other_than(&self, stop: Stop) {
        // The sender lives as long as this borrow.
        let _ = self.0.subscribe().wait_for(|state| *state != State::Asked(stop)).await;
    }

    /// Waits until the node goes on after all. Never returns if it ends.
    pub async fn taken_back(&self) {
        // The sender lives as long as this borrow.
        let _ = self.0.subscribe().wait_for(|state| *state == State::Running).await;
    }

    /// Whether nobody wants the node to end.
    pub fn is_running(&self) -> bool {
        *self.0.borrow() == State::Running
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn the_most_urgent_one_counts() {
        let stopping = Stopping::default();
        assert_eq!(stopping.asked().now_or_never(), None);
        stopping.ask(Stop::Gracefully);
        assert_eq!(stopping.asked().now_or_never(), Some(Stop::Gracefully));
        assert_eq!(stopping.other_than(Stop::Gracefully).now_or_never(), None);
        stopping.ask(Stop::Now);
        stopping.ask(Stop::Gracefully);
        assert_eq!(stopping.asked().now_or_never(), Some(Stop::Now));
        assert_eq!(stopping.other_than(Stop::Gracefully).now_or_never(), Some(()));
    }

    #[test]
    fn it_can_be_taken_back_until_it_is_certain() {
        let stopping = Stopping::default();
        assert!(!stopping.take_back() && !stopping.make_certain());
        stopping.ask(Stop::Gracefully);
        assert_eq!(stopping.taken_back().now_or_never(), None);
        assert!(stopping.take_back() && stopping.is_running());
        assert_eq!(stopping.taken_back().now_or_never(), Some(()));
        stopping.ask(Stop::Gracefully);
        assert!(stopping.make_certain());
        assert!(!stopping.take_back() && !stopping.is_running());
        stopping.ask(Stop::Now);
        assert_eq!(stopping.asked().now_or_never(), None);
    }
}

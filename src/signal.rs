//! Wakes one task from anywhere.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Poll},
};

use futures_util::task::AtomicWaker;

/// Something that one task waits for among other things, and that any thread may raise. Raised while the task is busy
/// it is kept, once. To wait costs no lock, unlike [`tokio::sync::Notify`]: a connection waits at each request.
#[derive(Debug, Default)]
pub struct Signal {
    raised: AtomicBool,
    task: AtomicWaker,
}

impl Signal {
    /// Wakes the task.
    pub fn raise(&self) {
        self.raised.store(true, Ordering::Release);
        self.task.wake();
    }

    /// Whether it was raised since this, or [`Signal::poll`], last said so.
    pub fn take(&self) -> bool {
        self.raised.load(Ordering::Relaxed) && self.raised.swap(false, Ordering::AcqRel)
    }

    /// Ready if it was raised; else the task is woken when it is. Only one task may ask.
    pub fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        // Registered first: what is raised after the look wakes the task.
        self.task.register(cx.waker());
        if self.take() { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[test]
    fn what_is_raised_before_and_after_it_is_waited_for_arrives_once() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let signal = Signal::default();
            signal.raise();
            signal.raise();
            poll_fn(|cx| signal.poll(cx)).await;
            poll_fn(|cx| {
                assert!(signal.poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
            // Nothing but the signal wakes this task.
            poll_fn(|cx| {
                let polled = signal.poll(cx);
                if polled.is_pending() {
                    signal.raise();
                }
                polled
            })
            .await;
        });
    }
}

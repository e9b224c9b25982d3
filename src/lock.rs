//! Locks a mutex whose poison means nothing.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks it. A panic stops the whole process, so none is ever poisoned where that matters.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

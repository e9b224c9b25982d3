//! Tasks and threads: each is started here, with a name.

use std::{future::Future, io, thread};

/// Starts a task of an event loop, on its own thread.
pub fn local(name: &'static str, task: impl Future<Output = ()> + 'static) {
    tracing::trace!(name, "task");
    tokio::task::spawn_local(task);
}

/// Starts a task of the control thread.
pub fn control(name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
    tracing::trace!(name, "task");
    tokio::spawn(task);
}

/// Starts a thread. If it ends with an error, the node cannot go on: it says so and stops.
pub fn thread(name: &str, work: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
    let label = name.to_owned();
    let guarded = move || {
        if let Err(error) = work() {
            tracing::error!(thread = label, %error, "a thread of the node failed; the node stops");
            std::process::exit(1);
        }
    };
    thread::Builder::new().name(name.to_owned()).spawn(guarded).map(drop)
}

//! The `ringfort` binary.

use std::process::ExitCode;

/// Keeps memory in bounds under churn better than the system's, and tells how much is in use.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    ringfort::cli::run()
}

//! The seams to the world: what a node takes from the machine it runs on.
//!
//! Everything that decides is fed with the time, random numbers and bytes; only the files here ask the system.

pub mod clock;
pub mod files;
pub mod process;
pub mod random;

pub use clock::{Clock, Now, SystemClock, Ticker};

//! What placement and planner promise, tried on clusters of all sizes.

mod converging;
mod model;
mod placing;

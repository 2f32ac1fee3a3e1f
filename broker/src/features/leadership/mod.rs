//! Who leads the group, and handing that over by order.
//!
//! RocketMQ 5 asks a controller for this; here every replica can answer, so its tools work with a replica's
//! address for the controller's (`mqadmin electMaster -a`). Request codes 1002 and 1005.

mod handler;
mod order;

pub use handler::{controller, elect};
pub use order::{hand_over, hand_over_to};

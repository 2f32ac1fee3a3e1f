//! A thread that does one kind of work whenever it is woken.

#[cfg(trireme_sim)]
#[path = "task.rs"]
mod kind;
#[cfg(not(trireme_sim))]
#[path = "thread.rs"]
mod kind;

pub use kind::Worker;

#[cfg(all(test, not(trireme_sim)))]
#[path = "test.rs"]
mod tests;

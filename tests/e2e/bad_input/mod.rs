//! What should not be sent, given or configured: a clear error each, nothing stored, nothing lost, nobody else disturbed.

mod full_disk;
mod ports;
mod requests;
mod stores;

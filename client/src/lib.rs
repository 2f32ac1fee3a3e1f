//! Trireme's client: producers, consumers, admin.

//! Decisions: which hosts a client is sent to, and why. No clock, no dice, no IO.

pub mod rows;

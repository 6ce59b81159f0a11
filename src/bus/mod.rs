//! The message bus of a distribution, on which its builders announce what they pushed: topics over AMQP, as
//! fedora-messaging has them. Only a program that was built with the feature `amqp` can listen to it.

mod config;
#[cfg(feature = "amqp")]
mod consumer;
mod error;
#[cfg(feature = "amqp")]
mod message;
#[cfg(not(feature = "amqp"))]
mod silent;

pub use config::{BusConfig, BusUrl};
#[cfg(feature = "amqp")]
pub use consumer::Bus;
pub use error::Error;
#[cfg(not(feature = "amqp"))]
pub use silent::Bus;

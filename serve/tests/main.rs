//! A server over a real run, queried by browsers and attackers.

// This whole program is tests, including the functions shared by several of them.
#![allow(clippy::unwrap_used)]

mod attacks;
mod client;
mod encrypted;
mod metrics;
mod served;
mod sessions;
mod steering;

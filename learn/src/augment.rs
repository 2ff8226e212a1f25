//! Seeded changes of training images.

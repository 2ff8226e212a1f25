//! The actors of the facial-expression-recognition system.

//! Temperature scaling, of one model and of an ensemble.

//! Graph files: reading, checking and resolving them.

mod settings;

pub use settings::{Settings, SettingsError};

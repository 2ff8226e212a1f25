//! Manifests: the list of labelled images that a training or an evaluation uses, as CSV (`table`). Manifests are made
//! of raw sources by a [`Recipe`] and its [`Mapping`]s, and looked at, images and all, by [`Validation`].

mod candidates;
mod mapping;
pub(crate) mod pictures;
mod recipe;
mod recipe_spec;
mod table;
mod validation;

pub use self::candidates::{Reason, Removed};
pub use self::mapping::{LabelRule, Mapping, SplitRule};
pub use self::pictures::{Looking, Watch};
pub use self::recipe::CleanReport;
pub use self::recipe_spec::{Confidence, Draw, Duplicates, FromManifest, Keep, Part, Recipe};
pub use self::table::{COLUMNS, Counts, DRAWN, Manifest, ManifestError, Row, Split};
pub use self::validation::{Problem, Validation};

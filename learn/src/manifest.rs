//! Manifests: CSV files that list the labelled images of a training or an evaluation (`table`). A [`Recipe`] and its
//! [`Mapping`]s make a manifest from raw sources; [`Validation`] checks a manifest together with its images.

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

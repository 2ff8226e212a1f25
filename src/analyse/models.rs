//! The models of `fermata analyse`: those given on the command line, or those installed.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use fermata_actors::faces::detect_faces::HAAR;

/// Path of the bundled expression model, from the installation folder.
const MODEL: &str = "models/expression";
/// Paths of detectors, of which the first existing one is used: that of `fermata models pull yunet`, then one placed
/// there by hand.
const DETECTORS: [&str; 2] = ["models/yunet/model.onnx", "models/detector"];

/// A face detector.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Detector {
    /// Its setting for `detect_faces`.
    pub(super) model: PathBuf,
    /// Whether it is the cascade because none was given and none is installed.
    pub(super) is_fallback: bool,
}

impl Detector {
    /// Returns the given detector, or the first one installed.
    ///
    /// # Errors
    /// Fails if the given one does not exist.
    pub(super) fn find(given: Option<&Path>) -> anyhow::Result<Self> {
        let Some(given) = given else {
            let mut installed = DETECTORS.iter().filter_map(|path| installed(path));
            let found = installed.next();
            return Ok(Self {
                is_fallback: found.is_none(),
                model: found.unwrap_or_else(|| HAAR.into()),
            });
        };
        if given != Path::new(HAAR) && !given.exists() {
            let known = DETECTORS[0];
            bail!(
                "--detector {}: there is no such file or folder; expected a detector such as {known}, which `fermata models pull yunet` downloads, or `{HAAR}`",
                given.display()
            );
        }
        Ok(Self {
            model: given.to_owned(),
            is_fallback: false,
        })
    }
}

/// Returns the folder of the expression model.
///
/// # Errors
/// Fails if there is none.
pub(super) fn expression(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(given) = given {
        if !given.is_dir() {
            bail!(
                "--model {}: there is no such folder; a model is a folder with card.yaml and its weights",
                given.display()
            );
        }
        return Ok(given.to_owned());
    }
    installed(MODEL).with_context(|| {
        format!(
            "there is no expression model in {MODEL}; name the folder of one with --model FOLDER"
        )
    })
}

/// Finds an installed file or folder: in the current folder, or in one above the program.
fn installed(path: &str) -> Option<PathBuf> {
    let program = std::env::current_exe().ok();
    let above = program
        .iter()
        .flat_map(|program| program.ancestors().skip(1));
    let here = std::iter::once(Path::new(""));
    here.chain(above)
        .map(|place| place.join(path))
        .find(|path| path.exists())
}

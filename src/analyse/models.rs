//! Which models `fermata analyse` runs with: those that somebody names, or those that are installed.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use fermata_actors::faces::detect_faces::HAAR;

/// Where the expression model is that the program brings along, from the folder in which it was installed.
const MODEL: &str = "models/expression";
/// Where detectors are, the first one that is there: what `fermata models pull yunet` brings, then one that somebody
/// has put there.
const DETECTORS: [&str; 2] = ["models/yunet/model.onnx", "models/detector"];

/// A face detector.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Detector {
    /// As `detect_faces` takes it.
    pub(super) model: PathBuf,
    /// Whether it is the cascade because nobody has named one and none is installed.
    pub(super) is_fallback: bool,
}

impl Detector {
    /// The one that was given, or else the first that is installed.
    ///
    /// # Errors
    /// There is none where it should be.
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
                "--detector {}: there is no such file or folder; a detector is one such as {known}, which `fermata models pull yunet` brings, or `{HAAR}`",
                given.display()
            );
        }
        Ok(Self {
            model: given.to_owned(),
            is_fallback: false,
        })
    }
}

/// The folder of the expression model.
///
/// # Errors
/// There is none.
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

/// What belongs to the program: here, or above the folder in which the program lies.
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

//! Finds ONNX Runtime's shared library and loads it once per process. Models are up to `session`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ort::environment::Environment;

use crate::messages;

/// Environment variable that names the library to load, overriding the search.
const VARIABLE: &str = "ORT_DYLIB_PATH";
const FILE: &str = "libonnxruntime.so";
/// Where `make setup` installs the library, relative to the root of the checkout.
const NATIVE: &str = ".native/onnxruntime/lib";

/// Why ONNX Runtime cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeError {
    /// Not found in any of the usual places.
    #[error(
        "ONNX Runtime is missing: no {FILE} at {}; run `make setup`, or set {VARIABLE} to the library",
        list(.looked_at)
    )]
    Missing {
        /// Paths that were searched.
        looked_at: Vec<PathBuf>,
    },
    /// Found, but not loadable: a different architecture, too old, not ONNX Runtime at all.
    #[error(
        "cannot load ONNX Runtime from {}: {reason}; run `make setup`, or set {VARIABLE} to another library",
        path.display()
    )]
    Unusable {
        /// The library.
        path: PathBuf,
        /// Error of the loader.
        reason: String,
    },
}

fn list(paths: &[PathBuf]) -> String {
    let paths: Vec<_> = paths.iter().map(|p| p.display().to_string()).collect();
    paths.join(", ")
}

/// Kept until the process exits: ONNX Runtime allows one environment, which must outlive its sessions.
static LOADED: Mutex<Option<Environment>> = Mutex::new(None);

/// Returns the process's environment, loading the library on the first call. A failure is not cached.
pub(crate) fn environment() -> Result<Environment, RuntimeError> {
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(environment) = &*loaded {
        return Ok(environment.clone());
    }
    let path = library(
        std::env::var_os(VARIABLE),
        std::env::current_exe().ok().as_deref(),
    )?;
    let environment = load(&path)?;
    *loaded = Some(environment.clone());
    Ok(environment)
}

/// Returns version and build of ONNX Runtime, loading it if necessary.
///
/// # Errors
/// Returns why it cannot be used, and what to do.
pub fn runtime_build() -> Result<String, String> {
    match environment() {
        Ok(_) => Ok(ort::info().to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn library(variable: Option<OsString>, program: Option<&Path>) -> Result<PathBuf, RuntimeError> {
    if let Some(named) = variable.filter(|value| !value.is_empty()) {
        return Ok(named.into());
    }
    let looked_at = places(program);
    let found = looked_at.iter().find(|path| path.is_file()).cloned();
    found.ok_or(RuntimeError::Missing { looked_at })
}

/// Returns the paths to search: beside the program, then where `make setup` installs it, relative to
/// `target/<profile>`, `target/<profile>/deps` (tests, benches), the checkout's root and one of its crates.
fn places(program: Option<&Path>) -> Vec<PathBuf> {
    let native = Path::new(NATIVE).join(FILE);
    let mut places = Vec::new();
    if let Some(folder) = program.and_then(Path::parent) {
        places.push(folder.join(FILE));
        let roots = folder.ancestors().skip(2).take(2);
        places.extend(roots.map(|root| root.join(&native)));
    }
    places.push(Path::new(".").join(&native));
    places.push(Path::new("..").join(&native));
    places
}

fn load(path: &Path) -> Result<Environment, RuntimeError> {
    let unusable = |reason: String| RuntimeError::Unusable {
        path: path.to_owned(),
        reason,
    };
    // The only entry point of `ort` that reports a bad library; the others panic.
    let environment = ort::init_from(path)
        .map_err(|error| unusable(error.to_string()))?
        .with_name("fermata")
        .with_telemetry(false)
        .with_logger(Arc::new(messages::log))
        .build()
        .map_err(|error| unusable(error.to_string()))?;
    environment.set_log_level(messages::level());
    tracing::debug!(path = %path.display(), build = ort::info(), "loaded ONNX Runtime");
    Ok(environment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_wins_over_every_other_place() {
        let named = library(Some("/opt/ort.so".into()), None);
        assert_eq!(named, Ok(PathBuf::from("/opt/ort.so")));
    }

    #[test]
    fn a_missing_library_is_an_error_that_lists_the_places_and_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("target/release/fermata");
        let looked_at = places(Some(&program));
        assert_eq!(looked_at[0], program.with_file_name(FILE));
        assert!(looked_at.contains(&folder.path().join(NATIVE).join(FILE)));
        let message = RuntimeError::Missing { looked_at }.to_string();
        assert!(message.contains("make setup") && message.contains("target/release"));
    }

    #[test]
    fn the_library_beside_the_program_comes_before_the_checkout() {
        let folder = tempfile::tempdir().unwrap();
        let release = folder.path().join("target/release");
        let native = folder.path().join(NATIVE);
        std::fs::create_dir_all(&release).unwrap();
        std::fs::create_dir_all(&native).unwrap();
        let program = release.join("fermata");
        std::fs::write(native.join(FILE), "").unwrap();
        assert_eq!(library(None, Some(&program)), Ok(native.join(FILE)));
        std::fs::write(release.join(FILE), "").unwrap();
        let empty = Some(OsString::new());
        assert_eq!(library(empty, Some(&program)), Ok(release.join(FILE)));
    }

    #[test]
    fn a_file_that_is_no_library_is_an_error_and_no_panic() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        std::fs::write(&path, "not a library").unwrap();
        let error = load(&path).unwrap_err();
        assert!(matches!(error, RuntimeError::Unusable { .. }), "{error}");
    }
}

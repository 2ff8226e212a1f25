//! External dependencies that are available: native libraries, data files, devices, displays. For `fermata doctor`.

use std::path::Path;

use crate::faces::detect_faces::HAAR_DEFAULT;
use crate::trust::trusted_by_system;

/// An external dependency that graphs may need.
#[derive(Clone, Debug)]
pub struct Part {
    /// Name of the dependency.
    pub name: &'static str,
    /// What it is used for.
    pub purpose: &'static str,
    /// What was found, or what is missing and how to fix it.
    pub state: Result<String, String>,
    /// Whether the demo needs it.
    pub essential: bool,
}

/// Probes every dependency. Loads ONNX Runtime.
pub fn installed() -> Vec<Part> {
    let part = |name, purpose, essential, state| Part {
        name,
        purpose,
        state,
        essential,
    };
    vec![
        part("opencv", "images, drawing", true, opencv_version()),
        part("ffmpeg", "video in and out", true, Ok(ffmpeg_version())),
        part("h264", "write_video", true, h264()),
        part("haar cascade", "detect_faces without a model", true, haar()),
        part(
            "onnx runtime",
            "models",
            false,
            fermata_onnx::runtime_build(),
        ),
        part(
            "openvino",
            "models with `device: openvino`",
            false,
            fermata_onnx::openvino(),
        ),
        part(
            "cuda",
            "models with `device: cuda`",
            false,
            fermata_onnx::cuda(),
        ),
        part("cameras", "video_source on /dev/video*", false, cameras()),
        part(
            "tls",
            "video_source on rtsps:// and https://",
            false,
            trusted(),
        ),
        part("display", "show_window", false, display()),
    ]
}

fn trusted() -> Result<String, String> {
    match trusted_by_system() {
        0 => Err(
            "the system trusts no certificates; install Debian's package ca-certificates"
                .to_owned(),
        ),
        certificates => Ok(format!(
            "rustls; the system trusts {certificates} certificates"
        )),
    }
}

fn opencv_version() -> Result<String, String> {
    opencv::core::get_version_string().map_err(|error| error.to_string())
}

fn ffmpeg_version() -> String {
    let version = ffmpeg_next::codec::version();
    format!(
        "libavcodec {}.{}.{}",
        version >> 16,
        (version >> 8) & 0xff,
        version & 0xff
    )
}

fn h264() -> Result<String, String> {
    ffmpeg_next::encoder::find_by_name("libx264")
        .map(|codec| codec.description().to_owned())
        .ok_or_else(|| "this ffmpeg has no libx264; install Debian's libavcodec".to_owned())
}

fn haar() -> Result<String, String> {
    if Path::new(HAAR_DEFAULT).is_file() {
        Ok(HAAR_DEFAULT.to_owned())
    } else {
        Err(format!(
            "no {HAAR_DEFAULT}; install Debian's package opencv-data"
        ))
    }
}

fn cameras() -> Result<String, String> {
    let entries = std::fs::read_dir("/sys/class/video4linux").map_err(|_| "none".to_owned())?;
    let mut cameras: Vec<String> = entries
        .flatten()
        .map(|entry| {
            let name = std::fs::read_to_string(entry.path().join("name")).unwrap_or_default();
            let device = entry.file_name().to_string_lossy().into_owned();
            format!("/dev/{device} ({})", name.trim())
        })
        .collect();
    cameras.sort();
    if cameras.is_empty() {
        Err("none".to_owned())
    } else {
        Ok(cameras.join(", "))
    }
}

fn display() -> Result<String, String> {
    std::env::var("DISPLAY").map_err(|_| "none: DISPLAY is not set".to_owned())
}

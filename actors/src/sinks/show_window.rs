//! Shows video in a window of an X11 display. A window closed by the user stays closed; the run continues.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use fermata_engine::{Actor, ActorError, Input, Outputs, Ports, Setup};
use fermata_vision::Frame;
use minifb::{ScaleMode, Window, WindowOptions};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::payload::VideoFrame;

/// Shows video in a window; requires an X11 display (including XWayland).
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShowWindowSettings {
    /// Title of the window. Default: the node's name.
    #[serde(default)]
    pub title: Option<String>,
}

/// See `ShowWindowSettings`.
pub struct ShowWindow {
    frames: Option<SyncSender<Frame>>,
    /// A window is bound to the thread that created it, so it gets its own.
    window: Option<JoinHandle<Result<(), ShowWindowError>>>,
}

#[derive(Debug, thiserror::Error)]
enum ShowWindowError {
    #[error("there is no display to show a window on: the environment variable DISPLAY is not set")]
    NoDisplay,
    #[error("cannot open a window: {0}")]
    Open(#[source] minifb::Error),
    #[error("cannot draw into the window: {0}")]
    Draw(#[source] minifb::Error),
}

impl Actor for ShowWindow {
    const NAME: &'static str = "show_window";
    type Settings = ShowWindowSettings;

    fn ports(_: &ShowWindowSettings) -> Ports {
        Ports::new().input::<VideoFrame>("in").per_stream()
    }

    fn check(_: &ShowWindowSettings) -> Result<(), ActorError> {
        match std::env::var_os("DISPLAY") {
            Some(display) if !display.is_empty() => Ok(()),
            _ => Err(ShowWindowError::NoDisplay.into()),
        }
    }

    fn create(settings: ShowWindowSettings, setup: &Setup) -> Result<Self, ActorError> {
        Self::check(&settings)?;
        let title = settings.title.unwrap_or_else(|| setup.node.clone());
        let (frames, shown) = sync_channel(1);
        let window = std::thread::Builder::new()
            .name(setup.node.clone())
            .spawn(move || show(&title, &shown))?;
        Ok(Self {
            frames: Some(frames),
            window: Some(window),
        })
    }

    fn process(&mut self, mut input: Input, _: &mut Outputs) -> Result<(), ActorError> {
        let frame = input.take::<VideoFrame>().frame.clone();
        if let Some(frames) = &self.frames
            && frames.send(frame).is_err()
        {
            self.frames = None;
            self.end()?;
        }
        Ok(())
    }
}

impl ShowWindow {
    /// Waits for the window's thread and returns its result.
    fn end(&mut self) -> Result<(), ActorError> {
        match self.window.take().map(JoinHandle::join) {
            Some(Ok(result)) => Ok(result?),
            Some(Err(_)) => Err("the window's thread panicked".into()),
            None => Ok(()),
        }
    }
}

impl Drop for ShowWindow {
    fn drop(&mut self) {
        self.frames = None;
        if let Err(error) = self.end() {
            tracing::warn!("{error}");
        }
    }
}

/// Shows frames until there are no more or the user closes the window.
fn show(title: &str, frames: &Receiver<Frame>) -> Result<(), ShowWindowError> {
    let mut window = None;
    let mut pixels: Vec<u32> = Vec::new();
    for frame in frames {
        let (width, height) = (frame.width(), frame.height());
        let window = match &mut window {
            Some(window) => window,
            empty => empty.insert(open(title, width, height)?),
        };
        if !window.is_open() {
            tracing::info!("the window `{title}` was closed; the run continues");
            return Ok(());
        }
        pixels.clear();
        let bgr = frame.bgr().chunks_exact(3);
        pixels.extend(bgr.map(|bgr| u32::from_le_bytes([bgr[0], bgr[1], bgr[2], 0])));
        window
            .update_with_buffer(&pixels, width, height)
            .map_err(ShowWindowError::Draw)?;
    }
    Ok(())
}

fn open(title: &str, width: usize, height: usize) -> Result<Window, ShowWindowError> {
    let options = WindowOptions {
        resize: true,
        scale_mode: ScaleMode::AspectRatioStretch,
        ..WindowOptions::default()
    };
    Window::new(title, width, height, options).map_err(ShowWindowError::Open)
}

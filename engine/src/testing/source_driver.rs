//! Drives a source outside a graph.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;

use crate::error::ActorError;
use crate::input::Input;
use crate::packet::{Capture, Stream};
use crate::setup::Setup;
use crate::source::{Captured, Next, Source};
use crate::testing::given::{join, settings, setup, stream};

/// Clock time that a source may make its reader wait for one packet.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// Drives a source outside a graph. It is an iterator over the source's packets, numbered as by the engine, in the form
/// that a join of all its outputs would receive. A source with one output can feed an
/// [`ActorDriver`](super::ActorDriver) directly.
///
/// The iterator ends with the source's end, or after its error. If the source returns [`Next::Wait`], the setup's clock
/// is advanced by that time; only with a real clock does the driver actually wait. To see what the source itself
/// returns, use [`SourceDriver::source`].
///
/// ```
/// use fermata_engine::builtin::{Blob, TestSource};
/// use fermata_engine::testing::SourceDriver;
/// use serde_json::json;
///
/// let source = SourceDriver::<TestSource>::new(json!({"rate": 10, "bytes": 5})).unwrap();
/// for (number, packet) in source.take(3).enumerate() {
///     let mut packet = packet.unwrap();
///     assert_eq!(packet.envelope.pts_ns, 100_000_000 * number as i64);
///     assert_eq!(packet.take::<Blob>().bytes.len(), 5);
/// }
/// ```
pub struct SourceDriver<S> {
    /// The source, so that it can be inspected or called.
    pub source: S,
    setup: Setup,
    stream: Arc<Stream>,
    outputs: usize,
    segment: u32,
    next_sequence: u64,
    is_over: bool,
}

impl<S: Source> SourceDriver<S> {
    /// Creates the source with the default [`setup`], from settings that are parsed like those of a graph file.
    ///
    /// # Errors
    /// What is wrong with the settings; otherwise see [`SourceDriver::create`].
    pub fn new(json: Value) -> Result<Self, ActorError> {
        Self::create(settings(&json)?, setup())
    }

    /// Checks the settings and creates the source.
    ///
    /// # Errors
    /// What [`Source::check`] found, or why the source could not be created.
    pub fn create(settings: S::Settings, setup: Setup) -> Result<Self, ActorError> {
        S::check(&settings)?;
        let outputs = S::ports(&settings).outputs.len();
        let stream = match &setup.stream {
            Some(stream) => Arc::clone(stream),
            None => stream(0, "test"),
        };
        Ok(Self {
            source: S::create(settings, &setup)?,
            setup,
            stream,
            outputs,
            segment: 0,
            next_sequence: 0,
            is_over: false,
        })
    }

    /// Returns the setup that the source was created with; its clock can be advanced.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Asks the source to end early, as removing its stream or draining the run would.
    pub fn cancel(&self) {
        self.setup.cancel_flag().store(true, Ordering::Relaxed);
    }

    /// Reads the next packet; `None` at the end.
    fn read(&mut self) -> Result<Option<Input>, ActorError> {
        let mut waited = Duration::ZERO;
        while waited < LONGEST_WAIT {
            match self.source.next()? {
                Next::Packet(captured) => return self.number(captured).map(Some),
                Next::Mark(next) => self.next_sequence = self.next_sequence.max(next),
                Next::End | Next::EndedAs(_) => return Ok(None),
                Next::Wait(time) => {
                    // A source that always returns a zero wait would be polled for ever.
                    let time = time.max(Duration::from_millis(1));
                    self.setup.clock.pass(time);
                    waited += time;
                }
            }
        }
        Err(format!("the source had no packet for {waited:?} of its clock").into())
    }

    fn number(&mut self, captured: Captured) -> Result<Input, ActorError> {
        if captured.new_segment {
            self.segment += 1;
        }
        let mut sequence = self.next_sequence;
        if let Some((given, segment)) = captured.number {
            if given < sequence {
                return Err(format!(
                    "the source numbered a packet {given}, but its number must be at least {sequence}"
                )
                .into());
            }
            (sequence, self.segment) = (given, segment);
        }
        self.next_sequence = sequence + 1;
        let others = captured.others.iter().map(|(output, _)| *output);
        if let Some(output) = others.max().filter(|&output| output >= self.outputs) {
            let declared = self.outputs;
            return Err(format!(
                "the source emitted on output {output}, but declares {declared} output(s)"
            )
            .into());
        }
        let capture = Capture {
            stream: Arc::clone(&self.stream),
            segment: self.segment,
            sequence,
            pts_ns: captured.pts_ns,
            captured_ns: self.setup.clock.now_ns().saturating_sub(captured.ago_ns),
        };
        let payloads = (0..self.outputs).map(|output| captured.payload(output).cloned());
        Ok(join(capture, payloads))
    }
}

impl<S: Source> Iterator for SourceDriver<S> {
    type Item = Result<Input, ActorError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let read = self.read().transpose();
        self.is_over = !matches!(read, Some(Ok(_)));
        read
    }
}

impl<S: Source> fmt::Debug for SourceDriver<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceDriver")
            .field("source", &S::NAME)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;
    use serde::Deserialize;
    use serde_json::json;

    use super::*;
    use crate::packet::Payload;
    use crate::ports::Ports;

    struct Number(u64);
    impl Payload for Number {}

    #[derive(Deserialize, JsonSchema)]
    struct CameraSettings {
        #[serde(default)]
        never_comes: bool,
        #[serde(default)]
        breaks: bool,
    }

    /// A camera that delivers a packet every second of the clock, each in a new segment.
    struct Camera {
        settings: CameraSettings,
        setup: Setup,
        asked: u64,
    }

    impl Source for Camera {
        const NAME: &'static str = "camera";
        type Settings = CameraSettings;

        fn ports(_: &CameraSettings) -> Ports {
            Ports::new()
                .output::<Number>("out")
                .output::<Number>("more")
        }

        fn create(settings: CameraSettings, setup: &Setup) -> Result<Self, ActorError> {
            Ok(Self {
                settings,
                setup: setup.clone(),
                asked: 0,
            })
        }

        fn next(&mut self) -> Result<Next, ActorError> {
            self.asked += 1;
            if self.setup.cancelled() {
                return Ok(Next::End);
            }
            if self.settings.never_comes {
                return Ok(Next::Wait(Duration::ZERO));
            }
            if self.asked.is_multiple_of(2) {
                return Ok(Next::Wait(Duration::from_secs(1)));
            }
            if self.asked > 4 && self.settings.breaks {
                return Err("broken".into());
            }
            let captured = Captured::nothing(0).on(1, Arc::new(Number(self.asked)));
            Ok(Next::Packet(captured.in_new_segment()))
        }
    }

    #[test]
    fn packets_are_numbered_and_waits_pass_at_once() {
        let mut source = SourceDriver::<Camera>::new(json!({})).unwrap();
        for number in 0..3 {
            let mut packet = source.next().unwrap().unwrap();
            assert_eq!(packet.envelope.sequence, number);
            assert_eq!(packet.envelope.segment, number as u32 + 1);
            assert_eq!(packet.envelope.captured_ns, number * 1_000_000_000);
            assert!(packet.take_any(0).is_none());
            assert_eq!(packet.take_port::<Number>(1).unwrap().0, 2 * number + 1);
        }
        source.cancel();
        assert!(source.next().is_none());
    }

    #[test]
    fn an_error_is_the_last_that_comes() {
        let source = SourceDriver::<Camera>::new(json!({"breaks": true})).unwrap();
        let read: Vec<_> = source.collect();
        assert_eq!(read.len(), 3);
        assert!(read[1].is_ok() && read[2].is_err());
    }

    #[test]
    fn a_source_that_never_has_anything_is_given_up() {
        let mut source = SourceDriver::<Camera>::new(json!({"never_comes": true})).unwrap();
        let error = source.next().unwrap().err().unwrap().to_string();
        assert!(error.contains("had no packet"), "{error}");
    }
}

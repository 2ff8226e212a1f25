//! A source learns how far its stream has been settled, and flushed, at all sinks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fermata_engine::{
    Actor, ActorError, Captured, End, Input, Next, Outputs, Payload, Ports, Registry, RunOptions,
    Services, Settled, Setup, Source, Stream,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::support::{assert_balanced, start_with, wait_for};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

struct Number;

impl Payload for Number {}

/// Emits three packets, waiting after each until it has been settled at all sinks.
struct Acknowledging {
    settled: Settled,
    given: u64,
    seen: Arc<AtomicU64>,
}

impl Source for Acknowledging {
    const NAME: &'static str = "acknowledging";
    type Settings = Nothing;

    fn ports(_: &Nothing) -> Ports {
        Ports::new().output::<Number>("out").needs::<AtomicU64>()
    }

    fn create(_: Nothing, setup: &Setup) -> Result<Self, ActorError> {
        Ok(Self {
            settled: setup.settled(),
            given: 0,
            seen: setup.service().ok_or("no counter")?,
        })
    }

    fn next(&mut self) -> Result<Next, ActorError> {
        let position = self.settled.position();
        self.seen.store(position, Ordering::Relaxed);
        if position < self.given {
            return Ok(Next::Wait(Duration::from_millis(1)));
        }
        if self.given == 3 {
            return Ok(Next::End);
        }
        self.given += 1;
        Ok(Next::Packet(Captured::new(Arc::new(Number), 0)))
    }
}

/// Flushes its packets only at the third one.
struct Buffering(u64);

impl Actor for Buffering {
    const NAME: &'static str = "buffering";
    type Settings = Nothing;

    fn ports(_: &Nothing) -> Ports {
        Ports::new()
            .input::<Number>("in")
            .confirms_flushes()
            .irreplaceable()
    }

    fn create(_: Nothing, _: &Setup) -> Result<Self, ActorError> {
        Ok(Self(0))
    }

    fn process(&mut self, input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        self.0 += 1;
        if self.0 == 3 {
            out.confirm_flushed(&input.envelope.stream, 3);
        }
        Ok(())
    }

    fn stream_ended(&mut self, _: &Arc<Stream>, _: End) -> Result<(), ActorError> {
        Ok(())
    }
}

/// Returns how many packets were captured, and how far the source saw them settled.
fn acknowledged(text: &str, drained_after: Option<u64>) -> (u64, u64) {
    let seen = Arc::new(AtomicU64::new(0));
    let mut registry = Registry::builtin();
    registry.register_source::<Acknowledging>();
    registry.register::<Buffering>();
    let options = RunOptions {
        services: Services::new().with(Arc::clone(&seen)),
        ..RunOptions::default()
    };
    let running = start_with(text, registry, options);
    let handle = running.handle();
    if let Some(delivered) = drained_after {
        wait_for(&handle, |snapshot| {
            let mut streams = snapshot.streams.iter();
            streams.any(|stream| stream.delivered >= delivered)
        });
        // Enough time for a source that took the packet as settled to continue.
        std::thread::sleep(Duration::from_millis(100));
        handle.drain();
    }
    let report = running.wait();
    assert_balanced(&report);
    let captured = report.streams["source"].captured;
    (captured, seen.load(Ordering::Relaxed))
}

#[test]
fn a_source_learns_how_far_its_stream_is_settled_at_all_sinks() {
    // One branch filters everything: packets that it leaves out are settled there nevertheless.
    let (captured, seen) = acknowledged(
        "\
fermata: 1
nodes:
  source: {use: acknowledging}
  pool:   {use: identity, in: source, replicas: 2}
  end:    {use: discard, in: pool}
  bad:    {use: inject_faults, in: source, fail_every: 1}
  other:  {use: discard, in: bad}
",
        None,
    );
    assert_eq!((captured, seen), (3, 3));
}

#[test]
fn what_a_sink_has_not_flushed_is_not_settled() {
    let (captured, seen) = acknowledged(
        "\
fermata: 1
nodes:
  source: {use: acknowledging}
  end:    {use: buffering, in: source}
",
        Some(1),
    );
    assert_eq!(
        (captured, seen),
        (1, 0),
        "nothing was flushed before the drain"
    );
}

/// Emits two packets, and shares how far they are settled.
struct Lending(u64);

impl Source for Lending {
    const NAME: &'static str = "lending";
    type Settings = Nothing;

    fn ports(_: &Nothing) -> Ports {
        Ports::new()
            .output::<Number>("out")
            .needs::<OnceLock<Settled>>()
    }

    fn create(_: Nothing, setup: &Setup) -> Result<Self, ActorError> {
        let lent: Arc<OnceLock<Settled>> = setup.service().ok_or("nobody to lend to")?;
        lent.set(setup.settled()).map_err(|_| "lent already")?;
        Ok(Self(0))
    }

    fn next(&mut self) -> Result<Next, ActorError> {
        self.0 += 1;
        Ok(match self.0 {
            1 | 2 => Next::Packet(Captured::new(Arc::new(Number), 0)),
            _ => Next::End,
        })
    }
}

/// Keeps everything until the end of the stream, when the disk may be full.
struct AtTheEnd(bool);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AtTheEndSettings {
    full: bool,
}

impl Actor for AtTheEnd {
    const NAME: &'static str = "at_the_end";
    type Settings = AtTheEndSettings;

    fn ports(_: &AtTheEndSettings) -> Ports {
        Ports::new()
            .input::<Number>("in")
            .confirms_flushes()
            .irreplaceable()
    }

    fn create(settings: AtTheEndSettings, _: &Setup) -> Result<Self, ActorError> {
        Ok(Self(settings.full))
    }

    fn process(&mut self, _: Input, _: &mut Outputs) -> Result<(), ActorError> {
        Ok(())
    }

    fn stream_ended(&mut self, _: &Arc<Stream>, _: End) -> Result<(), ActorError> {
        if self.0 {
            Err("the disk is full".into())
        } else {
            Ok(())
        }
    }
}

#[test]
fn what_could_not_be_flushed_at_the_end_is_never_settled() {
    for (full, position) in [(false, u64::MAX), (true, 0)] {
        let lent: Arc<OnceLock<Settled>> = Arc::default();
        let mut registry = Registry::builtin();
        registry.register_source::<Lending>();
        registry.register::<AtTheEnd>();
        let options = RunOptions {
            services: Services::new().with(Arc::clone(&lent)),
            ..RunOptions::default()
        };
        let text = format!(
            "\
fermata: 1
nodes:
  source: {{use: lending}}
  end:    {{use: at_the_end, in: source, full: {full}}}
"
        );
        let report = start_with(&text, registry, options).wait();
        assert_balanced(&report);
        assert_eq!(report.faults.len(), usize::from(full));
        assert_eq!(lent.get().unwrap().position(), position, "full: {full}");
    }
}

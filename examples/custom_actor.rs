//! An actor of your own in a program of your own: one trait, one registration, one graph.
//!
//! `cargo run --example custom_actor`

use std::sync::Arc;

use fermata_actors::payload::VideoFrame;
use fermata_engine::{
    Actor, ActorError, Graph, Input, LoadOptions, Outputs, Ports, Registry, RunOptions,
    RunningGraph, Setup,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// Passes on only frames that are bright enough to show anything.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SkipDarkSettings {
    /// Mean pixel value, 0 to 255, below which a frame is skipped. Default: 30.
    #[serde(default = "default_least")]
    least: f64,
}

fn default_least() -> f64 {
    30.0
}

/// See `SkipDarkSettings`.
struct SkipDark {
    least: f64,
}

impl Actor for SkipDark {
    const NAME: &'static str = "skip_dark";
    type Settings = SkipDarkSettings;

    fn ports(_: &SkipDarkSettings) -> Ports {
        // The actor keeps no state between packets, so a graph may give it replicas.
        Ports::new()
            .input::<VideoFrame>("in")
            .output::<VideoFrame>("out")
            .stateless()
    }

    fn create(settings: SkipDarkSettings, _: &Setup) -> Result<Self, ActorError> {
        Ok(Self {
            least: settings.least,
        })
    }

    fn process(&mut self, mut input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        let video = input.take::<VideoFrame>();
        let pixels = video.frame.bgr();
        let sum: u64 = pixels.iter().map(|&value| u64::from(value)).sum();
        // Emitting nothing ends the packet here; the engine informs all downstream nodes.
        if sum as f64 >= self.least * pixels.len() as f64 {
            out.emit::<VideoFrame>(input.envelope, video);
        }
        Ok(())
    }
}

const GRAPH: &str = "
fermata: 1
streams: {studio: 1}
nodes:
  capture: {use: synthetic_faces, each: stream, seed: \"${stream.uri}\", count: 50}
  bright:  {use: skip_dark, in: capture, least: 20, replicas: 2}
  end:     {use: discard, in: bright}
run: {clock: asap}
";

/// Runs the graph and prints how many frames passed.
pub(crate) fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut registry = Registry::builtin();
    fermata_actors::register(&mut registry);
    registry.register::<SkipDark>();
    let graph = Graph::parse(
        "custom_actor",
        GRAPH,
        &registry,
        &LoadOptions::new(std::env::temp_dir()),
    )?;
    let report = RunningGraph::start(graph, Arc::new(registry), RunOptions::default())?.wait();
    let studio = &report.streams["studio"];
    println!(
        "{} of {} frames were bright enough",
        studio.delivered, studio.captured
    );
    Ok(())
}

//! The laws where threads run the graph: a simulation cannot show what happens between the instructions of a step.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use fermata_engine::sim::{At, SimCommand, SimRun};
use fermata_engine::{Report, RunHandle, RunOptions, RunningGraph, StartError};
use proptest::prelude::*;

use super::broken::{Laws, Ran};
use super::case::Case;
use super::draw::case;
use super::random::{cases, keep, load};
use super::{doors, keep as lives};
use crate::support::PATIENCE;

/// Real time for each step or millisecond of the simulation at which a command is given.
const UNIT: Duration = Duration::from_micros(10);
/// Commands later than this in the simulation only end runs that would not end by themselves.
const LAST: Duration = Duration::from_secs(50);

#[test]
fn random_graphs_keep_the_laws_on_threads() {
    let ran = AtomicU32::new(0);
    keep(case().prop_map(Case::pressed), |case, yaml| {
        let run = match run(case, yaml) {
            Ok(Some(run)) => run,
            Ok(None) => return Vec::new(),
            Err(law) => return vec![law],
        };
        ran.fetch_add(1, Ordering::Relaxed);
        let mut laws = Laws::of(case, &run);
        laws.ends();
        laws.books();
        laws.bounds();
        laws.amounts();
        laws.captures();
        laws.innocence();
        laws.additions();
        laws.lives();
        laws.broken
    });
    let (ran, drawn) = (ran.into_inner(), cases());
    println!("{ran} of {drawn} graphs ran on threads; the others were refused, or would not end");
    assert!(ran > drawn / 2, "{ran} of {drawn}");
}

/// Runs a case on threads, unless it would not end; of the deliveries, only the counts are known then.
fn run(case: &Case, yaml: &str) -> Result<Option<Ran>, String> {
    if case.stalls() || case.may_get_no_answers() {
        return Ok(None);
    }
    let Some(loaded) = load(case, yaml)? else {
        return Ok(None);
    };
    let options = RunOptions {
        hold_open: case.adds_streams(),
        ..RunOptions::default()
    };
    let running = RunningGraph::start(loaded.graph, loaded.registry, options);
    let running = running.expect("a graph that starts");
    let answers = command(case, running.handle());
    let (report, ended) = match running.wait_for(PATIENCE) {
        Ok(report) => (report, true),
        Err(running) => {
            let report = running.handle().report();
            // Stops it, if it can be stopped.
            std::thread::spawn(move || drop(running));
            (report, false)
        }
    };
    let added = answers.recv_timeout(PATIENCE);
    let added = added.map_err(|_| "a stream was asked for, and never answered".to_owned());
    let lives = lives::close(loaded.record);
    doors::forget(loaded.record);
    Ok(Some(Ran {
        run: of_threads(report, ended, added?),
        capacities: loaded.capacities,
        lives,
    }))
}

/// Sends the commands of a case from a thread of its own. Returns where the answers to added streams arrive.
fn command(case: &Case, run: RunHandle) -> mpsc::Receiver<Vec<Result<String, StartError>>> {
    let mut commands: Vec<(Duration, SimCommand)> = Vec::new();
    for (at, command) in case.sim().commands {
        let units = match at {
            At::Step(step) => step as u32,
            At::Time(time) if time <= LAST => time.as_millis() as u32,
            At::Time(_) => continue,
        };
        commands.push((UNIT * units, command));
    }
    commands.sort_by_key(|(at, _)| *at);
    let (sender, answers) = mpsc::channel();
    std::thread::spawn(move || {
        let began = Instant::now();
        let mut added = Vec::new();
        for (at, command) in commands {
            std::thread::sleep(at.saturating_sub(began.elapsed()));
            match command {
                SimCommand::AddStream { name, uri } => added.push(run.add_stream(&name, &uri)),
                SimCommand::RemoveStream { name } => drop(run.remove_stream(&name)),
                SimCommand::StreamsComplete => run.streams_complete(),
                SimCommand::Drain => run.drain(),
                SimCommand::Stop => run.stop(),
            }
        }
        let _ = sender.send(added);
    });
    answers
}

fn of_threads(report: Report, ended: bool, added: Vec<Result<String, StartError>>) -> SimRun {
    SimRun {
        report,
        deliveries: Vec::new(),
        steps: 0,
        time: Duration::ZERO,
        ended,
        unfinished: Vec::new(),
        spins: 0,
        added,
        settled: BTreeMap::new(),
    }
}

//! `fermata sweep`: runs a graph many times and measures each run, over a grid of values or with a growing number of
//! streams.
//!
//! `vary` reads the grid, `sustained` searches, `sub_run` runs and measures once, `page` presents.

mod page;
mod sub_run;
mod sustained;
mod vary;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use fermata_engine::{ClockMode, Graph, Registry};
use serde::Serialize;

use crate::cli::{FAILED, GraphArguments, INTERRUPTED, REFUSED, SUCCESS, SweepArguments};
use crate::documents::{make_folder, write_json};
use crate::interrupts::Interrupts;
use crate::kpi::Measures;
use crate::load;
use crate::print::{complain, print_line};
use crate::program::{LIVE, Program};
use crate::run_folder::RunFolder;
use page::{Point, Sweep};
use sub_run::EndedEarly;

/// Only live graphs are swept: there is no program to hand over to.
const PROGRAM: Program = Program {
    may_hand_over: false,
    ..LIVE
};

/// Runs a sweep.
///
/// # Errors
/// Fails if the arguments are wrong or a run fails.
pub(crate) fn sweep(arguments: &SweepArguments) -> anyhow::Result<u8> {
    let registry = (PROGRAM.registry)();
    let out = arguments.out.clone();
    let out = out.unwrap_or_else(|| RunFolder::fresh("sweep"));
    let swept = if arguments.streams {
        streams(arguments, &registry, &out)
    } else {
        values(arguments, &registry, &out)
    };
    match swept {
        Err(error) if error.is::<EndedEarly>() => {
            complain(&error.to_string());
            Ok(INTERRUPTED)
        }
        swept => swept,
    }
}

/// Returns the graph with the changes that apply to every run.
fn graph_arguments(arguments: &SweepArguments) -> GraphArguments {
    GraphArguments {
        graph: arguments.graph.clone(),
        streams: arguments.add.clone(),
        params: arguments.params.clone(),
        set: arguments.set.clone(),
        machine: None,
    }
}

/// Runs a sweep over `--vary`.
fn values(arguments: &SweepArguments, registry: &Registry, out: &Path) -> anyhow::Result<u8> {
    let mut varied = vary::varied(&arguments.vary)?;
    let grid = vary::grid(&varied);
    // The varied values in displayable form: a value may be an address or a password.
    let mut shown = BTreeMap::new();
    let width = grid.len().to_string().len().max(2);
    let mut runs = Vec::new();
    for (index, combination) in grid.iter().enumerate() {
        let folder = out.join(format!("{:0width$}", index + 1));
        let mut graph = graph_arguments(arguments);
        let set = combination.iter();
        graph
            .set
            .extend(set.map(|(path, value)| format!("{path}={value}")));
        // Check all combinations before the first run, so that an error in the last value is not found an hour later.
        let Some(checked) = load::checked(&graph, &PROGRAM, registry, &folder) else {
            return Ok(REFUSED);
        };
        for (path, value) in combination {
            let hidden = checked.secrets().hide(value);
            shown.insert((path.clone(), value.clone()), hidden);
        }
        runs.push((graph, folder, combination));
    }
    let show = |path: &String, value: &String| shown[&(path.clone(), value.clone())].clone();
    for one in &mut varied {
        let path = &one.path;
        one.values = one.values.iter().map(|value| show(path, value)).collect();
    }
    let interrupts = Interrupts::watch()?;
    make_folder(out)?;
    let mut points = Vec::new();
    for (index, (graph, folder, combination)) in runs.iter().enumerate() {
        let measures = sub_run::run(graph, folder, &interrupts)?.all;
        let named: Vec<String> = combination
            .iter()
            .map(|(path, value)| format!("{}={}", page::short(path), show(path, value)))
            .collect();
        let set = combination.iter();
        print_line(&format!(
            "{}/{}  {}: {}",
            index + 1,
            runs.len(),
            named.join(" "),
            in_short(&measures)
        ))?;
        let name = folder.file_name().unwrap_or_default();
        points.push(Point {
            folder: name.to_string_lossy().into_owned(),
            set: set
                .map(|(path, value)| (path.clone(), show(path, value)))
                .collect(),
            kpi: measures,
        });
    }
    let sweep = Sweep::of(&varied, points);
    write_json(&out.join("sweep.json"), &sweep)?;
    fermata_files::write(&out.join("sweep.html"), page::page(&sweep)?.as_bytes())?;
    for file in ["sweep.json", "sweep.html"] {
        print_line(&format!("wrote {}", out.join(file).display()))?;
    }
    Ok(SUCCESS)
}

fn in_short(measures: &Measures) -> String {
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| format!("{v:.1}"));
    format!(
        "{} flips a minute (raw {}), lag {} ms",
        number(measures.flips_per_minute),
        number(measures.flips_per_minute_raw),
        number(measures.lag_ms)
    )
}

/// The contents of `sustained.json`.
#[derive(Serialize)]
struct Sustained {
    limit_ms: f64,
    /// The largest number of streams that passed six times; null if not even the graph's own streams did.
    streams: Option<u32>,
    /// Whether the search ended at `--most`.
    is_most: bool,
    trials: Vec<Trial>,
}

/// A run with a given number of streams.
#[derive(Serialize)]
struct Trial {
    streams: u32,
    passed: bool,
    /// Why it failed.
    reason: Option<String>,
    p99_ms: Option<f64>,
    folder: String,
}

/// Runs a sweep with `--streams`.
fn streams(arguments: &SweepArguments, registry: &Registry, out: &Path) -> anyhow::Result<u8> {
    let own = graph_arguments(arguments);
    let Some(graph) = load::checked(&own, &PROGRAM, registry, out) else {
        return Ok(REFUSED);
    };
    let (least, most) = (own_streams(&graph)?, arguments.most);
    if least > most {
        bail!("the graph has {least} streams already, and --most is {most}");
    }
    let interrupts = Interrupts::watch()?;
    make_folder(out)?;
    let limit_ms = arguments.limit.0.as_secs_f64() * 1e3;
    let mut trials = Vec::new();
    let found = sustained::sustained(least, most, |number| {
        let folder = out.join(format!("{:03}-{number}-streams", trials.len() + 1));
        let mut arguments = graph_arguments(arguments);
        arguments.streams.extend(copies(&graph, number));
        let measures = sub_run::run(&arguments, &folder, &interrupts)?.all;
        let trial = trial(&measures, &graph, number, limit_ms, &folder)?;
        let passed = trial.passed;
        let told = match &trial.reason {
            None => "passed".to_owned(),
            Some(reason) => format!("failed: {reason}"),
        };
        print_line(&format!("{number} streams: {told}"))?;
        trials.push(trial);
        anyhow::Ok(passed)
    })?;
    let told = Sustained {
        limit_ms,
        streams: found,
        is_most: found == Some(most),
        trials,
    };
    let path = out.join("sustained.json");
    write_json(&path, &told)?;
    let limit = arguments.limit;
    match found {
        Some(number) => {
            let more = if told.is_most {
                "; more were not tried (--most)"
            } else {
                ""
            };
            print_line(&format!(
                "sustained: {number} streams, p99 below {limit} and nothing dropped in six runs{more}"
            ))?;
        }
        None => print_line(&format!(
            "not even {least} streams stay below {limit} with nothing dropped"
        ))?,
    }
    print_line(&format!("wrote {}", path.display()))?;
    Ok(if found.is_some() { SUCCESS } else { FAILED })
}

/// Returns how many streams the graph has, if they can be multiplied.
fn own_streams(graph: &Graph) -> anyhow::Result<u32> {
    if graph.run.clock == ClockMode::Asap {
        bail!(
            "under the clock `asap` streams run as fast as possible, so none can be late; add `--set run.clock=live`"
        );
    }
    if graph.streams.is_empty() {
        bail!("the graph has no streams to multiply: give one with --stream NAME=URI");
    }
    let remote = graph
        .streams
        .iter()
        .find(|stream| stream.uri.contains("://"));
    if let Some(stream) = remote {
        bail!(
            "stream `{}` comes over the network: several readers of one camera load the camera, not only this machine; give a recording of it",
            stream.name
        );
    }
    u32::try_from(graph.streams.len()).context("too many streams")
}

/// Returns copies of the graph's own streams, in turn, up to a total of `number`.
fn copies(graph: &Graph, number: u32) -> Vec<String> {
    let own = graph.streams.len();
    let names: Vec<&str> = graph.streams.iter().map(|s| s.name.as_str()).collect();
    let copy = |index: usize| {
        let stream = &graph.streams[index % own];
        let mut name = format!("{}-{}", stream.name, index / own + 1);
        while names.contains(&name.as_str()) {
            name.push('x');
        }
        format!("{name}={}", stream.uri)
    };
    (own..number as usize).map(copy).collect()
}

fn trial(
    measures: &Measures,
    graph: &Graph,
    number: u32,
    limit_ms: f64,
    folder: &Path,
) -> anyhow::Result<Trial> {
    let speed = match graph.run.clock {
        ClockMode::Replay(speed) => speed,
        _ => 1.0,
    };
    let p99_ms = measures.latency_ms.p99;
    let reason = why_not(measures, limit_ms, speed)?;
    Ok(Trial {
        streams: number,
        passed: reason.is_none(),
        reason,
        p99_ms,
        folder: name_of(folder),
    })
}

fn name_of(folder: &Path) -> String {
    let name: PathBuf = folder.file_name().unwrap_or_default().into();
    name.display().to_string()
}

/// Allowance for the duration of a run over that of its recordings, as a factor and in seconds; beyond it, the run has
/// not kept up.
const BEHIND: (f64, f64) = (1.05, 0.5);

/// Returns why a run exceeded what the machine sustains; none if it did not.
///
/// # Errors
/// Fails if the run was too short to tell.
fn why_not(measures: &Measures, limit_ms: f64, speed: f64) -> anyhow::Result<Option<String>> {
    let drops = measures.drops.iter().flatten();
    let dropped: Vec<String> = drops.map(|(cause, n)| format!("{n} {cause}")).collect();
    if !dropped.is_empty() {
        return Ok(Some(dropped.join(", ")));
    }
    // If nothing may be dropped, a graph that is too slow holds up its sources, and no latency shows it.
    let planned_s = measures.span_ms / 1e3 / speed;
    let took_s = measures.wall_s.unwrap_or(0.0);
    if took_s > planned_s * BEHIND.0 + BEHIND.1 {
        return Ok(Some(format!(
            "took {took_s:.1} s for recordings of {planned_s:.1} s"
        )));
    }
    let Some(p99_ms) = measures.latency_ms.p99 else {
        bail!(
            "{} frames in all are too few to determine the p99 of their latency, 662 are needed: give longer recordings",
            measures.frames
        );
    };
    let is_late = p99_ms >= limit_ms;
    Ok(is_late.then(|| format!("p99 is {p99_ms:.1} ms")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measures(p99_ms: Option<f64>, wall_s: f64) -> Measures {
        let mut measures = Measures {
            span_ms: 10_000.0,
            wall_s: Some(wall_s),
            drops: Some(BTreeMap::new()),
            ..Measures::default()
        };
        measures.latency_ms.p99 = p99_ms;
        measures
    }

    #[test]
    fn a_run_passes_if_it_is_in_time_and_whole() {
        let told = |measures: &Measures| why_not(measures, 200.0, 1.0).unwrap();
        assert_eq!(told(&measures(Some(199.9), 10.2)), None);
        assert_eq!(
            told(&measures(Some(200.0), 10.2)).unwrap(),
            "p99 is 200.0 ms"
        );
        let behind = told(&measures(Some(20.0), 11.5)).unwrap();
        assert_eq!(behind, "took 11.5 s for recordings of 10.0 s");
        let mut lossy = measures(Some(20.0), 10.2);
        lossy.drops = Some(BTreeMap::from([("drop_oldest at detect".to_owned(), 3)]));
        assert_eq!(told(&lossy).unwrap(), "3 drop_oldest at detect");
        let error = why_not(&measures(None, 10.2), 200.0, 1.0).unwrap_err();
        assert!(error.to_string().contains("662 are needed"), "{error}");
        assert!(
            why_not(&measures(Some(9.0), 10.2), 200.0, 2.0)
                .unwrap()
                .is_some()
        );
    }
}

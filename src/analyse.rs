//! `fermata analyse`: faces and expressions in photos, recordings and cameras, without a graph file.
//!
//! Owns the command: `inputs` finds what to analyse, `models` picks the models, `graph` writes the graph, `refusals`
//! explains what is wrong with the arguments, `people` summarises the results.

mod graph;
mod inputs;
mod models;
mod people;
mod refusals;
mod table;

use std::path::Path;

use anyhow::bail;
use fermata_actors::faces::detect_faces::is_cascade;
use fermata_engine::graph::printable_in_line;
use fermata_engine::{Graph, LoadOptions, Report};

use crate::cli::{AnalyseArguments, REFUSED, ServeArguments};
use crate::documents::{json, read_json};
use crate::print::{complain, print, print_line};
use crate::program::Program;
use crate::run::{Job, Taking, Watching, run_job};
use crate::run_folder::{REPORT, RunFolder};
use graph::Plan;
use inputs::Inputs;
use models::Detector;
use people::People;

/// Analyses the given inputs. The exit code is that of a run, see [`crate::run::run`].
///
/// # Errors
/// Fails if an input, a model or the output folder cannot be used, or if the summary cannot be written.
pub(crate) fn analyse(arguments: &AnalyseArguments, program: &Program) -> anyhow::Result<u8> {
    let inputs = Inputs::find(&arguments.inputs);
    for (left_out, reason) in &inputs.left_out {
        let left_out = printable_in_line(&left_out.display().to_string());
        complain(&format!("left out: {left_out} ({reason})"));
    }
    if !inputs.problems.is_empty() {
        for problem in &inputs.problems {
            complain(&format!("error: {}", printable_in_line(problem)));
        }
        return Ok(REFUSED);
    }
    let model = models::expression(arguments.model.as_deref())?;
    let detector = Detector::find(arguments.detector.as_deref())?;
    say_what_the_cascade_misses(&detector, arguments)?;
    let out = arguments.out.clone();
    let out = out.unwrap_or_else(|| RunFolder::fresh("analyse"));
    refuse_inputs_in(&out, &inputs)?;
    let plan = Plan {
        inputs: &inputs,
        model: &model,
        detector: &detector.model,
        every: arguments.every,
        blur: arguments.blur,
        annotate: !arguments.no_copies,
    };
    let registry = (program.registry)();
    let loaded = Graph::parse("analyse", &plan.text(), &registry, &LoadOptions::new(&out));
    let checked = loaded.and_then(|graph| graph.check(&registry).map(|()| graph));
    let graph = match checked {
        Ok(graph) => graph,
        Err(problems) => {
            refusals::of_graph(&problems, &plan);
            return Ok(REFUSED);
        }
    };
    let job = Job {
        graph,
        taking: Taking::Afresh(out.clone()),
        lock: None,
        quiet: arguments.quiet || arguments.json,
        rows: None,
        services: (program.services)(),
        says: None,
        watching: Watching::default(),
        serve: ServeArguments::default(),
        summary: false,
    };
    let ran = match run_job(job, registry) {
        Err(error) if refusals::of_start(&error, &plan) => return Ok(REFUSED),
        ran => ran?,
    };
    let table = out.join("faces.csv");
    if table.is_file() {
        tell(arguments, &inputs, &out, &table)?;
    }
    Ok(ran.code)
}

/// Writes and prints the summary.
fn tell(
    arguments: &AnalyseArguments,
    inputs: &Inputs,
    out: &Path,
    table: &Path,
) -> anyhow::Result<()> {
    // If the report could not be written, that has been reported already.
    let report = read_json::<Report>(&out.join(REPORT), "report of a run").unwrap_or_default();
    let people = People::read(table, &report, inputs, arguments.every)?;
    let text = json(&people.json())?;
    fermata_files::write(&out.join("summary.json"), text.as_bytes())?;
    if arguments.json {
        return print(&text);
    }
    print(&people.text())?;
    print_line(&format!(
        "\nfaces.csv, summary.json and annotated copies: {}",
        out.display()
    ))
}

/// The cascade is acceptable for finding faces but dangerous for hiding them.
fn say_what_the_cascade_misses(
    detector: &Detector,
    arguments: &AnalyseArguments,
) -> anyhow::Result<()> {
    let hides = arguments.blur.is_some() && !arguments.no_copies;
    match (detector.is_fallback, hides) {
        (true, true) => bail!(
            "--blur: no face detector is installed, and the built-in Haar cascade leaves many faces visible; download one with `fermata models pull yunet`, choose one with --detector FILE, or accept the cascade with `--detector haar`"
        ),
        (true, false) => complain(
            "note: faces are detected with the Haar cascade, because no detector is installed; YuNet finds more: `fermata models pull yunet`",
        ),
        (false, true) if is_cascade(&detector.model) => complain(
            "warning: --blur hides only the faces that the Haar cascade finds, and it leaves many visible: check each copy before you share it",
        ),
        (false, _) => {}
    }
    Ok(())
}

/// Refuses an output folder that holds an input: annotated copies have the names of their originals.
fn refuse_inputs_in(out: &Path, inputs: &Inputs) -> anyhow::Result<()> {
    let is_in = |file: &Path| {
        let folder = file.parent();
        folder.is_some_and(|folder| fermata_files::is_same_folder(folder, out))
    };
    match inputs.files().find(|file| is_in(file)) {
        Some(file) => bail!(
            "--out is the folder of {}, which its annotated copy would replace; choose another folder",
            file.display()
        ),
        None => Ok(()),
    }
}

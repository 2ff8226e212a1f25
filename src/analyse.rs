//! `fermata analyse`: faces and expressions in photos, recordings and cameras, without a graph file.
//!
//! Owns the command; `inputs` tells what is to be looked at, `graph` writes the graph that does it, `people` sums up what came of it.

mod graph;
mod inputs;
mod people;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use fermata_engine::{Graph, LoadOptions, Registry};

use crate::cli::{AnalyseArguments, REFUSED, ServeArguments};
use crate::documents::json;
use crate::load;
use crate::print::{complain, print, print_line};
use crate::program::Program;
use crate::run::{Job, Taking, Watching, run_job};
use crate::run_folder::RunFolder;
use graph::Plan;
use inputs::Inputs;
use people::People;

/// Where the model is that the program brings along, from the folder in which it was installed.
const MODEL: &str = "models/expression";
const DETECTOR: &str = "models/detector";
/// What is found when nobody names a detector and none is installed.
const HAAR: &str = "haar";

/// Analyses what was named. The exit code is that of a run.
pub fn analyse(arguments: &AnalyseArguments, program: &Program) -> anyhow::Result<u8> {
    let inputs = Inputs::find(&arguments.inputs);
    for (left_out, reason) in &inputs.left_out {
        complain(&format!("left out: {} ({reason})", left_out.display()));
    }
    if !inputs.problems.is_empty() {
        for problem in &inputs.problems {
            complain(&format!("error: {problem}"));
        }
        return Ok(REFUSED);
    }
    let model = model(arguments.model.as_deref())?;
    let out = arguments.out.clone();
    let out = out.unwrap_or_else(|| RunFolder::fresh("analyse"));
    refuse_inputs_in(&out, &inputs)?;
    let plan = Plan {
        inputs: &inputs,
        model: &model,
        detector: detector(arguments.detector.as_deref())?,
        every: arguments.every,
        blur: arguments.blur,
        annotate: !arguments.no_copies,
    };
    let registry = (program.registry)();
    let Some(graph) = parsed(&plan.text(), &registry, &out) else {
        return Ok(REFUSED);
    };
    let job = Job {
        graph,
        taking: Taking::Afresh(out.clone()),
        quiet: arguments.quiet || arguments.json,
        rows: None,
        services: (program.services)(),
        says: None,
        watching: Watching::default(),
        serve: ServeArguments::default(),
        summary: false,
    };
    let code = run_job(job, registry)?;
    let table = out.join("faces.csv");
    if table.is_file() {
        tell(arguments, &inputs, &out, &table)?;
    }
    // A call that never returned keeps its thread: ending the process is the only way to end it.
    std::process::exit(i32::from(code));
}

/// Writes the summary and shows it.
fn tell(
    arguments: &AnalyseArguments,
    inputs: &Inputs,
    out: &Path,
    table: &Path,
) -> anyhow::Result<()> {
    let people = People::read(table, inputs, arguments.every)?;
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

fn parsed(text: &str, registry: &Registry, out: &Path) -> Option<Graph> {
    let loaded = Graph::parse("analyse", text, registry, &LoadOptions::new(out));
    loaded.map_err(|problems| load::show(&problems)).ok()
}

/// The folder of the expression model.
fn model(given: Option<&Path>) -> anyhow::Result<PathBuf> {
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

fn detector(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    let Some(given) = given else {
        return Ok(installed(DETECTOR).unwrap_or_else(|| HAAR.into()));
    };
    if given != Path::new(HAAR) && !given.exists() {
        bail!(
            "--detector {}: there is no such file or folder; a detector is one such as models/yunet/model.onnx, which `fermata models pull yunet` brings, or `{HAAR}`",
            given.display()
        );
    }
    Ok(given.to_owned())
}

/// A folder that belongs to the program: here, or above the folder in which the program lies.
fn installed(folder: &str) -> Option<PathBuf> {
    let program = std::env::current_exe().ok();
    let above = program
        .iter()
        .flat_map(|program| program.ancestors().skip(1));
    let here = std::iter::once(Path::new(""));
    here.chain(above)
        .map(|place| place.join(folder))
        .find(|path| path.is_dir())
}

/// Copies have the names of what they are copies of.
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

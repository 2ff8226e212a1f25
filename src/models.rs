//! `fermata models`: lists, downloads and verifies models.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use fermata_pull::{Catalogue, Entry, Origin, Pulled, State, pull, state};
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::{FAILED, SUCCESS};
use crate::documents::read_text;
use crate::hand_over;
use crate::models_cli::{ModelsCommand, PullArguments};
use crate::print::{complain, print, print_line};

const CATALOGUE: &str = include_str!("../models/catalogue.yaml");

/// Runs a command about models; the one about networks is handed to `fermata-learn`. `catalogue` replaces the built-in
/// one.
///
/// # Errors
/// Fails if the catalogue cannot be read, a model is not in it or cannot be downloaded, or nothing can be printed.
pub fn models(command: &ModelsCommand, catalogue: Option<&Path>) -> anyhow::Result<u8> {
    let catalogue = match catalogue {
        Some(path) => Catalogue::read(&read_text(path)?, path)?,
        None => Catalogue::read(CATALOGUE, Path::new("models/catalogue.yaml"))?,
    };
    match command {
        ModelsCommand::List { dir } => list(&catalogue, dir),
        ModelsCommand::Pull(arguments) => pull_all(&catalogue, arguments),
        ModelsCommand::Verify { names, dir } => verify(&catalogue, names, dir),
        ModelsCommand::Card { name } => card(&catalogue, name),
        ModelsCommand::Describe { .. } => hand_over::hand_over(),
    }
}

fn list(catalogue: &Catalogue, dir: &Path) -> anyhow::Result<u8> {
    for (name, entry) in &catalogue.models {
        let Entry {
            about,
            licence,
            bytes,
            ..
        } = entry;
        let here = match state(entry, &dir.join(name)) {
            State::Here => format!("here, {}", dir.join(name).display()),
            State::Partly { bytes } => format!("partly here ({} kB)", bytes / 1000),
            State::Wrong { .. } => {
                "not what the catalogue says (`fermata models verify`)".to_owned()
            }
            State::Missing if entry.urls.is_empty() => {
                "not here (no public address: `fermata models pull --from DIR`)".to_owned()
            }
            State::Missing => "not here".to_owned(),
        };
        let kilobytes = bytes / 1000;
        print_line(&format!(
            "{name:<16} {kilobytes:>6} kB  {licence:<10}  {here}"
        ))?;
        print_line(&format!("{:<16} {about}", ""))?;
    }
    Ok(SUCCESS)
}

fn pull_all(catalogue: &Catalogue, arguments: &PullArguments) -> anyhow::Result<u8> {
    let names: Vec<&String> = if arguments.all {
        catalogue.models.keys().collect()
    } else {
        arguments.names.iter().collect()
    };
    // Look all names up first, so that a wrong one fails at once.
    let entries: Vec<(&String, &Entry)> = names
        .into_iter()
        .map(|name| Ok((name, catalogue.entry(name)?)))
        .collect::<anyhow::Result<_>>()?;
    let origin = match &arguments.from {
        Some(folder) => Origin::Folder(folder.clone()),
        None => Origin::Addresses {
            mirrors: arguments.mirror.clone(),
        },
    };
    let mut code = SUCCESS;
    for (name, entry) in entries {
        let folder = arguments.dir.join(name);
        let bar = bar(entry.bytes);
        let pulled = pull(name, entry, &folder, &origin, &mut |have| {
            bar.set_position(have);
        });
        bar.finish_and_clear();
        match pulled {
            Ok(pulled) => print_line(&told(name, entry, &folder, pulled))?,
            Err(error) => {
                complain(&format!("error: {error}"));
                code = FAILED;
            }
        }
    }
    Ok(code)
}

fn told(name: &str, entry: &Entry, folder: &Path, pulled: Pulled) -> String {
    let what: PathBuf = match entry.card {
        Some(_) => folder.to_owned(),
        None => folder.join("model.onnx"),
    };
    let what = what.display();
    match pulled {
        Pulled::Now => format!("{name}: {what} ({})", entry.licence),
        Pulled::Already => format!("{name}: {what} is here already"),
    }
}

fn bar(bytes: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(bytes);
    if let Ok(style) =
        ProgressStyle::with_template("{wide_bar} {bytes} of {total_bytes}  {eta} left")
    {
        bar.set_style(style);
    }
    bar
}

fn verify(catalogue: &Catalogue, names: &[String], dir: &Path) -> anyhow::Result<u8> {
    let named: Vec<(&String, &Entry)> = match names {
        [] => catalogue.models.iter().collect(),
        names => names
            .iter()
            .map(|name| Ok((name, catalogue.entry(name)?)))
            .collect::<anyhow::Result<_>>()?,
    };
    let mut code = SUCCESS;
    let mut is_any_here = false;
    for (name, entry) in named {
        let found = state(entry, &dir.join(name));
        if found != State::Here && !(found == State::Missing && names.is_empty()) {
            code = FAILED;
        }
        is_any_here |= found != State::Missing;
        let line = match found {
            State::Here => format!("{name}: as in the catalogue"),
            // It was not asked for by name.
            State::Missing if names.is_empty() => continue,
            State::Missing => format!("{name}: not here"),
            State::Partly { bytes } => format!("{name}: {bytes} of {} bytes are here", entry.bytes),
            State::Wrong { path, why } => format!("{name}: {}: {why}", path.display()),
        };
        print_line(&line)?;
    }
    if names.is_empty() && !is_any_here {
        print_line(&format!(
            "no model of the catalogue is in {}",
            dir.display()
        ))?;
    }
    Ok(code)
}

fn card(catalogue: &Catalogue, name: &str) -> anyhow::Result<u8> {
    match &catalogue.entry(name)?.card {
        Some(card) => print(card)?,
        None => {
            anyhow::bail!(
                "`{name}` needs no card: detectors are recognised by their inputs and outputs"
            )
        }
    }
    Ok(SUCCESS)
}

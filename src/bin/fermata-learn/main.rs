//! The `fermata-learn` program: what `fermata` hands over because it needs libtorch. One file per command.

mod calibrate;
mod classes;
mod evaluate;
mod export;
mod infer;
mod inspect;
mod inspect_reports;
mod loaded_model;
mod manifest;
mod models;
mod progress;

use std::process::ExitCode;

use clap::Parser;
use fermata::cli::REFUSED;
use fermata::learn_cli::{LearnCommand, ModelsCommand};

/// Models and predictions. Called by `fermata`.
#[derive(Debug, Parser)]
#[command(name = "fermata", version)]
struct Arguments {
    #[command(subcommand)]
    command: LearnCommand,
}

fn main() -> ExitCode {
    fermata_learn::memory::keep_freed_blocks();
    let result = match Arguments::parse().command {
        LearnCommand::Infer(arguments) => infer::infer(&arguments),
        LearnCommand::Evaluate(arguments) => evaluate::evaluate(&arguments),
        LearnCommand::Calibrate(arguments) => calibrate::calibrate(&arguments),
        LearnCommand::Export(arguments) => export::export(&arguments),
        LearnCommand::Inspect { file } => inspect::inspect(&file),
        LearnCommand::Manifest { command } => manifest::manifest(&command),
        LearnCommand::Models {
            command:
                ModelsCommand::Describe {
                    names,
                    size,
                    classes,
                },
        } => models::describe(&names, size, classes),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(REFUSED)
        }
    }
}

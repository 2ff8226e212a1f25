//! The `fermata-learn` program: what `fermata` hands over because it needs libtorch. One file per command.

mod calibrate;
mod evaluate;
mod export;
mod infer;
mod inspect;
#[path = "../learn_cli.rs"]
mod learn_cli;
mod loaded_model;
mod manifest;
mod models;
#[path = "../print.rs"]
mod print;

use std::process::ExitCode;

use clap::Parser;
use fermata_vision::Expression;

use learn_cli::{LearnCommand, ModelsCommand};

/// What was typed cannot be done. (clap ends with the same code.)
const REFUSED: u8 = 2;

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

/// The classes that were named, or the seven expressions.
fn classes(named: &[String]) -> Vec<String> {
    if named.is_empty() {
        Expression::ALL
            .map(|expression| expression.to_string())
            .to_vec()
    } else {
        named.to_vec()
    }
}

//! The `fermata-learn` program: runs the commands and the graphs with job actors that `fermata` hands over because they
//! need libtorch. One file per command.

mod backend;
mod calibrate;
mod classes;
mod ensemble;
mod evaluate;
mod export;
mod graph_run;
#[cfg(feature = "remote")]
mod handing_out;
mod infer;
mod inspect;
mod inspect_reports;
mod inspect_runs;
mod inspect_softlabels;
mod manifest;
mod models;
mod program;
mod progress;
mod resume;
#[cfg_attr(not(feature = "remote"), allow(dead_code))]
mod same_job;
mod seen_rows;
mod softlabels;
mod softlabels_plan;
mod teachers;
mod train;
#[cfg(not(feature = "remote"))]
mod without_remote;
mod work;
#[cfg(feature = "remote")]
mod workers_shown;
#[cfg(feature = "remote")]
mod working;

use std::process::ExitCode;

use fermata::cli::{self, Command, SUCCESS};
use fermata::dispatch::dispatch;
use fermata::learn_cli::{EnsembleCommand, LearnCommand};
use fermata::models_cli::ModelsCommand;

use crate::program::PROGRAM;

fn main() -> ExitCode {
    let command = cli::read().command;
    // Commands about manifests compute nothing with libtorch: their freed memory returns to the system.
    if !matches!(command, Command::Learn(LearnCommand::Manifest { .. })) {
        fermata_learn::memory::keep_freed_blocks();
    }
    dispatch(command, &PROGRAM, learn)
}

fn learn(command: LearnCommand) -> anyhow::Result<u8> {
    match command {
        LearnCommand::Softlabels(arguments) => return softlabels::softlabels(&arguments),
        LearnCommand::Work(arguments) => return work::work(&arguments),
        LearnCommand::Train(arguments) => return train::train(&arguments),
        LearnCommand::Resume(arguments) => return resume::resume(&arguments),
        LearnCommand::Ensemble {
            command: EnsembleCommand::Search(arguments),
        } => return ensemble::ensemble_search(&arguments),
        LearnCommand::Infer(arguments) => infer::infer(&arguments),
        LearnCommand::Evaluate(arguments) => return evaluate::evaluate(&arguments),
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
            ..
        } => models::describe(&names, size, classes),
        LearnCommand::Models { catalogue, command } => {
            return fermata::models::models(&command, catalogue.as_deref());
        }
    }
    .map(|()| SUCCESS)
}

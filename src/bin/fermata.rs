//! The `fermata` program: runs, checks, draws and explains graphs.

use std::process::ExitCode;

use fermata::cli;
use fermata::dispatch::dispatch;
use fermata::learn_cli::LearnCommand;
use fermata::program::LIVE;
use fermata::{hand_over, models};

fn main() -> ExitCode {
    dispatch(cli::read().command, &LIVE, learn)
}

/// Hands jobs over to `fermata-learn`, unless they need no libtorch.
fn learn(command: LearnCommand) -> anyhow::Result<u8> {
    match command {
        LearnCommand::Models { catalogue, command } => {
            models::models(&command, catalogue.as_deref())
        }
        _ => hand_over::hand_over(),
    }
}

//! What `fermata` and `fermata-learn` do with a command: the same, but for jobs and for the actors that they know.

use std::process::ExitCode;

use clap::CommandFactory;

use crate::cli::{Arguments, Command, REFUSED, SUCCESS};
use crate::learn_cli::LearnCommand;
use crate::program::Program;
use crate::run::NotStarted;
use crate::site_cli::ReportCommand;
use crate::{actors, check, doctor, draw, kpi, merge, print, reference, run, site, sweep};

/// Carries out a command and returns the exit code of the process. `learn` carries out commands of jobs.
pub fn dispatch(
    command: Command,
    program: &Program,
    learn: fn(LearnCommand) -> anyhow::Result<u8>,
) -> ExitCode {
    // A call that never returned keeps its thread, which ends with the process.
    match carry_out(command, program, learn) {
        Ok(code) => ExitCode::from(code),
        Err(error) => match error.downcast_ref::<NotStarted>() {
            Some(NotStarted(code)) => ExitCode::from(*code),
            None => {
                print::print_error(&error);
                ExitCode::from(REFUSED)
            }
        },
    }
}

fn carry_out(
    command: Command,
    program: &Program,
    learn: fn(LearnCommand) -> anyhow::Result<u8>,
) -> anyhow::Result<u8> {
    match command {
        Command::Run(arguments) => run::run(&arguments, program),
        #[cfg(feature = "live")]
        Command::Analyse(arguments) => crate::analyse::analyse(&arguments, program),
        Command::Check(arguments) => check::check(&arguments, program),
        Command::Graph(arguments) => draw::draw(&arguments, program),
        Command::Kpi(arguments) => kpi::kpi(&arguments),
        Command::Sweep(arguments) => sweep::sweep(&arguments),
        Command::Site(command) => site::site(&command),
        Command::Report(ReportCommand::Merge { runs, json }) => merge::merge(&runs, json),
        #[cfg(feature = "live")]
        Command::Top(arguments) => crate::top::top(&arguments),
        #[cfg(not(feature = "live"))]
        Command::Top(_) => Err(anyhow::anyhow!(
            "this program was built without the feature `live`, which `top` needs"
        )),
        Command::Actors { name } => actors::actors(name.as_deref(), program),
        Command::Learn(command) => learn(command),
        Command::Schema => actors::schema(program),
        Command::Doctor(arguments) => doctor::doctor(&arguments, program),
        Command::Reference { page } => reference::reference(page, program),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "fermata", &mut script);
            print::print(&String::from_utf8_lossy(&script)).map(|()| SUCCESS)
        }
    }
}

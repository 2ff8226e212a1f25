//! The `fermata` program: runs, checks, draws and explains graphs.

use std::process::ExitCode;

use clap::CommandFactory;
use fermata::cli::{self, Arguments, Command};
use fermata::learn_cli::LearnCommand;
use fermata::program::LIVE;
use fermata::site_cli::ReportCommand;
#[cfg(feature = "live")]
use fermata::top;
use fermata::{
    actors, check, doctor, draw, hand_over, kpi, merge, models, print, run, site, sweep,
};

fn main() -> ExitCode {
    let arguments = cli::read();
    let result = match arguments.command {
        Command::Run(run) => run::run(&run, &LIVE),
        #[cfg(feature = "live")]
        Command::Analyse(analyse) => fermata::analyse::analyse(&analyse, &LIVE),
        Command::Check(graph) => check::check(&graph, &LIVE),
        Command::Graph(draw) => draw::draw(&draw, &LIVE),
        Command::Kpi(kpi) => kpi::kpi(&kpi),
        Command::Sweep(sweep) => sweep::sweep(&sweep),
        Command::Site(command) => site::site(&command),
        Command::Report(ReportCommand::Merge { runs, json }) => merge::merge(&runs, json),
        #[cfg(feature = "live")]
        Command::Top(top) => top::top(&top),
        #[cfg(not(feature = "live"))]
        Command::Top(_) => Err(anyhow::anyhow!(
            "this program was built without the feature `live`, which `top` needs"
        )),
        Command::Actors { name } => actors::actors(name.as_deref(), &LIVE),
        Command::Learn(LearnCommand::Models { catalogue, command }) => {
            models::models(&command, catalogue.as_deref())
        }
        Command::Learn(_) => hand_over::hand_over(),
        Command::Schema => actors::schema(&LIVE),
        Command::Doctor { graph, nats } => doctor::doctor(graph.as_deref(), nats.as_deref(), &LIVE),
        Command::Reference { page } => fermata::reference::reference(page, &LIVE),
        Command::Completions { shell } => {
            let mut command = Arguments::command();
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command, "fermata", &mut script);
            print::print(&String::from_utf8_lossy(&script)).map(|()| cli::SUCCESS)
        }
    };
    // A call that never returned keeps its thread, which ends with the process.
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            print::print_error(&error);
            ExitCode::from(cli::REFUSED)
        }
    }
}

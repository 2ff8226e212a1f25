//! The `fermata` program: runs, checks, draws and explains graphs.

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use fermata::cli::{self, Arguments, Command};
use fermata::{actors, check, doctor, draw, hand_over, kpi, print, run, sweep};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.command {
        Command::Run(run) => run::run(&run),
        Command::Check(graph) => check::check(&graph),
        Command::Graph(draw) => draw::draw(&draw),
        Command::Kpi(kpi) => kpi::kpi(&kpi),
        Command::Sweep(sweep) => sweep::sweep(&sweep),
        Command::Actors { name } => actors::actors(name.as_deref()),
        Command::Learn(_) => hand_over::hand_over(),
        Command::Schema => actors::schema(),
        Command::Doctor => doctor::doctor(),
        Command::Completions { shell } => {
            let mut command = Arguments::command();
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command, "fermata", &mut script);
            print::print(&String::from_utf8_lossy(&script)).map(|()| cli::SUCCESS)
        }
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(cli::REFUSED)
        }
    }
}

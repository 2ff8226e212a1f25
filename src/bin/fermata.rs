//! The `fermata` program: runs, checks, draws and explains graphs.

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use fermata::cli::{self, Arguments, Command};
use fermata::load::hints;
use fermata::program::LIVE;
use fermata::{actors, check, doctor, draw, hand_over, kpi, print, run, sweep};

fn main() -> ExitCode {
    let arguments = Arguments::try_parse().unwrap_or_else(|error| {
        let named = std::env::args().nth(1).unwrap_or_default();
        if error.kind() == ErrorKind::InvalidSubcommand && is_place(&named) {
            eprintln!("error: `{named}` is no command");
            eprintln!("{}", hints::to_analyse(&named));
            std::process::exit(cli::REFUSED.into());
        }
        error.exit()
    });
    let result = match arguments.command {
        Command::Run(run) => run::run(&run, &LIVE),
        #[cfg(feature = "live")]
        Command::Analyse(analyse) => fermata::analyse::analyse(&analyse, &LIVE),
        Command::Check(graph) => check::check(&graph, &LIVE),
        Command::Graph(draw) => draw::draw(&draw, &LIVE),
        Command::Kpi(kpi) => kpi::kpi(&kpi),
        Command::Sweep(sweep) => sweep::sweep(&sweep),
        Command::Actors { name } => actors::actors(name.as_deref(), &LIVE),
        Command::Learn(_) => hand_over::hand_over(),
        Command::Schema => actors::schema(&LIVE),
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

/// Whether a photo, a video, a folder or an address stands where a command should.
fn is_place(named: &str) -> bool {
    hints::is_watched(named) || std::path::Path::new(named).is_dir()
}

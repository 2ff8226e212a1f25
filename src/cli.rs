//! The command line and the exit codes.

#![allow(
    missing_docs,
    reason = "what is written on these types is printed as help"
)]

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use fermata_engine::graph::{Secrets, printable};
use fermata_engine::units::{HumanDuration, UnitError};

use crate::learn_cli::LearnCommand;
use crate::print::complain;
use crate::reference_page::Page;
pub use crate::serve_cli::ServeArguments;
use crate::site_cli::{ReportCommand, SiteCommand, site_name};
use crate::watched::{is_watched, to_analyse};

/// The run went as the graph says.
pub const SUCCESS: u8 = 0;
/// The run ended, but a node, a stream, a call that never returned, or the report failed.
pub const FAILED: u8 = 1;
/// The command line or the graph is wrong; nothing was started. (clap exits with the same code.)
pub const REFUSED: u8 = 2;
/// The books of the run do not balance: an error in the engine.
pub const UNBALANCED: u8 = 3;
/// The run was ended by Ctrl-C, SIGTERM, or the live page.
pub const INTERRUPTED: u8 = 130;

const EXIT_CODES: &str = "\
Exit codes:
  0    everything went as the graph says
  1    the run ended, but a node or stream in it failed, a node had no packet that did not fail, a call never returned,
       or the report could not be written
  2    the command line, the graph or what it names is wrong; nothing was started
  3    the books of the run do not balance (an error in the engine)
  130  ended early by Ctrl-C, SIGTERM or SIGHUP; a first one drains, a second one stops, a third one ends the process;
       or by the live page";

/// Runs graphs of actors over live cameras, recordings and data.
#[derive(Debug, Parser)]
#[command(name = "fermata", version, after_help = EXIT_CODES)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

/// Parses the command line. If it is wrong, the process exits with an error message that shows no secret of an address.
pub fn read() -> Arguments {
    Arguments::try_parse().unwrap_or_else(|error| {
        if !error.use_stderr() {
            error.exit();
        }
        let secrets = Secrets::default();
        for argument in std::env::args_os() {
            secrets.add_argument(&argument.to_string_lossy());
        }
        complain(printable(&secrets.hide(&error.render().to_string())).trim_end());
        let named = std::env::args_os().nth(1).unwrap_or_default();
        let named = named.to_string_lossy();
        if error.kind() == ErrorKind::InvalidSubcommand && is_place(&named) {
            complain(&to_analyse(&named));
        }
        std::process::exit(i32::from(REFUSED));
    })
}

/// Returns whether a photo, a video, a folder or an address was given in place of a command.
fn is_place(named: &str) -> bool {
    is_watched(named) || std::path::Path::new(named).is_dir()
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a graph until its streams end
    Run(RunArguments),
    /// Find faces and expressions in photos, videos, cameras and addresses, without a graph file
    #[cfg(feature = "live")]
    Analyse(AnalyseArguments),
    /// Check a graph and what it names (models, devices, files) without running it
    Check(GraphArguments),
    /// Draw a graph
    Graph(DrawArguments),
    /// Measure runs: latency, flicker, lag, drops, agreement; compare several
    Kpi(KpiArguments),
    /// Run a graph with every combination of the given values to show flicker against lag, or find how many streams
    /// this machine sustains
    Sweep(SweepArguments),
    /// Show or end a run whose parts are on several machines
    #[command(subcommand)]
    Site(SiteCommand),
    /// Combine the reports of a site's machines
    #[command(subcommand)]
    Report(ReportCommand),
    /// Show in the terminal what a run with a page (`run --serve`) is doing
    Top(TopArguments),
    /// List the actors, or explain one
    Actors {
        /// The actor to explain
        name: Option<String>,
    },
    #[command(flatten)]
    Learn(LearnCommand),
    /// Print the JSON Schema of graph files, for editors
    Schema,
    /// Print a page of the guide that is made from the code, as Markdown
    Reference {
        /// The page
        page: Page,
    },
    /// Say what is installed and which devices and providers work
    Doctor(DoctorArguments),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// A graph file and the changes to make to it.
#[derive(Debug, Args)]
pub struct GraphArguments {
    /// Graph file (YAML)
    pub graph: PathBuf,
    /// Add a stream, or bind a declared one to another file, device or URL
    #[arg(long = "stream", value_name = "NAME=URI")]
    pub streams: Vec<String>,
    /// Give a parameter of the graph its value
    #[arg(long = "param", value_name = "NAME=VALUE")]
    pub params: Vec<String>,
    /// Set one value of the graph file, such as nodes.emotion.batch.max=8
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub set: Vec<String>,
    /// Machine whose part of the graph to use (graphs with `machines`)
    #[arg(long, value_name = "NAME")]
    pub machine: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct RunArguments {
    #[command(flatten)]
    pub graph: GraphArguments,
    /// Folder for outputs, report and log [default: runs/NAME-TIME]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Show no progress, only warnings and the summary
    #[arg(short, long)]
    pub quiet: bool,
    #[command(flatten)]
    pub log: LogArguments,
    /// Write what happens to each packet as a trace for ui.perfetto.dev
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    #[command(flatten)]
    pub serve: ServeArguments,
    #[command(flatten)]
    pub nats: NatsArguments,
}

/// The NATS server over which a run's edges reach other machines.
#[derive(Clone, Debug, Default, Args)]
pub struct NatsArguments {
    /// NATS server for edges to other machines; credentials are read from NATS_CREDS, NATS_NKEY, NATS_TOKEN, NATS_USER
    /// and NATS_PASSWORD
    #[arg(long, value_name = "URL")]
    pub nats: Option<String>,
    /// Name of the site: the same for the runs of all its machines, and used by no other site on that server [default:
    /// the graph's name]
    #[arg(long, value_name = "NAME", requires = "nats", value_parser = site_name)]
    pub site: Option<String>,
}

#[derive(Debug, Args)]
pub struct DoctorArguments {
    /// Graph file to scan for nodes that accept any TLS certificate
    pub graph: Option<PathBuf>,
    /// NATS server to test for use by edges between machines; credentials are read as for `fermata run --nats`
    #[arg(long, value_name = "URL")]
    pub nats: Option<String>,
    /// Site that is to run there [default: the graph's name]
    #[arg(long, value_name = "NAME", requires = "nats", value_parser = site_name)]
    pub site: Option<String>,
    /// Machine whose permissions to test: answers come to subjects of its own
    #[arg(long, value_name = "MACHINE", requires = "nats")]
    pub machine: Option<String>,
}

#[derive(Debug, Args)]
pub struct TopArguments {
    /// Address of the run's page
    #[arg(default_value = "127.0.0.1:8080")]
    pub address: String,
    /// File with the run's token
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// PEM file with the certificates to trust instead of the system's
    #[arg(long, value_name = "FILE", conflicts_with = "fingerprint")]
    pub ca_file: Option<PathBuf>,
    /// Fingerprint of the only certificate to trust, as shown by the run
    #[arg(long, value_name = "SHA256")]
    pub fingerprint: Option<String>,
}

#[cfg(feature = "live")]
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct AnalyseArguments {
    /// Photos, videos, folders of them, cameras (/dev/video0, or 0), addresses (rtsp://…, http://…)
    #[arg(required = true, value_name = "INPUT")]
    pub inputs: Vec<String>,
    /// Folder of an expression model [default: models/expression]
    #[arg(long, value_name = "FOLDER")]
    pub model: Option<PathBuf>,
    /// Face detector: a YuNet or UltraFace (.onnx file or folder), or `haar` [default: models/yunet or models/detector
    /// if it is there, else haar]
    #[arg(long, value_name = "FILE")]
    pub detector: Option<PathBuf>,
    /// Look for faces in every n-th frame of a video; between them they are tracked
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub every: u64,
    /// Make faces unrecognisable in the annotated copies; needs a better detector than haar, unless haar is named
    #[arg(long, value_enum, value_name = "MODE")]
    pub blur: Option<BlurMode>,
    /// Write no annotated copies
    #[arg(long)]
    pub no_copies: bool,
    /// Folder for the table, the summary and the copies [default: runs/analyse-TIME]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print the summary as JSON and nothing else
    #[arg(long)]
    pub json: bool,
    /// Show no progress
    #[arg(short, long)]
    pub quiet: bool,
}

/// How faces are made unrecognisable.
#[cfg(feature = "live")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BlurMode {
    /// A gray box
    Solid,
    /// A coarse mosaic
    Pixelate,
    /// A strong blur
    Blur,
}

#[cfg(feature = "live")]
impl BlurMode {
    /// As graph files call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Solid => "solid",
            Self::Pixelate => "pixelate",
            Self::Blur => "blur",
        }
    }
}

/// What is logged on standard error and to run.log. FERMATA_LOG sets levels by part of the program:
/// warn,fermata_engine=debug,onnxruntime=trace
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct LogArguments {
    /// Log more: -v for details that help to find a cause, -vv for everything
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Lines for people, or one JSON object per line
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people
    #[default]
    Text,
    /// One JSON object per line, without the live table
    Json,
}

#[derive(Debug, Args)]
pub struct KpiArguments {
    /// Folders of runs, or tables with the columns of faces.csv
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// Folder for kpi.json and kpi.html [default: that of a single run, else runs/kpi-TIME]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("tried").args(["vary", "streams"]).required(true))]
pub struct SweepArguments {
    /// Graph file (YAML); it must write ${run.dir}/faces.csv
    pub graph: PathBuf,
    /// Values to try, such as nodes.smooth.vote=1,5,9; give it several times for a grid
    #[arg(long = "vary", value_name = "PATH=V1,V2,…")]
    pub vary: Vec<String>,
    /// Find the largest number of streams whose latency (p99) stays below the limit with nothing dropped
    #[arg(long, conflicts_with = "vary")]
    pub streams: bool,
    /// Limit of the latency's p99 for --streams
    #[arg(
        long,
        value_name = "TIME",
        default_value = "200ms",
        requires = "streams",
        value_parser = some_time
    )]
    pub limit: HumanDuration,
    /// Try no more streams than this
    #[arg(long, value_name = "N", default_value_t = 64, requires = "streams", value_parser = clap::value_parser!(u32).range(1..))]
    pub most: u32,
    /// Add a stream, or bind a declared one to another file, device or URL
    #[arg(long = "stream", value_name = "NAME=URI")]
    pub add: Vec<String>,
    /// Give a parameter of the graph its value
    #[arg(long = "param", value_name = "NAME=VALUE")]
    pub params: Vec<String>,
    /// Set one value of the graph file in every run
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub set: Vec<String>,
    /// Folder for the runs and their comparison [default: runs/sweep-TIME]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// Parses a duration greater than zero.
fn some_time(given: &str) -> Result<HumanDuration, String> {
    let time: HumanDuration = given
        .parse()
        .map_err(|error: UnitError| error.to_string())?;
    if time.0.is_zero() {
        return Err("the limit must be greater than zero".to_owned());
    }
    Ok(time)
}

#[derive(Debug, Args)]
pub struct DrawArguments {
    #[command(flatten)]
    pub graph: GraphArguments,
    /// Language of the drawing
    #[arg(long, value_enum, default_value_t = Format::Dot)]
    pub format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Graphviz
    Dot,
    /// Mermaid flow chart
    Mermaid,
    /// A picture
    Svg,
    /// The graph file with everything resolved
    Yaml,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_names_none_of_several_ways_is_told_all_of_them() {
        for (typed, ways) in [
            (
                "evaluate --out x",
                &["--predictions", "--model", "--softlabels", "--compare"][..],
            ),
            ("export --output x", &["--model", "--weights"]),
            (
                "infer --input x.npy --output y.npy",
                &["--model", "--weights"],
            ),
            ("sweep g.yaml", &["--vary", "--streams"]),
            ("models pull", &["NAME", "--all"]),
        ] {
            let arguments = format!("fermata {typed}");
            let refused = Arguments::try_parse_from(arguments.split(' ')).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::MissingRequiredArgument);
            let told = refused.to_string();
            let told = told.split("Usage").next().unwrap_or_default();
            for way in ways {
                assert!(told.contains(way), "`{way}` is not in: {told}");
            }
        }
        for typed in [
            "evaluate --out x --predictions p.npz --compare q.npz",
            "evaluate --out x --compare a=b c=d",
            "evaluate --out x --softlabels s --compare q.npz",
            "export --output x --model m",
            "export --output x --arch a --weights w --card c",
            "sweep g.yaml --vary a=1 --vary b=2",
            "sweep g.yaml --streams",
            "models pull a b",
            "models pull --all",
        ] {
            let arguments = format!("fermata {typed}");
            let read = Arguments::try_parse_from(arguments.split(' '));
            assert!(read.is_ok(), "{typed}: {}", read.unwrap_err());
        }
    }
}

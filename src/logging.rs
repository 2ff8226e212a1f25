//! What is logged, how, and where: the error output and the run's log file.
//!
//! Libraries in other languages log through `tracing` as well: ONNX Runtime as `onnxruntime`, libav as `libav`. Both report what they also
//! return as an error, so their messages are a level lower than they say: warnings with `-v`, all of them with `-vv`.

use anyhow::Context;
use fermata_engine::graph::Secrets;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::prelude::*;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry};

use crate::cli::{LogArguments, LogFormat};
use crate::log_lines::Shown;

/// The variable that says by parts of the program what is logged.
const VARIABLE: &str = "FERMATA_LOG";
/// Libraries that tell of every byte; `-v` is about Fermata.
const CHATTY: &str = "hyper=warn,hyper_util=warn,reqwest=warn,rustls=warn,h2=warn,tower=warn,mio=warn,tungstenite=warn";

/// What people see.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ForPeople {
    /// Only warnings.
    pub(crate) warnings: bool,
    /// With colours.
    pub(crate) colours: bool,
}

/// Begins to log: into the file, and for people.
///
/// # Errors
/// `FERMATA_LOG` cannot be understood.
pub(crate) fn start(
    arguments: LogArguments,
    file: impl for<'a> MakeWriter<'a> + Send + Sync + 'static,
    people: ForPeople,
    writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static,
) -> anyhow::Result<()> {
    let given = std::env::var(VARIABLE)
        .ok()
        .filter(|given| !given.is_empty());
    let to_people = match people.warnings {
        true => "warn",
        false => level(arguments.verbose),
    };
    let format = arguments.log_format;
    let to_file = lines(format, file, false, true)
        .with_filter(filter(given.as_deref(), level(arguments.verbose))?);
    let to_people = lines(format, writer, people.colours, arguments.verbose > 0)
        .with_filter(filter(given.as_deref(), to_people)?);
    Registry::default().with(to_file).with(to_people).init();
    Ok(())
}

/// Does something and tells people what the part of the program with this name says meanwhile, on this thread.
pub(crate) fn telling<T>(part: &str, secrets: &Secrets, work: impl FnOnce() -> T) -> T {
    let writer = Shown::new(std::io::stderr, secrets, false);
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    let layer = layer.with_ansi(false).with_target(false).without_time();
    let layer = layer.with_filter(EnvFilter::new(format!("{part}=info")));
    tracing::subscriber::with_default(Registry::default().with(layer), work)
}

fn level(verbose: u8) -> &'static str {
    match verbose {
        0 => "info",
        1 => "debug",
        _ => "trace",
    }
}

fn filter(given: Option<&str>, level: &str) -> anyhow::Result<EnvFilter> {
    let directives = given.map_or_else(|| format!("{level},{CHATTY}"), str::to_owned);
    EnvFilter::try_new(&directives).with_context(|| {
        format!("{VARIABLE} is `{directives}`, but must be levels by part of the program, such as warn,fermata_engine=debug")
    })
}

fn lines<S, W>(
    format: LogFormat,
    writer: W,
    colours: bool,
    targets: bool,
) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    match format {
        LogFormat::Text => layer.with_ansi(colours).with_target(targets).boxed(),
        LogFormat::Json => layer
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .boxed(),
    }
}

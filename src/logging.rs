//! What is logged, in which form, and where: standard error and the run's log file.
//!
//! Libraries in other languages also log through `tracing`: ONNX Runtime as `onnxruntime`, libav as `libav`. What they
//! log is also returned as an error, so their messages are logged one level lower: warnings with `-v`, all of them with
//! `-vv`.

use anyhow::{Context, bail};
use fermata_engine::graph::{Secrets, most_alike};
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::prelude::*;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry};

use crate::cli::{LogArguments, LogFormat};
use crate::log_lines::Shown;

/// The environment variable that sets log levels by part of the program.
const VARIABLE: &str = "FERMATA_LOG";
/// Libraries that log every byte; `-v` is about Fermata.
const CHATTY: &str = "hyper=warn,hyper_util=warn,reqwest=warn,rustls=warn,h2=warn,tower=warn,mio=warn,tungstenite=warn";
/// What may stand alone in the variable: levels …
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
/// … and parts of the program, which are then logged completely.
const PARTS: [&str; 15] = [
    "fermata",
    "fermata_actors",
    "fermata_engine",
    "fermata_files",
    "fermata_jobs",
    "fermata_learn",
    "fermata_onnx",
    "fermata_pull",
    "fermata_remote",
    "fermata_serve",
    "fermata_trace",
    "fermata_vision",
    "async_nats",
    "libav",
    "onnxruntime",
];

/// What is shown on the terminal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ForPeople {
    /// Only warnings.
    pub(crate) warnings: bool,
    /// With colours.
    pub(crate) colours: bool,
}

/// Starts logging to the file and to the terminal.
///
/// # Errors
/// Fails if `FERMATA_LOG` cannot be parsed.
pub(crate) fn start(
    arguments: LogArguments,
    file: impl for<'a> MakeWriter<'a> + Send + Sync + 'static,
    people: ForPeople,
    writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static,
) -> anyhow::Result<()> {
    let given = std::env::var(VARIABLE)
        .ok()
        .filter(|given| !given.is_empty());
    let to_people = if people.warnings {
        "warn"
    } else {
        level(arguments.verbose)
    };
    let format = arguments.log_format;
    let to_file = lines(format, file, false, true)
        .with_filter(filter(given.as_deref(), level(arguments.verbose))?);
    let to_people = lines(format, writer, people.colours, arguments.verbose > 0)
        .with_filter(filter(given.as_deref(), to_people)?);
    Registry::default().with(to_file).with(to_people).init();
    Ok(())
}

/// Runs `work` and shows what this part of the program logs meanwhile on this thread.
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
    if let Some(wrong) = given.and_then(neither_level_nor_part) {
        let all = LEVELS.into_iter().chain(PARTS);
        let lowered = wrong.to_lowercase();
        let help = match most_alike(&lowered, all) {
            Some(alike) => format!("did you mean `{alike}`?"),
            None => format!("it must be one of {}, or PART=LEVEL", LEVELS.join(", ")),
        };
        bail!(
            "{VARIABLE} has `{wrong}`, which is neither a level nor a part of the program: {help}"
        );
    }
    let directives = given.map_or_else(|| format!("{level},{CHATTY}"), str::to_owned);
    EnvFilter::try_new(&directives).with_context(|| {
        format!("{VARIABLE} is `{directives}`, but must be levels by part of the program, such as warn,fermata_engine=debug")
    })
}

/// Returns a directive that stands alone and is neither a level nor a known part: it would be taken for a part and
/// silence all others.
fn neither_level_nor_part(given: &str) -> Option<&str> {
    let mut depth = 0_usize;
    let directives = given.split(|c| {
        match c {
            '[' | '{' => depth += 1,
            ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        // Commas also separate the fields of a span.
        c == ',' && depth == 0
    });
    let alone = directives.map(str::trim);
    let mut alone = alone.filter(|one| !one.is_empty() && !one.contains(['=', '[']));
    alone.find(|one| {
        let is_level = LEVELS.iter().any(|level| level.eq_ignore_ascii_case(one))
            || matches!(one.as_bytes(), [b'0'..=b'5']);
        let part = one.split("::").next().unwrap_or_default();
        !is_level && !PARTS.contains(&part)
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

#[cfg(test)]
mod tests {
    use super::{PARTS, filter, neither_level_nor_part};

    #[test]
    fn what_stands_alone_is_a_level_or_a_part() {
        for given in [
            "warn",
            "WARN",
            "3",
            "off,fermata=debug",
            " warn , fermata_engine",
            "fermata_engine::runtime",
            "libav,onnxruntime=trace",
            "some_crate=debug",
            "[span{a=1,b,c}]=debug",
            "warn,",
        ] {
            assert_eq!(neither_level_nor_part(given), None, "{given}");
        }
        for (given, wrong, help) in [
            ("warning", "warning", "did you mean `warn`?"),
            ("fermata=debug, Warning", "Warning", "did you mean `warn`?"),
            ("warn,fermata_engin", "fermata_engin", "`fermata_engine`?"),
            ("fermata-engine::lane", "fermata-engine::lane", "neither"),
            ("6", "6", "off, error, warn, info, debug, trace"),
            ("verbose", "verbose", "PART=LEVEL"),
        ] {
            assert_eq!(neither_level_nor_part(given), Some(wrong), "{given}");
            let error = filter(Some(given), "info").unwrap_err().to_string();
            assert!(error.contains(help), "{error}");
        }
    }

    #[test]
    fn every_crate_of_the_project_is_a_part() {
        let manifest = include_str!("../Cargo.toml");
        let crates = manifest.lines().filter_map(|line| {
            let (name, rest) = line.split_once(" = { path = ")?;
            (!rest.is_empty()).then(|| name.replace('-', "_"))
        });
        let crates: Vec<String> = crates.collect();
        assert!(crates.len() > 8, "{crates:?}");
        for name in crates {
            assert!(PARTS.contains(&name.as_str()), "{name}");
        }
    }
}

//! What a run shows while it runs: a live table on a terminal, log lines otherwise; and where log lines go. The table's
//! contents are built in `stream_table`.

mod stream_table;

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use fermata_engine::ClockMode;
use fermata_engine::graph::Secrets;
use fermata_engine::rates::Window;
use fermata_engine::statistics::Snapshot;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tracing_subscriber::fmt::MakeWriter;

use crate::cli::{LogArguments, LogFormat};
use crate::log_lines::Shown;
use crate::logging::{self, ForPeople};
use crate::print::complain;
use crate::terminal;
use stream_table::StreamTable;

/// Maximum number of lines of the table on a tall terminal.
const MOST_ROWS: usize = 24;
/// Lines of the terminal left free above the table.
const ABOVE: usize = 2;
/// Width of the spinner and its gap.
const SPINNER: usize = 2;
/// Time over which rates are computed.
const RATES_OVER_S: f64 = 5.0;
/// Time between two log lines without a terminal.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// The rows of a manifest that a job processes.
#[derive(Clone, Copy, Debug)]
pub struct JobRows {
    /// All of them.
    pub all: usize,
    /// Those done by an earlier run.
    pub done: usize,
}

/// The progress of a job.
struct Counting {
    rows: JobRows,
    since: Instant,
}

impl Counting {
    /// Formats rows, rate and remaining time; `rows` have reached the sinks since the start.
    fn line(&self, rows: u64) -> String {
        let JobRows { all, done } = self.rows;
        let passed = self.since.elapsed().as_secs_f64().max(1e-3);
        let rate = rows as f64 / passed;
        // A unit that is repeated is counted twice on its way.
        let now = (done + rows as usize).min(all);
        let share = 100.0 * now as f64 / all.max(1) as f64;
        let left = match rows {
            0 => "…".to_owned(),
            _ => human((all - now) as f64 / rate),
        };
        format!("{now} of {all} rows ({share:.0} %)  {rate:.1}/s  {left} left")
    }
}

/// Formats a duration for people.
fn human(seconds: f64) -> String {
    let seconds = seconds.ceil() as u64;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// The progress display of a run.
pub(crate) struct Progress {
    counting: Option<Counting>,
    says: Option<Box<dyn Fn() -> Option<String>>>,
    table: Option<MultiProgress>,
    rows: Vec<ProgressBar>,
    clock: ClockMode,
    window: Window,
    /// Streams seen so far, in order of appearance.
    seen: Vec<String>,
    last_log: Instant,
    quiet: bool,
    log: LogArguments,
}

impl Progress {
    /// Creates a display: a table if standard error is a terminal and the log format is text.
    pub(crate) fn new(quiet: bool, log: LogArguments, clock: ClockMode) -> Self {
        let for_people = !quiet && log.log_format == LogFormat::Text;
        let table = (io::stderr().is_terminal() && for_people).then(MultiProgress::new);
        Self {
            counting: None,
            says: None,
            table,
            rows: Vec::new(),
            clock,
            window: Window::new(RATES_OVER_S),
            seen: Vec::new(),
            last_log: Instant::now(),
            quiet,
            log,
        }
    }

    /// Adds a line with the progress of a job.
    pub(crate) fn counting(mut self, rows: Option<JobRows>) -> Self {
        let since = Instant::now();
        self.counting = rows.map(|rows| Counting { rows, since });
        self
    }

    /// Adds a line of the job's own.
    pub(crate) fn saying(mut self, says: Option<Box<dyn Fn() -> Option<String>>>) -> Self {
        self.says = says;
        self
    }

    /// Sends log lines to the log file, and the important ones above the table.
    ///
    /// # Errors
    /// See [`logging::start`].
    pub(crate) fn log_to(&self, file: File, secrets: &Secrets) -> anyhow::Result<()> {
        let coloured = self.table.is_some();
        let people = ForPeople {
            warnings: self.quiet || (coloured && self.log.verbose == 0),
            colours: coloured,
        };
        logging::start(
            self.log,
            Shown::new(
                Mutex::new(LogFile {
                    file,
                    has_failed: false,
                }),
                secrets,
                false,
            ),
            people,
            Shown::new(AboveTable(self.table.clone()), secrets, coloured),
        )
    }

    /// Shows the current state of the run.
    pub(crate) fn show(&mut self, now: Snapshot) {
        self.window.push(now);
        if let Some(table) = self.table.clone() {
            let lines = self.lines(true);
            self.draw(&table, &lines);
        } else if !self.quiet && self.last_log.elapsed() >= LOG_EVERY {
            self.last_log = Instant::now();
            for line in self.lines(false) {
                tracing::info!("{line}");
            }
        }
    }

    /// Returns the lines to show: the progress of a job, or the state of each stream for other runs.
    fn lines(&mut self, in_a_table: bool) -> Vec<String> {
        let Some(now) = self.window.newest() else {
            return Vec::new();
        };
        let mut lines = match &self.counting {
            Some(counting) => vec![counting.line(now.delivered())],
            None => {
                let is_open = |name: &String| now.streams.iter().any(|stream| stream.name == *name);
                // Units of work come and go by the thousand.
                let named = now.streams.iter().filter(|_| !now.has_units);
                for stream in named {
                    if !self.seen.contains(&stream.name) {
                        self.seen.push(stream.name.clone());
                    }
                }
                let ended = self.seen.iter().filter(|name| !is_open(name));
                let ended: Vec<String> = ended.cloned().collect();
                let streams = StreamTable {
                    now,
                    rates: &self.window.rates(),
                    ended: &ended,
                    clock: self.clock,
                };
                if in_a_table {
                    let width = terminal::size(io::stderr()).0.saturating_sub(SPINNER);
                    let mut lines = vec![streams.summary(width)];
                    lines.extend(streams.lines(width));
                    lines
                } else {
                    streams.sentences()
                }
            }
        };
        lines.extend(self.says.as_ref().and_then(|says| says()));
        lines
    }

    fn draw(&mut self, table: &MultiProgress, lines: &[String]) {
        let high = terminal::size(io::stderr()).1.saturating_sub(ABOVE);
        let most = high.clamp(1, MOST_ROWS);
        let shown = if lines.len() > most {
            most - 1
        } else {
            lines.len()
        };
        while self.rows.len() < lines.len().min(most) {
            let first = self.rows.is_empty();
            let row = table.add(ProgressBar::new_spinner());
            let template = if first {
                "{spinner} {wide_msg}"
            } else {
                "  {wide_msg}"
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                row.set_style(style);
            }
            self.rows.push(row);
        }
        for (index, row) in self.rows.iter().enumerate() {
            match lines.get(index) {
                Some(line) if index < shown => row.set_message(line.clone()),
                Some(_) if index == shown => {
                    row.set_message(format!("… and {} more", lines.len() - shown));
                }
                _ => row.set_message(""),
            }
            row.tick();
        }
    }

    /// Removes the table.
    pub(crate) fn end(&self) {
        for row in &self.rows {
            row.finish_and_clear();
        }
    }
}

/// The log file. Lines that cannot be written are lost, which is reported once.
struct LogFile {
    file: File,
    has_failed: bool,
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(error) = self.file.write_all(bytes)
            && !std::mem::replace(&mut self.has_failed, true)
        {
            complain(&format!("lines are missing in the log: {error}"));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A writer of log lines to standard error, above the table if there is one.
struct AboveTable(Option<MultiProgress>);

/// A writer for one log line.
struct Line<'a> {
    table: Option<&'a MultiProgress>,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A closed terminal reads nothing, and a subscriber that fails to write would panic.
        let _ = match self.table {
            Some(table) => table.suspend(|| io::stderr().write_all(bytes)),
            None => io::stderr().write_all(bytes),
        };
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for AboveTable {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line {
            table: self.0.as_ref(),
        }
    }
}

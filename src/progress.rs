//! What a run shows while it runs: a live table on a terminal, log lines otherwise; and where log lines go.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use fermata_engine::graph::Secrets;
use fermata_engine::statistics::{Rates, Snapshot};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tracing_subscriber::fmt::MakeWriter;

use crate::cli::{LogArguments, LogFormat};
use crate::log_lines::Shown;
use crate::logging::{self, ForPeople};
use crate::print::complain;

/// Streams that the table shows one by one.
const MOST_ROWS: usize = 16;
/// Time between two log lines where there is no terminal.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Rows of a manifest that a job goes through.
#[derive(Clone, Copy, Debug)]
pub struct JobRows {
    /// All of them.
    pub all: usize,
    /// Those that an earlier run has done.
    pub done: usize,
}

/// How far a job is.
struct Counting {
    rows: JobRows,
    since: Instant,
}

impl Counting {
    /// Rows, rate and remaining time; `rows` have reached the sinks since the beginning.
    fn line(&self, rows: u64) -> String {
        let JobRows { all, done } = self.rows;
        let passed = self.since.elapsed().as_secs_f64().max(1e-3);
        let rate = rows as f64 / passed;
        // A unit that is done again counts twice on its way.
        let now = (done + rows as usize).min(all);
        let share = 100.0 * now as f64 / all.max(1) as f64;
        let left = match rows {
            0 => "…".to_owned(),
            _ => human((all - now) as f64 / rate),
        };
        format!("{now} of {all} rows ({share:.0} %)  {rate:.1}/s  {left} left")
    }
}

/// A time as people say it.
fn human(seconds: f64) -> String {
    let seconds = seconds.ceil() as u64;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// Shows how a run goes.
pub(crate) struct Progress {
    counting: Option<Counting>,
    says: Option<Box<dyn Fn() -> Option<String>>>,
    table: Option<MultiProgress>,
    rows: Vec<ProgressBar>,
    /// What was shown last.
    before: Snapshot,
    last_log: Instant,
    quiet: bool,
    log: LogArguments,
}

impl Progress {
    /// A table if the error output is a terminal and lines are for people.
    pub(crate) fn new(quiet: bool, log: LogArguments) -> Self {
        let for_people = !quiet && log.log_format == LogFormat::Text;
        let table = (io::stderr().is_terminal() && for_people).then(MultiProgress::new);
        Self {
            counting: None,
            says: None,
            table,
            rows: Vec::new(),
            before: Snapshot::default(),
            last_log: Instant::now(),
            quiet,
            log,
        }
    }

    /// The same for a job, of which one line says how far it is.
    pub(crate) fn counting(mut self, rows: Option<JobRows>) -> Self {
        let since = Instant::now();
        self.counting = rows.map(|rows| Counting { rows, since });
        self
    }

    /// The same with a line of the job's own.
    pub(crate) fn saying(mut self, says: Option<Box<dyn Fn() -> Option<String>>>) -> Self {
        self.says = says;
        self
    }

    /// Sends log lines to the log file, and those that matter above the table.
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

    /// Shows what the run is doing now.
    pub(crate) fn show(&mut self, now: Snapshot) {
        let mut lines = match &self.counting {
            Some(counting) => vec![counting.line(now.delivered())],
            None => self.by_stream(&now),
        };
        lines.extend(self.says.as_ref().and_then(|says| says()));
        if let Some(table) = &self.table {
            let table = table.clone();
            self.draw(&table, &lines);
        } else if !self.quiet && self.last_log.elapsed() >= LOG_EVERY {
            self.last_log = Instant::now();
            for line in &lines {
                tracing::info!("{line}");
            }
        } else if self.table.is_none() {
            // Between two log lines nothing is shown, and rates are counted over the whole time.
            return;
        }
        self.before = now;
    }

    /// A line for each stream that is there, and one for those that have been closed.
    fn by_stream(&self, now: &Snapshot) -> Vec<String> {
        let rates = Rates::between(&self.before, now);
        let open = now.streams.iter().map(|stream| {
            let name = &stream.name;
            let rate = rates.streams.get(name).map_or(0.0, |rates| rates.delivered);
            // What is lost before a fork is lost at every sink behind it.
            let losses = stream.sinks.iter().map(|sink| sink.losses.values().sum::<u64>());
            let lost = losses.max().unwrap_or(0);
            let latency = stream.sinks.iter().map(|sink| sink.latency.quantiles_ms.p50);
            let latency = latency.fold(0.0, f64::max);
            format!(
                "{name:<12} {:>8} frames {rate:>7.1}/s  latency {latency:>6.1} ms  lost {lost}  missed {}",
                stream.delivered, stream.missed
            )
        });
        let closed = now.closed;
        let closed = (closed.count > 0)
            .then(|| format!("{} ended, with {} frames", closed.count, closed.delivered));
        open.chain(closed).collect()
    }

    fn draw(&mut self, table: &MultiProgress, lines: &[String]) {
        let rows = lines.len().min(MOST_ROWS) + usize::from(lines.len() > MOST_ROWS);
        while self.rows.len() < rows {
            let row = table.add(ProgressBar::new_spinner());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
                row.set_style(style);
            }
            self.rows.push(row);
        }
        for (index, row) in self.rows.iter().enumerate() {
            match lines.get(index) {
                Some(line) if index < MOST_ROWS => row.set_message(line.clone()),
                Some(_) => row.set_message(format!("… and {} more", lines.len() - MOST_ROWS)),
                None => {}
            }
            row.tick();
        }
    }

    /// Takes the table away.
    pub(crate) fn end(&self) {
        for row in &self.rows {
            row.finish_and_clear();
        }
    }
}

/// The log. Lines that cannot be written are lost, and that is said once.
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

/// Writes log lines to the error output, above the table if there is one.
struct AboveTable(Option<MultiProgress>);

/// One log line on its way.
struct Line<'a> {
    table: Option<&'a MultiProgress>,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A terminal that is gone reads nothing, and a subscriber that fails to write would panic about it.
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

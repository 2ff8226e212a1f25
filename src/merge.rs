//! `fermata report merge`: one book over all machines of a site. Combines the books of the parts, each of which has
//! been checked already.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context;
use fermata_engine::report::{EarlierReport, UnsentReport};
use fermata_engine::{InstanceName, Report};
use fermata_files::FolderLock;
use serde::Serialize;

use crate::cli::{SUCCESS, UNBALANCED};
use crate::documents::json as json_text;
use crate::lives_file::report_of_killed;
use crate::print::print;

/// One book over a site.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(crate) struct SiteBook {
    /// By stream and sink (`log on server`).
    pub(crate) sinks: BTreeMap<String, BTreeMap<String, SinkBook>>,
    /// How far two machines' clocks may differ, and so latencies between them be wrong, in milliseconds; none if a part
    /// could not compare its clock with the server's.
    pub(crate) clock_error_ms: Option<f64>,
    /// The books that do not balance.
    pub(crate) imbalances: Vec<String>,
}

/// A stream at a sink; captured = delivered + settled_before + losses.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(crate) struct SinkBook {
    /// Packets that the stream's source passed to its graph, on the machine where it runs.
    pub(crate) captured: u64,
    /// Frames that a live source overwrote before capture; not in `captured`.
    pub(crate) overwritten: u64,
    /// Packets that the sink handled.
    pub(crate) delivered: u64,
    /// Packets settled by earlier, killed lives of the sink's part: what they wrote is in their files, and how many of
    /// these packets were lost on the way to this sink is unknown.
    pub(crate) settled_before: u64,
    /// Packets that did not arrive, by cause, node and machine.
    pub(crate) losses: BTreeMap<String, u64>,
}

/// Reads the reports of runs, and prints their combined book.
///
/// # Errors
/// Fails if a report is missing or cannot be read, or if nothing can be printed.
pub(crate) fn merge(runs: &[PathBuf], json: bool) -> anyhow::Result<u8> {
    let reports = runs.iter().map(|run| read(run));
    let reports: Vec<Report> = reports.collect::<anyhow::Result<_>>()?;
    let book = book(&reports)?;
    print(&if json { json_text(&book)? } else { book.text() })?;
    Ok(if book.imbalances.is_empty() {
        SUCCESS
    } else {
        UNBALANCED
    })
}

fn read(run: &Path) -> anyhow::Result<Report> {
    let path = if run.is_dir() {
        run.join("report.json")
    } else {
        run.to_owned()
    };
    if !path.exists() {
        if FolderLock::is_held(run) {
            anyhow::bail!(
                "{} belongs to a run that is still running: it writes its report at its end",
                run.display()
            );
        }
        if let Some(report) = report_of_killed(run) {
            return Ok(report);
        }
    }
    let text = fermata_files::read(&path, fermata_files::MOST_TEXT).with_context(|| {
        format!(
            "cannot read {}: a run that was killed leaves no report",
            path.display()
        )
    })?;
    let report: Report = serde_json::from_slice(&text)
        .with_context(|| format!("{} is not a report", path.display()))?;
    if report.machine.is_none() {
        anyhow::bail!(
            "{} is the report of a run on one machine: only parts of a site (`--machine`) can be merged",
            path.display()
        );
    }
    Ok(report)
}

/// Combines the reports of the parts of one run.
///
/// # Errors
/// Fails if they belong to different runs, or two belong to the same part.
pub(crate) fn book(reports: &[Report]) -> anyhow::Result<SiteBook> {
    let sites = reports.iter().filter_map(|report| report.site.as_ref());
    let runs: BTreeSet<(&String, &String)> = sites.map(|site| (&site.site, &site.run)).collect();
    if runs.len() > 1 {
        let runs: Vec<String> = runs
            .iter()
            .map(|(site, run)| format!("{site} {run}"))
            .collect();
        anyhow::bail!("these are reports of different runs ({})", runs.join(", "));
    }
    let mut book = SiteBook::default();
    let mut known = BTreeSet::new();
    for report in reports {
        let incarnation = report.site.as_ref().map(|site| site.incarnation);
        if !known.insert((&report.machine, incarnation)) {
            anyhow::bail!(
                "two of the reports are of the same part, machine {}",
                machine(report)
            );
        }
        let machine = machine(report);
        let told = report
            .imbalances
            .iter()
            .map(|told| format!("machine {machine}: {told}"));
        book.imbalances.extend(told);
    }
    let site = Site { reports };
    let streams: BTreeSet<&String> = reports
        .iter()
        .flat_map(|report| report.streams.keys())
        .collect();
    for stream in streams {
        for report in reports
            .iter()
            .filter(|report| report.streams.contains_key(stream))
        {
            for sink in site.sinks(report, stream) {
                let name = format!("{} on {}", InstanceName::parse(sink).node, machine(report));
                let of_sink = book.sinks.entry(stream.clone()).or_default();
                of_sink.entry(name).or_insert_with(|| {
                    site.follow(stream, sink, machine(report), &mut book.imbalances)
                });
            }
        }
    }
    book.clock_error_ms = site.clock_error_ms();
    Ok(book)
}

fn machine(report: &Report) -> &str {
    report.machine.as_deref().unwrap_or_default()
}

/// Returns whether a killed life of a part had captured a stream.
fn has_had(report: &Report, stream: &str) -> bool {
    let mut lives = report.site.iter().flat_map(|site| &site.killed);
    lives.any(|life| life.captured.contains_key(stream))
}

struct Site<'a> {
    reports: &'a [Report],
}

impl<'a> Site<'a> {
    /// Returns the sinks of a stream that are not edges to other machines.
    fn sinks(&self, report: &'a Report, stream: &str) -> Vec<&'a String> {
        let sends = |sink: &str| {
            let mut edges = report.site_edges.iter();
            edges.any(|edge| !edge.receives && edge.node == InstanceName::parse(sink).node)
        };
        let sinks = report.streams.get(stream).into_iter();
        let sinks = sinks.flat_map(|stream| stream.sinks.keys());
        sinks.filter(|sink| !sends(sink)).collect()
    }

    /// Returns all parts of a machine, one for each time it was started.
    fn of_machine(&self, name: &str) -> impl Iterator<Item = &'a Report> {
        self.reports
            .iter()
            .filter(move |report| machine(report) == name)
    }

    /// Returns the edge that brings a stream to a machine, if any.
    fn edge_into(&self, name: &str, stream: &str) -> Option<&'a str> {
        let reports = self.of_machine(name);
        let mut edges = reports.flat_map(|report| {
            let comes = |node: &str| report.nodes.contains_key(&format!("{node}@{stream}"));
            let edges = report.site_edges.iter();
            edges.filter(move |edge| edge.receives && comes(&edge.node))
        });
        edges.next().map(|edge| edge.edge.as_str())
    }

    /// Returns what killed lives of a machine's part had received of a stream over an edge.
    fn earlier(&self, name: &str, edge: &str, stream: &str) -> EarlierReport {
        let edges = self.of_machine(name).flat_map(|report| &report.site_edges);
        let mut edges = edges.filter(|found| found.receives && found.edge == edge);
        let earlier = edges.find_map(|found| found.earlier.get(stream));
        earlier.copied().unwrap_or_default()
    }

    /// Returns how much of a stream is not confirmed to have reached the server from a machine.
    fn unsent(&self, name: &str, edge: &str, stream: &str) -> UnsentReport {
        let edges = self.of_machine(name).flat_map(|report| &report.site_edges);
        let mut edges = edges.filter(|found| !found.receives && found.edge == edge);
        let unsent = edges.find_map(|found| found.unsent.get(stream));
        unsent.copied().unwrap_or_default()
    }

    /// Returns how many packets of a stream killed lives of a machine's part had captured, as far as recorded; none if
    /// there were no such lives.
    fn killed(&self, name: &str, stream: &str) -> Option<u64> {
        let sites = self
            .of_machine(name)
            .filter_map(|report| report.site.as_ref());
        let mut lives = sites.flat_map(|site| &site.killed).peekable();
        lives.peek()?;
        Some(
            lives
                .map(|life| life.captured.get(stream).copied().unwrap_or(0))
                .sum(),
        )
    }

    /// Returns the machine where a stream enters an edge. A stream that was added on its page is forgotten if it is
    /// killed; its next life does not have it.
    fn beginning_of(&self, edge: &str, stream: &str) -> Option<&'a str> {
        let mut reports = self.reports.iter().filter(|report| {
            let sends = |found: &&fermata_engine::report::SiteEdgeReport| {
                !found.receives && found.edge == edge
            };
            report.site_edges.iter().any(|found| sends(&found))
                && (report.streams.contains_key(stream) || has_had(report, stream))
        });
        reports.next().map(machine)
    }

    /// Follows a stream from a sink back to where it was captured.
    fn follow(
        &self,
        stream: &str,
        sink: &str,
        name: &str,
        imbalances: &mut Vec<String>,
    ) -> SinkBook {
        let mut book = SinkBook::default();
        let (mut captured, mut missed) = self.at_sink(stream, sink, name, &mut book);
        let edge = self.edge_into(name, stream);
        let earlier = edge.map_or_else(EarlierReport::default, |edge| {
            self.earlier(name, edge, stream)
        });
        let Some(edge) = edge else {
            book.captured = captured;
            book.overwritten = missed;
            return book;
        };
        book.settled_before = earlier.settled;
        captured += earlier.settled;
        missed += earlier.missed;
        let Some(before) = self.beginning_of(edge, stream) else {
            imbalances.push(format!(
                "stream {stream} comes to machine {name} over edge {edge}, but there is no report of the machine where it begins"
            ));
            book.captured = captured;
            return book;
        };
        let mut upstream = self.follow(stream, &format!("{edge}@{stream}"), before, imbalances);
        let arrived = captured + missed;
        let told = upstream.delivered + upstream.settled_before;
        if let Some(known) = self.killed(before, stream)
            && told <= arrived
        {
            // The rest of what arrived was sent by lives that left no report; whatever else they had captured was lost
            // with them.
            let sent = arrived - told;
            upstream.captured += sent.max(known);
            if known > sent {
                let cause = format!("crashed on {before}");
                *upstream.losses.entry(cause).or_default() += known - sent;
            }
        } else if told != arrived {
            imbalances.push(format!(
                "edge {edge}, stream {stream}: {} went in on {before}, and {captured} came out on {name} and {missed} were missed there",
                told
            ));
        }
        let mut left = missed;
        for (cause, count) in self.lost_between(before, name, edge, stream) {
            let count = count.min(left);
            left -= count;
            if count > 0 {
                *book.losses.entry(cause).or_default() += count;
            }
        }
        for (cause, count) in upstream.losses {
            *book.losses.entry(cause).or_default() += count;
        }
        book.captured = upstream.captured;
        book.overwritten = upstream.overwritten;
        book
    }

    /// Adds what a machine's part reports of a stream at a sink; returns how many packets it captured and how many it
    /// missed.
    fn at_sink(&self, stream: &str, sink: &str, name: &str, book: &mut SinkBook) -> (u64, u64) {
        let (mut captured, mut missed) = (0, 0);
        for report in self.of_machine(name) {
            let Some(found) = report.streams.get(stream) else {
                continue;
            };
            captured += found.captured;
            missed += found.missed;
            if let Some(at) = found.sinks.get(sink) {
                book.delivered += at.delivered;
                for (cause, count) in &at.losses {
                    *book.losses.entry(format!("{cause} on {name}")).or_default() += count;
                }
            }
        }
        (captured, missed)
    }

    /// Returns why packets of a stream may be missing after an edge, with the maximum count of each cause, the
    /// likeliest first.
    fn lost_between(&self, from: &str, to: &str, edge: &str, stream: &str) -> [(String, u64); 4] {
        let unsent = self.unsent(from, edge, stream);
        [
            (format!("full at edge {edge} on {from}"), unsent.dropped),
            (format!("too old at edge {edge} on {from}"), unsent.aged),
            // Some of these may have arrived.
            (
                format!("sent without an answer by {from}"),
                unsent.unconfirmed,
            ),
            (format!("lost between {from} and {to}"), u64::MAX),
        ]
    }

    /// Returns how far the clocks of any two machines may differ: each was compared with the server's, within an error.
    fn clock_error_ms(&self) -> Option<f64> {
        let mut most: f64 = 0.0;
        for one in self.reports {
            let found = one.site.as_ref().and_then(|site| site.latency_error_ms);
            most = most.max(found.unwrap_or(0.0));
            for other in self.reports {
                let of = |report: &Report| report.site.as_ref().and_then(|site| site.clock);
                let (one, other) = (of(one)?, of(other)?);
                let apart = (one.ahead_ms - other.ahead_ms).abs();
                most = most.max(apart + one.error_ms + other.error_ms);
            }
        }
        Some(most)
    }
}

impl SiteBook {
    fn text(&self) -> String {
        let mut text = String::new();
        for (stream, sinks) in &self.sinks {
            for (sink, book) in sinks {
                let _ = writeln!(
                    text,
                    "{stream:<16} {sink:<24} captured {} = delivered {}{} + lost {}",
                    book.captured,
                    book.delivered,
                    match book.settled_before {
                        0 => String::new(),
                        before => format!(" + settled before its part was killed {before}"),
                    },
                    book.losses.values().sum::<u64>()
                );
                for (cause, count) in &book.losses {
                    let _ = writeln!(text, "{:<16} {count:>8} {cause}", "");
                }
                if book.overwritten > 0 {
                    let _ = writeln!(
                        text,
                        "{:<16} {:>8} more were overwritten before they were captured",
                        "", book.overwritten
                    );
                }
            }
        }
        let _ = match self.clock_error_ms {
            Some(error) => writeln!(
                text,
                "latencies between machines are measured with two clocks, which differed by at most {error:.1} ms when last compared"
            ),
            None => writeln!(
                text,
                "latencies between machines are measured with two clocks, whose difference is unknown"
            ),
        };
        if !self.imbalances.is_empty() {
            text += "the books do not balance:\n";
            for imbalance in &self.imbalances {
                let _ = writeln!(text, "  {imbalance}");
            }
        }
        text
    }
}

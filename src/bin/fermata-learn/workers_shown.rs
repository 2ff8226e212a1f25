//! How a job's workers are shown: a line in the table, a table on the page, measures at `/metrics`, a line at the end.
//! Owns no state.

use fermata_remote::work::{Counted, JobNow, WorkerNow};
use fermata_serve::{Family, Measure, WorkerNumbers};

/// Maximum number of workers shown individually at `/metrics`.
const MOST_SHOWN: usize = 64;

const HANDED_OUT: Family = Family::gauge(
    "fermata_job_handed_out_units",
    "Units that are handed out to workers.",
);
const LATE: Family = Family::counter(
    "fermata_job_late_results_total",
    "Results that came after another worker's, or were not confirmed before their worker ended, and were discarded.",
);
const REPUBLISHED: Family = Family::counter(
    "fermata_job_republished_units_total",
    "Units without a result that no worker held, and that were handed out again.",
);
const REJECTED: Family = Family::counter(
    "fermata_job_rejected_results_total",
    "Results that were invalid or that the server has lost, and that are computed again.",
);
const MALFORMED: Family = Family::counter(
    "fermata_job_malformed_messages_total",
    "Messages and records from the network that could not be read, and reports of workers for which there was no room.",
);
const REFUSED: Family = Family::gauge(
    "fermata_job_refused_workers",
    "Workers that do not take part: they differ from the job, failed over a unit, or their result was not used.",
);
const WORKER_ROWS: Family = Family::counter(
    "fermata_job_worker_rows_total",
    "Rows that a worker has computed and that were used.",
);
const WORKER_RATE: Family = Family::gauge(
    "fermata_job_worker_rows_per_second",
    "Rows that a worker has computed, used or not, per second since it was first heard from.",
);
const WORKER_LAGS: Family = Family::gauge(
    "fermata_job_worker_lags",
    "1 if a worker is slower than half of the median.",
);
const WORKER_SILENT: Family = Family::gauge(
    "fermata_job_worker_silent_seconds",
    "Time since a worker was last heard from.",
);
const WORKER_OLDEST: Family = Family::gauge(
    "fermata_job_worker_oldest_unit_seconds",
    "Age of the oldest unit that a worker holds.",
);

/// Returns the measures of the workers for `/metrics`.
pub(crate) fn measures_of(now: &JobNow) -> Vec<Measure> {
    let (refused, taking_part): (Vec<_>, Vec<_>) = now
        .workers
        .iter()
        .partition(|worker| worker.report.refuses.is_some());
    let of_job = |family, value| Measure {
        family,
        labels: vec![],
        value,
    };
    let mut measures = vec![
        of_job(&HANDED_OUT, now.handed_out as f64),
        of_job(&LATE, now.late() as f64),
        of_job(&REPUBLISHED, now.republished as f64),
        of_job(&REJECTED, now.rejected as f64),
        of_job(&MALFORMED, now.malformed as f64),
        of_job(&REFUSED, refused.len() as f64),
    ];
    for worker in taking_part.into_iter().take(MOST_SHOWN) {
        let counted = now.counted.get(&worker.report.worker).copied();
        measures.extend(measures_of_worker(worker, counted.unwrap_or_default()));
    }
    measures
}

fn measures_of_worker(worker: &WorkerNow, counted: Counted) -> [Measure; 5] {
    let report = &worker.report;
    let ages_ms = report.working.iter().map(|(_, ms)| *ms);
    let oldest_s = ages_ms.max().unwrap_or(0) as f64 / 1000.0;
    let measure = |family, value| Measure {
        family,
        labels: vec![("worker", report.worker.clone())],
        value,
    };
    [
        measure(&WORKER_ROWS, counted.rows as f64),
        measure(&WORKER_RATE, worker.rows_per_s),
        measure(&WORKER_LAGS, f64::from(u8::from(worker.lags))),
        measure(&WORKER_SILENT, worker.silent_s),
        measure(&WORKER_OLDEST, oldest_s),
    ]
}

/// Returns the workers for the page and `fermata top`, ordered by state: working, waiting, silent, refused, gone.
pub(crate) fn workers_of(now: &JobNow, lease_s: f64) -> Vec<WorkerNumbers> {
    const STATES: [&str; 5] = ["working", "waiting", "silent", "refused", "gone"];
    let mut workers: Vec<(usize, WorkerNumbers)> = Vec::with_capacity(now.workers.len());
    for worker in &now.workers {
        let report = &worker.report;
        let state = if report.refuses.is_some() {
            3
        } else if report.ends {
            4
        } else if worker.silent_s > lease_s {
            2
        } else {
            usize::from(report.working.is_empty())
        };
        let counted = now.counted.get(&report.worker).copied().unwrap_or_default();
        let ages_ms = report.working.iter().map(|(_, ms)| *ms);
        let numbers = WorkerNumbers {
            name: report.worker.clone(),
            host: report.host.clone(),
            state: STATES[state].to_owned(),
            reason: report.refuses.clone().or(report.obstacle.clone()),
            in_hand: report.working.iter().map(|(unit, _)| *unit).collect(),
            oldest_unit_s: ages_ms.max().unwrap_or(0) as f64 / 1000.0,
            units: counted.units,
            rows: counted.rows,
            rows_per_s: worker.rows_per_s,
            lags: worker.lags,
            late: report.late,
            silent_s: worker.silent_s,
        };
        workers.push((state, numbers));
    }
    workers.sort_by_key(|(state, _)| *state);
    workers.into_iter().map(|(_, numbers)| numbers).collect()
}

/// Formats a line about the workers of a running job.
pub(crate) fn said(now: &JobNow, lease_s: f64) -> String {
    let active: Vec<_> = now.active(lease_s).collect();
    let rate: f64 = active.iter().map(|worker| worker.rows_per_s).sum();
    let mut line = format!("{} workers  {rate:.1} rows/s", active.len());
    let lags: Vec<String> = active
        .iter()
        .filter(|worker| worker.lags)
        .map(|worker| format!("{} ({:.1}/s)", worker.report.worker, worker.rows_per_s))
        .collect();
    if !lags.is_empty() {
        line += &format!("  lagging: {}", lags.join(", "));
    }
    let hindered = active.iter().filter_map(|worker| {
        let obstacle = worker.report.obstacle.as_ref()?;
        Some(format!(
            "  {} makes no progress: {obstacle}",
            worker.report.worker
        ))
    });
    let here = now.obstacle.as_ref();
    let here = here.map(|obstacle| format!("  no progress: {obstacle}"));
    // One reason is enough.
    line += &here.into_iter().chain(hindered).next().unwrap_or_default();
    line + &counts(now)
}

/// Formats a line about the workers of a job that has ended.
pub(crate) fn ended(now: &JobNow) -> String {
    let rows: u64 = now.counted.values().map(|counted| counted.rows).sum();
    let workers = now.counted.len();
    format!("{rows} rows from {workers} workers{}", counts(now))
}

/// Formats the irregularities of a job, if any.
fn counts(now: &JobNow) -> String {
    let refused = now
        .workers
        .iter()
        .filter(|worker| worker.report.refuses.is_some());
    let mut line = String::new();
    for (count, what) in [
        (now.late(), "late results discarded"),
        (now.republished, "units handed out again"),
        (now.rejected, "results rejected or lost"),
        (refused.count() as u64, "workers refused"),
    ] {
        if count > 0 {
            line += &format!("  {count} {what}");
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use fermata_remote::work::records::WorkerReport;

    use super::*;

    #[test]
    fn each_worker_is_shown_with_what_it_does_and_those_that_work_stand_first() {
        let worker = |name: &str, silent_s: f64, report: WorkerReport| WorkerNow {
            report: WorkerReport {
                worker: name.to_owned(),
                ..report
            },
            rows_per_s: 2.5,
            silent_s,
            lags: false,
        };
        let working = WorkerReport {
            working: vec![(7, 400), (9, 1500)],
            units: 5,
            rows: 40,
            ..WorkerReport::default()
        };
        let refused = WorkerReport {
            refuses: Some("other weights".to_owned()),
            ..WorkerReport::default()
        };
        let gone = WorkerReport {
            ends: true,
            ..WorkerReport::default()
        };
        let now = JobNow {
            workers: vec![
                worker("a", 0.1, gone),
                worker("b", 0.1, refused),
                worker("c", 31.0, working.clone()),
                worker("d", 0.1, WorkerReport::default()),
                worker("e", 0.1, working),
            ],
            counted: BTreeMap::from([("e".to_owned(), Counted { units: 3, rows: 24 })]),
            ..JobNow::default()
        };
        let shown = workers_of(&now, 30.0);
        let states: Vec<_> = shown.iter().map(|w| (&*w.name, &*w.state)).collect();
        let expected = [
            ("e", "working"),
            ("d", "waiting"),
            ("c", "silent"),
            ("b", "refused"),
            ("a", "gone"),
        ];
        assert_eq!(states, expected);
        let first = &shown[0];
        assert_eq!((&*first.in_hand, first.oldest_unit_s), (&[7, 9][..], 1.5));
        // What counts here, not what the worker reports.
        assert_eq!((first.units, first.rows), (3, 24));
        let measures = measures_of(&now);
        let mut of_it = measures
            .iter()
            .filter(|measure| measure.labels == [("worker", "e".to_owned())]);
        assert_eq!(of_it.next().map(|rows| rows.value), Some(24.0));
        assert_eq!(shown[3].reason.as_deref(), Some("other weights"));
    }

    #[test]
    fn why_a_job_makes_no_progress_stands_in_its_line() {
        let report = WorkerReport {
            worker: "a".to_owned(),
            obstacle: Some("the storage is full".to_owned()),
            ..WorkerReport::default()
        };
        let worker = WorkerNow {
            report,
            rows_per_s: 0.0,
            silent_s: 0.1,
            lags: false,
        };
        let mut now = JobNow {
            workers: vec![worker],
            ..JobNow::default()
        };
        let line = "1 workers  0.0 rows/s  a makes no progress: the storage is full";
        assert_eq!(said(&now, 30.0), line);
        let shown = workers_of(&now, 30.0);
        assert_eq!(shown[0].reason.as_deref(), Some("the storage is full"));
        now.obstacle = Some("no answer".to_owned());
        let line = "1 workers  0.0 rows/s  no progress: no answer";
        assert_eq!(said(&now, 30.0), line);
    }
}

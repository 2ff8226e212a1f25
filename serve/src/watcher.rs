//! The thread that observes the run: each event at once, the numbers once a second, however many browsers are watching.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fermata_engine::RunEvent;
use fermata_engine::rates::Window;

use crate::counting::{Counting, Moment};
use crate::watched_run::{Phase, Published, WatchedRun};

/// Time between two snapshots.
const EVERY: Duration = Duration::from_secs(1);
/// The span of the rates, seconds.
const SPAN_S: f64 = 5.0;
/// Maximum time until the end of the server is noticed.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Watches until the server ends, and then publishes once more.
pub(crate) fn watch(run: &WatchedRun, events: &flume::Receiver<RunEvent>) {
    let mut counting = Counting::default();
    let mut window = Window::new(SPAN_S);
    let mut next = Instant::now();
    let mut are_events = true;
    loop {
        let is_over = run.phase() == Phase::Over;
        if is_over {
            events.try_iter().for_each(|event| take(run, &event));
        }
        if is_over || Instant::now() >= next {
            next = Instant::now() + EVERY;
            window.push(run.handle.snapshot());
            publish(run, &mut counting, &window, is_over);
        }
        if is_over {
            return;
        }
        let wait = next
            .saturating_duration_since(Instant::now())
            .min(LOOK_EVERY);
        if !are_events {
            std::thread::sleep(wait);
            continue;
        }
        match events.recv_timeout(wait) {
            Ok(event) => {
                let before = run.phase();
                take(run, &event);
                if run.phase() != before {
                    next = Instant::now();
                }
            }
            Err(flume::RecvTimeoutError::Timeout) => {}
            Err(flume::RecvTimeoutError::Disconnected) => are_events = false,
        }
    }
}

fn take(run: &WatchedRun, event: &RunEvent) {
    run.journal.event(event);
    match event {
        RunEvent::StreamEnded { stream, .. } => run.video.forget(stream),
        RunEvent::Draining => run.set_phase(Phase::Draining),
        RunEvent::Stopping => run.set_phase(Phase::Stopping),
        _ => {}
    }
}

fn publish(run: &WatchedRun, counting: &mut Counting, window: &Window, is_last: bool) {
    let Some(last) = window.newest() else {
        return;
    };
    let rates = window.rates();
    let numbers = counting.numbers(&Moment {
        view: &run.view,
        now: last,
        rates: &rates,
        over: &run.journal.over(),
        last_fault: run.journal.last_fault().as_deref(),
        handle: Some(&run.handle),
        run: run.phase_name(),
        pictures: run.video.pictures_encoded(),
        workers: run.workers.as_ref().map_or(Vec::new(), |all| (all.0)()),
        clocks: run.clocks.as_ref().map(|clocks| (clocks.0)()),
    });
    let running = numbers.streams.iter();
    let running = running.filter(|stream| stream.state != "over");
    run.set_running(running.map(|stream| stream.name.clone()).collect());
    match serde_json::to_string(&numbers) {
        Ok(json) => drop(run.numbers.send_replace(Published {
            json: Arc::from(json),
            is_last,
        })),
        Err(error) => tracing::error!("the numbers of the run cannot be shown: {error}"),
    }
}

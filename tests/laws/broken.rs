//! The laws: what a run of a case must keep.

use std::collections::{BTreeMap, BTreeSet};

use fermata_engine::observer::Fate;
use fermata_engine::sim::SimRun;
use fermata_engine::{How, Report};

use super::case::{Case, CommandCase, Kind, REFUSED_STREAM};
use super::keep::{Event, Life};
use super::lives::{self, Circumstances};
use super::model::Model;
use super::payloads::Trouble;

/// A run that is over.
pub(crate) struct Ran {
    pub(crate) run: SimRun,
    /// By node: the capacity of its queues, if they block.
    pub(crate) capacities: BTreeMap<String, u64>,
    pub(crate) lives: Vec<Life>,
}

pub(crate) struct Laws<'a> {
    case: &'a Case,
    model: Model<'a>,
    ran: &'a Ran,
    pub(crate) broken: Vec<String>,
}

impl<'a> Laws<'a> {
    pub(crate) fn of(case: &'a Case, ran: &'a Ran) -> Self {
        Self {
            case,
            model: Model::of(case),
            ran,
            broken: Vec::new(),
        }
    }

    fn report(&self) -> &'a Report {
        &self.ran.run.report
    }

    fn breach(&mut self, law: impl Into<String>) {
        self.broken.push(law.into());
    }

    /// Checks that every run ends, nothing hangs that was not made to, no lane spins, and nothing deadlocks.
    pub(crate) fn ends(&mut self) {
        let run = &self.ran.run;
        if !run.ended {
            self.breach(format!(
                "the run did not end: {:?} have not finished after {:?} and {} steps",
                run.unfinished, run.time, run.steps
            ));
            for (name, node) in &run.report.nodes {
                self.breach(format!(
                    "  {name}: received {}, processed {}",
                    node.received, node.processed
                ));
            }
            for edge in &run.report.edges {
                self.breach(format!(
                    "  {} -> {}: sent {}, received {}, dropped {:?}",
                    edge.from, edge.to, edge.sent, edge.received, edge.dropped
                ));
            }
        }
        if run.spins > 0 {
            self.breach(format!("a lane would have spun {} times", run.spins));
        }
        if self.case.stalls() || self.case.may_starve_a_batch() {
            return;
        }
        if !self.report().hung.is_empty() {
            self.breach(format!("hung: {:?}", self.report().hung));
        }
        // A drain may have to wait for restarts, whose delays grow.
        let case = self.case;
        let waits_for_restarts = case.breaks() || case.sources.iter().any(|s| s.panics() > 0);
        // A source that is told to end answers no more calls before it ends, and may be blocked until some have been
        // answered.
        let waits_for_answers = case.asks();
        for fault in &self.report().faults {
            let late = fault.message.contains("draining took")
                && !waits_for_restarts
                && !waits_for_answers;
            if late || fault.message.contains("deadlock") {
                self.breach(fault.message.clone());
            }
        }
    }

    pub(crate) fn books(&mut self) {
        let imbalances = self.report().imbalances.clone();
        self.broken.extend(imbalances);
        // Each loss names one place: "abandoned before n3@s0", "failed at n3@s0".
        let streams = self.report().streams.values();
        let sinks = streams.flat_map(|stream| stream.sinks.values());
        let losses = sinks.flat_map(|sink| sink.losses.keys());
        let places = |loss: &str| loss.matches(" at ").count() + loss.matches(" before ").count();
        let unclear: BTreeSet<String> = losses.filter(|loss| places(loss) > 1).cloned().collect();
        self.broken.extend(unclear);
    }

    /// Checks that observers are told the same of each packet as the books record.
    pub(crate) fn observed(&mut self) {
        let run = &self.ran.run;
        if !run.ended || !run.report.hung.is_empty() {
            return;
        }
        let told = |name: &str, fate: Fate| {
            let told = run.settled.get(&(name.to_owned(), fate));
            told.copied().unwrap_or(0)
        };
        for (name, node) in &run.report.nodes {
            let is_source = Model::place_of(name) < self.case.first_node();
            let books = [
                (Fate::Processed, node.processed),
                (Fate::Failed, node.failed),
                (Fate::Unmatched, node.unmatched),
                (Fate::Abandoned, node.abandoned),
                (Fate::Finished, node.finished),
            ];
            for (fate, count) in books {
                if !is_source && told(name, fate) != count {
                    self.breach(format!(
                        "{name}: an observer was told of {} packets {fate:?}, and the books have {count}",
                        told(name, fate)
                    ));
                }
            }
        }
    }

    /// Checks that a blocking queue holds at most its capacity and what its producer had in hand when it was full.
    pub(crate) fn bounds(&mut self) {
        for edge in &self.report().edges {
            let (from, to) = (Model::place_of(&edge.from), Model::place_of(&edge.to));
            let Some(&capacity) = self.ran.capacities.get(&format!("n{to}")) else {
                continue;
            };
            let producer = from.checked_sub(self.case.first_node());
            let producer = producer.map(|index| &self.case.nodes[index]);
            let batch = producer.and_then(|node| node.batch);
            let at_once = batch.map_or(1, |(max, _)| max as u64);
            // All replicas may be working when the queue fills up, with as many of their results waiting for their
            // turn.
            let calls = producer.map_or(1, |node| match node.replicas {
                1 => match node.kind {
                    Kind::Later { open, .. } => open as u64 + 1,
                    _ => 1,
                },
                replicas => 2 * replicas as u64,
            });
            let most = capacity + at_once * calls;
            if edge.high_water > most {
                self.breach(format!(
                    "{} -> {}: held {} packets, which is more than {most}",
                    edge.from, edge.to, edge.high_water
                ));
            }
        }
    }

    /// Checks that each sink gets each stream's packets in order and none twice.
    pub(crate) fn order(&mut self) {
        let mut last: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        for delivery in &self.ran.run.deliveries {
            let key = (delivery.node.as_str(), delivery.stream.as_str());
            let before = last.insert(key, delivery.sequence);
            if before.is_some_and(|before| before >= delivery.sequence) {
                self.breach(format!("after {before:?} came {delivery:?}"));
            }
        }
    }

    /// Returns whether everything captured must arrive, except for packets that panic themselves.
    fn is_exact(&self) -> bool {
        let mut faults = self.report().faults.iter();
        let given_up = faults.any(|fault| fault.message.contains("draining took"));
        !self.case.breaks()
            && !self.case.drops()
            && !self.case.is_stopped()
            && !self.case.may_starve_a_batch()
            && !given_up
    }

    /// Checks that each sink got as many packets as it should.
    pub(crate) fn amounts(&mut self) {
        let exact = self.is_exact();
        for (stream, report) in &self.report().streams {
            for (sink, got) in &report.sinks {
                let place = Model::place_of(sink);
                let due = self.model.due(place, stream, report.captured);
                let missing = self.model.may_be_missing(stream, &due);
                let least = missing.map_or(0, |missing| due.len() - missing.len()) as u64;
                let due = due.len() as u64;
                if got.delivered > due || (exact && got.delivered < least) {
                    self.breach(format!("{sink} got {} of {due} of {stream}", got.delivered));
                }
            }
        }
    }

    /// Checks that each sink gets at most what it should, and all of it where nothing may lose packets.
    pub(crate) fn exactness(&mut self) {
        let exact = self.is_exact();
        let mut got: BTreeMap<(&str, &str), BTreeSet<u64>> = BTreeMap::new();
        for delivery in &self.ran.run.deliveries {
            let key = (delivery.node.as_str(), delivery.stream.as_str());
            got.entry(key).or_default().insert(delivery.sequence);
        }
        for (stream, report) in &self.report().streams {
            for sink in report.sinks.keys() {
                let place = Model::place_of(sink);
                let due = self.model.due(place, stream, report.captured);
                let got = got.get(&(sink.as_str(), stream.as_str()));
                let got = got.cloned().unwrap_or_default();
                let surplus: Vec<_> = got.difference(&due).collect();
                if !surplus.is_empty() {
                    self.breach(format!("{sink} got {surplus:?} of {stream}, too much"));
                }
                let Some(missing) = self.model.may_be_missing(stream, &due) else {
                    continue;
                };
                let lacking: Vec<_> = due.difference(&got).collect();
                let lacking: Vec<_> = lacking.iter().filter(|n| !missing.contains(n)).collect();
                if exact && !lacking.is_empty() {
                    self.breach(format!("{sink} lacks {lacking:?} of {stream}"));
                }
            }
        }
    }

    /// Checks that a source that was not ended early has emitted all it has: a restart, its own or elsewhere, is never
    /// taken for its end.
    pub(crate) fn captures(&mut self) {
        let disturbed = !self.case.commands.is_empty()
            || self.case.stalls()
            || self.case.enough_from().is_some();
        if disturbed || !self.report().faults.is_empty() {
            return;
        }
        for (stream, report) in &self.report().streams {
            let source = &self.case.sources[Model::source_of(stream)];
            if report.captured + report.missed != source.count {
                self.breach(format!(
                    "{stream}: captured {} of {}",
                    report.captured, source.count
                ));
            }
        }
    }

    /// Checks that only what was made to break has broken, been rebuilt or been given up: actors that see a breach
    /// panic.
    pub(crate) fn innocence(&mut self) {
        let first = self.case.first_node();
        let drops = self.case.troubles(Trouble::Drop);
        for (instance, report) in &self.report().nodes {
            let place = Model::place_of(instance);
            let (may_fail, may_restart) = match place.checked_sub(first) {
                None => {
                    let source = &self.case.sources[place];
                    let again = source.on_error == "restart" && source.fail_after.is_some();
                    (false, again || drops || report.restarts <= source.panics())
                }
                Some(index) => {
                    let node = &self.case.nodes[index];
                    let breaks = drops || node.kind.breaks();
                    let weighed = self.case.troubles(Trouble::Weight) && node.batch.is_some();
                    let measures = node.queue.bytes.is_some();
                    let measured = self.case.troubles(Trouble::Bytes) && measures;
                    (breaks || weighed || measured, breaks)
                }
            };
            let index = place.checked_sub(first);
            let kind = index.map(|index| &self.case.nodes[index].kind);
            if report.finished > 0 && !matches!(kind, Some(Kind::Enough { .. })) {
                self.breach(format!("{instance} has ended no stream: {report:?}"));
            }
            let failed = report.failed > 0 && !may_fail;
            if failed || (report.restarts > 0 && !may_restart) {
                self.breach(format!("{instance} broke by itself: {report:?}"));
            }
        }
        for fault in &self.report().faults {
            let Some(instance) = &fault.node else {
                continue;
            };
            if instance.is_empty() {
                self.breach(format!("a fault of nobody: {}", fault.message));
                continue;
            }
            let place = Model::place_of(instance);
            let is_refused = instance.contains(&format!("@s{REFUSED_STREAM}"));
            let may_give_up = match place.checked_sub(first) {
                None => is_refused || self.case.sources[place].may_give_up(self.case.restarts),
                Some(index) => self.case.nodes[index].kind.breaks(),
            };
            if !may_give_up && !drops {
                self.breach(format!("{instance} was given up: {}", fault.message));
            }
        }
    }

    /// Checks that a stream that was added is part of the run and ends with it.
    pub(crate) fn additions(&mut self) {
        let run = &self.ran.run;
        for name in run.added.iter().flatten() {
            match run.report.streams.get(name) {
                None => self.breach(format!("{name} was added, but is not there")),
                Some(stream) => {
                    let cut_short = self.case.is_stopped() || self.case.stalls();
                    if run.ended && !stream.ended && !cut_short && run.report.faults.is_empty() {
                        self.breach(format!("{name} was added and has not ended: {stream:?}"));
                    }
                }
            }
        }
        let adds =
            |command: &&(bool, u32, CommandCase)| matches!(command.2, CommandCase::AddStream(_));
        let asked = self.case.commands.iter().filter(adds).count();
        if run.added.len() > asked {
            self.breach(format!("{} answers to {asked} streams", run.added.len()));
        }
    }

    /// Checks what actors are told of their streams and their end.
    pub(crate) fn lives(&mut self) {
        let run = &self.ran.run;
        let first = self.case.first_node();
        let may_be_lost = |node: &str| {
            let given_up = |name: &Option<String>| name.as_deref() == Some(node);
            let mut faults = run.report.faults.iter();
            let index = Model::place_of(node) - first;
            // Packets dropped by a failing call may panic in their destructors, which is a panic of the call.
            let replaced =
                self.case.nodes[index].on_error != "skip" || self.case.troubles(Trouble::Drop);
            let fails = self.case.nodes[index].kind.breaks();
            // What was created of a stream that could not be is taken out without a word on its end.
            let is_refused = node.contains(&format!("@s{REFUSED_STREAM}"));
            is_refused || (replaced && fails) || faults.any(|fault| given_up(&fault.node))
        };
        let batches_each = |node: &str| {
            let node = &self.case.nodes[Model::place_of(node) - first];
            node.each || node.batch_each
        };
        let hung = !run.report.hung.is_empty();
        let late =
            |message: &str| message.contains("draining took") || message.contains("deadlock");
        let cut_short = run.report.faults.iter().any(|fault| late(&fault.message));
        let circumstances = Circumstances {
            undisturbed: run.ended && !self.case.is_stopped() && !hung && !cut_short,
            is_over: run.ended && !hung && !self.case.stalls(),
            may_be_lost: &may_be_lost,
            batches_each: &batches_each,
        };
        let broken = lives::broken(&self.ran.lives, &circumstances);
        self.broken.extend(broken);
    }

    /// Checks that what a sink is told of the end of a stream agrees with the books: whether the source came to its own
    /// end, and whether something was lost on the way.
    pub(crate) fn told_ends(&mut self) {
        let run = &self.ran.run;
        // An actor that ends a stream early has all that it wanted; the others are told that it was drained.
        let undisturbed = run.ended
            && self.case.enough_from().is_none()
            && run.report.faults.is_empty()
            && run.report.hung.is_empty()
            && !self.case.is_stopped();
        for life in self.ran.lives.iter().filter(|_| undisturbed) {
            for event in &life.events {
                let Event::Ended(stream, end) = event else {
                    continue;
                };
                let Some(report) = run.report.streams.get(stream) else {
                    continue;
                };
                let source = &self.case.sources[Model::source_of(stream)];
                let all = report.captured + report.missed == source.count;
                if (end.how == How::Complete && !all)
                    || (end.how != How::Complete && self.case.commands.is_empty())
                {
                    self.breach(format!("{} was told {end:?} of {report:?}", life.node));
                }
                let Some(sink) = report.sinks.get(&life.node) else {
                    continue;
                };
                let losses = sink.losses.iter();
                let losses = losses.filter(|(cause, _)| !cause.starts_with("filtered"));
                let lost: u64 = losses.map(|(_, count)| count).sum();
                if end.lost != (lost > 0) {
                    self.breach(format!("{} was told {end:?} of {sink:?}", life.node));
                }
            }
        }
    }
}

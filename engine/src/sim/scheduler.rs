//! The scheduler of a simulation: decides what can be stepped, what is stepped next, and when time advances.

use std::collections::{HashMap, HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::adders::Adders;
use super::handled::{Listener, Shared, Told};
use super::options::{At, SimCommand, SimOptions};
use super::outcome::{Delivery, SimRun};
use super::random::Random;
use crate::clock::{Clock, Hang, nanoseconds};
use crate::control::core::Core;
use crate::control::graph_lifecycle::GraphEvent;
use crate::control::groups::Launch;
use crate::control::supervision::{NodeControl, Route, Supervision};
use crate::control::supervisor::TICK;
use crate::graph::Graph;
use crate::lock::lock;
use crate::registry::Registry;
use crate::runtime::host::{Host, Workers};
use crate::runtime::lane::{Lane, Step};
use crate::runtime::parker::Parker;
use crate::runtime::protocol::{Event, NodeId};
use crate::runtime::replica::Worker;
use crate::runtime::wiring::NewLanes;
use crate::services::Services;
use crate::start_error::StartError;

/// Number of steps for which a runnable lane may be passed over; then it goes next, since no thread starves for ever.
const PATIENCE: u64 = 300;
/// Time after which a lane that would spin is stepped again.
const SPIN_NS: u64 = 1_000_000;
/// Longest duration of a step; a run uses one of these: about zero, or as long as on a fast, a slow or a busy machine.
const STEP_COSTS_NS: [u64; 4] = [1, 2_000, 50_000, 1_000_000];

enum Rest {
    /// Has work.
    Awake,
    /// Found nothing but has not announced it yet: a waker still believes it awake.
    Empty,
    /// Found nothing and announced that it parks; polls twice more.
    Announced,
    /// Found nothing once more.
    Looking,
    /// Parked until woken or until its time.
    Parked { until_ns: Option<u64> },
    /// Never runs again.
    Gone,
    /// A call in it hangs.
    Hung,
}

struct SteppedLane {
    lane: Lane,
    parker: Arc<Parker>,
    rest: Rest,
    /// Relative frequency with which it is chosen.
    weight: u64,
    passed_over: u64,
}

impl SteppedLane {
    fn can_go(&self, now_ns: u64) -> bool {
        match self.rest {
            Rest::Awake | Rest::Empty | Rest::Announced | Rest::Looking => true,
            Rest::Parked { until_ns } => {
                !self.parker.is_parking() || until_ns.is_some_and(|until| until <= now_ns)
            }
            Rest::Gone | Rest::Hung => false,
        }
    }
}

/// Something that can be stepped.
#[derive(Clone, Copy)]
enum Turn {
    Lane(usize),
    Worker(usize),
    Adder(usize),
    Control,
    Tick,
}

/// A message for the supervisor.
enum Message {
    Lane(Event),
    Run(GraphEvent),
    /// The request of an adder to admit its stream.
    Admit(usize),
}

pub(super) struct Scheduler {
    core: Arc<Core>,
    over: flume::Receiver<Vec<NodeId>>,
    clock: Clock,
    random: Random,
    supervision: Supervision,
    controls: HashMap<NodeId, NodeControl>,
    inbox: Shared<VecDeque<Message>>,
    lanes: Vec<SteppedLane>,
    /// Names of all streams so far.
    streams: HashMap<u32, String>,
    /// Names of all sinks so far.
    sinks: HashSet<String>,
    new_workers: Shared<Vec<Worker>>,
    workers: Vec<Worker>,
    told: Shared<Told>,
    commands: Vec<(At, SimCommand)>,
    opening: Launch,
    hold_open: bool,
    adders: Adders,
    step_cost_ns: u64,
    next_tick_ns: u64,
    deadline_ns: u64,
    steps: u64,
    spins: u64,
}

impl Scheduler {
    pub(super) fn new(
        graph: Graph,
        registry: Arc<Registry>,
        options: &SimOptions,
    ) -> Result<Self, StartError> {
        let inbox: Shared<VecDeque<Message>> = Arc::default();
        let new_workers: Shared<Vec<Worker>> = Arc::default();
        let told: Shared<Told> = Arc::default();
        let clock = Clock::manual();
        let host = Host {
            clock: clock.clone(),
            events: {
                let inbox = Arc::clone(&inbox);
                Arc::new(move |event| lock(&inbox).push_back(Message::Lane(event)))
            },
            workers: Workers::Stepped(Arc::clone(&new_workers)),
            observer: Some(Arc::new(Listener(Arc::clone(&told)))),
            services: Services::new(),
        };
        let (core, over) = Core::new(graph, registry, host);
        let mut new = core.wire_graph()?;
        let (opening, wired) = core.launch(&new);
        lock(&inbox).push_back(Message::Run(wired));
        let mut random = Random::new(options.seed);
        let step_cost_ns = STEP_COSTS_NS[random.below(STEP_COSTS_NS.len() as u64) as usize];
        let mut scheduler = Self {
            supervision: Supervision::new(Arc::clone(&core)),
            core,
            over,
            clock,
            random,
            controls: HashMap::new(),
            inbox,
            lanes: Vec::new(),
            streams: HashMap::new(),
            sinks: HashSet::new(),
            new_workers,
            workers: Vec::new(),
            told,
            commands: options.commands.clone(),
            opening,
            hold_open: options.hold_open,
            adders: Adders::default(),
            step_cost_ns,
            next_tick_ns: nanoseconds(TICK),
            deadline_ns: nanoseconds(options.deadline),
            steps: 0,
            spins: 0,
        };
        let attachments = std::mem::take(&mut new.attachments);
        scheduler.enter(new);
        scheduler.core.attach(attachments);
        Ok(scheduler)
    }

    fn enter(&mut self, new: NewLanes) {
        {
            let wiring = self.core.wiring();
            for record in wiring.streams.values() {
                let stream = &record.stream;
                self.streams.insert(stream.id, stream.name.clone());
            }
            let new = new.nodes.iter().map(|node| &wiring.instances[node]);
            let sinks = new.filter(|instance| instance.sink);
            self.sinks.extend(sinks.map(|sink| sink.watch.name.clone()));
        }
        for (lane, parker) in new.lanes {
            let weight = [1, 1, 10, 100][self.random.below(4) as usize];
            self.lanes.push(SteppedLane {
                lane,
                parker,
                rest: Rest::Awake,
                weight,
                passed_over: 0,
            });
        }
    }

    /// Steps until the run is over or its deadline has passed.
    pub(super) fn run(mut self) -> Result<SimRun, StartError> {
        let mut hung = None;
        while hung.is_none() && self.clock.now_ns() < self.deadline_ns {
            self.give_commands();
            self.workers.append(&mut lock(&self.new_workers));
            match self.choose() {
                Some(turn) => self.give_turn(turn),
                None => self.let_time_pass(),
            }
            self.answer()?;
            hung = self.over.try_recv().ok();
        }
        let ended = hung.is_some();
        if ended {
            self.let_lanes_end();
        }
        Ok(self.outcome(ended, &hung.unwrap_or_default()))
    }

    /// Lets lanes take their last steps after the run is over, as threads do before they are joined.
    fn let_lanes_end(&mut self) {
        for index in 0..self.lanes.len() {
            // A lane that was given up at the stop's deadline may still have work; it gets a limited number of steps.
            for _ in 0..PATIENCE {
                if !self.lanes[index].can_go(self.clock.now_ns()) {
                    break;
                }
                self.step_lane(index);
            }
        }
    }

    fn outcome(mut self, ended: bool, hung: &[NodeId]) -> SimRun {
        let hung_lanes = self
            .lanes
            .extract_if(.., |lane| matches!(lane.rest, Rest::Hung));
        // Never dropped, like a thread that never returns.
        std::mem::forget(hung_lanes.collect::<Vec<_>>());
        let report = self.core.close_books(hung);
        let wiring = self.core.wiring();
        let told = lock(&self.told);
        let at_sinks = told
            .handled
            .iter()
            .filter(|at| self.sinks.contains(&at.node));
        let deliveries = at_sinks.map(|delivered| Delivery {
            node: delivered.node.clone(),
            stream: self.streams[&delivered.packet.stream].clone(),
            sequence: delivered.packet.sequence,
            inputs: delivered.inputs,
        });
        let unfinished = wiring
            .instances
            .values()
            .filter(|instance| !instance.is_finished())
            .map(|instance| instance.watch.name.clone());
        SimRun {
            report,
            deliveries: deliveries.collect(),
            steps: self.steps,
            time: Duration::from_nanos(self.clock.now_ns()),
            ended,
            unfinished: unfinished.collect(),
            spins: self.spins,
            settled: told.settled.clone(),
            added: self.adders.answers(),
        }
    }

    fn give_commands(&mut self) {
        let (steps, now) = (self.steps, Duration::from_nanos(self.clock.now_ns()));
        let is_due = |at: &At| match at {
            At::Step(step) => *step <= steps,
            At::Time(time) => *time <= now,
        };
        let (due, later) = std::mem::take(&mut self.commands)
            .into_iter()
            .partition(|(at, _)| is_due(at));
        self.commands = later;
        for (_, command) in due {
            self.give(command);
        }
    }

    fn give(&mut self, command: SimCommand) {
        let event = match command {
            SimCommand::AddStream { name, uri } => {
                let adder = self.adders.ask(name, uri);
                return lock(&self.inbox).push_back(Message::Admit(adder));
            }
            SimCommand::RemoveStream { name } => match self.core.stream_named(&name) {
                Some(stream) => GraphEvent::RemoveStream { stream },
                None => return,
            },
            SimCommand::StreamsComplete => GraphEvent::StreamsComplete,
            SimCommand::Drain => GraphEvent::Drain,
            SimCommand::Stop => GraphEvent::Stop,
        };
        self.tell(event);
    }

    fn tell(&self, event: GraphEvent) {
        lock(&self.inbox).push_back(Message::Run(event));
    }

    fn step_adder(&mut self, adder: usize) {
        let (event, new) = self.adders.step(adder, &self.core);
        self.tell(event);
        if let Some(new) = new {
            self.enter(new);
        }
    }

    /// Records which launches have succeeded or failed.
    fn answer(&mut self) -> Result<(), StartError> {
        match self.opening.created.try_recv() {
            Ok(true) if !self.hold_open => self.tell(GraphEvent::StreamsComplete),
            Ok(false) => return Err(self.core.failure_of(&self.opening)),
            _ => {}
        }
        self.adders.look(&self.core);
        Ok(())
    }

    /// Chooses what is stepped next, if anything can be.
    fn choose(&mut self) -> Option<Turn> {
        let now_ns = self.clock.now_ns();
        let mut candidates: Vec<(Turn, u64)> = Vec::new();
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            if lane.can_go(now_ns) {
                lane.passed_over += 1;
                if lane.passed_over > PATIENCE {
                    return Some(Turn::Lane(index));
                }
                candidates.push((Turn::Lane(index), lane.weight));
            }
        }
        for (index, worker) in self.workers.iter().enumerate() {
            if worker.has_job() {
                candidates.push((Turn::Worker(index), 10));
            }
        }
        candidates.extend(self.adders.ready().map(|adder| (Turn::Adder(adder), 10)));
        if !lock(&self.inbox).is_empty() {
            candidates.push((Turn::Control, 10));
        }
        if self.next_tick_ns <= now_ns {
            candidates.push((Turn::Tick, 10));
        }
        let total: u64 = candidates.iter().map(|(_, weight)| weight).sum();
        if total == 0 {
            return None;
        }
        let mut drawn = self.random.below(total);
        let chosen = candidates.iter().find(|(_, weight)| {
            let hit = drawn < *weight;
            drawn = drawn.saturating_sub(*weight);
            hit
        });
        chosen.map(|(turn, _)| *turn)
    }

    fn give_turn(&mut self, turn: Turn) {
        self.steps += 1;
        let cost = self.random.below(self.step_cost_ns);
        match turn {
            Turn::Lane(index) => self.step_lane(index),
            Turn::Worker(index) => {
                if hangs(|| self.workers[index].step()).is_none() {
                    // Never stepped again or dropped, like a thread that never returns.
                    std::mem::forget(self.workers.swap_remove(index));
                }
            }
            Turn::Adder(adder) => self.step_adder(adder),
            Turn::Control => self.step_control(),
            Turn::Tick => {
                self.next_tick_ns = self.clock.now_ns() + nanoseconds(TICK);
                self.supervision.tick();
            }
        }
        self.clock.advance(Duration::from_nanos(cost));
    }

    /// Runs one iteration of the loop that `runtime::driver` runs on a thread.
    fn step_lane(&mut self, index: usize) {
        let now_ns = self.clock.now_ns();
        let lane = &mut self.lanes[index];
        lane.passed_over = 0;
        match lane.rest {
            Rest::Parked { .. } => {
                lane.parker.retract();
                lane.rest = Rest::Awake;
            }
            Rest::Empty => {
                lane.parker.announce();
                lane.rest = Rest::Announced;
                return;
            }
            _ => {}
        }
        let Some(step) = hangs(|| lane.lane.step()) else {
            lane.rest = Rest::Hung;
            return;
        };
        lane.rest = match (step, &lane.rest) {
            (Step::Finished, _) => {
                lane.lane.exited(None);
                Rest::Gone
            }
            (Step::Progressed, _) => {
                lane.parker.retract();
                Rest::Awake
            }
            (Step::Idle { .. }, Rest::Awake) => Rest::Empty,
            (Step::Idle { .. }, Rest::Announced) => Rest::Looking,
            (Step::Idle { until_ns }, _) if until_ns.is_some_and(|until| until <= now_ns) => {
                self.spins += 1;
                Rest::Parked {
                    until_ns: Some(now_ns + SPIN_NS),
                }
            }
            (Step::Idle { until_ns }, _) => Rest::Parked { until_ns },
        };
    }

    fn step_control(&mut self) {
        let Some(message) = lock(&self.inbox).pop_front() else {
            return;
        };
        let event = match message {
            Message::Run(event) => event,
            Message::Admit(adder) => {
                let is_admitted = self.supervision.admit();
                return self.adders.answer(adder, is_admitted);
            }
            Message::Lane(event) => match Route::of(event, |node| self.core.node_name(node)) {
                Route::Graph(event) => event,
                Route::Node(node, event) => {
                    let control = self.controls.entry(node);
                    let control = control.or_insert_with(|| NodeControl::new(node, &self.core));
                    if let Some(event) = control.decide(event) {
                        self.tell(event);
                    }
                    return;
                }
                Route::News(event) => return self.supervision.note(&event),
                Route::LaneExited(lane, failure) => {
                    return self.supervision.lane_exited(lane, failure);
                }
            },
        };
        self.supervision.decide(event);
    }

    /// Advances time to the next moment at which something can be stepped.
    fn let_time_pass(&mut self) {
        let now_ns = self.clock.now_ns();
        let mut next_ns = self.next_tick_ns.min(self.deadline_ns);
        for lane in &self.lanes {
            if let Rest::Parked {
                until_ns: Some(until),
            } = lane.rest
            {
                next_ns = next_ns.min(until);
            }
        }
        for (at, _) in &self.commands {
            if let At::Time(time) = at {
                next_ns = next_ns.min(nanoseconds(*time));
            }
        }
        let passes_ns = next_ns.saturating_sub(now_ns).max(1);
        self.clock.advance(Duration::from_nanos(passes_ns));
    }
}

/// Runs a step; returns `None` if a call in it hangs.
fn hangs<T>(step: impl FnOnce() -> T) -> Option<T> {
    // Only the report reads the state that the step left behind, and it reads only counters.
    match catch_unwind(AssertUnwindSafe(step)) {
        Ok(result) => Some(result),
        Err(panic) if panic.is::<Hang>() => None,
        Err(panic) => resume_unwind(panic),
    }
}

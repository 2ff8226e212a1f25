//! Replicas of a stateless actor: each on a thread of its own, fed by the node's lane, their results put back in order.
//!
//! The window is bounded: at most two calls for each replica are under way or wait for an earlier one.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::actor::{ActorError, Outputs};
use crate::registry::{AnyActor, Behaviour};
use crate::runtime::call::{Outcome, Work, call, discard, guard};
use crate::runtime::node::NodeParts;
use crate::runtime::parker::Parker;
use crate::runtime::settling::Ticket;
use crate::runtime::stats::NodeWatch;

/// What a replica is asked to do.
enum Job {
    Call {
        number: u64,
        work: Work,
    },
    /// Build the actor anew.
    Create,
}

/// What a replica answers.
enum Answer {
    Called {
        replica: usize,
        number: u64,
        outcome: Outcome,
        out: Outputs,
        service_ns: u64,
    },
    Created {
        replica: usize,
        result: Result<(), String>,
    },
}

struct Replica {
    jobs: flume::Sender<Job>,
    /// It has an actor that is not to be replaced.
    has_actor: bool,
    /// It has been given a job and has not answered yet.
    working: bool,
}

struct InFlight {
    number: u64,
    tickets: Vec<Ticket>,
    result: Option<(usize, Outcome, Outputs, u64)>,
}

/// A call whose turn to be published has come.
pub(crate) struct DoneCall {
    pub(crate) tickets: Vec<Ticket>,
    pub(crate) replica: usize,
    pub(crate) outcome: Outcome,
    pub(crate) out: Outputs,
    pub(crate) service_ns: u64,
}

pub(crate) struct Pool {
    replicas: Vec<Replica>,
    answers: flume::Receiver<Answer>,
    queue: VecDeque<(u64, Work)>,
    in_flight: VecDeque<InFlight>,
    next_number: u64,
    failed_creations: Vec<(usize, String)>,
    /// Replicas that are to be built anew, and when.
    to_create: Vec<(usize, u64)>,
}

impl Pool {
    /// Starts the replicas' threads and waits until each has created its actor.
    pub(crate) fn start(parts: &NodeParts) -> Result<Self, ActorError> {
        let (answer, answers) = flume::bounded(4 * parts.replicas);
        let mut replicas = Vec::with_capacity(parts.replicas);
        for replica in 0..parts.replicas {
            let (jobs, inbox) = flume::bounded(2);
            let worker = Worker {
                replica,
                inbox,
                answer: answer.clone(),
                parker: Arc::clone(&parts.parker),
                watch: Arc::clone(&parts.watch),
                actor: None,
                actor_type: parts.actor_type.clone(),
                settings: parts.settings.clone(),
                setup: parts.setup.clone(),
            };
            // The channel has room for two: sending to a fresh replica cannot block.
            let _ = jobs.send(Job::Create);
            let name = format!("{}#{replica}", parts.watch.name);
            parts.workers.start(name, worker)?;
            replicas.push(Replica {
                jobs,
                has_actor: false,
                working: true,
            });
        }
        let mut pool = Self {
            replicas,
            answers,
            queue: VecDeque::new(),
            in_flight: VecDeque::new(),
            next_number: 0,
            failed_creations: Vec::new(),
            to_create: Vec::new(),
        };
        for _ in 0..parts.replicas {
            let answer = pool.answers.recv()?;
            pool.note(answer);
        }
        match pool.failed_creations.pop() {
            Some((_, message)) => Err(message.into()),
            None => Ok(pool),
        }
    }

    /// Whether the window has room for one more call, and somebody to do it.
    pub(crate) fn has_room(&self) -> bool {
        self.in_flight.len() < 2 * self.replicas.len()
    }

    /// Gives a call to the next replica that is free.
    pub(crate) fn dispatch(&mut self, tickets: Vec<Ticket>, work: Work) {
        let number = self.next_number;
        self.next_number += 1;
        self.in_flight.push_back(InFlight {
            number,
            tickets,
            result: None,
        });
        self.queue.push_back((number, work));
        self.hand_out();
    }

    fn hand_out(&mut self) {
        for replica in self
            .replicas
            .iter_mut()
            .filter(|replica| replica.has_actor && !replica.working)
        {
            let Some((number, work)) = self.queue.pop_front() else {
                return;
            };
            replica.working = true;
            // A replica that does not work has an empty inbox.
            let _ = replica.jobs.send(Job::Call { number, work });
        }
    }

    /// Notes what the replicas have answered, and builds anew what is due. Returns the restarts that succeeded.
    pub(crate) fn receive(&mut self, now_ns: u64) -> u64 {
        let mut restarts = 0;
        while let Ok(answer) = self.answers.try_recv() {
            restarts += u64::from(matches!(answer, Answer::Created { result: Ok(()), .. }));
            self.note(answer);
        }
        self.to_create.retain(|&(replica, at_ns)| {
            let replica = &mut self.replicas[replica];
            // It may have been given a call before it was known how the last one ended.
            let now = at_ns <= now_ns && !replica.working;
            if now {
                replica.working = true;
                let _ = replica.jobs.send(Job::Create);
            }
            !now
        });
        self.hand_out();
        restarts
    }

    fn note(&mut self, answer: Answer) {
        match answer {
            Answer::Created { replica, result } => {
                self.replicas[replica].working = false;
                match result {
                    Ok(()) => self.replicas[replica].has_actor = true,
                    Err(message) => self.failed_creations.push((replica, message)),
                }
            }
            Answer::Called {
                replica,
                number,
                outcome,
                out,
                service_ns,
            } => {
                self.replicas[replica].working = false;
                self.replicas[replica].has_actor &= !matches!(outcome, Outcome::Panicked(_));
                if let Some(call) = self.in_flight.iter_mut().find(|call| call.number == number) {
                    call.result = Some((replica, outcome, out, service_ns));
                }
            }
        }
    }

    /// A replica that could not be built anew, if there is one.
    pub(crate) fn failed_creation(&mut self) -> Option<(usize, String)> {
        self.failed_creations.pop()
    }

    /// The next finished call before which no unfinished call has a packet of the same streams.
    pub(crate) fn next_in_order(&mut self) -> Option<DoneCall> {
        let mut waiting: Vec<usize> = Vec::new();
        let index = self.in_flight.iter().position(|call| {
            let free = call.result.is_some()
                && !call
                    .tickets
                    .iter()
                    .any(|ticket| waiting.contains(&ticket.slot));
            if !free {
                waiting.extend(call.tickets.iter().map(|ticket| ticket.slot));
            }
            free
        })?;
        let call = self.in_flight.remove(index)?;
        let (replica, outcome, out, service_ns) = call.result?;
        Some(DoneCall {
            tickets: call.tickets,
            replica,
            outcome,
            out,
            service_ns,
        })
    }

    /// A replica whose actor is to be replaced gets no calls until [`Pool::recreate`] has succeeded.
    pub(crate) fn drop_replica(&mut self, replica: usize) {
        self.replicas[replica].has_actor = false;
    }

    /// Builds a replica's actor anew at this clock time, once for all calls that want it.
    pub(crate) fn recreate(&mut self, replica: usize, at_ns: u64) {
        match self
            .to_create
            .iter_mut()
            .find(|(known, _)| *known == replica)
        {
            Some((_, known_ns)) => *known_ns = at_ns.max(*known_ns),
            None => self.to_create.push((replica, at_ns)),
        }
    }

    /// When the next replica is to be built anew. One that works yet wakes the lane when it has answered.
    pub(crate) fn deadline(&self) -> Option<u64> {
        let to_create = self.to_create.iter();
        let free = to_create.filter(|(replica, _)| !self.replicas[*replica].working);
        free.map(|&(_, at_ns)| at_ns).min()
    }

    /// Whether some replica has not answered yet.
    pub(crate) fn is_working(&mut self) -> bool {
        while let Ok(answer) = self.answers.try_recv() {
            self.note(answer);
        }
        self.replicas.iter().any(|replica| replica.working)
    }

    /// Gives up what is under way and says what that was.
    pub(crate) fn abandon(&mut self) -> Vec<Ticket> {
        self.queue.clear();
        self.in_flight
            .drain(..)
            .flat_map(|call| call.tickets)
            .collect()
    }
}

/// One replica's own side: it works off its jobs.
pub(crate) struct Worker {
    replica: usize,
    inbox: flume::Receiver<Job>,
    answer: flume::Sender<Answer>,
    parker: Arc<Parker>,
    watch: Arc<NodeWatch>,
    actor: Option<Box<dyn AnyActor>>,
    actor_type: crate::registry::ActorType,
    settings: crate::graph::Settings,
    setup: crate::actor::Setup,
}

impl Worker {
    /// Works until the pool is gone.
    pub(crate) fn run(&mut self) {
        while let Ok(job) = self.inbox.recv() {
            if !self.work_off(job) {
                return;
            }
        }
    }

    /// Does one job if there is one. For a replica without a thread.
    pub(crate) fn step(&mut self) {
        if let Ok(job) = self.inbox.try_recv() {
            self.work_off(job);
        }
    }

    /// Whether a job waits.
    pub(crate) fn has_job(&self) -> bool {
        !self.inbox.is_empty()
    }

    /// Does a job. False if the pool is gone.
    fn work_off(&mut self, job: Job) -> bool {
        let answer = match job {
            Job::Create => self.create(),
            Job::Call { number, work } => self.call(number, work),
        };
        let heard = self.answer.send(answer).is_ok();
        self.parker.wake();
        heard
    }

    fn create(&mut self) -> Answer {
        if let Some(actor) = self.actor.take() {
            discard(actor);
        }
        self.watch
            .call_began(self.replica, self.setup.clock.now_ns());
        let built = guard(
            || match self.actor_type.create(&self.settings, &self.setup)? {
                Behaviour::Actor(actor) => Ok(actor),
                Behaviour::Source(_) => Err("a source cannot have replicas".into()),
            },
        );
        self.watch.call_ended(self.replica);
        Answer::Created {
            replica: self.replica,
            result: built
                .map(|actor| self.actor = Some(actor))
                .map_err(|error| error.to_string()),
        }
    }

    fn call(&mut self, number: u64, work: Work) -> Answer {
        let mut out = Outputs::default();
        let started = self.setup.clock.now_ns();
        self.watch.call_began(self.replica, started);
        let outcome = match &mut self.actor {
            Some(actor) => call(&mut **actor, work, &mut out),
            None => Outcome::Failed("the replica has no actor".into()),
        };
        self.watch.call_ended(self.replica);
        let service_ns = self.setup.clock.now_ns().saturating_sub(started);
        if matches!(outcome, Outcome::Panicked(_))
            && let Some(actor) = self.actor.take()
        {
            discard(actor);
        }
        Answer::Called {
            replica: self.replica,
            number,
            outcome,
            out,
            service_ns,
        }
    }
}

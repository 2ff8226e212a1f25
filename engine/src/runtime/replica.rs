//! A replica of a stateless actor. It does the jobs that its pool gives it, on a thread of its own or stepped by a
//! simulation.

use std::sync::Arc;

use crate::end::End;
use crate::error::ActorError;
use crate::graph::Settings;
use crate::outputs::Outputs;
use crate::packet::Stream;
use crate::registry::{ActorType, AnyActor, Behaviour};
use crate::runtime::call::{Outcome, Work, call, discard, guard};
use crate::runtime::parker::Parker;
use crate::runtime::stats::NodeWatch;
use crate::runtime::window::{Answer, AnswerDesk};
use crate::setup::Setup;

/// A job for a replica.
pub(crate) enum Job {
    Call {
        number: u64,
        work: Work,
    },
    /// Build the actor, or rebuild it.
    Create,
    /// See [`Actor::stream_started`](crate::Actor::stream_started).
    StreamStarted(Arc<Stream>),
    /// See [`Actor::stream_ended`](crate::Actor::stream_ended).
    StreamEnded(Arc<Stream>, End),
    /// See [`Actor::finish`](crate::Actor::finish). This is the last job.
    Finish(End),
}

/// The report that a job other than a call has been done. Calls report to the window instead.
pub(crate) struct Done {
    pub(crate) replica: usize,
    pub(crate) what: DoneWhat,
    pub(crate) result: Result<(), String>,
}

pub(crate) enum DoneWhat {
    Created,
    StreamStarted,
    /// With the stream's number.
    StreamEnded(u32),
    Finished,
}

/// The replica's side of the job queue.
pub(crate) struct Worker {
    pub(crate) replica: usize,
    pub(crate) inbox: flume::Receiver<Job>,
    pub(crate) done: flume::Sender<Done>,
    pub(crate) desk: Arc<AnswerDesk>,
    pub(crate) parker: Arc<Parker>,
    pub(crate) watch: Arc<NodeWatch>,
    pub(crate) actor: Option<Box<dyn AnyActor>>,
    pub(crate) actor_type: ActorType,
    pub(crate) settings: Settings,
    pub(crate) setup: Setup,
}

impl Worker {
    /// Does jobs until the pool is dropped.
    pub(crate) fn run(&mut self) {
        while let Ok(job) = self.inbox.recv() {
            self.work_off(job);
        }
    }

    /// Does one job if there is one; for a replica without a thread.
    pub(crate) fn step(&mut self) {
        if let Ok(job) = self.inbox.try_recv() {
            self.work_off(job);
        }
    }

    /// Returns whether a job is waiting.
    pub(crate) fn has_job(&self) -> bool {
        !self.inbox.is_empty()
    }

    fn work_off(&mut self, job: Job) {
        let began_ns = self.setup.clock.now_ns();
        self.watch.call_began(self.replica, began_ns);
        let done = match job {
            Job::Call { number, work } => {
                let answer = self.call(number, work, began_ns);
                self.watch.call_ended(self.replica);
                self.desk.hand_in(answer);
                return;
            }
            Job::Create => (DoneWhat::Created, self.create()),
            Job::StreamStarted(stream) => (
                DoneWhat::StreamStarted,
                self.tell(|actor| actor.stream_started(&stream)),
            ),
            Job::StreamEnded(stream, end) => (
                DoneWhat::StreamEnded(stream.id),
                self.tell(|actor| actor.stream_ended(&stream, end)),
            ),
            Job::Finish(end) => {
                let result = self.tell(|actor| actor.finish(end));
                if let Some(actor) = self.actor.take() {
                    discard(actor);
                }
                (DoneWhat::Finished, result)
            }
        };
        self.watch.call_ended(self.replica);
        let (what, result) = done;
        let done = Done {
            replica: self.replica,
            what,
            result: result.map_err(|error| error.to_string()),
        };
        // If the pool is gone, nobody needs the report.
        let _ = self.done.send(done);
        self.parker.wake();
    }

    fn create(&mut self) -> Result<(), ActorError> {
        if let Some(actor) = self.actor.take() {
            discard(actor);
        }
        let built = guard(
            || match self.actor_type.create(&self.settings, &self.setup)? {
                Behaviour::Actor(actor) => Ok(actor),
                Behaviour::Source(_) => Err("a source cannot have replicas".into()),
            },
        );
        self.actor = Some(built?);
        Ok(())
    }

    /// Runs a notification of the actor (not a call). An actor that fails here is dropped.
    fn tell(
        &mut self,
        what: impl FnOnce(&mut dyn AnyActor) -> Result<(), ActorError>,
    ) -> Result<(), ActorError> {
        let Some(actor) = &mut self.actor else {
            return Ok(());
        };
        let result = guard(|| what(&mut **actor));
        if result.is_err()
            && let Some(actor) = self.actor.take()
        {
            discard(actor);
        }
        result
    }

    fn call(&mut self, number: u64, work: Work, began_ns: u64) -> Answer {
        let mut out = Outputs::default();
        let outcome = match &mut self.actor {
            Some(actor) => call(&mut **actor, work, &mut out),
            None => {
                work.discard();
                Outcome::Failed("the replica has no actor".into())
            }
        };
        let service_ns = self.setup.clock.now_ns().saturating_sub(began_ns);
        if matches!(outcome, Outcome::Panicked(_))
            && let Some(actor) = self.actor.take()
        {
            discard(actor);
        }
        Answer {
            number,
            outcome,
            out,
            replica: self.replica,
            service_ns: Some(service_ns),
        }
    }
}

//! The replicas of a node as its lane sees them: which are free, which notifications are pending, which actors are to
//! be rebuilt.
//!
//! Calls go through the node's window; each replica is notified of every stream before it gets a packet of it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::end::End;
use crate::error::ActorError;
use crate::packet::Stream;
use crate::runtime::call::Work;
use crate::runtime::parts::NodeParts;
use crate::runtime::replica::{Done, DoneWhat, Job, Worker};
use crate::runtime::window::AnswerDesk;

struct Replica {
    jobs: flume::Sender<Job>,
    thread: Option<JoinHandle<()>>,
    /// Whether it has an actor that is not to be replaced.
    has_actor: bool,
    /// Whether it has been given a job and has not answered yet.
    is_working: bool,
    /// Jobs that it gets before further calls.
    to_tell: VecDeque<Job>,
    /// When its actor is to be rebuilt.
    create_at_ns: Option<u64>,
}

/// The result of polling the replicas.
#[derive(Default)]
pub(crate) struct News {
    /// Number of rebuilt actors.
    pub(crate) restarts: u64,
    /// Replicas whose actor could not be built, with messages.
    pub(crate) failed_creations: Vec<(usize, String)>,
    /// Messages of replicas that failed at the start or the end of a stream, or at finishing.
    pub(crate) failures: Vec<String>,
    /// Numbers of the streams whose end one more replica has handled.
    pub(crate) told_ends: Vec<u32>,
}

pub(crate) struct Pool {
    replicas: Vec<Replica>,
    done: flume::Receiver<Done>,
    /// Calls for which no replica was free.
    calls: VecDeque<(u64, Work)>,
    streams: Vec<Arc<Stream>>,
    /// Streams whose end was still pending for a replica when it lost its actor.
    untold_ends: Vec<u32>,
    /// Set when all replicas are to finish.
    finishing: Option<End>,
}

impl Pool {
    /// Starts the replicas and waits until each has created its actor.
    pub(crate) fn start(parts: &NodeParts, desk: &Arc<AnswerDesk>) -> Result<Self, ActorError> {
        // A replica has one job at a time and answers each once.
        let (sender, done) = flume::bounded(2 * parts.replicas);
        let mut pool = Self {
            replicas: Vec::with_capacity(parts.replicas),
            done,
            calls: VecDeque::new(),
            streams: Vec::new(),
            untold_ends: Vec::new(),
            finishing: None,
        };
        for replica in 0..parts.replicas {
            let (jobs, inbox) = flume::bounded(1);
            let worker = Worker {
                replica,
                inbox,
                done: sender.clone(),
                desk: Arc::clone(desk),
                parker: Arc::clone(&parts.parker),
                watch: Arc::clone(&parts.watch),
                actor: None,
                actor_type: parts.actor_type.clone(),
                settings: parts.settings.clone(),
                setup: parts.setup.clone(),
            };
            // The inbox of a fresh replica is empty: this cannot block.
            let _ = jobs.send(Job::Create);
            let name = format!("{}#{replica}", parts.watch.name);
            let thread = match parts.workers.start(name, worker) {
                Ok(thread) => thread,
                Err(error) => {
                    pool.join();
                    return Err(error.into());
                }
            };
            pool.replicas.push(Replica {
                jobs,
                thread,
                has_actor: false,
                is_working: true,
                to_tell: VecDeque::new(),
                create_at_ns: None,
            });
        }
        let mut news = News::default();
        for _ in 0..parts.replicas {
            let done = pool.done.recv()?;
            pool.note(done, &mut news);
        }
        match news.failed_creations.pop() {
            Some((_, message)) => {
                pool.join();
                Err(message.into())
            }
            None => Ok(pool),
        }
    }

    /// Gives a call to the next free replica.
    pub(crate) fn dispatch(&mut self, number: u64, work: Work) {
        self.calls.push_back((number, work));
        self.hand_out();
    }

    /// Notes that a replica has answered a call.
    pub(crate) fn is_free(&mut self, replica: usize, has_panicked: bool) {
        self.replicas[replica].is_working = false;
        if has_panicked {
            self.drop_actor(replica);
        }
    }

    fn hand_out(&mut self) {
        for replica in &mut self.replicas {
            if replica.is_working || !replica.has_actor {
                continue;
            }
            let call = || {
                self.calls
                    .pop_front()
                    .map(|(number, work)| Job::Call { number, work })
            };
            if let Some(job) = replica.to_tell.pop_front().or_else(call) {
                replica.give(job);
            }
        }
    }

    /// Collects the replicas' reports, rebuilds actors that are due, and hands out waiting jobs.
    pub(crate) fn look(&mut self, now_ns: u64) -> News {
        let mut news = News {
            told_ends: std::mem::take(&mut self.untold_ends),
            ..News::default()
        };
        while let Ok(done) = self.done.try_recv() {
            self.note(done, &mut news);
        }
        for replica in &mut self.replicas {
            // It may have been given another job before it was known how the last one ended.
            if !replica.is_working && replica.create_at_ns.is_some_and(|at_ns| at_ns <= now_ns) {
                replica.create_at_ns = None;
                replica.give(Job::Create);
            }
        }
        self.hand_out();
        news
    }

    fn note(&mut self, done: Done, news: &mut News) {
        let replica = &mut self.replicas[done.replica];
        replica.is_working = false;
        let failure = done.result.err();
        match (done.what, failure) {
            (DoneWhat::Created, Some(message)) => {
                news.failed_creations.push((done.replica, message));
            }
            (DoneWhat::Created, None) => {
                news.restarts += 1;
                replica.has_actor = true;
                let started = self.streams.iter().cloned().map(Job::StreamStarted);
                match self.finishing {
                    None => replica.to_tell.extend(started),
                    Some(end) => replica.to_tell.push_back(Job::Finish(end)),
                }
            }
            (what, failure) => {
                if let DoneWhat::StreamEnded(stream) = what {
                    news.told_ends.push(stream);
                }
                if failure.is_some() || matches!(what, DoneWhat::Finished) {
                    self.drop_actor(done.replica);
                }
                news.failures.extend(failure);
            }
        }
    }

    /// Notifies all replicas that a stream begins.
    pub(crate) fn start_stream(&mut self, stream: &Arc<Stream>) {
        self.streams.push(Arc::clone(stream));
        for replica in self.replicas.iter_mut().filter(|replica| replica.has_actor) {
            let job = Job::StreamStarted(Arc::clone(stream));
            replica.to_tell.push_back(job);
        }
        self.hand_out();
    }

    /// Notifies all replicas that a stream has ended; returns how many will answer.
    pub(crate) fn end_stream(&mut self, stream: &Arc<Stream>, end: End) -> usize {
        self.streams.retain(|known| known.id != stream.id);
        let mut told = 0;
        for replica in self.replicas.iter_mut().filter(|replica| replica.has_actor) {
            let job = Job::StreamEnded(Arc::clone(stream), end);
            replica.to_tell.push_back(job);
            told += 1;
        }
        self.hand_out();
        told
    }

    /// Drops waiting calls and lets all replicas finish after their current job and pending notifications.
    pub(crate) fn finish(&mut self, end: End) {
        self.drop_calls();
        self.finishing = Some(end);
        for replica in &mut self.replicas {
            replica.create_at_ns = None;
            if replica.has_actor {
                replica.to_tell.push_back(Job::Finish(end));
            }
        }
        self.hand_out();
    }

    /// Gives up all calls that no replica has begun, and drops pending notifications.
    pub(crate) fn give_up(&mut self) {
        self.drop_calls();
        for replica in &mut self.replicas {
            replica.to_tell.clear();
        }
    }

    fn drop_calls(&mut self) {
        for (_, work) in self.calls.drain(..) {
            work.discard();
        }
    }

    /// Returns whether all replicas have finished or lost their actor.
    pub(crate) fn has_finished(&self) -> bool {
        let mut replicas = self.replicas.iter();
        replicas.all(|replica| !replica.is_working && !replica.has_actor)
    }

    /// Joins the threads of finished replicas, so that nothing of theirs outlives the run.
    pub(crate) fn join(self) {
        for replica in self.replicas {
            drop(replica.jobs);
            if let Some(thread) = replica.thread {
                // A worker catches its actor's panics.
                let _ = thread.join();
            }
        }
    }

    /// Marks a replica's actor as gone: the replica gets no calls until the actor has been rebuilt.
    pub(crate) fn drop_actor(&mut self, replica: usize) {
        let replica = &mut self.replicas[replica];
        replica.has_actor = false;
        for job in replica.to_tell.drain(..) {
            if let Job::StreamEnded(stream, _) = job {
                self.untold_ends.push(stream.id);
            }
        }
    }

    /// Schedules the rebuilding of a replica's actor for this clock time; several requests lead to one rebuild.
    pub(crate) fn recreate(&mut self, replica: usize, at_ns: u64) {
        let at = &mut self.replicas[replica].create_at_ns;
        *at = Some(at.map_or(at_ns, |known| known.max(at_ns)));
    }

    /// Returns when the next actor is to be rebuilt. A replica that is still working wakes the lane when it answers.
    pub(crate) fn deadline(&self) -> Option<u64> {
        let idle = self.replicas.iter().filter(|replica| !replica.is_working);
        idle.filter_map(|replica| replica.create_at_ns).min()
    }
}

impl Replica {
    fn give(&mut self, job: Job) {
        self.is_working = true;
        // It has answered its last job, so its inbox is empty.
        let _ = self.jobs.send(job);
    }
}

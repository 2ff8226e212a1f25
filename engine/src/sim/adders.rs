//! Streams added to a simulated run. In production, threads of the program add them; here each step is a turn of its
//! own, so that lanes and the control plane can run in between.

use std::sync::Arc;

use crate::control::core::Core;
use crate::control::graph_lifecycle::GraphEvent;
use crate::control::groups::Launch;
use crate::runtime::wiring::{Attachments, NewLanes};
use crate::start_error::StartError;

/// Progress of one addition.
enum Adder {
    /// Waits for the answer of the control plane.
    Asking {
        name: String,
        uri: String,
    },
    /// May be wired.
    Admitted {
        name: String,
        uri: String,
    },
    /// Its lanes run; nothing is attached yet.
    Wired {
        launch: Launch,
        name: String,
        attachments: Attachments,
    },
    /// Waits until its nodes have been created.
    Creating {
        launch: Launch,
        name: String,
    },
    Answered(Result<String, StartError>),
}

/// All additions, in the order in which they were requested.
#[derive(Default)]
pub(super) struct Adders(Vec<Adder>);

impl Adders {
    /// Requests a stream. Returns the number of the addition, which the control plane must admit.
    pub(super) fn ask(&mut self, name: String, uri: String) -> usize {
        self.0.push(Adder::Asking { name, uri });
        self.0.len() - 1
    }

    /// Records the answer of the control plane.
    pub(super) fn answer(&mut self, number: usize, is_admitted: bool) {
        let refused = Adder::Answered(Err(StartError::Ending));
        self.0[number] = match std::mem::replace(&mut self.0[number], refused) {
            Adder::Asking { name, uri } if is_admitted => Adder::Admitted { name, uri },
            _ => return,
        };
    }

    /// Returns the additions that can take a step.
    pub(super) fn ready(&self) -> impl Iterator<Item = usize> {
        let is_ready =
            |adder: &Adder| matches!(adder, Adder::Admitted { .. } | Adder::Wired { .. });
        let numbered = self.0.iter().enumerate();
        numbered.filter_map(move |(number, adder)| is_ready(adder).then_some(number))
    }

    /// Takes the next step of an addition. Returns the event for the control plane and the lanes to start.
    pub(super) fn step(
        &mut self,
        number: usize,
        core: &Arc<Core>,
    ) -> (GraphEvent, Option<NewLanes>) {
        let cut_off = Adder::Answered(Err(StartError::Ending));
        match std::mem::replace(&mut self.0[number], cut_off) {
            Adder::Admitted { name, uri } => match core.wire_stream(&name, &uri, None) {
                Ok((mut new, name)) => {
                    let (launch, wired) = core.launch(&new);
                    self.0[number] = Adder::Wired {
                        launch,
                        name,
                        attachments: std::mem::take(&mut new.attachments),
                    };
                    return (wired, Some(new));
                }
                Err(error) => self.0[number] = Adder::Answered(Err(error)),
            },
            Adder::Wired {
                launch,
                name,
                attachments,
            } => {
                core.attach(attachments);
                self.0[number] = Adder::Creating { launch, name };
            }
            other => self.0[number] = other,
        }
        (GraphEvent::StreamArrived, None)
    }

    /// Records which additions have succeeded or failed.
    pub(super) fn look(&mut self, core: &Core) {
        for adder in &mut self.0 {
            let Adder::Creating { launch, name } = adder else {
                continue;
            };
            *adder = Adder::Answered(match launch.created.try_recv() {
                Ok(true) => Ok(std::mem::take(name)),
                Ok(false) => Err(core.failure_of(launch)),
                Err(flume::TryRecvError::Disconnected) => Err(StartError::Ending),
                Err(flume::TryRecvError::Empty) => continue,
            });
        }
    }

    /// Returns the result of each addition; unfinished ones were cut off by the end of the run.
    pub(super) fn answers(self) -> Vec<Result<String, StartError>> {
        let answers = self.0.into_iter().map(|adder| match adder {
            Adder::Answered(answer) => answer,
            _ => Err(StartError::Ending),
        });
        answers.collect()
    }
}

//! What is done to a case when it is simulated.

use std::time::Duration;

use fermata_engine::sim::{At, SimCommand, SimOptions};

use super::{Case, CommandCase, REFUSED_STREAM};
use crate::laws::counter::REFUSED;

impl Case {
    /// Returns the commands to the run. A run with a call that never returns would never end by itself, so it is
    /// drained. So is one whose calls are answered by a source: if its stream is ended early, the source is not asked
    /// for more, so it stops answering and may be blocked by those very calls.
    pub(crate) fn sim(&self) -> SimOptions {
        let mut commands: Vec<(At, SimCommand)> = Vec::new();
        for (by_step, moment, command) in &self.commands {
            let at = if *by_step {
                At::Step(u64::from(*moment))
            } else {
                At::Time(Duration::from_millis(u64::from(*moment)))
            };
            let name = |stream: &u8| format!("s{stream}");
            commands.push((
                at,
                match command {
                    CommandCase::AddStream(stream) => SimCommand::AddStream {
                        name: name(stream),
                        uri: match *stream {
                            REFUSED_STREAM => REFUSED.to_owned(),
                            _ => "x".to_owned(),
                        },
                    },
                    CommandCase::RemoveStream(stream) => {
                        SimCommand::RemoveStream { name: name(stream) }
                    }
                    CommandCase::StreamsComplete => SimCommand::StreamsComplete,
                    CommandCase::Drain => SimCommand::Drain,
                    CommandCase::Stop => SimCommand::Stop,
                },
            ));
        }
        if self.adds_streams() {
            commands.push((
                At::Time(Duration::from_secs(5)),
                SimCommand::StreamsComplete,
            ));
        }
        if self.stalls() {
            commands.push((At::Time(Duration::from_secs(100)), SimCommand::Drain));
        }
        if self.asks() {
            // Long after everything that ends by itself has ended.
            commands.push((At::Time(Duration::from_secs(3600)), SimCommand::Drain));
        }
        SimOptions {
            hold_open: self.adds_streams(),
            // Some batches wait for seconds, one after the other.
            deadline: Duration::from_secs(7200),
            commands,
            ..SimOptions::seeded(self.seed)
        }
    }
}

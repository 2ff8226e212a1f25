//! The laws on the life of an actor: what it is told of its streams and its end, and how often.

use std::collections::BTreeSet;

use super::keep::{Event, Life};

/// What is known of the run besides the lives.
pub(crate) struct Circumstances<'a> {
    /// The run came to its end, was not stopped, and no call hung.
    pub(crate) undisturbed: bool,
    /// Nothing of the run is left: everything that was built has been dropped.
    pub(crate) is_over: bool,
    /// Whether an instance of this node may have been lost without a panic: its graph replaces actors that fail, or the
    /// node was given up.
    pub(crate) may_be_lost: &'a dyn Fn(&str) -> bool,
    /// Whether each batch of this node is of one stream.
    pub(crate) batches_each: &'a dyn Fn(&str) -> bool,
}

/// Returns the laws that a life breaks.
pub(crate) fn broken(lives: &[Life], circumstances: &Circumstances<'_>) -> Vec<String> {
    let mut broken = Vec::new();
    for life in lives {
        if let Err(law) = in_order(life) {
            broken.push(format!("{}: {law}: {}", life.node, shown(life)));
        } else if let Err(law) = complete(life, circumstances) {
            broken.push(format!("{}: {law}: {}", life.node, shown(life)));
        }
    }
    broken
}

/// Describes a life without its packets.
fn shown(life: &Life) -> String {
    let events = life.events.iter();
    let told = events.filter(|event| !matches!(event, Event::Handled(_)));
    format!("{:?}", told.collect::<Vec<_>>())
}

/// Checks that a stream is started before it is handled, and handled before it is ended; that nothing follows a panic,
/// and that `finish` comes at most once, after all ends.
fn in_order(life: &Life) -> Result<(), &'static str> {
    let mut open: BTreeSet<&str> = BTreeSet::new();
    let (mut over, mut panicked) = (false, false);
    for event in &life.events {
        if panicked && *event != Event::Dropped {
            return Err("called after it panicked");
        }
        if over && !matches!(event, Event::Dropped | Event::Panicked) {
            return Err("called after `finish`");
        }
        match event {
            Event::Started(stream) => {
                if !open.insert(stream) {
                    return Err("told twice of the start of a stream");
                }
            }
            Event::Handled(stream) => {
                if !open.contains(stream.as_str()) {
                    return Err("given a packet of a stream of whose start it was not told");
                }
            }
            Event::Ended(stream, _) => {
                if !open.remove(stream.as_str()) {
                    return Err("told of the end of a stream of whose start it was not told");
                }
            }
            Event::Finished(_) => over = true,
            Event::Panicked => panicked = true,
            Event::Created | Event::Mixed | Event::Failed | Event::Dropped => {}
        }
    }
    Ok(())
}

/// Checks that every stream that started has ended and that the instance finished, unless something cut its life short.
fn complete(life: &Life, circumstances: &Circumstances<'_>) -> Result<(), &'static str> {
    if circumstances.is_over && life.events.last() != Some(&Event::Dropped) {
        return Err("not dropped when the run was over");
    }
    if (circumstances.batches_each)(&life.node) && life.events.contains(&Event::Mixed) {
        return Err("given a batch of several streams");
    }
    let panicked = life.events.contains(&Event::Panicked);
    let may_be_lost = (circumstances.may_be_lost)(&life.node);
    if !circumstances.undisturbed || panicked || may_be_lost {
        return Ok(());
    }
    let count = |fits: &dyn Fn(&Event) -> bool| life.events.iter().filter(|e| fits(e)).count();
    let started = count(&|event| matches!(event, Event::Started(_)));
    let ended = count(&|event| matches!(event, Event::Ended(..)));
    if started != ended {
        return Err("not told of the end of a stream");
    }
    match count(&|event| matches!(event, Event::Finished(_))) {
        0 => Err("never finished"),
        _ => Ok(()),
    }
}

//! Describes what is wrong with a run besides a bottleneck, in order of urgency.

use crate::numbers::{NodeNumbers, StreamNumbers};

/// Maximum number of names listed; the rest are counted.
const MOST_NAMES: usize = 4;

/// Returns what is wrong, the most urgent first. `last_fault` is the newest of the run's faults.
pub(crate) fn troubles(
    streams: &[StreamNumbers],
    nodes: &[NodeNumbers],
    faults: usize,
    last_fault: Option<&str>,
) -> Vec<String> {
    let mut troubles = Vec::new();
    for state in ["offline", "reconnecting"] {
        let away: Vec<&StreamNumbers> = streams
            .iter()
            .filter(|stream| stream.state == state)
            .collect();
        let reason = match &away[..] {
            [] => continue,
            [one] => one.reason.as_deref().map(|reason| format!(": {reason}")),
            _ => None,
        };
        let names = away.iter().map(|stream| &*stream.name).collect();
        let verb = if away.len() == 1 { "is" } else { "are" };
        let reason = reason.unwrap_or_default();
        troubles.push(format!("{} {verb} {state}{reason}.", listed(names)));
    }
    if let (1.., Some(fault)) = (faults, last_fault) {
        troubles.push(match faults {
            1 => format!("There was a fault: {fault}."),
            _ => format!("There were {faults} faults, the last of them: {fault}."),
        });
    }
    let failing = nodes.iter().filter(|node| node.failed_per_s > 0.0);
    troubles.extend(failing.map(|node| {
        let rate = node.failed_per_s;
        format!("{rate:.1} packets a second fail at {}.", node.name)
    }));
    let missing: Vec<&StreamNumbers> = streams
        .iter()
        .filter(|stream| stream.missed_per_s > 0.0)
        .collect();
    if !missing.is_empty() {
        let rate: f64 = missing.iter().map(|stream| stream.missed_per_s).sum();
        let names = missing.iter().map(|stream| &*stream.name).collect();
        troubles.push(format!(
            "{rate:.1} frames a second of {} are lost before the graph has them.",
            listed(names)
        ));
    }
    troubles
}

/// Joins names: `door`, `door and yard`, `door, yard and 7 more`.
fn listed(mut names: Vec<&str>) -> String {
    let more = names.len().saturating_sub(MOST_NAMES);
    names.truncate(MOST_NAMES);
    let last = match more {
        0 if names.len() < 2 => None,
        0 => names.pop().map(str::to_owned),
        more => Some(format!("{more} more")),
    };
    let names = names.join(", ");
    last.map_or(names.clone(), |last| format!("{names} and {last}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(name: &str, state: &str) -> StreamNumbers {
        StreamNumbers {
            name: name.to_owned(),
            state: state.to_owned(),
            reason: Some("Connection refused (for 15 s)".to_owned()),
            ..StreamNumbers::default()
        }
    }

    #[test]
    fn cameras_that_are_gone_and_faults_come_before_what_is_slow() {
        let mut yard = stream("yard", "running");
        yard.missed_per_s = 2.0;
        let streams = [stream("door", "offline"), yard, stream("old", "over")];
        let emotion = NodeNumbers {
            name: "emotion".to_owned(),
            failed_per_s: 1.5,
            ..NodeNumbers::default()
        };
        assert_eq!(
            troubles(&streams, &[emotion], 2, Some("emotion: no model")),
            [
                "door is offline: Connection refused (for 15 s).",
                "There were 2 faults, the last of them: emotion: no model.",
                "1.5 packets a second fail at emotion.",
                "2.0 frames a second of yard are lost before the graph has them.",
            ]
        );
        assert_eq!(
            troubles(&[stream("a", "running")], &[], 0, None),
            [] as [&str; 0]
        );
    }

    #[test]
    fn many_streams_are_told_in_one_line() {
        let streams: Vec<StreamNumbers> = ["a", "b", "c", "d", "e", "f"]
            .map(|name| stream(name, "offline"))
            .into();
        let said = |streams: &[StreamNumbers]| troubles(streams, &[], 0, None);
        assert_eq!(said(&streams), ["a, b, c, d and 2 more are offline."]);
        assert_eq!(said(&streams[..2]), ["a and b are offline."]);
    }
}

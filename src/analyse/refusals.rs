//! Rephrases problems of the generated graph in terms of the command line, since the user has not written the graph.

use std::collections::BTreeSet;

use fermata_engine::{InstanceName, Problems, StartError};

use super::graph::Plan;
use crate::print::complain;

/// Prints problems of the graph.
pub(super) fn of_graph(problems: &Problems, plan: &Plan<'_>) {
    tell(problems.iter().map(|problem| {
        let message = problem.message();
        let of_node = message.strip_prefix("node `");
        match of_node.and_then(|rest| rest.split_once("`: ")) {
            Some((node, reason)) => of_node_instance(node, reason, plan),
            None => message.to_owned(),
        }
    }));
}

/// Prints why nodes could not be created; returns whether that is the error.
pub(super) fn of_start(error: &anyhow::Error, plan: &Plan<'_>) -> bool {
    let Some(StartError::Create(faults)) = error.downcast_ref::<StartError>() else {
        return false;
    };
    tell(faults.iter().map(|fault| match &fault.node {
        Some(node) => of_node_instance(node, &fault.message, plan),
        None => fault.message.clone(),
    }));
    true
}

/// Prints each reason once, even if several nodes give it.
fn tell(reasons: impl Iterator<Item = String>) {
    let mut told = BTreeSet::new();
    for reason in reasons {
        if told.insert(reason.clone()) {
            complain(&format!("error: {reason}"));
        }
    }
}

/// Prefixes a reason of a node, `NAME` or `NAME@STREAM`, with the corresponding argument.
fn of_node_instance(instance: &str, reason: &str, plan: &Plan<'_>) -> String {
    let InstanceName { node, stream } = InstanceName::parse(instance);
    let mut videos = plan.inputs.videos.iter();
    let named = match node.strip_prefix("photo_").unwrap_or(node) {
        "capture" => videos
            .find(|video| Some(&*video.name) == stream)
            .map(|video| video.uri.clone()),
        "detect" => Some(format!("--detector {}", plan.detector.display())),
        "crop" | "emotion" => Some(format!("--model {}", plan.model.display())),
        _ => None,
    };
    match named {
        Some(named) => format!("{named}: {reason}"),
        None => reason.to_owned(),
    }
}

//! `fermata doctor`: reports what is installed and what works.

use std::path::Path;

use fermata_engine::{Graph, LoadOptions};

#[cfg(feature = "live")]
use crate::cli::FAILED;
use crate::cli::SUCCESS;
use crate::print::print_line;
use crate::program::Program;

/// Prints one line for each thing that graphs may need; fails if something is missing that every camera graph needs.
/// For a given graph, lists the nodes that accept any certificate.
///
/// # Errors
/// Fails if a given graph cannot be read, a given server does not answer, or nothing can be printed. Missing parts are
/// reported and set the exit code.
pub(crate) fn doctor(
    graph: Option<&Path>,
    nats: Option<&str>,
    program: &Program,
) -> anyhow::Result<u8> {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    print_line(&format!(
        "fermata {}, {cores} cores\n",
        env!("CARGO_PKG_VERSION")
    ))?;
    #[cfg_attr(not(feature = "live"), expect(unused_mut))]
    let mut code = SUCCESS;
    #[cfg(feature = "live")]
    for part in fermata_actors::installed::installed() {
        let (mark, text) = match &part.state {
            Ok(found) => ("ok", found),
            Err(missing) if part.essential => {
                code = FAILED;
                ("MISSING", missing)
            }
            Err(missing) => ("-", missing),
        };
        print_line(&format!("{mark:<8} {:<14} {text}", part.name))?;
        print_line(&format!("{:<8} {:<14} for {}", "", "", part.purpose))?;
    }
    let (mark, text) = match libtorch() {
        Ok(found) => ("ok", found),
        Err(missing) => ("-", missing),
    };
    print_line(&format!("{mark:<8} {:<14} {text}", "libtorch"))?;
    print_line(&format!(
        "{:<8} {:<14} for training, evaluation and export",
        "", ""
    ))?;
    if let Some(address) = nats {
        for (mark, name, text) in server(address)? {
            print_line(&format!("{mark:<8} {name:<14} {text}"))?;
        }
    }
    if let Some(path) = graph {
        let registry = (program.registry)();
        let graph = Graph::load(path, &registry, &LoadOptions::new("runs/doctor"))?;
        for node in unverified(&graph) {
            print_line(&format!(
                "WARNING  {node:<14} accepts any certificate (`tls: {{verify: false}}`): an attacker on the network can read and change everything"
            ))?;
        }
    }
    Ok(code)
}

/// Returns a NATS server's properties and permissions, one line each.
#[cfg(feature = "remote")]
fn server(address: &str) -> anyhow::Result<Vec<(&'static str, &'static str, String)>> {
    let connection = crate::remote::open(address, "doctor", fermata_engine::Codecs::default())?;
    let found = fermata_remote::examine(&connection);
    let mut lines = vec![(
        "ok",
        "nats",
        format!("version {}, JetStream", found.version),
    )];
    let frame = "a raw frame of 1920 × 1080 is 6.2 MB";
    let payload = format!("{} bytes per message; {frame}", found.max_payload);
    lines.push(("ok", "max_payload", payload));
    lines.push(match found.storage {
        Ok(Some(most)) => ("ok", "storage", format!("{most} bytes for this account")),
        Ok(None) => ("ok", "storage", "as much as the server has".to_owned()),
        Err(reason) => (
            "-",
            "storage",
            format!("the server does not report it: {reason}"),
        ),
    });
    lines.push(match found.may_make_stores {
        Ok(()) => (
            "ok",
            "rights",
            "JetStream streams may be created, as needed by machines that receive packets"
                .to_owned(),
        ),
        Err(reason) => {
            let enough = "enough for a machine that only sends, not for one that receives";
            (
                "-",
                "rights",
                format!("JetStream streams may not be created ({enough}): {reason}"),
            )
        }
    });
    Ok(lines)
}

#[cfg(not(feature = "remote"))]
fn server(_: &str) -> anyhow::Result<Vec<(&'static str, &'static str, String)>> {
    anyhow::bail!("--nats: {}", crate::remote::WITHOUT)
}

/// Returns the node instances whose settings turn certificate verification off.
fn unverified(graph: &Graph) -> Vec<String> {
    let mut found = Vec::new();
    for node in &graph.nodes {
        for stream in graph.instances_of(node) {
            let settings = node.settings(stream.as_ref()).ok();
            let settings: Option<serde_json::Value> =
                settings.and_then(|settings| settings.parse().ok());
            if settings.is_some_and(|settings| settings["tls"]["verify"] == false) {
                let suffix = stream.map_or(String::new(), |stream| format!("@{}", stream.name));
                found.push(format!("{}{suffix}", node.name));
            }
        }
    }
    found
}

/// Checks whether `fermata-learn` is installed and starts: libtorch is loaded only there.
fn libtorch() -> Result<String, String> {
    let missing = "run `make setup-learn`, then `cargo build --release`";
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let program = this.with_file_name("fermata-learn");
    if !program.is_file() {
        return Err(format!(
            "no fermata-learn beside {}; {missing}",
            this.display()
        ));
    }
    let started = std::process::Command::new(&program)
        .arg("--version")
        .output();
    let output =
        started.map_err(|error| format!("{} does not start: {error}", program.display()))?;
    if output.status.success() {
        return Ok(format!("{} starts", program.display()));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let first = said.lines().next().unwrap_or("no error message").to_owned();
    Err(format!(
        "{} does not start: {first}; {missing}",
        program.display()
    ))
}

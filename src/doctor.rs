//! `fermata doctor`: reports what is installed and what works.

use fermata_engine::{Graph, LoadOptions};

#[cfg(feature = "live")]
use crate::cli::FAILED;
use crate::cli::{DoctorArguments, SUCCESS};
use crate::print::print_line;
use crate::program::Program;
#[cfg(feature = "remote")]
use {
    fermata_engine::Codecs,
    fermata_remote::{ServerFindings, examine},
};

/// A line of what was found: how good it is, what it is about, and the rest.
type Line = (&'static str, &'static str, String);

/// The site that is tested if none is named.
#[cfg(feature = "remote")]
const NO_SITE: &str = "doctor";

/// Prints one line for each thing that graphs may need; fails if something is missing that every camera graph needs.
/// For a given graph, lists the nodes that accept any certificate.
///
/// # Errors
/// Fails if a given graph cannot be read, a given server does not answer, or nothing can be printed. Missing parts are
/// reported and set the exit code.
pub(crate) fn doctor(arguments: &DoctorArguments, program: &Program) -> anyhow::Result<u8> {
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
    let registry = (program.registry)();
    let graph = arguments.graph.as_ref();
    let graph = graph.map(|path| Graph::load(path, &registry, &LoadOptions::new("runs/doctor")));
    let graph = graph.transpose()?;
    if let Some(address) = &arguments.nats {
        for (mark, name, text) in server(address, arguments, graph.as_ref())? {
            print_line(&format!("{mark:<8} {name:<14} {text}"))?;
        }
    }
    if let Some(graph) = &graph {
        for node in unverified(graph) {
            print_line(&format!(
                "WARNING  {node:<14} accepts any certificate (`tls: {{verify: false}}`): an attacker on the network can read and change everything"
            ))?;
        }
    }
    Ok(code)
}

/// Returns a NATS server's properties and the permissions that were tried, one line each.
#[cfg(feature = "remote")]
fn server(
    address: &str,
    arguments: &DoctorArguments,
    graph: Option<&Graph>,
) -> anyhow::Result<Vec<Line>> {
    let named = arguments.site.as_ref();
    let site = named.or(graph.map(|graph| &graph.name));
    let machine = arguments.machine.as_deref();
    if let (None, Some(machine)) = (site, machine) {
        anyhow::bail!("--machine {machine}: name its site with --site, or the graph");
    }
    let name = site.map_or(NO_SITE, String::as_str);
    let connection = crate::remote::open_part(address, name, machine, Codecs::default())?;
    let found = examine(&connection);
    let mut lines = vec![(
        "ok",
        "nats",
        format!("version {}, JetStream", found.version),
    )];
    let frame = "a raw frame of 1920 × 1080 is 6.2 MB";
    let payload = format!("{} bytes per message; {frame}", found.max_payload);
    lines.push(("ok", "max_payload", payload));
    lines.extend(permissions(found, site.map(String::as_str)));
    Ok(lines)
}

#[cfg(not(feature = "remote"))]
fn server(_: &str, _: &DoctorArguments, _: Option<&Graph>) -> anyhow::Result<Vec<Line>> {
    anyhow::bail!("--nats: {}", crate::remote::WITHOUT)
}

/// Returns what was tried with a user's permissions, and how that ended; `site` is the one that was named.
#[cfg(feature = "remote")]
fn permissions(found: ServerFindings, site: Option<&str>) -> Vec<Line> {
    if let Err(reason) = found.answers {
        let text = format!(
            "the server's answers may not be received, so nothing else was tried: {reason}"
        );
        return vec![("-", "rights", text)];
    }
    let mut lines = vec![match found.storage {
        Ok(Some(most)) => ("ok", "storage", format!("{most} bytes for this account")),
        Ok(None) => ("ok", "storage", "as much as the server has".to_owned()),
        Err(reason) => (
            "-",
            "storage",
            format!("the server does not report it: {reason}"),
        ),
    }];
    if let Some(site) = site {
        lines.push(match found.may_read_run {
            Ok(()) => (
                "ok",
                "rights",
                format!("the record of the run of site `{site}` may be read, as every part must"),
            ),
            Err(reason) => (
                "-",
                "rights",
                format!("the record of the run of site `{site}` cannot be read, as every part must: {reason}"),
            ),
        });
    }
    lines.push(match found.may_make_stores {
        Ok(()) => (
            "ok",
            "rights",
            "JetStream streams may be created, as machines that receive packets must".to_owned(),
        ),
        Err(reason) => (
            "-",
            "rights",
            format!(
                "JetStream streams cannot be created, as machines that receive packets must (those that only send need not): {reason}"
            ),
        ),
    });
    let rest = "not tried: to send and receive packets, and to register a part";
    lines.push(("", "", rest.to_owned()));
    lines
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

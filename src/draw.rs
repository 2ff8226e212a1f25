//! `fermata graph`: drawings of a graph.

use std::path::Path;

use layout::backends::svg::SVGWriter;
use layout::gv::{DotParser, GraphBuilder};

use crate::cli::{DrawArguments, Format, REFUSED, SUCCESS};
use crate::load;
use crate::print::print;
use crate::program::Program;

/// Nodes of the largest graph in which it is looked for an order of nodes in which few edges cross: beyond, that takes
/// minutes.
const MOST_UNTANGLED: usize = 100;

/// Prints the graph in the language that was asked for.
///
/// # Errors
/// It cannot be laid out or printed.
pub fn draw(arguments: &DrawArguments, program: &Program) -> anyhow::Result<u8> {
    let registry = (program.registry)();
    let run_dir = Path::new("runs/graph");
    let Some(graph) = load::parsed(&arguments.graph, program, &registry, run_dir) else {
        return Ok(REFUSED);
    };
    let drawing = match arguments.format {
        Format::Dot => graph.to_dot(),
        Format::Mermaid => graph.to_mermaid(),
        Format::Yaml => graph.resolved_yaml(),
        Format::Svg => svg(&graph.to_dot(), graph.nodes.len() <= MOST_UNTANGLED)?,
    };
    print(&drawing)?;
    Ok(SUCCESS)
}

/// `untangled`: edges cross as little as can be found out.
fn svg(dot: &str, untangled: bool) -> anyhow::Result<String> {
    let parsed = DotParser::new(dot)
        .process()
        .map_err(|error| anyhow::anyhow!("the drawing cannot be laid out: {error}"))?;
    let mut builder = GraphBuilder::new();
    builder.visit_graph(&parsed);
    let mut svg = SVGWriter::new();
    builder.get().do_it(false, !untangled, false, &mut svg);
    Ok(svg.finalize())
}

//! `fermata graph`: drawings of a graph.

use std::path::Path;

use layout::backends::svg::SVGWriter;
use layout::gv::{DotParser, GraphBuilder};

use crate::cli::{DrawArguments, Format, REFUSED, SUCCESS};
use crate::load;
use crate::print::print;
use crate::program::Program;

/// Largest number of nodes for which an ordering with few crossing edges is searched: beyond that, it takes minutes.
const MOST_UNTANGLED: usize = 100;

/// Prints the graph in the requested format.
///
/// # Errors
/// Fails if the graph cannot be laid out or printed.
pub(crate) fn draw(arguments: &DrawArguments, program: &Program) -> anyhow::Result<u8> {
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

/// Lays out the graph as SVG; `untangled` minimises crossing edges.
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

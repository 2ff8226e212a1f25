//! Export of networks as ONNX graphs (opset 17), from the same description as the libtorch module, and of model folders
//! with a card, which the live graph loads. Owns how each layer is expressed in ONNX. The format's messages are in
//! `onnx`.

mod folder;
mod onnx;
mod options;
mod writer;

use prost::Message;

pub use self::folder::{ExportError, Overwrite, write_folder};
use self::onnx::{Graph, Model, OperatorSet, Property, Value};
pub use self::options::{INPUT, OUTPUT, OnnxOptions};
use self::writer::Writer;
use crate::network::Network;

const IR_VERSION: i64 = 8;
const OPSET: i64 = 17;

/// Returns the network in evaluation mode as an ONNX file. An ArcFace head is written in its inference form, without
/// margin. `provenance` goes into the file's metadata under `fermata`.
pub fn onnx(
    network: &Network,
    options: OnnxOptions,
    provenance: Option<&serde_json::Value>,
) -> Vec<u8> {
    let description = network.description();
    let mut writer = Writer::new(network, options);
    let embedding = writer.layers(&description.body, INPUT.to_owned());
    writer.classifier(&description.classifier, embedding);
    let (node, initializer) = writer.finish();
    let model = Model {
        ir_version: IR_VERSION,
        producer_name: "fermata".to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        graph: Some(Graph {
            node,
            name: description.architecture.to_string(),
            initializer,
            input: vec![Value::batch_of_floats(
                INPUT,
                &[
                    description.architecture.channels(),
                    options.height,
                    options.width,
                ],
            )],
            output: vec![Value::batch_of_floats(
                OUTPUT,
                &[description.head.classes()],
            )],
        }),
        opset_import: vec![OperatorSet {
            domain: String::new(),
            version: OPSET,
        }],
        metadata_props: provenance
            .map(|provenance| Property {
                key: "fermata".to_owned(),
                value: provenance.to_string(),
            })
            .into_iter()
            .collect(),
    };
    model.encode_to_vec()
}

/// Summary of an ONNX file; see [`summary`].
#[derive(Clone, Debug, PartialEq)]
pub struct OnnxSummary {
    /// Program that wrote it, with its version.
    pub producer: String,
    /// Name of the graph.
    pub graph: String,
    /// Number of nodes.
    pub nodes: usize,
    /// Number of values in its initializers.
    pub parameters: i64,
    /// Provenance, if this program wrote it.
    pub provenance: Option<serde_json::Value>,
}

/// Reads the summary of an ONNX file. Returns `None` if it is not an ONNX file.
pub fn summary(bytes: &[u8]) -> Option<OnnxSummary> {
    let model = Model::decode(bytes).ok()?;
    let graph = model.graph?;
    let mut properties = model.metadata_props.iter();
    let provenance = properties.find(|property| property.key == "fermata");
    Some(OnnxSummary {
        producer: format!("{} {}", model.producer_name, model.producer_version),
        nodes: graph.node.len(),
        parameters: graph
            .initializer
            .iter()
            .map(|tensor| tensor.dims.iter().product::<i64>())
            .sum(),
        graph: graph.name,
        provenance: provenance.and_then(|property| serde_json::from_str(&property.value).ok()),
    })
}

#[cfg(test)]
mod tests;

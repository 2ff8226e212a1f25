//! Networks under timm's names, with timm's tensors and timm's outputs, and one of our own for small images. Each is a
//! description from which the libtorch module, the ONNX graph and the counts are made. Weight files are in
//! [`crate::weights`], ONNX in [`crate::export`].

mod architecture;
mod convnext;
mod description;
mod efficientnet;
mod initial;
mod inverted_residual;
pub mod layer;
mod mobilenetv3;
mod module;
mod resnet18;
mod small_resnet18;

pub use self::architecture::{Architecture, UnknownArchitecture};
pub use self::description::{Cost, Description, Head};
pub use self::layer::{Layer, TensorRole, TensorSpec};
pub(crate) use self::module::unit_rows;
pub use self::module::{InputError, Mode, NamedTensor, Network};
pub use self::small_resnet18::SmallResNet18;

#[cfg(test)]
pub(crate) mod tests;

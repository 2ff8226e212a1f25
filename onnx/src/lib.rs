//! Models in ONNX Runtime, which is loaded together with the first model.
//!
//! - [`Session`]: any `.onnx` file; f32 tensors in, f32 tensors out, on an explicit [`Device`] with explicit
//!   [`Precision`] and threads.
//! - [`CardModel`]: a model folder whose card and graph agree; inputs in, one row of values for each out.
//! - [`runtime_build`], [`cuda`], [`openvino`]: what is installed here.
//!
//! Preprocessing (`fermata-vision` does it, according to the card) and the meaning of outputs are elsewhere. A model is
//! run by one thread at a time; further threads load it again.

mod card_model;
mod device;
mod initialisers;
mod messages;
mod precision;
mod providers;
mod runtime;
mod session;
mod tensor;

#[cfg(test)]
#[path = "../../tests/skipped.rs"]
mod skipped;

pub use card_model::{CardModel, CardModelError};
pub use device::{Device, PrecisionError, cuda, openvino};
pub use precision::Precision;
pub use providers::Providers;
pub use runtime::{RuntimeError, runtime_build};
pub use session::{MOST_THREADS, Outputs, Session, SessionError, SessionSpec};
pub use tensor::{ElementType, TensorIn, TensorInfo, TensorOut};

//! Input and output tensors of a model, and their descriptions.

use std::fmt;

use ort::value::{TensorElementType, ValueType};

/// Element type of a tensor, as far as callers distinguish them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum ElementType {
    F32,
    F16,
    U8,
    I64,
    /// Another type, or not a tensor.
    Other,
}

/// An input or output of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name in the graph.
    pub name: String,
    /// Its dimensions; `None` for a dynamic one.
    pub shape: Vec<Option<usize>>,
    /// Type of its elements.
    pub element: ElementType,
}

impl TensorInfo {
    pub(crate) fn of(outlet: &ort::value::Outlet) -> Self {
        let (shape, element) = match outlet.dtype() {
            ValueType::Tensor { ty, shape, .. } => {
                let shape = shape.iter().map(|&side| usize::try_from(side).ok());
                let element = match ty {
                    TensorElementType::Float32 => ElementType::F32,
                    TensorElementType::Float16 => ElementType::F16,
                    TensorElementType::Uint8 => ElementType::U8,
                    TensorElementType::Int64 => ElementType::I64,
                    _ => ElementType::Other,
                };
                (shape.collect(), element)
            }
            _ => (Vec::new(), ElementType::Other),
        };
        Self {
            name: outlet.name().to_owned(),
            shape,
            element,
        }
    }
}

impl fmt::Display for TensorInfo {
    /// Formats as `input[?,3,240,320] F32`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sides = self.shape.iter();
        let sides = sides.map(|side| side.map_or("?".to_owned(), |n| n.to_string()));
        let sides = sides.collect::<Vec<_>>().join(",");
        write!(f, "{}[{sides}] {:?}", self.name, self.element)
    }
}

/// A borrowed tensor, row-major.
#[derive(Clone, Copy, Debug)]
pub struct TensorIn<'a> {
    /// Its dimensions.
    pub shape: &'a [usize],
    /// As many values as the product of the dimensions.
    pub values: &'a [f32],
}

/// A view of a tensor that the model computed, row-major.
#[derive(Clone, Copy, Debug)]
pub struct TensorOut<'a> {
    /// Its dimensions.
    pub shape: &'a [i64],
    /// Its values.
    pub values: &'a [f32],
}

/// Returns the number of values in a tensor of this shape; `None` if it overflows.
pub(crate) fn element_count(shape: &[usize]) -> Option<usize> {
    shape
        .iter()
        .try_fold(1_usize, |count, &side| count.checked_mul(side))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overflowing_shape_has_no_element_count() {
        assert_eq!(element_count(&[2, 3]), Some(6));
        assert_eq!(element_count(&[]), Some(1));
        assert_eq!(element_count(&[usize::MAX, 2]), None);
    }
}

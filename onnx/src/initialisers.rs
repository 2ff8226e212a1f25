//! Constants that an ONNX file lists among its inputs, as required before IR version 4. ONNX Runtime then treats them
//! as inputs that a caller may replace, and neither folds nor fuses them. Owns their removal from the list: takes the
//! bytes of a model, returns new ones.

/// Field numbers of ONNX's messages (onnx.proto3).
const MODEL_GRAPH: u64 = 7;
const GRAPH_INITIALIZER: u64 = 5;
const GRAPH_INPUT: u64 = 11;
const TENSOR_NAME: u64 = 8;
const TENSOR_DATA_LOCATION: u64 = 14;
const VALUE_NAME: u64 = 1;

/// Returns the model without the inputs that are constants; `None` if it has none, stores its constants in other files,
/// or cannot be read.
pub(crate) fn without_constant_inputs(model: &[u8]) -> Option<Vec<u8>> {
    let graph = fields(model)
        .find(|field| field.number == MODEL_GRAPH)?
        .message()?;
    let mut constants = Vec::new();
    for field in fields(graph).filter(|field| field.number == GRAPH_INITIALIZER) {
        let tensor = field.message()?;
        if fields(tensor).any(|field| field.number == TENSOR_DATA_LOCATION && field.varint() == 1) {
            return None;
        }
        constants.push(name(tensor, TENSOR_NAME)?);
    }
    constants.sort_unstable();
    let is_constant = |field: &Field<'_>| {
        let name = field.message().and_then(|value| name(value, VALUE_NAME));
        field.number == GRAPH_INPUT
            && name.is_some_and(|name| constants.binary_search(&name).is_ok())
    };
    if !fields(graph).any(|field| is_constant(&field)) {
        return None;
    }
    // A truncated model must not become a valid one.
    if ![model, graph].into_iter().all(is_readable) {
        return None;
    }
    let kept = fields(graph).filter(|field| !is_constant(field));
    let new_graph: Vec<u8> = kept.flat_map(|field| field.bytes).copied().collect();
    let mut new = Vec::with_capacity(model.len());
    for field in fields(model) {
        if field.number == MODEL_GRAPH {
            put_varint(&mut new, MODEL_GRAPH << 3 | LENGTH_DELIMITED);
            put_varint(&mut new, new_graph.len() as u64);
            new.extend_from_slice(&new_graph);
        } else {
            new.extend_from_slice(field.bytes);
        }
    }
    Some(new)
}

fn name(message: &[u8], number: u64) -> Option<&[u8]> {
    fields(message)
        .find(|field| field.number == number)?
        .message()
}

/// Wire types of protocol buffers.
const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const LENGTH_DELIMITED: u64 = 2;
const FIXED_32: u64 = 5;

/// A field of a message in its encoded form.
struct Field<'a> {
    number: u64,
    kind: u64,
    /// The whole field, including number and length.
    bytes: &'a [u8],
    /// Its contents, after number and length.
    value: &'a [u8],
}

impl<'a> Field<'a> {
    /// Returns the bytes of a message or string.
    fn message(&self) -> Option<&'a [u8]> {
        (self.kind == LENGTH_DELIMITED).then_some(self.value)
    }

    /// Returns the number; 0 if the field is not a number.
    fn varint(&self) -> u64 {
        let mut rest = self.value;
        match self.kind {
            VARINT => take_varint(&mut rest).unwrap_or(0),
            _ => 0,
        }
    }
}

fn is_readable(message: &[u8]) -> bool {
    let lengths = fields(message).map(|field| field.bytes.len());
    lengths.sum::<usize>() == message.len()
}

/// Returns the fields of a message, up to its end or to the first unreadable one.
fn fields(message: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let mut rest = message;
    std::iter::from_fn(move || {
        let start = rest;
        let key = take_varint(&mut rest)?;
        let (number, kind) = (key >> 3, key & 7);
        let length = match kind {
            VARINT => {
                let mut after = rest;
                take_varint(&mut after)?;
                rest.len() - after.len()
            }
            FIXED_64 => 8,
            LENGTH_DELIMITED => usize::try_from(take_varint(&mut rest)?).ok()?,
            FIXED_32 => 4,
            _ => return None,
        };
        let (value, after) = rest.split_at_checked(length)?;
        rest = after;
        let bytes = &start[..start.len() - rest.len()];
        Some(Field {
            number,
            kind,
            bytes,
            value,
        })
    })
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: u64, value: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_varint(&mut bytes, number << 3 | LENGTH_DELIMITED);
        put_varint(&mut bytes, value.len() as u64);
        bytes.extend(value);
        bytes
    }

    fn varint(number: u64, value: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_varint(&mut bytes, number << 3 | VARINT);
        put_varint(&mut bytes, value);
        bytes
    }

    fn model(parts: &[Vec<u8>]) -> Vec<u8> {
        let version = varint(1, 3);
        [
            version.clone(),
            message(MODEL_GRAPH, &parts.concat()),
            version,
        ]
        .concat()
    }

    fn input(name: &str) -> Vec<u8> {
        message(GRAPH_INPUT, &message(VALUE_NAME, name.as_bytes()))
    }

    fn constant(name: &str, more: &[u8]) -> Vec<u8> {
        let name = message(TENSOR_NAME, name.as_bytes());
        message(GRAPH_INITIALIZER, &[&name, more].concat())
    }

    #[test]
    fn inputs_that_are_constants_go_and_everything_else_stays() {
        let long = vec![7; 1000];
        let weights = constant("w", &message(9, &long));
        let node = message(1, b"node");
        let whole = model(&[node.clone(), input("x"), weights.clone(), input("w")]);
        let expected = model(&[node, input("x"), weights]);
        assert_eq!(without_constant_inputs(&whole), Some(expected.clone()));
        assert_eq!(without_constant_inputs(&expected), None, "nothing to do");
    }

    #[test]
    fn constants_in_other_files_and_what_is_no_model_are_left_alone() {
        let outside = constant("w", &varint(TENSOR_DATA_LOCATION, 1));
        let model = model(&[outside, input("w")]);
        assert_eq!(without_constant_inputs(&model), None);
        assert_eq!(without_constant_inputs(b"no model"), None);
        assert_eq!(without_constant_inputs(&model[..model.len() / 2]), None);
        let good = self::model(&[constant("w", &[]), input("w")]);
        assert!(without_constant_inputs(&good).is_some());
        assert_eq!(
            without_constant_inputs(&[&good[..], &[0xFF; 4]].concat()),
            None
        );
        assert_eq!(without_constant_inputs(&[]), None);
    }
}

//! A payload of the tests, and its form on the wire.

use fermata_engine::{ActorError, Codec, Payload};

#[derive(Debug)]
pub(crate) struct Number(pub(crate) u64);

impl Payload for Number {}

/// Codec of eight bytes, padded to the size of a frame.
pub(crate) struct NumberV1;

const SIZE: usize = 2000;

impl Codec for NumberV1 {
    type Payload = Number;
    const NAME: &'static str = "number";
    const VERSION: u32 = 1;

    fn encode(number: &Number, bytes: &mut Vec<u8>) -> Result<(), ActorError> {
        bytes.extend(number.0.to_le_bytes());
        bytes.resize(bytes.len() + SIZE - 8, 7);
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Result<Number, ActorError> {
        let number = bytes.first_chunk().ok_or("too few bytes")?;
        Ok(Number(u64::from_le_bytes(*number)))
    }
}

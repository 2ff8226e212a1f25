//! Messages between the two ends of an edge: packets and progress, in protobuf.
//!
//! Defines their form, and what must hold of them before they are used. Whatever the bytes are, reading them does not
//! panic and takes no more memory than they do.

use bytes::Bytes;
use fermata_engine::{End, How};
use prost::Message;

/// Largest sequence of a packet: the engine reserves the two above it.
const MOST_SEQUENCE: u64 = u64::MAX - 2;
/// Most bytes of a codec's name.
const MOST_NAME: usize = 64;

/// A packet, with the number that the edge gave it.
#[derive(Clone, PartialEq, Message)]
pub struct PacketMessage {
    /// Life of the sending end that it comes from; a later one is greater.
    #[prost(uint64, tag = "1")]
    pub incarnation: u64,
    /// The edge's own number for it, from 0 in each incarnation, without gaps.
    #[prost(uint64, tag = "2")]
    pub number: u64,
    /// The stream's sequence.
    #[prost(uint64, tag = "3")]
    pub sequence: u64,
    /// See [`fermata_engine::Capture`].
    #[prost(uint32, tag = "4")]
    pub segment: u32,
    /// See [`fermata_engine::Capture`].
    #[prost(sint64, tag = "5")]
    pub pts_ns: i64,
    /// When it was captured, in nanoseconds since 1970 by the capturing machine's clock.
    #[prost(sint64, tag = "6")]
    pub captured_unix_ns: i64,
    /// Name of the payload's codec.
    #[prost(string, tag = "7")]
    pub form: String,
    /// Version of the codec.
    #[prost(uint32, tag = "8")]
    pub version: u32,
    /// What the codec wrote.
    #[prost(bytes = "bytes", tag = "9")]
    pub payload: Bytes,
    /// Whether the stream's sequences continue over lives of the sending end, since the stream itself comes from
    /// another machine: a sequence that is lower than what has come is of a packet that has come before.
    #[prost(bool, tag = "10")]
    pub goes_on: bool,
}

/// How far a sending end has come. Each message includes all that earlier ones said.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct ProgressMessage {
    /// See [`PacketMessage::incarnation`].
    #[prost(uint64, tag = "1")]
    pub incarnation: u64,
    /// All numbers below this have been stored, or will never be.
    #[prost(uint64, tag = "2")]
    pub sent: u64,
    /// After these numbers, no packet with a sequence below this will come.
    #[prost(uint64, tag = "3")]
    pub mark: u64,
    /// How the stream ended after these numbers, if it did: 1 and above, in the order of [`How`].
    #[prost(uint32, tag = "4")]
    pub how: u32,
    /// Whether something of it was lost before it came to the edge.
    #[prost(bool, tag = "5")]
    pub lost: bool,
}

/// How far a receiving end's sinks have settled everything, for an end that replaces it. Each message includes all that
/// earlier ones said.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct SettledMessage {
    /// Incarnation of the sending end.
    #[prost(uint64, tag = "1")]
    pub incarnation: u64,
    /// Number that is taken next.
    #[prost(uint64, tag = "2")]
    pub next: u64,
    /// One past the last sequence, as numbered at the receiving end.
    #[prost(uint64, tag = "3")]
    pub behind: u64,
    /// The last segment there.
    #[prost(uint32, tag = "4")]
    pub segment: u32,
    /// Offset added to the sequences of this incarnation.
    #[prost(uint64, tag = "5")]
    pub shift: u64,
    /// Offset added to its segments.
    #[prost(uint32, tag = "6")]
    pub segments: u32,
    /// Packets that have come, of all incarnations.
    #[prost(uint64, tag = "7")]
    pub came: u64,
    /// Packets that have come or been missed, of all incarnations.
    #[prost(uint64, tag = "8")]
    pub counted: u64,
    /// Identity of the receiving end that says so. A new end repeats all this in its own name, and from then on nobody
    /// else may write.
    #[prost(uint64, tag = "9")]
    pub receiver: u64,
}

/// Why bytes from the network are not a message of an edge.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Not a protobuf message of this form.
    #[error("invalid protobuf message: {0}")]
    Form(#[from] prost::DecodeError),
    /// A field has a value that no end of an edge gives it.
    #[error("{0}")]
    Value(&'static str),
}

impl PacketMessage {
    /// Reads a packet.
    ///
    /// # Errors
    /// The bytes are not a packet, or a field has an impossible value.
    pub fn read(bytes: Bytes) -> Result<Self, WireError> {
        let packet = Self::decode(bytes)?;
        if packet.sequence > MOST_SEQUENCE || packet.number > MOST_SEQUENCE {
            return Err(WireError::Value("a number that is too large"));
        }
        if packet.form.is_empty() || packet.form.len() > MOST_NAME {
            return Err(WireError::Value("a codec's name that is empty or too long"));
        }
        Ok(packet)
    }
}

impl SettledMessage {
    /// Reads a message about what was settled.
    ///
    /// # Errors
    /// The bytes are not such a message, or a field has an impossible value.
    pub fn read(bytes: &[u8]) -> Result<Self, WireError> {
        let settled = Self::decode(bytes)?;
        if settled.next > MOST_SEQUENCE + 1 || settled.behind > MOST_SEQUENCE + 1 {
            return Err(WireError::Value("a number that is too large"));
        }
        if settled.came > settled.counted || settled.counted > MOST_SEQUENCE {
            return Err(WireError::Value("more packets than are possible"));
        }
        Ok(settled)
    }
}

impl ProgressMessage {
    /// Reads a progress message.
    ///
    /// # Errors
    /// The bytes are not such a message, or a field has an impossible value.
    pub fn read(bytes: &[u8]) -> Result<Self, WireError> {
        let progress = Self::decode(bytes)?;
        if progress.sent > MOST_SEQUENCE || progress.mark > MOST_SEQUENCE {
            return Err(WireError::Value("a number that is too large"));
        }
        if progress.how > 4 {
            return Err(WireError::Value("an end that does not exist"));
        }
        Ok(progress)
    }

    /// Returns how the stream ended, if it did.
    pub fn end(&self) -> Option<End> {
        let how = match self.how {
            1 => How::Complete,
            2 => How::Drained,
            3 => How::Failed,
            4 => How::Stopped,
            _ => return None,
        };
        Some(End {
            how,
            lost: self.lost,
        })
    }

    /// Returns the same message with an end.
    #[must_use]
    pub fn with_end(self, end: Option<End>) -> Self {
        let how = |end: End| match end.how {
            How::Complete => 1,
            How::Drained => 2,
            How::Failed => 3,
            How::Stopped => 4,
        };
        Self {
            how: end.map_or(0, how),
            lost: end.is_some_and(|end| end.lost),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ends_come_back_as_they_went() {
        let open = ProgressMessage::default();
        assert_eq!(open.with_end(None).end(), None);
        for how in [How::Complete, How::Drained, How::Failed, How::Stopped] {
            for lost in [false, true] {
                let end = End { how, lost };
                let bytes = open.with_end(Some(end)).encode_to_vec();
                assert_eq!(ProgressMessage::read(&bytes).unwrap().end(), Some(end));
            }
        }
    }

    #[test]
    fn fields_that_cannot_be_are_refused() {
        let packet = PacketMessage {
            form: "faces".to_owned(),
            ..PacketMessage::default()
        };
        let read = |packet: PacketMessage| PacketMessage::read(packet.encode_to_vec().into());
        assert_eq!(read(packet.clone()).unwrap(), packet);
        let far = PacketMessage {
            sequence: u64::MAX - 1,
            ..packet.clone()
        };
        assert!(read(far).is_err());
        let form = "x".repeat(65);
        assert!(read(PacketMessage { form, ..packet }).is_err());
        let far = ProgressMessage {
            how: 5,
            ..ProgressMessage::default()
        };
        assert!(ProgressMessage::read(&far.encode_to_vec()).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in any::<Vec<u8>>()) {
            let _ = ProgressMessage::read(&bytes);
            let _ = SettledMessage::read(&bytes);
            let _ = PacketMessage::read(bytes.into());
        }

        #[test]
        fn packets_that_were_cut_or_changed_are_read_or_refused(
            payload in any::<Vec<u8>>(), cut in any::<prop::sample::Index>(), bit in 0..8u8
        ) {
            let packet = PacketMessage { form: "faces".to_owned(), number: 7, payload: payload.into(), ..PacketMessage::default() };
            let mut bytes = packet.encode_to_vec();
            let place = cut.index(bytes.len());
            let _ = PacketMessage::read(bytes[..place].to_vec().into());
            bytes[place] ^= 1 << bit;
            let _ = PacketMessage::read(bytes.into());
        }
    }
}

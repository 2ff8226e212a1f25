//! Payloads as bytes, by a type's name and version, for packets that leave the process.
//!
//! Owns the table of codecs. What carries the bytes, and what a packet's envelope becomes, is elsewhere.
//!
//! ```
//! use fermata_engine::codec::{Codec, Codecs};
//! use fermata_engine::packet::downcast;
//! use fermata_engine::{ActorError, Payload};
//!
//! #[derive(Debug, PartialEq)]
//! struct Number(i64);
//! impl Payload for Number {}
//!
//! struct NumberV1;
//!
//! impl Codec for NumberV1 {
//!     type Payload = Number;
//!     const NAME: &'static str = "number";
//!     const VERSION: u32 = 1;
//!
//!     fn encode(number: &Number, bytes: &mut Vec<u8>) -> Result<(), ActorError> {
//!         bytes.extend(number.0.to_le_bytes());
//!         Ok(())
//!     }
//!
//!     fn decode(bytes: &[u8]) -> Result<Number, ActorError> {
//!         Ok(Number(i64::from_le_bytes(bytes.try_into()?)))
//!     }
//! }
//!
//! let mut codecs = Codecs::default();
//! codecs.register::<NumberV1>();
//!
//! let mut bytes = Vec::new();
//! let form = codecs.encode(&Number(42), &mut bytes).unwrap();
//! assert_eq!((form.name, form.version), ("number", 1));
//! let back = downcast::<Number>(codecs.decode(form.name, form.version, &bytes).unwrap()).ok().unwrap();
//! assert_eq!(*back, Number(42));
//!
//! let error = codecs.decode("numbr", 1, &bytes).unwrap_err();
//! assert_eq!(error.to_string(), "no codec for payloads called `numbr`; known: number 1");
//! ```

use std::any::TypeId;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use crate::error::ActorError;
use crate::packet::{AnyPayload, Payload, downcast_ref};
use crate::ports::PortType;

/// How payloads of one type are written and read, in one version of their form. Whatever the bytes are, reading them
/// must not panic: they come from elsewhere.
pub trait Codec: 'static {
    /// The type that it writes and reads.
    type Payload: Payload;
    /// The type's name outside, which stays when the Rust type is renamed.
    const NAME: &'static str;
    /// Grows with every change of the form that an older reader would not understand.
    const VERSION: u32;

    /// Appends the payload's bytes.
    ///
    /// # Errors
    /// What of this payload the form cannot hold.
    fn encode(payload: &Self::Payload, bytes: &mut Vec<u8>) -> Result<(), ActorError>;

    /// Like [`Codec::encode`], with fewer bytes where the payload need not come back exactly; `quality` goes from 1
    /// to 100. A form that knows no such thing is written as it always is.
    fn encode_smaller(
        payload: &Self::Payload,
        _quality: u8,
        bytes: &mut Vec<u8>,
    ) -> Result<(), ActorError> {
        Self::encode(payload, bytes)
    }

    /// Reads a payload that takes all of these bytes.
    ///
    /// # Errors
    /// What is wrong with the bytes: too few, too many, or no such payload.
    fn decode(bytes: &[u8]) -> Result<Self::Payload, ActorError>;
}

/// What some bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Form {
    /// [`Codec::NAME`].
    pub name: &'static str,
    /// [`Codec::VERSION`].
    pub version: u32,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}

type Encode = fn(&dyn Payload, Option<u8>, &mut Vec<u8>) -> Result<(), ActorError>;
type Decode = fn(&[u8]) -> Result<AnyPayload, ActorError>;

/// The codecs that a program knows. Each crate registers those of its payloads.
#[derive(Clone, Default)]
pub struct Codecs {
    encoders: HashMap<TypeId, (Form, Encode)>,
    decoders: BTreeMap<&'static str, Named>,
}

/// The versions under one name.
#[derive(Clone)]
struct Named {
    payload: TypeId,
    port_type: PortType,
    versions: BTreeMap<u32, Decode>,
}

impl Codecs {
    /// Adds a codec. Of several versions of a type all are read, and the newest is written.
    ///
    /// # Panics
    /// If this version of the name is there already, if the name stands for another payload type, or if the type has
    /// another name: a mistake in the program.
    pub fn register<C: Codec>(&mut self) {
        let payload = TypeId::of::<C::Payload>();
        let form = Form {
            name: C::NAME,
            version: C::VERSION,
        };
        let encode: Encode = |payload, quality, bytes| {
            let payload = downcast_ref::<C::Payload>(payload)
                .expect("it is looked up by the type of the payload");
            match quality {
                Some(quality) => C::encode_smaller(payload, quality, bytes),
                None => C::encode(payload, bytes),
            }
        };
        let (newest, _) = self.encoders.entry(payload).or_insert((form, encode));
        assert_eq!(newest.name, form.name, "a payload type has two names");
        if newest.version < form.version {
            self.encoders.insert(payload, (form, encode));
        }
        let named = self.decoders.entry(form.name).or_insert_with(|| Named {
            payload,
            port_type: PortType::of::<C::Payload>(),
            versions: BTreeMap::new(),
        });
        assert!(
            named.payload == payload,
            "codecs of two payload types are called `{}`",
            form.name
        );
        let decode: Decode = |bytes| Ok(Arc::new(C::decode(bytes)?));
        let earlier = named.versions.insert(form.version, decode);
        assert!(earlier.is_none(), "codec `{form}` is registered twice");
    }

    /// Appends a payload's bytes, in the newest version of its type, and says what they are. After an error nothing has
    /// been appended.
    ///
    /// # Errors
    /// There is no codec for the payload's type, or its codec refuses it.
    pub fn encode(&self, payload: &dyn Payload, bytes: &mut Vec<u8>) -> Result<Form, CodecError> {
        self.encode_as(payload, None, bytes)
    }

    /// Like [`Codecs::encode`], with fewer bytes where the payload need not come back exactly; see
    /// [`Codec::encode_smaller`].
    ///
    /// # Errors
    /// See [`Codecs::encode`].
    pub fn encode_smaller(
        &self,
        payload: &dyn Payload,
        quality: u8,
        bytes: &mut Vec<u8>,
    ) -> Result<Form, CodecError> {
        self.encode_as(payload, Some(quality), bytes)
    }

    fn encode_as(
        &self,
        payload: &dyn Payload,
        quality: Option<u8>,
        bytes: &mut Vec<u8>,
    ) -> Result<Form, CodecError> {
        let Some((form, encode)) = self.encoders.get(&(*payload).type_id()) else {
            return Err(CodecError::NoCodecForType {
                type_name: payload.type_name(),
                known: self.forms(),
            });
        };
        let before = bytes.len();
        match encode(payload, quality, bytes) {
            Ok(()) => Ok(*form),
            Err(source) => {
                bytes.truncate(before);
                let form = *form;
                Err(CodecError::Encode { form, source })
            }
        }
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// The name or the version is not known, or the bytes are no such payload.
    pub fn decode(&self, name: &str, version: u32, bytes: &[u8]) -> Result<AnyPayload, CodecError> {
        let Some((&name, named)) = self.decoders.get_key_value(name) else {
            return Err(CodecError::UnknownName {
                name: name.to_owned(),
                known: self.forms(),
            });
        };
        let form = Form { name, version };
        let Some(decode) = named.versions.get(&version) else {
            return Err(CodecError::UnknownVersion {
                form,
                known: named.versions.keys().copied().collect(),
            });
        };
        decode(bytes).map_err(|source| CodecError::Decode {
            form,
            bytes: bytes.len(),
            source,
        })
    }

    /// What a port carries whose payloads have codecs of this name.
    pub fn port_type(&self, name: &str) -> Option<PortType> {
        self.decoders.get(name).map(|named| named.port_type)
    }

    /// The name of the codecs of a payload type.
    pub(crate) fn name_of(&self, payload: TypeId) -> Option<&'static str> {
        self.encoders.get(&payload).map(|(form, _)| form.name)
    }

    /// The names of all payloads that can be read.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.decoders.keys().copied()
    }

    /// Everything that can be read, by name and version.
    pub fn forms(&self) -> Vec<Form> {
        let of_name = |(&name, named): (&&'static str, &Named)| {
            let versions = named.versions.keys();
            let forms = versions.map(|&version| Form { name, version });
            forms.collect::<Vec<_>>()
        };
        self.decoders.iter().flat_map(of_name).collect()
    }
}

impl fmt::Debug for Codecs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.forms()).finish()
    }
}

/// Why a payload could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// Payloads of this type are not for other processes.
    #[error(
        "no codec for payloads of type {type_name}: register one, or keep the edge on one machine; known: {}",
        listed(known)
    )]
    NoCodecForType {
        /// The type.
        type_name: &'static str,
        /// What there is.
        known: Vec<Form>,
    },
    /// Nothing of this name is registered.
    #[error("no codec for payloads called `{name}`; known: {}", listed(known))]
    UnknownName {
        /// The name that was asked for.
        name: String,
        /// What there is.
        known: Vec<Form>,
    },
    /// The other side writes a version that this program does not read.
    #[error(
        "no codec for version {} of `{}`; known: {}",
        form.version,
        form.name,
        listed(known)
    )]
    UnknownVersion {
        /// What was asked for.
        form: Form,
        /// The versions that there are.
        known: Vec<u32>,
    },
    /// The codec refused the payload.
    #[error("cannot encode a payload as `{form}`: {source}")]
    Encode {
        /// The codec.
        form: Form,
        /// What it said.
        source: ActorError,
    },
    /// The codec refused the bytes.
    #[error("{bytes} bytes are no `{form}`: {source}")]
    Decode {
        /// The codec.
        form: Form,
        /// How many bytes there were.
        bytes: usize,
        /// What it said.
        source: ActorError,
    },
}

fn listed<T: fmt::Display>(known: &[T]) -> String {
    if known.is_empty() {
        return "none".to_owned();
    }
    let known: Vec<String> = known.iter().map(T::to_string).collect();
    known.join(", ")
}

#[cfg(test)]
mod tests;

//! Conversion of payloads to bytes, by a type's name and version, for packets that leave the process.
//!
//! This module owns the table of codecs. Transporting the bytes and converting a packet's envelope is elsewhere.
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

/// Writes and reads payloads of one type, in one version of their form. Decoding must not panic on any input, since the
/// bytes come from elsewhere.
pub trait Codec: 'static {
    /// Type that it writes and reads.
    type Payload: Payload;
    /// External name of the type, which stays the same when the Rust type is renamed.
    const NAME: &'static str;
    /// Version of the form, increased with every change that an older reader would not understand.
    const VERSION: u32;

    /// Appends the payload's bytes.
    ///
    /// # Errors
    /// The form cannot represent this payload.
    fn encode(payload: &Self::Payload, bytes: &mut Vec<u8>) -> Result<(), ActorError>;

    /// Like [`Codec::encode`], but with fewer bytes where the payload need not be restored exactly; `quality` ranges
    /// from 1 to 100. By default the payload is encoded as usual.
    fn encode_smaller(
        payload: &Self::Payload,
        _quality: u8,
        bytes: &mut Vec<u8>,
    ) -> Result<(), ActorError> {
        Self::encode(payload, bytes)
    }

    /// Decodes a payload that takes all of these bytes.
    ///
    /// # Errors
    /// The bytes are too few, too many, or not such a payload.
    fn decode(bytes: &[u8]) -> Result<Self::Payload, ActorError>;
}

/// The form of encoded bytes.
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

/// The codecs of a program. Each crate registers those of its payloads.
#[derive(Clone, Default)]
pub struct Codecs {
    encoders: HashMap<TypeId, (Form, Encode)>,
    decoders: BTreeMap<&'static str, Named>,
}

/// The versions of one name.
#[derive(Clone)]
struct Named {
    payload: TypeId,
    port_type: PortType,
    versions: BTreeMap<u32, Decode>,
}

impl Codecs {
    /// Adds a codec. If a type has several versions, all are read and the newest is written.
    ///
    /// # Panics
    /// If this version of the name is already registered, if the name belongs to another payload type, or if the type
    /// has another name: all are mistakes in the program.
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

    /// Appends a payload's bytes in the newest version of its type and returns their form. After an error nothing has
    /// been appended.
    ///
    /// # Errors
    /// There is no codec for the payload's type, or its codec refuses it.
    pub fn encode(&self, payload: &dyn Payload, bytes: &mut Vec<u8>) -> Result<Form, CodecError> {
        self.encode_as(payload, None, bytes)
    }

    /// Like [`Codecs::encode`], but with fewer bytes where the payload need not be restored exactly; see
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

    /// Decodes a payload.
    ///
    /// # Errors
    /// The name or the version is unknown, or the bytes are not such a payload.
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

    /// Returns the port type of payloads whose codecs have this name.
    pub fn port_type(&self, name: &str) -> Option<PortType> {
        self.decoders.get(name).map(|named| named.port_type)
    }

    /// Returns the codec name of a payload type.
    pub(crate) fn name_of(&self, payload: TypeId) -> Option<&'static str> {
        self.encoders.get(&payload).map(|(form, _)| form.name)
    }

    /// Returns the names of all payloads that can be decoded.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.decoders.keys().copied()
    }

    /// Returns everything that can be decoded, by name and version.
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

/// Why a payload could not be encoded or decoded.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The payload's type has no codec: it is not meant for other processes.
    #[error(
        "no codec for payloads of type {type_name}: register one, or keep the edge on one machine; known: {}",
        listed(known)
    )]
    NoCodecForType {
        /// The type.
        type_name: &'static str,
        /// Registered forms.
        known: Vec<Form>,
    },
    /// No codec with this name is registered.
    #[error("no codec for payloads called `{name}`; known: {}", listed(known))]
    UnknownName {
        /// The requested name.
        name: String,
        /// Registered forms.
        known: Vec<Form>,
    },
    /// The other side writes a version that this program cannot read.
    #[error(
        "no codec for version {} of `{}`; known: {}",
        form.version,
        form.name,
        listed(known)
    )]
    UnknownVersion {
        /// The requested form.
        form: Form,
        /// The registered versions.
        known: Vec<u32>,
    },
    /// The codec refused the payload.
    #[error("cannot encode a payload as `{form}`: {source}")]
    Encode {
        /// The codec.
        form: Form,
        /// Its error.
        source: ActorError,
    },
    /// The codec refused the bytes.
    #[error("{bytes} bytes are not a valid `{form}`: {source}")]
    Decode {
        /// The codec.
        form: Form,
        /// Number of bytes.
        bytes: usize,
        /// Its error.
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

//! The actor's part of a node's block, and deserialization of any part of a graph file.

use std::fmt;
use std::sync::Arc;

use serde::de::{
    self, DeserializeOwned, DeserializeSeed, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use super::place::{Source, Span};
use super::problem::{Problem, most_alike};
use super::tree::{Entry, Quoting, Scalar, Tree, Value, resolve};

/// An actor's settings as written in the graph file, interpolated, with their places.
#[derive(Clone, Debug)]
pub struct Settings(pub(crate) Arc<Tree>);

impl Settings {
    /// Reads the settings as the actor's own type.
    ///
    /// # Errors
    /// The first key or value that does not fit, with its place.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, SettingsError> {
        read(&self.0)
    }

    /// Creates settings from JSON, which is also YAML.
    ///
    /// # Errors
    /// The JSON is nested too deeply, or has a duplicate key.
    pub fn from_json(json: &serde_json::Value) -> Result<Self, Problem> {
        let source = Source::new("settings", json.to_string());
        Ok(Self(Arc::new(Tree::parse(&source)?)))
    }
}

/// Deserializes a part of the graph file.
pub(crate) fn read<T: DeserializeOwned>(tree: &Tree) -> Result<T, SettingsError> {
    T::deserialize(Reader(tree)).map_err(|error| error.or_at(&tree.span))
}

/// The error of settings that do not fit the actor.
#[derive(Debug)]
pub struct SettingsError {
    message: String,
    help: Option<String>,
    span: Option<Span>,
}

impl SettingsError {
    fn or_at(mut self, span: &Span) -> Self {
        self.span.get_or_insert_with(|| span.clone());
        self
    }

    pub(crate) fn into_problem(self) -> Problem {
        let problem = match &self.span {
            Some(span) => Problem::at(span, self.message),
            None => Problem::nowhere(self.message),
        };
        match self.help {
            Some(help) => problem.help(help),
            None => problem,
        }
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for SettingsError {}

impl de::Error for SettingsError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self {
            message: message.to_string(),
            help: None,
            span: None,
        }
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        unknown("key", field, expected)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        unknown("value", variant, expected)
    }

    fn missing_field(field: &'static str) -> Self {
        Self::custom(format!("`{field}` is missing"))
    }
}

fn unknown(what: &str, given: &str, known: &'static [&'static str]) -> SettingsError {
    let help = match most_alike(given, known.iter().copied()) {
        Some(name) => Some(format!("did you mean `{name}`?")),
        None if known.is_empty() => None,
        None => Some(format!("known: {}", known.join(", "))),
    };
    SettingsError {
        message: format!("unknown {what} `{given}`"),
        help,
        span: None,
    }
}

struct Reader<'a>(&'a Tree);

impl<'a> Reader<'a> {
    /// Passes a scalar to the visitor as its resolved type.
    fn scalar<V: Visitor<'a>>(
        text: &'a str,
        quoting: Quoting,
        visitor: V,
    ) -> Result<V::Value, SettingsError> {
        if quoting == Quoting::Quoted {
            return visitor.visit_borrowed_str(text);
        }
        match resolve(text) {
            Scalar::Null => visitor.visit_unit(),
            Scalar::Bool(value) => visitor.visit_bool(value),
            Scalar::Int(value) => match u64::try_from(value) {
                Ok(value) => visitor.visit_u64(value),
                Err(_) => visitor.visit_i64(value),
            },
            Scalar::Float(value) => visitor.visit_f64(value),
            Scalar::Text(text) => visitor.visit_borrowed_str(text),
        }
    }
}

macro_rules! any {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SettingsError> {
            self.deserialize_any(visitor)
        })*
    };
}

macro_rules! text {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SettingsError> {
            match &self.0.value {
                Value::Scalar { text, .. } if !self.0.is_null() => visitor
                    .visit_borrowed_str(text)
                    .map_err(|error: SettingsError| error.or_at(&self.0.span)),
                _ => self.deserialize_any(visitor),
            }
        })*
    };
}

impl<'de> de::Deserializer<'de> for Reader<'de> {
    type Error = SettingsError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SettingsError> {
        let result = match &self.0.value {
            Value::Scalar { text, quoting } => Self::scalar(text, *quoting, visitor),
            Value::List(items) => visitor.visit_seq(Items(items.iter())),
            Value::Map(entries) => visitor.visit_map(Entries {
                entries: entries.iter(),
                value: None,
            }),
        };
        result.map_err(|error| error.or_at(&self.0.span))
    }

    any! { deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8 deserialize_u16
    deserialize_u32 deserialize_u64 deserialize_f32 deserialize_f64 deserialize_bytes deserialize_byte_buf
    deserialize_unit deserialize_seq deserialize_map deserialize_ignored_any }

    text! { deserialize_char deserialize_str deserialize_string deserialize_identifier }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SettingsError> {
        if self.0.is_null() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, SettingsError> {
        self.deserialize_any(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, SettingsError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, SettingsError> {
        self.deserialize_any(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, SettingsError> {
        self.deserialize_any(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, SettingsError> {
        self.deserialize_any(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, SettingsError> {
        let result = match &self.0.value {
            Value::Scalar { text, .. } => visitor.visit_enum(text.as_str().into_deserializer()),
            Value::Map(entries) if entries.len() == 1 => visitor.visit_enum(Variant(&entries[0])),
            _ => Err(de::Error::custom(format!(
                "expected one name, or one name and its value, but this is {}",
                self.0.kind()
            ))),
        };
        result.map_err(|error| error.or_at(&self.0.span))
    }
}

struct Items<'a>(std::slice::Iter<'a, Tree>);

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = SettingsError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, SettingsError> {
        self.0
            .next()
            .map(|item| seed.deserialize(Reader(item)))
            .transpose()
    }
}

struct Entries<'a> {
    entries: std::slice::Iter<'a, Entry>,
    value: Option<&'a Tree>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = SettingsError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, SettingsError> {
        let Some(entry) = self.entries.next() else {
            return Ok(None);
        };
        self.value = Some(&entry.value);
        let key: de::value::StrDeserializer<'_, SettingsError> =
            entry.key.as_str().into_deserializer();
        seed.deserialize(key)
            .map(Some)
            .map_err(|error| error.or_at(&entry.key_span))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, SettingsError> {
        let value = self
            .value
            .take()
            .expect("serde asks for a value after its key");
        seed.deserialize(Reader(value))
    }
}

struct Variant<'a>(&'a Entry);

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = SettingsError;
    type Variant = VariantValue<'de>;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, VariantValue<'de>), SettingsError> {
        let name: de::value::StrDeserializer<'_, SettingsError> =
            self.0.key.as_str().into_deserializer();
        let variant = seed
            .deserialize(name)
            .map_err(|error| error.or_at(&self.0.key_span))?;
        Ok((variant, VariantValue(&self.0.value)))
    }
}

struct VariantValue<'a>(&'a Tree);

impl<'de> VariantAccess<'de> for VariantValue<'de> {
    type Error = SettingsError;

    fn unit_variant(self) -> Result<(), SettingsError> {
        if self.0.is_null() {
            return Ok(());
        }
        let error: SettingsError = de::Error::custom("this name takes no value");
        Err(error.or_at(&self.0.span))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<T::Value, SettingsError> {
        seed.deserialize(Reader(self.0))
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, SettingsError> {
        de::Deserializer::deserialize_any(Reader(self.0), visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, SettingsError> {
        de::Deserializer::deserialize_any(Reader(self.0), visitor)
    }
}

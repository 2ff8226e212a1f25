//! Card values that have a short and a long form.

use std::fmt;

use serde::de::{Error, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Width and height; in a file, a single number stands for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Size {
    pub width: usize,
    pub height: usize,
}

impl Size {
    /// Returns a size with equal width and height.
    pub fn square(side: usize) -> Self {
        Self {
            width: side,
            height: side,
        }
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        [self.width, self.height].serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SizeVisitor)
    }
}

struct SizeVisitor;

impl<'de> Visitor<'de> for SizeVisitor {
    type Value = Size;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number, or two in a list [width, height]")
    }

    fn visit_u64<E: Error>(self, side: u64) -> Result<Size, E> {
        let side = usize::try_from(side)
            .map_err(|_| E::invalid_value(Unexpected::Unsigned(side), &self))?;
        Ok(Size::square(side))
    }

    fn visit_i64<E: Error>(self, side: i64) -> Result<Size, E> {
        let side =
            usize::try_from(side).map_err(|_| E::invalid_value(Unexpected::Signed(side), &self))?;
        Ok(Size::square(side))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Size, A::Error> {
        let mut next = |at| {
            list.next_element()?
                .ok_or_else(|| Error::invalid_length(at, &self))
        };
        let size = Size {
            width: next(0)?,
            height: next(1)?,
        };
        match list.next_element::<usize>()? {
            None => Ok(size),
            Some(_) => Err(Error::invalid_length(3, &self)),
        }
    }
}

/// One factor for all channels, or one for each.
#[derive(Clone, Debug, PartialEq)]
pub struct Factors(pub Vec<f64>);

impl Factors {
    /// Returns the factor of a channel.
    ///
    /// # Panics
    /// Panics if there are several factors, but none for this channel, which is impossible for a loaded card.
    pub fn of(&self, channel: usize) -> f64 {
        match self.0.as_slice() {
            [all] => *all,
            each => each[channel],
        }
    }
}

impl Serialize for Factors {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [all] => all.serialize(serializer),
            each => each.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Factors {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FactorsVisitor)
    }
}

struct FactorsVisitor;

impl<'de> Visitor<'de> for FactorsVisitor {
    type Value = Factors;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, or a list of one for each channel")
    }

    fn visit_f64<E: Error>(self, all: f64) -> Result<Factors, E> {
        Ok(Factors(vec![all]))
    }

    fn visit_u64<E: Error>(self, all: u64) -> Result<Factors, E> {
        Ok(Factors(vec![all as f64]))
    }

    fn visit_i64<E: Error>(self, all: i64) -> Result<Factors, E> {
        Ok(Factors(vec![all as f64]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Factors, A::Error> {
        let mut each = Vec::new();
        while let Some(factor) = list.next_element()? {
            each.push(factor);
        }
        Ok(Factors(each))
    }
}

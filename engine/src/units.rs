//! Durations and sizes as people write them in graph files: `8ms`, `1.5s`, `64KiB`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A duration written as a number and a unit: `us`, `ms`, `s`, `m`, `h`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct HumanDuration(pub Duration);

/// A number of bytes written plainly or with a unit: `B`, `kB`, `MB`, `GB`, `KiB`, `MiB`, `GiB`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct HumanBytes(pub u64);

/// Error for text that is not a duration or a size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct UnitError {
    text: String,
    expected: &'static str,
}

const DURATION: &str = "a duration such as `8ms`, `1.5s` or `2m`";
const SIZE: &str = "a size such as `512`, `64KiB` or `10MB`";

/// Splits `1.5s` into its number and its unit.
fn split(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    Some((number, text[end..].trim()))
}

impl FromStr for HumanDuration {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let parsed = split(text).and_then(|(number, unit)| {
            let seconds = match unit {
                "us" | "µs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" | "min" => 60.0,
                "h" => 3600.0,
                _ if number == 0.0 && unit.is_empty() => 0.0,
                _ => return None,
            };
            Duration::try_from_secs_f64(number * seconds).ok()
        });
        parsed.map(Self).ok_or_else(|| UnitError {
            text: text.to_owned(),
            expected: DURATION,
        })
    }
}

impl FromStr for HumanBytes {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let parsed = split(text).and_then(|(number, unit)| {
            let factor = match unit {
                "" | "B" => 1.0,
                "kB" => 1e3,
                "MB" => 1e6,
                "GB" => 1e9,
                "KiB" => 1024.0,
                "MiB" => 1024.0 * 1024.0,
                "GiB" => 1024.0 * 1024.0 * 1024.0,
                _ => return None,
            };
            let bytes = number * factor;
            (bytes < u64::MAX as f64).then_some(bytes as u64)
        });
        parsed.map(Self).ok_or_else(|| UnitError {
            text: text.to_owned(),
            expected: SIZE,
        })
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ns = self.0.as_nanos();
        match ns {
            _ if ns.is_multiple_of(1_000_000_000) => write!(f, "{}s", ns / 1_000_000_000),
            _ if ns.is_multiple_of(1_000_000) => write!(f, "{}ms", ns / 1_000_000),
            _ => write!(f, "{}us", ns as f64 / 1e3),
        }
    }
}

impl fmt::Display for HumanBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes > 0 && bytes.is_multiple_of(1 << 20) => write!(f, "{}MiB", bytes >> 20),
            bytes if bytes > 0 && bytes.is_multiple_of(1 << 10) => write!(f, "{}KiB", bytes >> 10),
            bytes => write!(f, "{bytes}"),
        }
    }
}

macro_rules! human {
    ($type:ident, $expected:expr, $pattern:literal) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl serde::de::Visitor<'_> for Text {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expected)
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<$type, E> {
                        number.to_string().parse().map_err(E::custom)
                    }
                    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<$type, E> {
                        number.to_string().parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_any(Text)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": ["string", "integer"], "pattern": $pattern, "description": $expected})
            }
        }
    };
}

human!(HumanDuration, DURATION, "^[0-9.]+ *(us|µs|ms|s|m|min|h)$");
human!(HumanBytes, SIZE, "^[0-9.]+ *(B|kB|MB|GB|KiB|MiB|GiB)?$");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_written() {
        let read = |text: &str| text.parse::<HumanDuration>().map(|duration| duration.0);
        assert_eq!(read("8ms"), Ok(Duration::from_millis(8)));
        assert_eq!(read("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(read("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(read("0"), Ok(Duration::ZERO));
        for wrong in ["", "8", "ms", "-1s", "1 fortnight", "1e400s"] {
            assert!(read(wrong).is_err(), "{wrong} was taken for a duration");
        }
    }

    #[test]
    fn what_is_shown_reads_back() {
        for text in ["8ms", "1500ms", "2s", "250us"] {
            let duration: HumanDuration = text.parse().unwrap();
            assert_eq!(duration.to_string().parse(), Ok(duration));
        }
        for text in ["512", "64KiB", "10MiB"] {
            let bytes: HumanBytes = text.parse().unwrap();
            assert_eq!(bytes.to_string(), text);
        }
    }
}

//! Values by the names of their streams, in natural order: `s2` before `s10`.

use serde::{Serialize, Serializer};

/// Values in the natural order of their names; an object in JSON.
pub(super) type Named<T> = Vec<(String, T)>;

/// Sorts values by name.
pub(super) fn named<T>(values: impl Iterator<Item = (String, T)>) -> Named<T> {
    let mut values: Vec<_> = values.collect();
    values.sort_by(|(one, _), (other, _)| alphanumeric_sort::compare_str(one, other));
    values
}

/// Serialises as an object, for `serialize_with`.
pub(super) fn as_object<T: Serialize, S: Serializer>(
    values: &[(String, T)],
    to: S,
) -> Result<S::Ok, S::Error> {
    to.collect_map(values.iter().map(|(name, value)| (name, value)))
}

//! Types of plain scalars in YAML documents.

/// Type of a plain scalar by YAML's core schema.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scalar<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'a str),
}

pub(crate) fn resolve(text: &str) -> Scalar<'_> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Scalar::Null,
        "true" | "True" | "TRUE" => return Scalar::Bool(true),
        "false" | "False" | "FALSE" => return Scalar::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Scalar::Float(f64::NAN),
        ".inf" | "+.inf" => return Scalar::Float(f64::INFINITY),
        "-.inf" => return Scalar::Float(f64::NEG_INFINITY),
        _ => {}
    }
    let radix = |prefix, radix| {
        let digits = text.strip_prefix(prefix)?;
        i64::from_str_radix(digits, radix).ok()
    };
    let integer = text
        .parse()
        .ok()
        .or_else(|| radix("0x", 16))
        .or_else(|| radix("0o", 8));
    if let Some(integer) = integer {
        return Scalar::Int(integer);
    }
    let numeric = text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c))
        && text.contains(|c: char| c.is_ascii_digit())
        && text
            .chars()
            .all(|c| c.is_ascii_digit() || "+-.eE".contains(c));
    match text.parse() {
        Ok(float) if numeric => Scalar::Float(float),
        _ => Scalar::Text(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_are_typed_by_the_core_schema() {
        assert_eq!(resolve("12"), Scalar::Int(12));
        assert_eq!(resolve("0x1f"), Scalar::Int(31));
        assert_eq!(resolve("-1.5e3"), Scalar::Float(-1500.0));
        assert_eq!(resolve("no"), Scalar::Text("no"));
        assert_eq!(resolve("1.2.3"), Scalar::Text("1.2.3"));
        assert_eq!(resolve("inf"), Scalar::Text("inf"));
        assert_eq!(resolve("-"), Scalar::Text("-"));
        assert_eq!(resolve(""), Scalar::Null);
    }
}

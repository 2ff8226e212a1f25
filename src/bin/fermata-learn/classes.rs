//! Names of classes where a file does not say them.

use fermata_vision::Expression;

/// The classes that were named, or the seven expressions.
pub(crate) fn classes(named: &[String]) -> Vec<String> {
    if named.is_empty() {
        Expression::ALL
            .map(|expression| expression.to_string())
            .to_vec()
    } else {
        named.to_vec()
    }
}

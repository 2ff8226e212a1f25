//! Names of classes for files that do not contain them.

use fermata_vision::Expression;

/// Returns the given classes, or the seven expressions.
pub(crate) fn classes(named: &[String]) -> Vec<String> {
    if named.is_empty() {
        Expression::ALL
            .map(|expression| expression.to_string())
            .to_vec()
    } else {
        named.to_vec()
    }
}

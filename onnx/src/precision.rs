//! Number formats that models compute in. Which devices support them is up to `device`.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Number format that a model computes in; inputs and outputs are f32 in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// As stored in the model.
    #[default]
    F32,
    /// 16 bits, with the exponent of f32 and 8 bits of mantissa: faster, but scores differ in the third digit.
    Bf16,
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        })
    }
}

/// Returns whether the processor has instructions for bf16. Processors with AMX have them too.
pub(crate) fn processor_has_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

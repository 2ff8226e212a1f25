//! `fermata models describe`: shows parameters and operations of the networks.

use std::ops::RangeInclusive;

use anyhow::bail;
use fermata::print::print;
use fermata_learn::network::{Architecture, Description, Head};

/// Widths and heights of an input in pixels. The largest operations of the largest networks fit into 64 bits.
const SIZES: RangeInclusive<i64> = 32..=65_536;
const CLASSES: RangeInclusive<i64> = 2..=1_000_000;

pub(crate) fn describe(names: &[String], size: i64, classes: i64) -> anyhow::Result<()> {
    if !SIZES.contains(&size) || !CLASSES.contains(&classes) {
        bail!(
            "the size is {size} and there are {classes} classes; expected at least 32 pixels and 2 classes, and at most {} and {}",
            SIZES.end(),
            CLASSES.end()
        );
    }
    let mut architectures = Vec::new();
    for name in names {
        architectures.push(name.parse::<Architecture>()?);
    }
    if architectures.is_empty() {
        architectures.extend(Architecture::LISTED);
    }
    let mut text = format!(
        "{:<24}{:>14}{:>12}{:>12}{:>10}\n",
        "network", "parameters", "MB (f32)", "GFLOPs", "features"
    );
    for architecture in architectures {
        let cost = Description::new(architecture, Head::Linear { classes }).cost(size, size);
        text += &format!(
            "{:<24}{:>14}{:>12.1}{:>12.3}{:>10}\n",
            architecture.to_string(),
            cost.parameters,
            cost.parameters as f64 * 4.0 / 1e6,
            2.0 * cost.multiply_accumulates as f64 / 1e9,
            architecture.features(),
        );
    }
    text += &format!(
        "\n{classes} classes, {size} x {size} pixels; a multiply-accumulate counts as two operations, and only those of convolutions and\n\
         fully connected layers are counted. small_resnet18_wWIDTH_sSTRIDE_cCHANNELS exists in any width from 8 to 256, with a stem stride of\n\
         1 or 2, and with 1 or 3 channels.\n"
    );
    print(&text)
}

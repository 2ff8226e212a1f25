//! Command-line arguments of `fermata manifest`.

#![allow(
    missing_docs,
    reason = "what is written on these types is printed as help"
)]

use std::ops::Range;
use std::path::PathBuf;

use clap::builder::RangedU64ValueParser;
use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub enum ManifestCommand {
    /// Map the tables of sources to the seven expressions, leave out what would spoil a training, split what is not
    /// split
    Make {
        /// The sources: their mappings, tables and images
        recipe: PathBuf,
        /// Folder for manifest.csv and clean_report.json
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// Replace a manifest that is there
        #[arg(long)]
        overwrite: bool,
    },
    /// Check every row and image; fails if something is missing, damaged, stale, doubled, or in two splits
    Validate {
        /// The manifest
        manifest: PathBuf,
        /// Check only this many images
        #[arg(long, value_name = "N", value_parser = at_least_1())]
        sample: Option<usize>,
        /// Where the findings go [default: manifest_validation.json beside the manifest]
        #[arg(long, value_name = "FILE.json")]
        out: Option<PathBuf>,
    },
    /// Count rows by source, label and split: a table, and a picture if one is wanted
    #[command(after_help = "Example: fermata manifest stats data/manifest.csv --out stats.svg")]
    Stats {
        /// The manifest
        manifest: PathBuf,
        /// Where the picture goes
        #[arg(long, value_name = "FILE.svg")]
        out: Option<PathBuf>,
    },
    /// Show which training rows `train --without-fold F/K` leaves out: folds by group, the same for everybody
    #[command(
        after_help = "Example: fermata manifest fold data/manifest.csv --folds 2 --out folds.csv"
    )]
    Fold {
        /// The manifest
        manifest: PathBuf,
        /// Number of folds
        #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(2..=1000))]
        folds: u32,
        /// Where each training row's fold goes, for other programs
        #[arg(long, value_name = "FILE.csv")]
        out: Option<PathBuf>,
    },
    /// Draw labelled faces: a folder of pictures and their manifest, the same number for each expression
    #[command(after_help = "Example: fermata manifest synth --seeds 1000..1200 --out data/drawn")]
    Synth(SynthArguments),
    /// Write the pictures of a NumPy archive as files, and its other arrays as a table that a recipe maps
    #[command(
        after_help = "Example: fermata manifest unpack faces.npz --names names --out data/faces"
    )]
    Unpack(UnpackArguments),
    /// List a folder of classes (DIR/happy/*.jpg, …) as a table that a recipe maps
    #[command(after_help = "Example: fermata manifest list photos --out photos.csv")]
    List {
        /// The folder: one folder for each class in it, whose name is the label
        folder: PathBuf,
        /// The table: image, label
        #[arg(long, value_name = "FILE.csv")]
        out: PathBuf,
    },
    /// Replace labels of training rows by wrong ones on purpose, to see how robust a training is against them
    #[command(
        after_help = "Example: fermata manifest noise data/manifest.csv --share 0.2 --between fear:surprise --between sad:neutral --out data/noisy"
    )]
    Noise(NoiseArguments),
    /// Find duplicate pictures within and across manifests and splits, and labels that contradict each other; changes
    /// nothing
    #[command(
        after_help = "Example: fermata manifest audit fer2013.csv ferplus.csv --out runs/audit"
    )]
    Audit(AuditArguments),
}

#[derive(Debug, Args)]
pub struct SynthArguments {
    /// Folder for manifest.csv and images/
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Seeds of the scenes, each with one to four people of its own: FIRST..END, without END
    #[arg(long, value_name = "FIRST..END", default_value = "1000..1100", value_parser = seeds)]
    pub seeds: Range<u64>,
    /// Pictures of each person with each expression
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub each: u64,
    /// Width and height of a picture in pixels
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(16..=512))]
    pub size: u32,
    /// Share of the scenes whose pictures are for validation
    #[arg(long, value_name = "SHARE", default_value_t = 0.1)]
    pub validation: f64,
    /// Share of the scenes whose pictures are for test
    #[arg(long, value_name = "SHARE", default_value_t = 0.1)]
    pub test: f64,
    /// Replace a folder that holds a manifest
    #[arg(long)]
    pub overwrite: bool,
}

#[derive(Debug, Args)]
pub struct UnpackArguments {
    /// The archive (.npz)
    pub file: PathBuf,
    /// Its array of pictures: bytes [N, H, W] or [N, H, W, 3] (red, green, blue)
    #[arg(long, value_name = "ARRAY", default_value = "images")]
    pub images: String,
    /// Its array of the pictures' names, a text each; numbers if it is not given
    #[arg(long, value_name = "ARRAY")]
    pub names: Option<String>,
    /// Folder for table.csv and images/
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Replace a folder that holds such a table
    #[arg(long)]
    pub overwrite: bool,
}

#[derive(Debug, Args)]
pub struct NoiseArguments {
    /// The manifest
    pub manifest: PathBuf,
    /// Share of the training rows that get another label
    #[arg(long, value_name = "SHARE")]
    pub share: f64,
    /// Labels that become each other; others stay [default: any becomes any other]
    #[arg(long, value_name = "LABEL:LABEL")]
    pub between: Vec<String>,
    /// Keep this many training rows only, drawn by the seed
    #[arg(long, value_name = "N", value_parser = at_least_1())]
    pub training_rows: Option<usize>,
    /// Which rows, and which labels
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Folder for manifest.csv and label_noise.json
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Replace a manifest that is there
    #[arg(long)]
    pub overwrite: bool,
}

#[derive(Debug, Args)]
pub struct AuditArguments {
    /// The manifests
    #[arg(required = true)]
    pub manifests: Vec<PathBuf>,
    /// Predictions of models that had not seen the rows (.npz with sha256): ranks labels that are likely wrong
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub predictions: Vec<PathBuf>,
    /// Pairs of each kind on the contact sheet
    #[arg(long, value_name = "N", default_value_t = 24)]
    pub examples: usize,
    /// Folder for audit.json, pairs.csv, contact_sheet.png and audit.html
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// Parses a count that must not be 0.
pub(crate) fn at_least_1() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..)
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let range = text.split_once("..").and_then(|(first, end)| {
        Some(first.trim().parse::<u64>().ok()?..end.trim().parse::<u64>().ok()?)
    });
    match range {
        Some(range) if !range.is_empty() => Ok(range),
        _ => Err(format!(
            "`{text}` is not a range of seeds; expected FIRST..END with FIRST below END, such as 1000..1100"
        )),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Typed {
        #[command(subcommand)]
        command: ManifestCommand,
    }

    #[test]
    fn a_number_of_rows_to_look_at_or_to_keep_is_at_least_1() {
        let typed = |options: &str| {
            let all = format!("fermata {options} --out o m.csv");
            Typed::try_parse_from(all.split(' ')).map_err(|error| error.to_string())
        };
        for options in ["validate --sample", "noise --share 0.1 --training-rows"] {
            let refused = typed(&format!("{options} 0")).unwrap_err();
            assert!(refused.contains("0 is not in 1.."), "{refused}");
            assert!(typed(&format!("{options} 1")).is_ok());
        }
    }
}

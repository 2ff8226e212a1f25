//! Commands about models and predictions. `fermata` parses them and hands them over to `fermata-learn`, the only
//! program that loads libtorch.

#![allow(
    missing_docs,
    reason = "what is written on these types is printed as help"
)]

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand};
use fermata_engine::units::{HumanDuration, UnitError};

use crate::compute_cli::ComputeArguments;
use crate::evaluate_cli::{EVALUATE, EvaluateArguments};
use crate::manifest_cli::{ManifestCommand, at_least_1};
use crate::models_cli::ModelsCommand;
use crate::serve_cli::ServeArguments;

#[derive(Debug, Subcommand)]
pub enum LearnCommand {
    /// Compute a model's logits for inputs in a NumPy file
    Infer(InferArguments),
    /// Measure predictions: metrics.json, a table for each class, pictures
    #[command(after_help = EVALUATE)]
    Evaluate(EvaluateArguments),
    /// Fit a temperature on validation predictions
    Calibrate(CalibrateArguments),
    /// Write a network's weights as a model folder for the live graph (ONNX and card)
    Export(ExportArguments),
    /// Show what an artifact is and where it comes from: a checkpoint, an export, arrays, a manifest, a report, or the
    /// folder of any of them
    Inspect {
        /// .safetensors, .onnx, .npz or .npy file, a manifest or table, a report (.json), lines (.jsonl), a model card,
        /// recipe, mapping, training or graph (.yaml), or a folder
        file: PathBuf,
    },
    /// Make lists of labelled images from raw sources, and check them
    Manifest {
        #[command(subcommand)]
        command: ManifestCommand,
    },
    /// Train a network on a manifest's rows: a teacher on labels, a student on softlabels
    #[command(after_help = TRAIN)]
    Train(TrainArguments),
    /// Write an ensemble of teachers' predictions for a manifest's rows, to train students on
    #[command(after_help = SOFTLABELS)]
    Softlabels(SoftlabelsArguments),
    /// Make this machine a worker of a job that another one hands out over a NATS server
    #[command(after_help = WORK)]
    Work(WorkArguments),
    /// Choose an ensemble's weights on validation rows
    Ensemble {
        #[command(subcommand)]
        command: EnsembleCommand,
    },
    /// Continue a run that ended early or was killed
    #[command(after_help = RESUME)]
    Resume(ResumeArguments),
    /// List, download and verify models; describe the networks that can be built
    Models {
        /// Catalogue to use instead of the program's own (models/catalogue.yaml)
        #[arg(long, value_name = "FILE", global = true)]
        catalogue: Option<PathBuf>,
        #[command(subcommand)]
        command: ModelsCommand,
    },
}

const SOFTLABELS: &str = "\
Example:
  fermata softlabels --manifest data/manifest.csv --teacher rn18=runs/rn18-0/model,runs/rn18-1/model \\
    --teacher b3=runs/b3-0/model,runs/b3-1/model --weight rn18=0.4 --weight b3=0.6 --views 8 --seed 1 --split train --out runs/softlabels
Each model of a teacher was trained without another fold (`fermata train --without-fold 0/2`), and is used for the rows it has not seen.
A run that ended early or was killed continues with `fermata resume runs/softlabels`.";

const WORK: &str = "\
Examples:
  fermata work --nats nats://server:4222
  fermata work --nats nats://server:4222 --path /home/ada/data=/data --path /home/ada/runs=/mnt/runs
Takes units of the job that `fermata softlabels ... --nats URL` hands out, until it is over. Ctrl-C gives back the units in hand.";

const ENSEMBLE_SEARCH: &str = "\
Example:
  fermata ensemble search --manifest data/manifest.csv --teacher rn18=runs/rn18/model --teacher b3=runs/b3/model --step 0.1 --out runs/search";

const TRAIN: &str = "\
Examples:
  fermata train --config training.yaml --manifest data/manifest.csv --card card.yaml --out runs/teacher
  fermata train --config student.yaml --manifest data/manifest.csv --card card.yaml --softlabels runs/softlabels --out runs/student
A training that ended early (Ctrl-C writes a checkpoint) or was killed continues with `fermata resume runs/teacher`.";

const RESUME: &str = "\
Examples:
  fermata resume runs/softlabels
  fermata resume runs/softlabels --max-failures 500
  fermata resume runs/teacher --more 10";

#[derive(Debug, Args)]
pub struct TrainArguments {
    /// Settings of the training: network, epochs, objective and so on
    #[arg(long, value_name = "TRAINING.yaml")]
    pub config: PathBuf,
    /// Labelled images; rows of the splits train and validation are used
    #[arg(long, value_name = "FILE.csv")]
    pub manifest: PathBuf,
    /// Model card that says how images become inputs; it becomes the trained model's card
    #[arg(long, value_name = "CARD.yaml")]
    pub card: PathBuf,
    /// Folder of the teachers' softlabels for the rows, for an objective with distillation
    #[arg(long, value_name = "DIR")]
    pub softlabels: Option<PathBuf>,
    /// Annotators' votes for the rows, for an objective with soft_targets: CSV with sha256 and the votes for each class
    #[arg(long, value_name = "FILE.csv")]
    pub votes: Option<PathBuf>,
    /// Leave out one fold of the training rows: 0/2 is the first of two
    #[arg(long, value_name = "FOLD/FOLDS")]
    pub without_fold: Option<String>,
    /// cpu or cuda:N
    #[arg(long, default_value = "cpu")]
    pub device: String,
    /// Show no progress, only warnings and the summary
    #[arg(short, long)]
    pub quiet: bool,
    /// New folder for checkpoints, history, learning curve and the model
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

#[derive(Debug, Args)]
pub struct SoftlabelsArguments {
    #[command(flatten)]
    pub teachers: TeacherArguments,
    /// Weight of a teacher; give all or none [default: the same for all]
    #[arg(long = "weight", value_name = "NAME=W")]
    pub weights: Vec<String>,
    /// Temperature of a teacher [default: the one in its card]
    #[arg(long = "temperature", value_name = "NAME=T")]
    pub temperatures: Vec<String>,
    /// Views of each picture: the unvaried one, and varied ones
    #[arg(long, value_name = "V", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    pub views: u32,
    /// Seed of the views' variations: the training's
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub seed: u64,
    /// Training settings whose `augmentation` makes the views [default: a training's defaults]
    #[arg(long, value_name = "TRAINING.yaml")]
    pub config: Option<PathBuf>,
    /// Only rows of this split: train, validation or test [default: all rows]
    #[arg(long)]
    pub split: Option<String>,
    /// Also use teachers of one folder on rows that they were trained on, whose labels they may have memorised
    #[arg(long)]
    pub allow_seen: bool,
    /// Stop when more rows than this cannot be read; they are listed in failed.jsonl
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub max_failures: usize,
    /// Rows per unit of work, which is computed (or computed again) as a whole
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = at_least_1())]
    pub unit: usize,
    #[command(flatten)]
    pub hand_out: HandOutArguments,
    #[command(flatten)]
    pub serve: ServeArguments,
    /// New folder for softlabels.npz and what belongs to it
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// How a job is handed out to workers on other machines.
#[derive(Clone, Debug, Args)]
pub struct HandOutArguments {
    /// Hand the units out to workers (`fermata work`) over this NATS server; credentials are read from NATS_CREDS,
    /// NATS_NKEY, NATS_TOKEN, NATS_USER and NATS_PASSWORD
    #[arg(long, value_name = "URL")]
    pub nats: Option<String>,
    /// Name under which workers find the job: letters, digits, - and _
    #[arg(long, value_name = "NAME", default_value = "job", requires = "nats")]
    pub job: String,
    /// Give a unit to another worker after this long without word from its own: 100ms to 24h
    #[arg(long, value_name = "TIME", default_value = "30s", requires = "nats", value_parser = lease)]
    pub lease: HumanDuration,
    /// Units in flight at once; a little over twice the number of workers works well
    #[arg(long, value_name = "N", default_value_t = 32, requires = "nats", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub open: u32,
    /// Accept workers whose processors have other features, which may change last digits; job.json records it
    #[arg(long, requires = "nats")]
    pub allow_other_processors: bool,
}

/// Parses a lease. A job's record at the server may have no other (`JobRecord`).
fn lease(given: &str) -> Result<HumanDuration, String> {
    let lease: HumanDuration = given
        .parse()
        .map_err(|error: UnitError| error.to_string())?;
    if (Duration::from_millis(100)..=Duration::from_secs(86_400)).contains(&lease.0) {
        Ok(lease)
    } else {
        Err("expected 100ms to 24h".to_owned())
    }
}

#[derive(Debug, Args)]
pub struct WorkArguments {
    /// The NATS server; credentials are read from NATS_CREDS, NATS_NKEY, NATS_TOKEN, NATS_USER and NATS_PASSWORD
    #[arg(long, value_name = "URL")]
    pub nats: String,
    /// Name of the job, as given to the command that hands it out
    #[arg(long, value_name = "NAME", default_value = "job")]
    pub job: String,
    /// Files under FROM on the machine that hands out the job are under TO here
    #[arg(long = "path", value_name = "FROM=TO")]
    pub paths: Vec<String>,
    /// Threads that read images
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub readers: u32,
    /// Folder for the log and the report [default: runs/work-NAME]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Remove the job from the server instead, unless a command still hands it out: its workers stop
    #[arg(long, conflicts_with_all = ["paths", "out"])]
    pub end: bool,
    /// Show no progress, only warnings and the summary
    #[arg(short, long)]
    pub quiet: bool,
}

/// Teachers, their rows, and how they are computed.
#[derive(Debug, Args)]
pub struct TeacherArguments {
    /// Labelled images
    #[arg(long, value_name = "FILE.csv")]
    pub manifest: PathBuf,
    /// A teacher: its model folder, or several folders, each trained without another fold
    #[arg(long = "teacher", value_name = "NAME=FOLDER[,FOLDER]", required = true)]
    pub teachers: Vec<String>,
    /// cpu or cuda:N
    #[arg(long, default_value = "cpu")]
    pub device: String,
    /// Pictures per batch of a teacher
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub batch: u32,
    /// Threads of each teacher
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: u32,
    /// Threads that read images
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub readers: u32,
    /// Show no progress, only warnings and the summary
    #[arg(short, long)]
    pub quiet: bool,
}

#[derive(Debug, Subcommand)]
pub enum EnsembleCommand {
    /// Try every weighting of a grid, each teacher at a temperature that is fitted on the same rows
    #[command(after_help = ENSEMBLE_SEARCH)]
    Search(EnsembleSearchArguments),
}

#[derive(Debug, Args)]
pub struct EnsembleSearchArguments {
    #[command(flatten)]
    pub teachers: TeacherArguments,
    /// Distance of neighbouring weights
    #[arg(long, value_name = "STEP", default_value_t = 0.1)]
    pub step: f64,
    /// Split of the manifest to search on
    #[arg(long, default_value = "validation")]
    pub split: String,
    /// Folder for search.csv, ensemble.json, search.svg and the teachers' predictions
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

#[derive(Debug, Args)]
pub struct ResumeArguments {
    /// Folder of the run
    pub run: PathBuf,
    /// Train this many more epochs from here, instead of those that were still planned
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub more: Option<u32>,
    /// For softlabels: stop when more rows than this cannot be read [default: as the run was started]
    #[arg(long, value_name = "N")]
    pub max_failures: Option<usize>,
    /// For softlabels computed by workers: the NATS server that hands out their units
    #[arg(long, value_name = "URL")]
    pub nats: Option<String>,
    /// Show no progress, only warnings and the summary
    #[arg(short, long)]
    pub quiet: bool,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("network").args(["model", "weights"]).required(true))]
pub struct InferArguments {
    /// Model folder (card.yaml and weights)
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["weights", "arch"])]
    pub model: Option<PathBuf>,
    /// Network of the weights, by timm's name
    #[arg(long, value_name = "NAME", requires = "weights")]
    pub arch: Option<String>,
    /// Weights (.safetensors)
    #[arg(long, value_name = "FILE", requires = "arch")]
    pub weights: Option<PathBuf>,
    /// f32 [N, C, H, W] in a .npy file
    #[arg(long, value_name = "X.npy")]
    pub input: PathBuf,
    /// Where the logits f32 [N, K] go
    #[arg(long, value_name = "Y.npy")]
    pub output: PathBuf,
    #[command(flatten)]
    pub compute: ComputeArguments,
}

#[derive(Debug, Args)]
pub struct PredictionsArguments {
    /// Predictions: .npz (arrays logits and labels) or .csv (label, logit_CLASS…)
    #[arg(long, value_name = "FILE")]
    pub predictions: PathBuf,
    /// Names of an .npz file's classes [default: the seven expressions]
    #[arg(long, value_delimiter = ',', value_name = "A,B,…")]
    pub classes: Vec<String>,
}

#[derive(Debug, Args)]
pub struct CalibrateArguments {
    #[command(flatten)]
    pub predictions: PredictionsArguments,
    /// Model folder whose card gets the temperature
    #[arg(long, value_name = "FOLDER")]
    pub model: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("network").args(["model", "weights"]).required(true))]
pub struct ExportArguments {
    /// Model folder with safetensors, as a training leaves it (DIR/model)
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["arch", "weights", "card"])]
    pub model: Option<PathBuf>,
    /// Network of the weights, by timm's name
    #[arg(long, value_name = "NAME", requires = "weights")]
    pub arch: Option<String>,
    /// Weights (.safetensors)
    #[arg(long, value_name = "FILE", requires_all = ["arch", "card"])]
    pub weights: Option<PathBuf>,
    /// Card of the new folder; input and output names and sha256 are filled in
    #[arg(long, value_name = "CARD.yaml", requires = "weights")]
    pub card: Option<PathBuf>,
    /// The new folder
    #[arg(long, value_name = "FOLDER")]
    pub output: PathBuf,
    /// Keep batch normalisation as it is instead of folding it into the convolutions
    #[arg(long)]
    pub keep_batch_norm: bool,
    /// Replace a model folder that is there
    #[arg(long)]
    pub overwrite: bool,
    /// Scale of an ArcFace head (weights without bias) [default: the training's, or 30]
    #[arg(long)]
    pub scale: Option<f64>,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Typed {
        #[command(flatten)]
        hand_out: HandOutArguments,
    }

    #[test]
    fn a_lease_is_one_that_a_job_may_have() {
        let typed = |lease| {
            let all = ["fermata", "--nats", "nats://host", "--lease", lease];
            Typed::try_parse_from(all).map_err(|error| error.to_string())
        };
        for lease in ["0", "99ms", "24.1h", "forever"] {
            let refused = typed(lease).unwrap_err();
            assert!(refused.contains("--lease"), "{refused}");
        }
        assert!(typed("25h").unwrap_err().contains("expected 100ms to 24h"));
        for (lease, expected) in [
            ("100ms", Duration::from_millis(100)),
            ("24h", Duration::from_secs(86_400)),
        ] {
            assert_eq!(typed(lease).unwrap().hand_out.lease.0, expected);
        }
    }
}

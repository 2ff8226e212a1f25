//! The programs' commands and what they share: one file per command, and the command line itself.
//!
//! - [`cli`], [`learn_cli`], [`compute_cli`], [`evaluate_cli`], [`manifest_cli`], [`models_cli`], [`serve_cli`]: what
//!   can be typed, and the exit codes.
//! - [`run`], `check`, `draw`, `actors`, `doctor`: the commands of `fermata`, which say how they ended as an
//!   exit code.
//! - `analyse`: photos and videos without a graph file.
//! - [`dispatch`]: from a command to the function that carries it out, for both programs.
//! - [`program`]: which actors a program has.
//! - [`hand_over`]: `fermata` becomes `fermata-learn` for the commands of [`learn_cli`] and graphs with actors of jobs.
//! - [`models`]: models by name, as `fermata-pull` brings them.
//! - [`documents`]: texts, JSON and folders that commands read and write.
//! - `kpi`: measures runs by the tables that they wrote.
//! - `sweep`: runs a graph many times and measures each run.
//! - `site`, [`site_cli`], `merge`: a run on several machines, seen from outside, and one book over it.
//! - `serving`, `top`: the live page of a run, and what it shows in a terminal.
//! - [`mod@print`]: results on the standard output.
//!
//! What needs libtorch is not here but in `src/bin/fermata-learn/`: this library is part of `fermata`, which must not
//! load it. It is no public interface: whoever builds a program of their own uses `fermata-engine` and
//! `fermata-actors`.

mod actors;
#[cfg(feature = "live")]
mod analyse;
mod both;
mod check;
pub mod cli;
mod columns;
pub mod compute_cli;
mod descriptors;
pub mod dispatch;
mod doctor;
pub mod documents;
mod draw;
pub mod evaluate_cli;
pub mod hand_over;
mod interrupts;
mod kpi;
pub mod learn_cli;
#[cfg(feature = "remote")]
mod lives;
mod lives_file;
mod load;
mod log_lines;
mod logging;
pub mod manifest_cli;
mod merge;
pub mod models;
pub mod models_cli;
mod overlap;
pub mod print;
pub mod program;
mod progress;
mod reference;
mod reference_page;
pub mod remote;
pub mod run;
mod run_folder;
pub mod serve_cli;
mod serving;
mod settings_schema;
mod site;
pub mod site_cli;
pub mod spared_inputs;
mod summary;
mod sweep;
mod terminal;
#[cfg(feature = "live")]
mod top;
mod watched;

//! The commands of both programs and what they share: one file per command, and the command line itself.
//!
//! - [`cli`], [`learn_cli`], [`compute_cli`], [`evaluate_cli`], [`manifest_cli`], [`models_cli`], [`serve_cli`]:
//!   command-line arguments and exit codes.
//! - [`run`], `check`, `draw`, `actors`, `doctor`: the commands of `fermata`, which return an exit code.
//! - `analyse`: photos and videos without a graph file.
//! - [`dispatch`]: carries out a command, for both programs.
//! - [`program`]: the actors of a program.
//! - [`hand_over`]: replaces `fermata` by `fermata-learn` for the commands of [`learn_cli`] and for graphs with job
//!   actors.
//! - [`models`]: models by name, as downloaded by `fermata-pull`.
//! - [`documents`]: texts, JSON and folders that commands read and write.
//! - `kpi`: measures runs from the tables they wrote.
//! - `sweep`: runs a graph many times and measures each run.
//! - `site`, [`site_cli`], `merge`: the state of a run on several machines, and the book of the whole run.
//! - `serving`, `top`: the live page of a run, and its view in a terminal.
//! - [`mod@print`]: results on standard output.
//!
//! Code that needs libtorch is in `src/bin/fermata-learn/`: this library is part of `fermata`, which must not load
//! libtorch. It is not a public interface: programs of your own should use `fermata-engine` and `fermata-actors`.

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

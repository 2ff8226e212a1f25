//! `fermata resume`: resumes a run according to what its folder holds.

use anyhow::bail;
use fermata::learn_cli::ResumeArguments;
use fermata_learn::training::RunFolder;

use crate::{softlabels, train};

pub(crate) fn resume(arguments: &ResumeArguments) -> anyhow::Result<u8> {
    let ResumeArguments {
        run,
        more,
        max_failures,
        nats,
        quiet,
    } = arguments;
    if !run.is_dir() {
        let found = if run.exists() {
            "is not a folder"
        } else {
            "is not there"
        };
        bail!("{} {found}: name the folder of a run", run.display());
    }
    if RunFolder::is_in(run) {
        if nats.is_some() {
            bail!(
                "--nats is about softlabels, and {} holds a training",
                run.display()
            );
        }
        if max_failures.is_some() {
            bail!(
                "--max-failures is about softlabels, and {} holds a training, which needs every row",
                run.display()
            );
        }
        return train::resume(run, *more, *quiet);
    }
    if run.join(softlabels::LEDGER).is_file() {
        if more.is_some() {
            bail!(
                "--more is about the epochs of a training, and {} holds softlabels",
                run.display()
            );
        }
        return softlabels::resume(run, nats.as_deref(), *max_failures, *quiet);
    }
    bail!(
        "{} is not a run that can be resumed: it has neither the checkpoints of a training nor {} (softlabels)",
        run.display(),
        softlabels::LEDGER
    )
}

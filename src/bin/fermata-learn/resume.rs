//! `fermata resume`: takes up a run, by what its folder holds.

use anyhow::bail;
use fermata::learn_cli::ResumeArguments;

use crate::softlabels;

pub(crate) fn resume(arguments: &ResumeArguments) -> anyhow::Result<u8> {
    let ResumeArguments { run, quiet } = arguments;
    if run.join(softlabels::LEDGER).is_file() {
        return softlabels::resume(run, *quiet);
    }
    bail!(
        "{} is no run that can be taken up again: it has no {} (softlabels)",
        run.display(),
        softlabels::LEDGER
    )
}

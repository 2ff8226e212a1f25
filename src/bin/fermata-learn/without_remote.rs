//! `fermata softlabels --nats` in a program built without the feature `remote`.

use std::sync::Arc;

use fermata::learn_cli::SoftlabelsArguments;
use fermata::run::JobRows;
use fermata_files::FolderLock;
use fermata_jobs::manifests::Manifests;

use crate::graph_run::GraphRun;
use crate::softlabels_plan::Plan;

/// The error message.
pub(crate) const WITHOUT: &str = "this program was built without the feature `remote`, so it reaches no other machine: build it with `--features remote`";

pub(crate) fn hand_out(
    _: &SoftlabelsArguments,
    _: Plan,
    _: JobRows,
    _: Arc<Manifests>,
    _: &Arc<FolderLock>,
) -> anyhow::Result<u8> {
    anyhow::bail!(WITHOUT)
}

pub(crate) fn resume(_: &str, _: GraphRun<'_>) -> anyhow::Result<u8> {
    anyhow::bail!(WITHOUT)
}

//! `join_targets`: adds to each row of a training its targets besides the label: the teachers' logits of its view, the
//! annotators' votes. Both are joined by the hash of the image, never by position.

use std::path::PathBuf;

use fermata_engine::{Actor, ActorError, Input, Outputs, Ports, Setup};
use fermata_learn::softlabels::Softlabels;
use fermata_learn::training::RunFolder;
use fermata_learn::votes::Votes;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::payload::{Prepared, PreparedRow, Purpose};

/// Adds the softlabels and votes that a training learns from to its rows.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinTargetsSettings {
    /// Folder of the training, as created by `fermata train`; its settings name the softlabels and votes.
    pub training: PathBuf,
}

/// See `JoinTargetsSettings`.
pub struct JoinTargets {
    softlabels: Option<Softlabels>,
    votes: Option<Votes>,
}

impl JoinTargets {
    fn join(&self, row: &mut PreparedRow) -> Result<(), ActorError> {
        let Purpose::Train { view, .. } = row.wanted.purpose else {
            return Ok(());
        };
        let described = row.wanted.row.row();
        let missing = |what: &str| format!("{}: no {what}", described.image.display());
        if let Some(softlabels) = &self.softlabels {
            let logits = softlabels.logits(&described.sha256, described.split, view);
            row.teacher =
                Some(*logits.ok_or_else(|| missing(&format!("softlabels of view {view}")))?);
        }
        if let Some(votes) = &self.votes {
            row.targets = Some(
                *votes
                    .shares(&described.sha256)
                    .ok_or_else(|| missing("votes"))?,
            );
        }
        Ok(())
    }
}

impl Actor for JoinTargets {
    const NAME: &'static str = "join_targets";
    type Settings = JoinTargetsSettings;

    fn ports(_: &JoinTargetsSettings) -> Ports {
        Ports::new()
            .input::<Prepared>("in")
            .output::<Prepared>("out")
            .stateless()
    }

    fn create(settings: JoinTargetsSettings, _: &Setup) -> Result<Self, ActorError> {
        let folder = RunFolder::open(&settings.training)?;
        let config = folder.config();
        Ok(Self {
            softlabels: config.softlabels()?,
            votes: config.votes()?,
        })
    }

    fn process(&mut self, mut input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        let prepared = input.take::<Prepared>();
        let joined = match &*prepared {
            Prepared::EpochEnd { .. } => prepared,
            Prepared::Row(row) => {
                // The input is shared, not copied.
                let mut row = row.clone();
                self.join(&mut row)?;
                Prepared::Row(row).into()
            }
        };
        out.emit::<Prepared>(input.envelope, joined);
        Ok(())
    }
}

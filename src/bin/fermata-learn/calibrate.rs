//! `fermata calibrate`: fits a temperature on validation predictions, and writes it to a model's card if one is given.

use std::path::{Path, PathBuf};

use fermata::learn_cli::CalibrateArguments;
use fermata::print::print_line;
use fermata::spared_inputs::refuse_to_write_over;
use fermata_learn::calibration::fit_temperature;
use fermata_learn::predictions::Predictions;
use fermata_vision::ModelCard;
use fermata_vision::card::CARD_FILE;

use crate::classes::classes;

pub(crate) fn calibrate(arguments: &CalibrateArguments) -> anyhow::Result<()> {
    let given = &arguments.predictions;
    let card = arguments
        .model
        .as_ref()
        .map(|folder| folder.join(CARD_FILE));
    let card: Vec<&Path> = card.iter().map(PathBuf::as_path).collect();
    refuse_to_write_over(&[&given.predictions], &card)?;
    let predictions = Predictions::read(&given.predictions, &classes(&given.classes))?;
    // Read before anything is printed, so that a wrong folder is reported first.
    let model = arguments.model.as_ref().map(ModelCard::load).transpose()?;
    let fit = fit_temperature(&predictions);
    print_line(&format!(
        "temperature {:.6} on {} rows: NLL {:.6} before, {:.6} after",
        fit.value, fit.rows, fit.nll_before, fit.nll_after
    ))?;
    if fit.bound_hit {
        anyhow::bail!(
            "the likelihood still rises at the bound {:.3}: these predictions have no best temperature (all rows right, or worse than chance)",
            fit.value
        );
    }
    if let Some(mut model) = model {
        model.card.temperature = fit.value;
        let path = model.folder.join(CARD_FILE);
        fermata_files::write(&path, model.card.to_yaml().as_bytes())?;
        print_line(&format!("written to {}", path.display()))?;
    }
    Ok(())
}

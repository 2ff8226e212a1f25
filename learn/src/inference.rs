//! What a model says of a dataset's rows. Owns the order of the rows and what happens to those that cannot be read; the model is the caller's.

use crate::dataset::{Dataset, RowErrors};
use crate::loader::{READERS, Wanted, read_ahead};
use crate::predictions::{Predictions, PredictionsError, RowHash, row_hash};
use fermata_vision::Expression;

/// Logits of all rows in their order, `batch` at a time. `infer` gets inputs [N, …] and gives logits [N, 7] in the canonical class order.
///
/// # Errors
/// All rows that cannot be read (the others have then been computed for nothing); what `infer` says; logits that are not finite.
pub fn predict<E>(
    dataset: &Dataset,
    batch: usize,
    mut infer: impl FnMut(&[f32]) -> Result<Vec<f32>, E>,
) -> Result<Predictions, E>
where
    E: From<RowErrors> + From<PredictionsError>,
{
    let rows: Vec<Wanted> = (0..dataset.len()).map(|row| (row, None)).collect();
    let batches = rows.chunks(batch.max(1)).map(<[Wanted]>::to_vec).collect();
    let mut logits = Vec::with_capacity(dataset.len() * Expression::ALL.len());
    let mut failed = Vec::new();
    std::thread::scope(|scope| {
        for batch in read_ahead(scope, dataset, batches, READERS) {
            match batch {
                Err(RowErrors(rows)) => failed.extend(rows),
                Ok(_) if !failed.is_empty() => {}
                Ok(batch) => logits.extend(infer(&batch.inputs)?.into_iter().map(f64::from)),
            }
        }
        Ok::<(), E>(())
    })?;
    if !failed.is_empty() {
        return Err(RowErrors(failed).into());
    }
    let labels: Vec<i64> = dataset
        .labels()
        .into_iter()
        .map(|label| label as i64)
        .collect();
    let classes = Expression::ALL
        .map(|expression| expression.to_string())
        .to_vec();
    let hashes: Option<Vec<RowHash>> = dataset
        .rows()
        .iter()
        .map(|row| row_hash(&row.sha256))
        .collect();
    let predictions = Predictions::new(classes, logits, &labels)?;
    Ok(match hashes {
        Some(hashes) => predictions.with_hashes(hashes),
        None => predictions,
    })
}

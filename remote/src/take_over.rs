//! What a restarted part takes over from its previous life: the right to receive the streams of its edges, and how far
//! they had come.

use std::sync::Arc;

use crate::claim::Claim;
use crate::connection::NatsConnection;
use crate::last::{Unread, last_settled};
use crate::names::{EdgeNames, token};

/// What earlier receiving ends had received of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Earlier {
    /// Sequence below which everything had been settled.
    pub below: u64,
    /// Packets that had come up to there.
    pub came: u64,
    /// Packets that had been missed up to there.
    pub missed: u64,
}

/// Replaces an earlier receiving end of a stream of an edge, before the receiving end of this run begins. Returns what
/// that end had settled; none if the server knows no such edge.
///
/// # Errors
/// The server cannot be asked; or its record of how far the stream had come cannot be read, without which the files of
/// this part would be begun anew.
pub fn take_over(
    connection: &Arc<NatsConnection>,
    edge: &str,
    stream: &str,
) -> Result<Option<Earlier>, String> {
    let names = EdgeNames::new(&connection.site, edge);
    let token = token(stream);
    let taking = async {
        let last = last_settled(&connection.jetstream, &names, &token).await?;
        if last.is_unreadable() {
            let (number, subject, at) = (last.sequence, names.settled_of(&token), connection.at());
            return Err(Unread::Other(format!(
                "message {number} of `{subject}` is not a record of a receiving end, and this part cannot continue its files without one: keep its folder, and clear the run with `fermata site end {at}`"
            )));
        }
        Claim::take(&connection.jetstream, &names, &token).await
    };
    let claim = match connection.runtime.block_on(taking) {
        Ok(claim) => claim,
        Err(Unread::NoStore) => return Ok(None),
        Err(Unread::Other(reason)) => return Err(reason),
    };
    connection.keep_claim(names.settled_of(&token), claim);
    let settled = claim.settled.unwrap_or_default();
    Ok(Some(Earlier {
        below: settled.behind,
        came: settled.came,
        missed: settled.counted - settled.came,
    }))
}

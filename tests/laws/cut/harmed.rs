//! Shows that the laws of cut graphs can fail: they detect a network that breaks its guarantees.

use proptest::strategy::{Strategy, ValueTree};

use super::super::random;
use super::network::Harm;
use super::{BrokenLaws, Cut, lossless, lossy, not_as_the_whole, out_of_order};

/// How many graphs are drawn for each harm.
const CUTS: usize = 40;

/// Returns in how many graphs something was harmed, and in how many of these a law was broken with these words.
fn found(
    cuts: impl Strategy<Value = Cut>,
    harm: Harm,
    broken: BrokenLaws,
    words: &str,
) -> (usize, usize) {
    let mut runner = random::runner(1);
    let (mut harmed, mut found) = (0, 0);
    for _ in 0..CUTS {
        let mut cut = cuts.new_tree(&mut runner).expect("a cut").current();
        cut.harm = Some(harm);
        let Ok(Some(both)) = cut.run() else {
            continue;
        };
        if both.network.harmed() == 0 {
            continue;
        }
        harmed += 1;
        let laws = broken(&cut, &both);
        found += usize::from(laws.iter().any(|law| law.contains(words)));
    }
    (harmed, found)
}

#[test]
fn a_packet_that_is_lost_uncounted_is_always_missing_in_the_books_and_mostly_at_a_sink() {
    let books = " went in, ";
    let (harmed, caught) = found(lossless(), Harm::LosesOne, not_as_the_whole, books);
    assert!(harmed > 5 && caught == harmed, "{caught} of {harmed}");
    let (harmed, caught) = found(lossy(), Harm::LosesOne, out_of_order, books);
    assert!(harmed > 5 && caught == harmed, "{caught} of {harmed}");
    let (harmed, caught) = found(lossless(), Harm::LosesOne, not_as_the_whole, " got ");
    assert!(2 * caught > harmed, "{caught} of {harmed} at a sink");
}

#[test]
fn an_end_that_is_not_what_was_told_breaks_the_law_of_lossless_edges() {
    let told = " was told ";
    let (harmed, caught) = found(lossless(), Harm::ChangesTheEnd, not_as_the_whole, told);
    assert!(2 * caught > harmed, "{caught} of {harmed}");
}

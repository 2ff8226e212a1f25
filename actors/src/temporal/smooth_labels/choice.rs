//! Choice of a track's label: majority vote over its latest observations, then hysteresis. Expects smoothed
//! probabilities.

use std::collections::VecDeque;
use std::time::Duration;

use fermata_vision::Expression;
use fermata_vision::face::{EXPRESSIONS, Probabilities};

/// Maximum number of observations that a vote remembers, whatever its window.
pub(super) const MOST_VOTES: usize = 4096;

/// Which observations vote.
#[derive(Clone, Copy, Debug)]
pub(super) enum VoteSpec {
    /// This many of the latest ones, 1 to [`MOST_VOTES`].
    Observations(usize),
    /// Those not older than this; at most [`MOST_VOTES`] of them.
    Within(Duration),
}

/// Margin and number of observations by which another label must lead.
#[derive(Clone, Copy, Debug)]
pub(super) struct HysteresisSpec {
    pub(super) margin: f64,
    pub(super) hold: u32,
}

/// How a label is chosen; a stage that is `None` is skipped.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChoiceSpec {
    pub(super) vote: Option<VoteSpec>,
    pub(super) hysteresis: Option<HysteresisSpec>,
}

/// Voting and hysteresis state of a track.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    spec: ChoiceSpec,
    /// Labels and their times, oldest first.
    votes: VecDeque<(Expression, Duration)>,
    counts: [u32; EXPRESSIONS],
    label: Option<Expression>,
    /// The label that leads by the margin, and for how many consecutive observations.
    challenger: Option<(Expression, u32)>,
}

impl Choice {
    pub(super) fn new(spec: ChoiceSpec) -> Self {
        Self {
            spec,
            votes: VecDeque::new(),
            counts: [0; EXPRESSIONS],
            label: None,
            challenger: None,
        }
    }

    /// Adds an observation made at the time `now` and returns the label that is valid from then on.
    pub(super) fn observe(&mut self, smoothed: &Probabilities, now: Duration) -> Expression {
        let observed = Expression::most_probable(smoothed);
        let winner = match self.spec.vote {
            Some(window) => self.vote(observed, now, window),
            None => observed,
        };
        let label = match (self.label, self.spec.hysteresis) {
            (Some(incumbent), Some(spec)) => self.contest(incumbent, winner, smoothed, spec),
            _ => winner,
        };
        self.label = Some(label);
        label
    }

    /// Returns the label that has more votes in the window than any other; on a tie, the incumbent.
    fn vote(&mut self, observed: Expression, now: Duration, window: VoteSpec) -> Expression {
        self.votes.push_back((observed, now));
        self.counts[observed.index()] += 1;
        while let Some(&(oldest, at)) = self.votes.front() {
            let too_old = match window {
                VoteSpec::Observations(most) => self.votes.len() > most,
                VoteSpec::Within(age) => now.saturating_sub(at) > age,
            };
            if !too_old && self.votes.len() <= MOST_VOTES {
                break;
            }
            self.votes.pop_front();
            self.counts[oldest.index()] -= 1;
        }
        let most = self.counts.iter().max().copied().unwrap_or(0);
        let mut leaders = Expression::ALL
            .into_iter()
            .filter(|expression| self.counts[expression.index()] == most);
        match (leaders.next(), leaders.next()) {
            (Some(winner), None) => winner,
            _ => self.label.unwrap_or(observed),
        }
    }

    /// Replaces the incumbent by the winner of the vote if the winner has led for long enough.
    fn contest(
        &mut self,
        incumbent: Expression,
        winner: Expression,
        smoothed: &Probabilities,
        spec: HysteresisSpec,
    ) -> Expression {
        let of = |expression: Expression| f64::from(smoothed[expression.index()]);
        if winner == incumbent || of(winner) - of(incumbent) < spec.margin {
            self.challenger = None;
            return incumbent;
        }
        let before = match self.challenger {
            Some((same, times)) if same == winner => times,
            _ => 0,
        };
        if before + 1 >= spec.hold {
            self.challenger = None;
            return winner;
        }
        self.challenger = Some((winner, before + 1));
        incumbent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Expression::{Angry, Happy, Neutral, Sad};
    use proptest::prelude::*;

    /// Returns `label` with probability `p`, and Neutral (for Neutral itself, Sad) with the rest.
    fn sure(label: Expression, p: f32) -> Probabilities {
        let mut probabilities = [0.0; EXPRESSIONS];
        probabilities[label.index()] = p;
        let other = if label == Neutral { Sad } else { Neutral };
        probabilities[other.index()] = 1.0 - p;
        probabilities
    }

    fn choose(spec: ChoiceSpec, observations: &[Probabilities]) -> Vec<Expression> {
        let mut choice = Choice::new(spec);
        let at = |index: usize| Duration::from_millis(100 * index as u64);
        let observations = observations.iter().enumerate();
        observations
            .map(|(index, probabilities)| choice.observe(probabilities, at(index)))
            .collect()
    }

    fn labels(spec: ChoiceSpec, observed: &[Expression]) -> Vec<Expression> {
        let observations: Vec<_> = observed.iter().map(|&label| sure(label, 1.0)).collect();
        choose(spec, &observations)
    }

    fn vote(window: VoteSpec) -> ChoiceSpec {
        ChoiceSpec {
            vote: Some(window),
            hysteresis: None,
        }
    }

    fn hysteresis(margin: f64, hold: u32) -> ChoiceSpec {
        ChoiceSpec {
            vote: None,
            hysteresis: Some(HysteresisSpec { margin, hold }),
        }
    }

    #[test]
    fn without_stages_the_label_is_the_most_probable() {
        let spec = ChoiceSpec {
            vote: None,
            hysteresis: None,
        };
        let observed = [Happy, Sad, Happy, Angry];
        assert_eq!(labels(spec, &observed), observed);
    }

    #[test]
    fn the_majority_of_the_window_wins() {
        let window = vote(VoteSpec::Observations(3));
        assert_eq!(
            labels(window, &[Happy, Sad, Happy, Sad, Sad, Sad]),
            [Happy, Happy, Happy, Sad, Sad, Sad]
        );
    }

    #[test]
    fn a_tie_keeps_the_incumbent() {
        let window = vote(VoteSpec::Observations(4));
        assert_eq!(
            labels(window, &[Happy, Sad, Sad, Happy, Happy, Sad]),
            // 1:0, 1:1 tie, 1:2, 2:2 tie, then Sad Sad Happy Happy and Sad Happy Happy Sad: ties.
            [Happy, Happy, Sad, Sad, Sad, Sad]
        );
        // A tie between others keeps it, too: Sad and Angry are level after Happy has left the window.
        let pair = vote(VoteSpec::Observations(2));
        assert_eq!(
            labels(pair, &[Happy, Happy, Sad, Angry]),
            [Happy, Happy, Happy, Happy]
        );
    }

    #[test]
    fn a_window_of_time_holds_what_is_not_older() {
        // Observations 100 ms apart: a window of 200 ms holds three.
        let window = vote(VoteSpec::Within(Duration::from_millis(200)));
        assert_eq!(
            labels(window, &[Happy, Sad, Happy, Sad, Sad, Sad]),
            [Happy, Happy, Happy, Sad, Sad, Sad]
        );
    }

    #[test]
    fn a_window_of_time_stays_bounded_when_time_stands_still() {
        let mut choice = Choice::new(vote(VoteSpec::Within(Duration::from_secs(1))));
        for _ in 0..2 * MOST_VOTES {
            choice.observe(&sure(Happy, 1.0), Duration::ZERO);
        }
        assert_eq!(choice.votes.len(), MOST_VOTES);
        assert_eq!(choice.counts[Happy.index()] as usize, MOST_VOTES);
    }

    #[test]
    fn a_challenger_must_lead_by_the_margin_for_hold_observations() {
        // Leads of 0.5, 0.25, −0.5 over the incumbent Neutral; the margin is 0.25.
        let (clear, just, behind) = (sure(Happy, 0.75), sure(Happy, 0.625), sure(Happy, 0.25));
        let start = sure(Neutral, 1.0);
        let spec = hysteresis(0.25, 3);
        assert_eq!(
            choose(spec, &[start, clear, just, clear]),
            [Neutral, Neutral, Neutral, Happy]
        );
        let interrupted = [start, clear, clear, behind, clear, clear, clear];
        assert_eq!(
            choose(spec, &interrupted),
            [Neutral, Neutral, Neutral, Neutral, Neutral, Neutral, Happy]
        );
        let too_close = sure(Happy, 0.5625);
        assert_eq!(
            choose(spec, &[start, too_close, too_close, too_close])[3],
            Neutral
        );
    }

    #[test]
    fn another_challenger_starts_counting_anew() {
        let observed = [Neutral, Happy, Happy, Sad, Sad, Sad, Sad];
        assert_eq!(
            labels(hysteresis(0.1, 3), &observed),
            [Neutral, Neutral, Neutral, Neutral, Neutral, Sad, Sad]
        );
    }

    #[test]
    fn the_challenger_is_the_votes_winner() {
        let spec = ChoiceSpec {
            vote: Some(VoteSpec::Observations(3)),
            hysteresis: Some(HysteresisSpec {
                margin: 0.1,
                hold: 2,
            }),
        };
        // Happy wins the vote from the third observation on, and is then most probable twice in a row.
        assert_eq!(
            labels(spec, &[Neutral, Happy, Happy, Happy]),
            [Neutral, Neutral, Neutral, Happy]
        );
        // At the fourth, Happy still wins the vote, but Neutral is more probable: the count starts anew.
        assert_eq!(
            labels(spec, &[Neutral, Happy, Happy, Neutral, Happy, Happy]),
            [Neutral, Neutral, Neutral, Neutral, Neutral, Happy]
        );
    }

    fn any_probabilities() -> impl Strategy<Value = Probabilities> {
        proptest::array::uniform7(0.01..1.0_f32).prop_map(|values| {
            let sum: f32 = values.iter().sum();
            values.map(|value| value / sum)
        })
    }

    proptest! {
        #[test]
        fn the_label_changes_at_most_as_hysteresis_permits(
            observations in proptest::collection::vec(any_probabilities(), 1..60),
            margin in 0.0..0.3_f64,
            hold in 1..5_u32,
            window in proptest::option::of(1..6_usize),
        ) {
            let spec = ChoiceSpec {
                vote: window.map(VoteSpec::Observations),
                hysteresis: Some(HysteresisSpec { margin, hold }),
            };
            let labels = choose(spec, &observations);
            let mut changed_at = 0;
            for index in 1..labels.len() {
                let (before, after) = (labels[index - 1], labels[index]);
                if before == after {
                    continue;
                }
                // Since the previous change, the new label led by the margin for `hold` consecutive observations.
                prop_assert!(index - changed_at >= hold as usize);
                for probabilities in &observations[index + 1 - hold as usize..=index] {
                    let of = |label: Expression| f64::from(probabilities[label.index()]);
                    prop_assert!(of(after) - of(before) >= margin);
                }
                changed_at = index;
            }
        }
    }
}

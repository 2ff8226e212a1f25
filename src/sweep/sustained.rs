//! Finds the largest number that passes a trial by doubling and bisection, and confirms it by repetition. Pure: the
//! caller defines the trial.

/// Number of further trials that the found number must pass in a row.
const CONFIRMED: u32 = 5;

/// Finds the number: doubles from `least` until a trial fails, bisects between the last pass and the failure, then
/// requires five more passes in a row; on a failure there, tries one less in the same way. None if not even `least`
/// passes.
///
/// # Errors
/// Returns the errors of a trial.
pub(super) fn sustained<E>(
    least: u32,
    most: u32,
    mut passes: impl FnMut(u32) -> Result<bool, E>,
) -> Result<Option<u32>, E> {
    let mut passed = None;
    let mut next = least;
    let mut failed = loop {
        if !passes(next)? {
            break next;
        }
        passed = Some(next);
        if next >= most {
            break next + 1;
        }
        next = next.saturating_mul(2).min(most);
    };
    while let Some(low) = passed
        && failed - low > 1
    {
        let middle = low + (failed - low) / 2;
        if passes(middle)? {
            passed = Some(middle)
        } else {
            failed = middle
        }
    }
    while let Some(number) = passed {
        let mut is_confirmed = true;
        for _ in 0..CONFIRMED {
            if !passes(number)? {
                is_confirmed = false;
                break;
            }
        }
        if is_confirmed {
            break;
        }
        passed = number.checked_sub(1).filter(|fewer| *fewer >= least);
    }
    Ok(passed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::convert::Infallible;

    fn find(least: u32, most: u32, passes: impl Fn(u32, u32) -> bool) -> (Option<u32>, Vec<u32>) {
        let mut tried = Vec::new();
        let found = sustained(least, most, |number| {
            let before = tried.iter().filter(|n| **n == number).count() as u32;
            tried.push(number);
            Ok::<_, Infallible>(passes(number, before))
        });
        (found.unwrap(), tried)
    }

    #[test]
    fn the_number_is_doubled_bisected_and_confirmed() {
        let (found, tried) = find(1, 64, |number, _| number <= 11);
        assert_eq!(found, Some(11));
        assert_eq!(tried, [1, 2, 4, 8, 16, 12, 10, 11, 11, 11, 11, 11, 11]);
    }

    #[test]
    fn a_number_that_passes_by_luck_is_not_kept() {
        // 11 passes three times and then fails; 10 always passes.
        let (found, _) = find(1, 64, |number, before| {
            number <= 10 || (number == 11 && before < 3)
        });
        assert_eq!(found, Some(10));
    }

    #[test]
    fn what_fails_at_once_has_no_number() {
        let (found, tried) = find(2, 64, |_, _| false);
        assert_eq!((found, tried.len()), (None, 1));
        let (found, _) = find(2, 64, |number, before| number == 2 && before < 2);
        assert_eq!(found, None);
    }

    #[test]
    fn no_trial_is_above_the_most() {
        let (found, tried) = find(3, 7, |_, _| true);
        assert_eq!(found, Some(7));
        assert_eq!(tried, [3, 6, 7, 7, 7, 7, 7, 7]);
    }

    proptest! {
        #[test]
        fn where_trials_are_certain_the_largest_is_found(limit in 0..200_u32, least in 1..5_u32, most in 5..150_u32) {
            let (found, tried) = find(least, most, |number, _| number <= limit);
            let expected = limit.min(most);
            prop_assert_eq!(found, (expected >= least).then_some(expected));
            prop_assert!(tried.iter().all(|number| (least..=most).contains(number)));
        }
    }
}

//! How accounts share places that there are so many of for all: open streams, callers and receivers
//! that wait, shells.
//!
//! Whoever comes gets one as long as there is one. Only of the last sixteenth an account gets none that
//! has that many already, so that one account alone cannot keep all others out.

/// Whether there is a place, of `places_max` of which `taken` are taken, for an account that has `own`
/// of these. What it has is not asked for while there are many.
pub fn has_place(places_max: usize, taken: usize, own: impl FnOnce() -> usize) -> bool {
    let (free, kept) = (places_max.saturating_sub(taken), places_max / 16);
    free > kept || free > 0 && own() < kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_sixteenth_is_for_accounts_that_have_few() {
        for (places_max, taken, own, wanted) in [
            (32, 0, 0, true),
            (32, 29, 29, true),
            (32, 30, 30, false),
            (32, 30, 2, false),
            (32, 30, 1, true),
            (32, 31, 0, true),
            (32, 32, 0, false),
            (32, 40, 0, false),
            (2, 1, 1, true),
            (2, 2, 0, false),
            (0, 0, 0, false),
        ] {
            let found = has_place(places_max, taken, || own);
            assert_eq!(found, wanted, "{own} of {taken} of {places_max}");
        }
        assert!(has_place(32, 0, || unreachable!("there are many")));
    }
}

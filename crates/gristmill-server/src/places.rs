//! Places that the callers of all accounts share: open streams, callers that wait, shells. Who gets
//! one says [`shares`].

use gristmill_model::{AccountId, shares};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// All places. Cheap to clone.
#[derive(Clone)]
pub struct Places(Arc<Shared>);

struct Shared {
    places_max: usize,
    taken: Mutex<BTreeMap<AccountId, usize>>,
}

/// A taken place, until it is dropped.
pub struct Place {
    places: Places,
    account: AccountId,
}

impl Places {
    /// So many, all of them free.
    pub fn new(places_max: usize) -> Self {
        Self(Arc::new(Shared { places_max, taken: Mutex::default() }))
    }

    /// A place for this account, if there is one.
    pub fn take(&self, account: AccountId) -> Option<Place> {
        let mut taken = self.taken();
        let own = || taken.get(&account).copied().unwrap_or(0);
        if !shares::has_place(self.0.places_max, taken.values().sum(), own) {
            return None;
        }
        *taken.entry(account).or_default() += 1;
        Some(Place { places: self.clone(), account })
    }

    /// Every count is whole, whoever died while holding the lock.
    fn taken(&self) -> MutexGuard<'_, BTreeMap<AccountId, usize>> {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        if let Some(count) = taken.get_mut(&self.account) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.account);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_account_alone_does_not_keep_all_others_out() {
        let (one, two) = (AccountId(1), AccountId(2));
        let places = Places::new(32);
        let mut held: Vec<Place> = std::iter::from_fn(|| places.take(one)).collect();
        assert_eq!(held.len(), 30, "all but the last sixteenth");
        let other: Vec<Place> = std::iter::from_fn(|| places.take(two)).collect();
        assert_eq!(other.len(), 2);
        assert!(places.take(AccountId(3)).is_none(), "there are no more");
        drop(other);
        assert!(places.take(one).is_none());
        held.pop();
        assert!(places.take(one).is_some());
        drop(held);
        assert!(places.taken().is_empty());
    }

    #[test]
    fn few_places_are_everybodys() {
        let places = Places::new(2);
        let held = [places.take(AccountId(1)), places.take(AccountId(1))];
        assert!(held.iter().all(Option::is_some) && places.take(AccountId(1)).is_none());
        assert!(Places::new(0).take(AccountId(1)).is_none());
    }
}

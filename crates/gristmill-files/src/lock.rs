//! A lock on a file that belongs to one process at a time.

use std::{
    fs::{File, TryLockError},
    thread,
    time::Duration,
};

/// How often a lock is tried before somebody else has it.
const TRIES: usize = 50;
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(20);

/// Locks a file for this process alone, waiting about a second for whoever has it.
///
/// The lock belongs to the open file, which a child has, too, from its fork until it executes its
/// program: the lock of whoever just let it go, or ended, may be held a moment longer.
///
/// # Errors
/// [`TryLockError::WouldBlock`]: somebody else has it.
pub fn lock_patiently(file: &File) -> Result<(), TryLockError> {
    for _ in 1..TRIES {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => thread::sleep(PAUSE),
            outcome => return outcome,
        }
    }
    file.try_lock()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_a_child_still_has_is_waited_for_and_one_that_is_kept_is_not() {
        let place = tempfile::tempdir().expect("a directory");
        let open = || File::create(place.path().join("lock")).expect("made");
        let (first, second) = (open(), open());
        first.lock().expect("free");
        let later = thread::spawn(move || {
            thread::sleep(2 * PAUSE);
            drop(first);
        });
        lock_patiently(&second).expect("let go");
        later.join().expect("no panic");
        assert!(matches!(lock_patiently(&open()), Err(TryLockError::WouldBlock)));
    }
}

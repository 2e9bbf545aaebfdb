//! What the ways of the standard library with files leave out, for whoever shares them with others: a lock
//! whose last holder is still letting go ([`lock_patiently`]), a path inside a tree that changes meanwhile
//! ([`open_inside`]), and the end of a tree that a stranger made ([`remove_tree`]).

mod inside;
mod lock;
mod remains;

pub use inside::open_inside;
pub use lock::lock_patiently;
pub use remains::remove_tree;

//! What a person who waits is told.

/// Hears how far an import is. Calls come often; whoever shows them decides how often.
pub trait Progress: Send + Sync {
    /// Something begins, of so many bytes where that is known.
    fn begin(&self, what: &str, bytes: Option<u64>);
    /// So many more bytes of it are done.
    fn advance(&self, bytes: u64);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: &str, _: Option<u64>) {}

    fn advance(&self, _: u64) {}
}

//! Root file systems of machines: where they come from, how they are unpacked, where they lie.
//!
//! ```text
//! source ──▶ store of blobs ──▶ layers ──▶ tree ──▶ seal ──▶ library
//! folder ────────────────────────────────▶
//! ```
//!
//! An image comes from a directory, an archive of a root file system, a container image in one of its
//! three layouts, or a registry ([`Source`]). It is unpacked into a *draft* of the [`Library`], a
//! directory that nobody else looks at; when the draft is complete and on the disk it is *sealed*: its
//! content has a digest of its own. Whoever keeps the books of a region then names the sealed directory,
//! and from that moment it is an image. A directory that no book names and nobody holds is swept away.
//!
//! Invariants
//! - Sources are not trusted: nothing outside the draft is written, sizes and counts have bounds, and
//!   what has a digest is compared with it before the draft is sealed.
//! - Everything in a tree belongs to one user, has no set-user-id bits and no extended attributes;
//!   devices, pipes and sockets are left out. A machine's programs have one user only.
//! - A crash between any two steps leaves a directory that the next sweep removes.
//! - A tree that a machine runs from is never changed and never removed: its machine holds it.
//!
//! Start at [`import`].

mod blobs;
mod compression;
mod digest;
mod error;
mod folder;
mod layers;
mod library;
mod manifest;
mod progress;
mod refusal;
mod registry;
mod seal;
mod source;

#[cfg(test)]
mod tests;

pub use error::ImageError;
pub use library::{Draft, Hold, Library, Steady};
pub use progress::{Progress, Silent};
pub use refusal::Refusal;
pub use registry::{Credentials, Protection, Registry};
pub use seal::Seal;
pub use source::{Origin, Source};

use digest::Digest;
use gristmill_runtime::{Identity, package::archive::ArchiveLimits};

/// What an import may be and where it runs.
#[derive(Debug, Clone)]
pub struct Wish {
    /// How much the image may hold.
    pub limits: ArchiveLimits,
    /// Whom the files belong to.
    pub owner: Identity,
    /// The processors of this host, as container images call them: `amd64`.
    pub architecture: String,
    /// How registries are spoken to.
    pub registry: Registry,
}

/// Bytes and files of an image for which nobody set a bound.
pub const LIMITS: ArchiveLimits =
    ArchiveLimits { bytes_max: 64 << 30, entries_max: 4_000_000, name_bytes_max: 4_000 };

impl Default for Wish {
    /// For this process's user and this host.
    fn default() -> Self {
        let owner = Identity {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        };
        let architecture = host_architecture().to_owned();
        Self { limits: LIMITS, owner, architecture, registry: Registry::default() }
    }
}

impl Wish {
    /// The same where so many bytes of the limit are taken already: what was fetched lies on the same
    /// disk until the tree is complete.
    fn beside(&self, bytes_taken: u64) -> Self {
        let mut rest = self.clone();
        rest.limits.bytes_max = rest.limits.bytes_max.saturating_sub(bytes_taken);
        rest
    }
}

/// What an import found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// Of what was imported, `sha256:…`; empty for a directory.
    pub digest: String,
    /// What the tree is now.
    pub seal: Seal,
    /// Devices, pipes and sockets that are not part of it.
    pub left_out: u64,
}

/// Unpacks `source` into the draft, puts it on the disk and seals it.
pub fn import(
    source: &Source,
    draft: &Draft,
    wish: &Wish,
    progress: &dyn Progress,
) -> Result<Imported, ImageError> {
    let unpacked = source.unpack(draft, wish, progress)?;
    draft.clear_spares()?;
    let seal = draft.seal(progress)?;
    let digest = unpacked.digest.as_ref().map_or_else(String::new, Digest::to_string);
    Ok(Imported { digest, seal, left_out: unpacked.left_out })
}

/// The processors of this host, as container images call them.
pub fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

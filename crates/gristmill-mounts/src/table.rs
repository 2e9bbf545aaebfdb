//! The files and directories of a mount, as numbers: what key listings mean as a tree.
//!
//! Listings go in as pages of keys, through [`Recursive`] (everything below a source) or
//! [`Table::put_page`] (one directory); lookups and listings of directories come out. Nothing here
//! asks the store. The rules are those of `reference/mounts.md` 3.3.
//!
//! Invariants
//! - A number belongs to one thing for the life of the mount.
//! - A directory that is complete never gains or loses an entry, so "not there" is final.
//! - `a` and `a/b` are a directory `a`; unless the file was shown before the second key was met,
//!   then the file stays.
//! - Keys that cannot be paths are hidden and counted, never shown under another name.
//!
//! Start at [`Recursive::page`].

use crate::{
    names::{Locale, Shelf, Spelling},
    source::SourceKind,
};
use gristmill_model::Timestamp;
use gristmill_objects::{Listing, ObjectInfo};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

/// The number of a file or directory: 1 is the root of the mount. The bits above
/// [`VIEW_SHIFT`] say through which other spelling of a directory it was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ino(pub u64);

/// The root of a mount.
pub const ROOT: Ino = Ino(1);

/// How many distinct hidden names are told apart; beyond it the count stays.
const HIDDEN_MAX: usize = 10_000;

/// A kernel may not see one directory under two names, so a directory reached by its raw spelling
/// gets numbers of its own: the same below this bit, a view above.
const VIEW_SHIFT: u32 = 40;

impl Ino {
    fn base(self) -> Self {
        Self(self.0 & ((1 << VIEW_SHIFT) - 1))
    }

    fn view(self) -> u64 {
        self.0 >> VIEW_SHIFT
    }

    fn in_view(self, view: u64) -> Self {
        Self(self.base().0 | (view << VIEW_SHIFT))
    }

    fn index(self) -> usize {
        self.base().0 as usize - 1
    }
}

/// What is known of a file or directory without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// Its number.
    pub ino: Ino,
    /// What it is.
    pub kind: Kind,
    /// The object's last write; for a directory the newest known entry's.
    pub modified: Timestamp,
}

/// File or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file of so many bytes.
    File {
        /// Bytes.
        size: u64,
    },
    /// A directory.
    Directory,
}

/// The version of an object a file stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// Which source it belongs to.
    pub source: usize,
    /// Its key.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// The ETag every read insists on.
    pub etag: Arc<str>,
}

/// What the table can say about a name without the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// It is this.
    Found(Attributes),
    /// It is not there.
    Missing,
    /// The directory has not been listed.
    Unknown,
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The local name.
    pub name: Arc<[u8]>,
    /// What it is.
    pub attributes: Attributes,
}

#[derive(Debug)]
struct Node {
    parent: Ino,
    source: u32,
    /// Whether a program may have seen it: then it stays what it is.
    shown: bool,
    component: Box<str>,
    name: Arc<[u8]>,
    content: Content,
}

#[derive(Debug)]
enum Content {
    File { size: u64, etag: Arc<str>, modified: Timestamp, changed: bool },
    Directory(Box<Directory>),
}

#[derive(Debug, Default)]
struct Directory {
    order: Vec<Ino>,
    shelf: Shelf<Ino>,
    complete: bool,
    newest: Option<Timestamp>,
}

/// All files and directories of a mount.
#[derive(Debug)]
pub struct Table {
    locale: Locale,
    mounted: Timestamp,
    nodes: Vec<Node>,
    /// What each source stands for.
    roots: Vec<(String, SourceKind)>,
    views: HashMap<(u64, Ino), u64>,
    hidden: BTreeSet<String>,
    bytes: usize,
}

impl Table {
    /// An empty mount with one numbered directory per source, each given by its prefix or key.
    pub fn new(locale: Locale, mounted: Timestamp, roots: Vec<(String, SourceKind)>) -> Self {
        let root = Node {
            parent: ROOT,
            source: 0,
            shown: true,
            component: "".into(),
            name: Arc::from(&b""[..]),
            content: Content::Directory(Box::default()),
        };
        let mut table = Self {
            locale,
            mounted,
            nodes: vec![root],
            views: HashMap::new(),
            hidden: BTreeSet::new(),
            bytes: 0,
            roots,
        };
        for source in 0..table.roots.len() {
            let ino = table.add(ROOT, &source.to_string(), Content::Directory(Box::default()));
            let node = table.node_mut(ino.expect("a number is a legal name"));
            node.source = source as u32;
        }
        table.complete(ROOT);
        table
    }

    /// The directory of a source.
    pub fn source_root(&self, source: usize) -> Ino {
        Ino(source as u64 + 2)
    }

    /// The source something belongs to; `None` for the root of the mount and for strangers.
    pub fn source_of(&self, ino: Ino) -> Option<usize> {
        (ino.base() != ROOT).then(|| self.node(ino).map(|node| node.source as usize))?
    }

    /// The key of a file, or the prefix (with its slash) of a directory.
    pub fn key(&self, ino: Ino) -> Option<String> {
        let source = self.source_of(ino)?;
        let root = self.source_root(source);
        let (prefix, kind) = &self.roots[source];
        if *kind == SourceKind::Object {
            return Some(prefix.clone());
        }
        let mut components = Vec::new();
        let mut at = ino.base();
        while at != root {
            let node = self.node(at)?;
            components.push(node.component.as_ref());
            at = node.parent;
        }
        let mut key = prefix.clone();
        for (depth, component) in components.iter().rev().enumerate() {
            key.push_str(if depth == 0 { "" } else { "/" });
            key.push_str(component);
        }
        if ino.base() != root && self.is_directory(ino) {
            key.push('/');
        }
        Some(key)
    }

    /// Whether it is a directory.
    pub fn is_directory(&self, ino: Ino) -> bool {
        self.directory(ino).is_some()
    }

    /// Whether everything in the directory is known.
    pub fn is_complete(&self, ino: Ino) -> bool {
        self.directory(ino).is_some_and(|directory| directory.complete)
    }

    /// From here on the directory is what it is.
    pub fn complete(&mut self, ino: Ino) {
        if let Some(Content::Directory(directory)) = self.content_mut(ino) {
            directory.complete = true;
        }
    }

    /// What is known of a number.
    pub fn attributes(&self, ino: Ino) -> Option<Attributes> {
        let node = self.node(ino)?;
        let (kind, modified) = match &node.content {
            Content::File { size, modified, .. } => (Kind::File { size: *size }, *modified),
            Content::Directory(directory) => {
                (Kind::Directory, directory.newest.unwrap_or(self.mounted))
            }
        };
        Some(Attributes { ino, kind, modified })
    }

    /// Answers a lookup from what is known and remembers that the answer was seen.
    pub fn lookup(&mut self, parent: Ino, name: &[u8]) -> Known {
        let Some(directory) = self.directory(parent) else { return Known::Missing };
        let complete = directory.complete;
        match directory.shelf.find(name) {
            Some((ino, spelling)) if complete || self.is_shown(ino) => {
                Known::Found(self.show(parent, ino, spelling))
            }
            None if complete => Known::Missing,
            _ => Known::Unknown,
        }
    }

    /// What the store was asked about alone is decided, whatever a listing says later.
    pub fn decide(&mut self, ino: Ino) {
        self.node_mut(ino).shown = true;
    }

    fn is_shown(&self, ino: Ino) -> bool {
        self.node(ino).is_some_and(|node| node.shown)
    }

    /// Marks `ino` as seen and gives it the number it has when reached this way.
    fn show(&mut self, parent: Ino, ino: Ino, spelling: Spelling) -> Attributes {
        self.node_mut(ino).shown = true;
        let mut view = parent.view();
        if spelling == Spelling::Raw && self.is_directory(ino) {
            let next = self.views.len() as u64 + 1;
            view = *self.views.entry((view, ino)).or_insert(next);
        }
        let known = self.attributes(ino).expect("it was just found");
        Attributes { ino: ino.in_view(view), ..known }
    }

    /// Entries of a complete directory from `offset` on. Offsets stay what they are.
    pub fn entries(&self, parent: Ino, offset: usize, count_max: usize) -> Vec<Entry> {
        let order = self.directory(parent).map_or(&[][..], |directory| &directory.order);
        let wanted = order.iter().skip(offset).take(count_max);
        wanted.filter_map(|ino| self.entry(parent, *ino)).collect()
    }

    fn entry(&self, parent: Ino, ino: Ino) -> Option<Entry> {
        let known = self.attributes(ino)?;
        let attributes = Attributes { ino: ino.in_view(parent.view()), ..known };
        Some(Entry { name: self.node(ino)?.name.clone(), attributes })
    }

    /// The directory that holds `ino`, seen from the same view.
    pub fn parent(&self, ino: Ino) -> Ino {
        self.node(ino).map_or(ROOT, |node| node.parent)
    }

    /// The version a file stands for. `Err`: the object is known to be another one now.
    pub fn pin(&self, ino: Ino) -> Option<Result<Pin, ObjectGone>> {
        let node = self.node(ino)?;
        let Content::File { size, etag, changed, .. } = &node.content else { return None };
        if *changed {
            return Some(Err(ObjectGone));
        }
        let (source, key) = (node.source as usize, self.key(ino)?);
        Some(Ok(Pin { source, key, size: *size, etag: etag.clone() }))
    }

    /// The object is no longer the one that was listed; the file is stale for good. True the first
    /// time.
    pub fn mark_changed(&mut self, ino: Ino) -> bool {
        match self.content_mut(ino) {
            Some(Content::File { changed, .. }) => !std::mem::replace(changed, true),
            _ => false,
        }
    }

    /// Whether the object of a file is known to be another one now.
    pub fn is_changed(&self, ino: Ino) -> bool {
        let content = self.node(ino).map(|node| &node.content);
        matches!(content, Some(Content::File { changed: true, .. }))
    }

    /// Files and directories known.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Never: the root is always there.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// About how much memory the table takes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Distinct names that cannot be shown: how many, and the first few.
    pub fn hidden(&self) -> (usize, Vec<String>) {
        (self.hidden.len(), self.hidden.iter().take(20).cloned().collect())
    }

    /// All files of the table that a program can reach, with their directories' names in front.
    pub fn files_below(&self, root: Ino) -> Vec<(Vec<u8>, Ino)> {
        let mut found = Vec::new();
        let mut todo = vec![(Vec::new(), root)];
        while let Some((path, ino)) = todo.pop() {
            let Some(directory) = self.directory(ino) else { continue };
            for child in &directory.order {
                let name = &self.nodes[child.index()].name;
                let mut child_path: Vec<u8> = path.clone();
                if !child_path.is_empty() {
                    child_path.push(b'/');
                }
                child_path.extend_from_slice(name);
                todo.push((child_path.clone(), *child));
                found.push((child_path, *child));
            }
        }
        found
    }

    // ---- filling ----

    /// Enters a page of a directory's own listing (with a delimiter). The caller completes the
    /// directory after the last page.
    pub fn put_page(&mut self, directory: Ino, page: &Listing) {
        let Some(prefix) = self.key(directory) else { return };
        for info in &page.objects {
            match info.key.strip_prefix(&prefix) {
                Some("") | None => {} // the directory's own marker
                Some(component) => drop(self.put_file(directory, component, info)),
            }
        }
        for common in &page.common_prefixes {
            let component = common.strip_prefix(&prefix).and_then(|rest| rest.strip_suffix('/'));
            if let Some(component) = component {
                self.put_directory(directory, component);
            }
        }
    }

    /// Enters a directory. `None`: it is hidden, or its parent is complete without it.
    pub fn put_directory(&mut self, parent: Ino, component: &str) -> Option<Ino> {
        if let Some(ino) = self.child(parent, component) {
            if self.is_directory(ino) {
                return Some(ino);
            }
            if self.is_shown(ino) || self.is_complete(parent) {
                self.hide(parent, &format!("{component}/"));
                return None;
            }
            self.node_mut(ino).content = Content::Directory(Box::default());
            self.hide(parent, component);
            return Some(ino);
        }
        self.add(parent, component, Content::Directory(Box::default()))
    }

    /// Enters a file. `None`: it is hidden, or its directory is complete without it.
    pub fn put_file(&mut self, parent: Ino, component: &str, info: &ObjectInfo) -> Option<Ino> {
        if let Some(ino) = self.child(parent, component) {
            if self.is_directory(ino) {
                self.hide(parent, component);
                return None;
            }
            return Some(ino);
        }
        let content = Content::File {
            size: info.size,
            etag: info.etag.as_str().into(),
            modified: info.last_modified,
            changed: false,
        };
        self.add(parent, component, content)
    }

    fn child(&self, parent: Ino, component: &str) -> Option<Ino> {
        let is_it = |ino: Ino| self.nodes[ino.index()].component.as_ref() == component;
        self.directory(parent)?.shelf.of_component(self.locale, component, is_it)
    }

    fn add(&mut self, parent: Ino, component: &str, content: Content) -> Option<Ino> {
        if matches!(component, "" | "." | "..") || component.contains(['\0', '/']) {
            self.hide(parent, component);
            return None;
        }
        let ino = Ino(self.nodes.len() as u64 + 1);
        let (locale, source) = (self.locale, self.node(parent)?.source);
        let Some(Content::Directory(directory)) = self.content_mut(parent) else { return None };
        if directory.complete {
            return None; // made after the directory was listed: not part of this snapshot
        }
        let Some(name) = directory.shelf.insert(locale, component, ino) else {
            self.hide(parent, component);
            return None;
        };
        directory.order.push(ino);
        if let Content::File { modified, .. } = &content {
            directory.newest = directory.newest.max(Some(*modified));
        }
        self.bytes += std::mem::size_of::<Node>() + 3 * name.len() + component.len() + 96;
        let component = component.into();
        self.nodes.push(Node {
            parent: parent.base(),
            source,
            shown: false,
            component,
            name,
            content,
        });
        Some(ino)
    }

    fn hide(&mut self, parent: Ino, component: &str) {
        if self.hidden.len() < HIDDEN_MAX {
            let key = self.key(parent).unwrap_or_default() + component;
            self.hidden.insert(key);
        }
    }

    // ---- access ----

    fn node(&self, ino: Ino) -> Option<&Node> {
        self.nodes.get((ino.base().0 as usize).checked_sub(1)?)
    }

    fn node_mut(&mut self, ino: Ino) -> &mut Node {
        &mut self.nodes[ino.index()]
    }

    fn content_mut(&mut self, ino: Ino) -> Option<&mut Content> {
        let index = (ino.base().0 as usize).checked_sub(1)?;
        self.nodes.get_mut(index).map(|node| &mut node.content)
    }

    fn directory(&self, ino: Ino) -> Option<&Directory> {
        match &self.node(ino)?.content {
            Content::Directory(directory) => Some(directory),
            Content::File { .. } => None,
        }
    }
}

/// The object a file stood for has been replaced or deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the object was changed after it was listed")]
pub struct ObjectGone;

/// A listing of everything below a source, page by page in key order. A directory is complete as
/// soon as the listing has passed it.
#[derive(Debug)]
pub struct Recursive {
    /// The directories the listing is in, each with the length of its prefix.
    path: Vec<(String, Ino)>,
    prefix: String,
}

impl Recursive {
    /// A listing that starts at the source's first key.
    pub fn new(table: &Table, source: usize) -> Self {
        let prefix = table.roots[source].0.clone();
        Self { path: vec![(String::new(), table.source_root(source))], prefix }
    }

    /// Enters the next page.
    pub fn page(&mut self, table: &mut Table, objects: &[ObjectInfo]) {
        for info in objects {
            if let Some(relative) = info.key.strip_prefix(&self.prefix) {
                self.put_key(table, relative, info);
            }
        }
    }

    /// The last page was entered: everything is complete.
    pub fn finish(mut self, table: &mut Table) {
        while let Some((_, ino)) = self.path.pop() {
            table.complete(ino);
        }
    }

    fn put_key(&mut self, table: &mut Table, relative: &str, info: &ObjectInfo) {
        while self.path.len() > 1 && !relative.starts_with(&self.path[self.path.len() - 1].0) {
            let (_, passed) = self.path.pop().expect("longer than one");
            table.complete(passed);
        }
        let (known, mut at) = self
            .path
            .last()
            .map(|(prefix, ino)| (prefix.len(), *ino))
            .expect("the source's root stays");
        let mut done = known;
        while let Some(length) = relative[done..].find('/') {
            let component = &relative[done..done + length];
            let Some(directory) = table.put_directory(at, component) else { return };
            done += length + 1;
            at = directory;
            self.path.push((relative[..done].to_owned(), directory));
        }
        if done < relative.len() {
            table.put_file(at, &relative[done..], info);
        }
    }
}

#[cfg(test)]
mod tests;

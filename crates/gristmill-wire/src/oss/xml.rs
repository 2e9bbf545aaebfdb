//! XML as the object store's clients write and read it.
//!
//! [`Out`] writes elements in the order of the calls, without a namespace (the SDK looks up bare
//! names). [`parse`] reads leniently: the SDK writes control characters raw into its requests, and
//! carriage returns must survive (`reference/oss-gateway.md` 10). Depth and number of elements are
//! bounded here, size by whoever read the body; entities other than the five of XML are refused.

use quick_xml::{
    Reader,
    escape::{escape, resolve_predefined_entity},
    events::Event,
};

/// Elements may be nested this deep.
const DEPTH_MAX: usize = 16;
/// A document has at most so many: the largest request names 10,000 parts, with three or four
/// elements each. An element takes some twenty times the memory of `<a/>`.
const ELEMENTS_MAX: usize = 100_000;

/// A document being written.
pub struct Out {
    text: String,
    open: Vec<&'static str>,
}

impl Out {
    /// Begins a document with its root element.
    pub fn new(root: &'static str) -> Self {
        let mut out =
            Self { text: "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned(), open: vec![] };
        out.open(root);
        out
    }

    /// Begins a document whose root element has a namespace.
    pub fn new_in(root: &'static str, namespace: &str) -> Self {
        let mut out = Self::new(root);
        let end = out.text.len() - 1;
        out.text.insert_str(end, &format!(" xmlns=\"{namespace}\""));
        out
    }

    /// Opens an element.
    pub fn open(&mut self, name: &'static str) -> &mut Self {
        self.text.extend(["<", name, ">"]);
        self.open.push(name);
        self
    }

    /// Closes the element opened last.
    pub fn close(&mut self) -> &mut Self {
        let name = self.open.pop().expect("what is closed was opened");
        self.text.extend(["</", name, ">"]);
        self
    }

    /// An element with text only.
    pub fn leaf(&mut self, name: &'static str, text: impl ToString) -> &mut Self {
        self.open(name);
        self.text(&text.to_string());
        self.close()
    }

    /// An element with text, if there is text.
    pub fn leaf_if(&mut self, name: &'static str, text: Option<impl ToString>) -> &mut Self {
        match text {
            Some(text) => self.leaf(name, text),
            None => self,
        }
    }

    /// Text in the element opened last. A raw carriage return would be read as a line feed.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.text.push_str(&escape(text).replace('\r', "&#13;"));
        self
    }

    /// The whole document.
    pub fn finish(mut self) -> String {
        while !self.open.is_empty() {
            self.close();
        }
        self.text
    }
}

/// An element as it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// Its name without a namespace prefix.
    pub name: String,
    /// All its own text.
    pub text: String,
    /// Its elements, in order.
    pub children: Vec<Node>,
}

/// A body that is not the XML that was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the XML you provided was not well-formed or did not validate: {0}")]
pub struct Malformed(pub String);

impl Node {
    /// The first child of a name.
    pub fn child(&self, name: &str) -> Option<&Node> {
        self.children.iter().find(|child| child.name == name)
    }

    /// All children of a name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Node> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The text of the first child of a name.
    pub fn text_of(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.as_str())
    }

    /// The same, where it must be there.
    pub fn need(&self, name: &str) -> Result<&str, Malformed> {
        self.text_of(name).ok_or_else(|| Malformed(format!("{} has no {name}", self.name)))
    }
}

/// Reads a document whose root has this name.
pub fn parse(body: &[u8], root: &str) -> Result<Node, Malformed> {
    let text = std::str::from_utf8(body).map_err(|error| Malformed(error.to_string()))?;
    let node = parse_any(text.trim_start_matches('\u{feff}'))?;
    match node.name == root {
        true => Ok(node),
        false => Err(Malformed(format!("the root is {} and not {root}", node.name))),
    }
}

fn parse_any(text: &str) -> Result<Node, Malformed> {
    let mut reader = Reader::from_str(text);
    let mut open = vec![Node::default()];
    let mut elements = 0;
    loop {
        let event = reader.read_event().map_err(|error| Malformed(error.to_string()))?;
        elements += usize::from(matches!(event, Event::Start(_) | Event::Empty(_)));
        if elements > ELEMENTS_MAX {
            return Err(Malformed(format!("has over {ELEMENTS_MAX} elements")));
        }
        let top = open.last_mut().expect("the document is never closed");
        match event {
            Event::Start(start) => {
                if open.len() > DEPTH_MAX {
                    return Err(Malformed(format!("nested over {DEPTH_MAX} deep")));
                }
                open.push(named(start.local_name().as_ref()));
            }
            Event::Empty(start) => top.children.push(named(start.local_name().as_ref())),
            Event::End(_) => {
                let done = open.pop().expect("the reader checks that ends match");
                let parent = open.last_mut();
                parent.ok_or_else(|| Malformed("ends too early".into()))?.children.push(done);
            }
            Event::Text(text) => top.text.push_str(&text),
            Event::CData(text) => top.text.push_str(&text),
            Event::GeneralRef(entity) => {
                let resolved = match entity.resolve_char_ref() {
                    Ok(Some(character)) => Some(character.to_string()),
                    Ok(None) => resolve_predefined_entity(&entity).map(str::to_owned),
                    Err(_) => None,
                };
                let unknown = || Malformed(format!("unknown entity `{}`", &*entity));
                top.text.push_str(&resolved.ok_or_else(unknown)?);
            }
            Event::DocType(_) => return Err(Malformed("has a document type".into())),
            Event::Decl(_) | Event::Comment(_) | Event::PI(_) => {}
            Event::Eof => break,
        }
    }
    let mut document = open.pop().expect("the document is never closed");
    match (open.is_empty(), document.children.pop(), document.children.is_empty()) {
        (true, Some(root), true) => Ok(root),
        (false, ..) => Err(Malformed(format!("{} is not closed", document.name))),
        _ => Err(Malformed("has not one root".into())),
    }
}

fn named(name: &str) -> Node {
    Node { name: name.to_owned(), ..Node::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut out = Out::new("Root");
        out.leaf("Key", "a<b>&\"'\r\n 中文\u{c}").open("Sub").leaf("N", 7).close();
        let read = parse(out.finish().as_bytes(), "Root").expect("parses");
        assert_eq!(read.text_of("Key"), Some("a<b>&\"'\r\n 中文\u{c}"));
        assert_eq!(read.child("Sub").and_then(|sub| sub.text_of("N")), Some("7"));
    }

    #[test]
    fn requests_are_read_leniently() {
        let body = b"<?xml version='1.0'?><!-- c --><x:R xmlns:x='u'> <K>a\x0c\x01\r&#x62;<![CDATA[<c>]]></K><E/></x:R>";
        let read = parse(body, "R").expect("parses");
        assert_eq!(read.text_of("K"), Some("a\u{c}\u{1}\rb<c>"));
        assert_eq!(read.text_of("E"), Some(""));
    }

    #[test]
    fn elements_are_counted() {
        for element in ["<a/>", "<a></a>"] {
            let many = |count: usize| format!("<R>{}</R>", element.repeat(count));
            assert!(parse(many(ELEMENTS_MAX - 1).as_bytes(), "R").is_ok(), "{element}");
            assert!(parse(many(ELEMENTS_MAX).as_bytes(), "R").is_err(), "{element}");
        }
    }

    #[test]
    fn what_is_not_xml_is_refused() {
        let deep = "<R>".repeat(40) + &"</R>".repeat(40);
        let bombs = "<!DOCTYPE R [<!ENTITY a 'b'>]><R>&a;</R>";
        for body in ["", "text", "<R>", "<R></S>", "<R/><R/>", "<R>&a;</R>", "<Q/>", &deep, bombs] {
            assert!(parse(body.as_bytes(), "R").is_err(), "{body}");
        }
        assert!(parse(b"<R>\xff</R>", "R").is_err());
    }
}

//! The patterns by which SORT finds further values: `weight_*`, `data_*->field`, `#`.

use bytes::Bytes;
use ringfort_protocol::slot;

use crate::{
    commands::follow::Wanted,
    store::{Db, Key, Value, objects::hash::HashRef, packed::Item},
};

/// A pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pattern<'a> {
    /// The element itself.
    Element,
    /// It has no `*`, so it names nothing.
    Nothing,
    /// A key: the element stands between the two parts.
    Named { before: &'a [u8], after: &'a [u8], field: Option<&'a [u8]> },
}

/// What a pattern has found.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target<'s> {
    /// An element, or a value that is short or packed.
    Item(Item<'s>),
    /// A long string.
    Shared(&'s Bytes),
}

impl<'s> Target<'s> {
    /// The text; an integer is written into `buffer`.
    pub(super) fn text<'b>(&'b self, buffer: &'b mut itoa::Buffer) -> &'b [u8] {
        match self {
            Self::Item(item) => item.as_bytes(buffer),
            Self::Shared(bytes) => bytes,
        }
    }

    /// Length of the text.
    pub(super) fn len(self) -> usize {
        self.text(&mut itoa::Buffer::new()).len()
    }

    /// Appends the text.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.text(&mut itoa::Buffer::new()));
    }
}

impl<'a> Pattern<'a> {
    /// Reads a pattern.
    pub(super) fn of(text: &'a [u8]) -> Self {
        if text == b"#" {
            return Self::Element;
        }
        let Some(star) = text.iter().position(|byte| *byte == b'*') else { return Self::Nothing };
        let (before, rest) = (&text[..star], &text[star + 1..]);
        // An arrow at the end belongs to the name.
        let arrow = rest.windows(2).position(|pair| pair == b"->");
        match arrow.filter(|arrow| arrow + 2 < rest.len()) {
            Some(arrow) => Self::Named { before, after: &rest[..arrow], field: Some(&rest[arrow + 2..]) },
            None => Self::Named { before, after: rest, field: None },
        }
    }

    /// The slot of all keys that it may name, if they have one in common: if the whole hash tag stands before the
    /// element.
    pub(super) fn slot(&self) -> Option<u16> {
        let Self::Named { before, .. } = self else { return None };
        let open = before.iter().position(|byte| *byte == b'{')?;
        let close = before[open + 1..].iter().position(|byte| *byte == b'}')?;
        (close > 0).then(|| slot(before))
    }

    /// What it wants to read for an element; the key's name is made in `name`.
    pub(super) fn wanted<'n>(&self, element: &[u8], name: &'n mut Vec<u8>) -> Option<Wanted<'n>>
    where
        'a: 'n,
    {
        let Self::Named { before, after, field } = *self else { return None };
        name.clear();
        name.extend_from_slice(before);
        name.extend_from_slice(element);
        name.extend_from_slice(after);
        Some(Wanted { key: name, field })
    }

    /// What it finds for an element, in shards that are locked.
    pub(super) fn look_up<'s>(
        &self,
        db: &'s Db<'_>,
        seed: u64,
        element: &'s [u8],
        name: &mut Vec<u8>,
    ) -> Option<Target<'s>> {
        if *self == Self::Element {
            return Some(Target::Item(Item::Bytes(element)));
        }
        let wanted = self.wanted(element, name)?;
        let value = db.read(Key::new(wanted.key, seed))?;
        match (wanted.field, value) {
            (Some(field), value) => HashRef::of(value, db.now)?.get(field).map(Target::Item),
            (None, Value::Shared(bytes)) => Some(Target::Shared(bytes)),
            (None, value) => value.as_string().map(|text| Target::Item(Item::Bytes(text))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_name_around_an_element_and_may_have_a_field() {
        let named = |before: &'static str, after: &'static str, field: Option<&'static str>| Pattern::Named {
            before: before.as_bytes(),
            after: after.as_bytes(),
            field: field.map(str::as_bytes),
        };
        for (text, pattern) in [
            ("#", Pattern::Element),
            ("", Pattern::Nothing),
            ("##", Pattern::Nothing),
            ("a->b", Pattern::Nothing),
            ("*", named("", "", None)),
            ("a*b*c", named("a", "b*c", None)),
            ("a*b->c", named("a", "b", Some("c"))),
            ("a*->b->c", named("a", "", Some("b->c"))),
            ("a->b*->", named("a->b", "->", None)),
        ] {
            assert_eq!(Pattern::of(text.as_bytes()), pattern, "{text}");
        }
    }

    #[test]
    fn a_whole_hash_tag_before_the_element_tells_the_slot() {
        for (text, tagged) in [
            ("{tag}a*", true),
            ("x{tag}*->{y}", true),
            ("*{tag}", false),
            ("{t*g}", false),
            ("{}{tag}*", false),
            ("a*->{tag}", false),
            ("#", false),
        ] {
            assert_eq!(Pattern::of(text.as_bytes()).slot(), tagged.then(|| slot(b"tag")), "{text}");
        }
    }
}

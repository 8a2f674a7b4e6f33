//! The texts that identities refer to: shapes (what surrounds a number), and user parts that
//! are not numbers.
//!
//! A shape is interned for good, since a carrier has a handful. A text belongs to one identity
//! and is freed with it. Called by `index`.

use std::collections::HashMap;
use std::io;

use crate::IndexError;
use crate::directory::{Directory, Numbers};
use crate::hash::HashKey;
use crate::identity::{AOR_MAX, Identity, IdentityText, TEXT_NIBBLE, unpack_digits};
use crate::texts::TextHeap;

/// Shapes at most: a run header keeps 20 bits of it.
pub const SHAPES_MAX: usize = 1 << 20;

const TAG_BITS: u64 = 0x00ff_ffff;

pub(crate) struct Shape {
    pub text: Box<[u8]>,
    pub prefix_len: usize,
}

pub(crate) struct Names {
    hash: HashKey,
    pub shapes: Vec<Shape>,
    shape_numbers: HashMap<Box<[u8]>, u32>,
    pub texts: TextHeap,
    pub directory: Directory,
}

impl Names {
    pub fn new(hash: HashKey) -> io::Result<Self> {
        Ok(Names {
            hash,
            shapes: Vec::new(),
            shape_numbers: HashMap::new(),
            texts: TextHeap::new()?,
            directory: Directory::new(0)?,
        })
    }

    pub fn find_shape(&self, prefix: &[u8], suffix: &[u8]) -> Option<u32> {
        let mut name = [0; AOR_MAX + 1];
        self.shape_numbers
            .get(shape_name(prefix, suffix, &mut name)?)
            .copied()
    }

    pub fn intern_shape(&mut self, prefix: &[u8], suffix: &[u8]) -> Result<u32, IndexError> {
        if let Some(shape) = self.find_shape(prefix, suffix) {
            return Ok(shape);
        }
        if self.shapes.len() == SHAPES_MAX {
            return Err(IndexError::ShapesFull);
        }
        let mut name = [0; AOR_MAX + 1];
        let name = shape_name(prefix, suffix, &mut name).ok_or(IndexError::ShapesFull)?;
        let number = self.shapes.len() as u32;
        self.shape_numbers.insert(name.into(), number);
        self.shapes.push(Shape {
            text: name[1..].into(),
            prefix_len: prefix.len(),
        });
        Ok(number)
    }

    pub fn find_text(&self, shape: u32, user: &[u8]) -> Option<u64> {
        let hash = self.hash.hash_text(shape, user);
        let number = self
            .directory
            .find(hash, |number| self.texts.read(number) == (shape, user));
        number.map(|number| text_key(hash, number))
    }

    pub fn intern_text(&mut self, shape: u32, user: &[u8]) -> Result<u64, IndexError> {
        if let Some(key) = self.find_text(shape, user) {
            return Ok(key);
        }
        let hash = self.hash.hash_text(shape, user);
        let number = self.texts.keep(shape, user)?;
        let numbers = TextNumbers {
            texts: &self.texts,
            hash: self.hash,
        };
        let added = self.directory.insert(hash, number, &numbers);
        if let Err(refused) = added {
            self.texts.release(number);
            return Err(refused.into());
        }
        Ok(text_key(hash, number))
    }

    /// Frees the text of an identity that is gone; numbers own none.
    pub fn release(&mut self, identity: Identity) {
        if identity.key >> 60 != TEXT_NIBBLE {
            return;
        }
        let number = identity.key as u32;
        let hash = {
            let Some((shape, user)) = self.texts.find(number) else {
                return;
            };
            self.hash.hash_text(shape, user)
        };
        if self.directory.remove(hash, number) {
            self.texts.release(number);
        }
    }

    #[inline]
    pub fn text<'a>(&'a self, identity: Identity, digits: &'a mut [u8; 16]) -> IdentityText<'a> {
        let (prefix, suffix) = match self.shapes.get(identity.shape as usize) {
            Some(shape) => shape.text.split_at(shape.prefix_len),
            None => (&[][..], &[][..]),
        };
        let user = if identity.key >> 60 == TEXT_NIBBLE {
            self.texts
                .find(identity.key as u32)
                .map_or(&[][..], |(_, user)| user)
        } else {
            unpack_digits(identity.key, digits)
        };
        IdentityText {
            prefix,
            user,
            suffix,
        }
    }

    pub fn memory_bytes(&self) -> usize {
        // A map entry is a boxed name, a number and a control byte, at 7/8 load and doubling.
        let each = size_of::<Shape>() + 2 * (size_of::<(Box<[u8]>, u32)>() + 1);
        let names: usize = self
            .shapes
            .iter()
            .map(|shape| 2 * shape.text.len() + each)
            .sum();
        names + self.texts.memory_bytes() + self.directory.memory_bytes()
    }
}

/// The texts, as the directory sees them.
struct TextNumbers<'a> {
    texts: &'a TextHeap,
    hash: HashKey,
}

impl Numbers for TextNumbers<'_> {
    fn hash(&self, number: u32) -> u64 {
        let (shape, user) = self.texts.read(number);
        self.hash.hash_text(shape, user)
    }

    fn prefetch(&self, number: u32) {
        self.texts.prefetch(number);
    }
}

/// Key of text `number`: the tag makes a key that outlived its text differ from a later one.
fn text_key(hash: u64, number: u32) -> u64 {
    TEXT_NIBBLE << 60 | (hash >> 24 & TAG_BITS) << 32 | u64::from(number)
}

/// The prefix's length, then prefix and suffix: one map key for the pair.
fn shape_name<'a>(
    prefix: &[u8],
    suffix: &[u8],
    name: &'a mut [u8; AOR_MAX + 1],
) -> Option<&'a [u8]> {
    let length = 1 + prefix.len() + suffix.len();
    let name = name.get_mut(..length)?;
    name[0] = prefix.len() as u8;
    name[1..=prefix.len()].copy_from_slice(prefix);
    name[1 + prefix.len()..].copy_from_slice(suffix);
    Some(name)
}

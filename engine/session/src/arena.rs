//! Texts of many lengths in few pages: size classes of at most 1/8 waste, and a bound on all of them.
//!
//! A cell is named by 32 bits: class and number. Freed cells are linked through their own first octets, so a
//! free cell costs nothing and the last one freed, still warm, is the next one taken. Pages are never given back:
//! memory follows the largest number of texts held at once. It does not know what the texts are.

/// Octets of one page.
const PAGE_BYTES: usize = 64 << 10;
/// Octets of the cells of each class, ascending: steps of 16 up to 256, then of about an eighth.
const CLASSES: [u16; 32] = [
    16, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240, 256, 288, 320, 352, 384,
    432, 480, 544, 608, 704, 832, 1024, 1280, 1600, 2048, 3072, 4096,
];
/// Longest text that has a class.
pub const TEXT_BYTES_MAX: usize = 4096;
/// Bits of a [`TextRef`] that number the cell; the five above them are the class.
const NUMBER_BITS: u32 = 27;
const NUMBER_MASK: u32 = (1 << NUMBER_BITS) - 1;
const NO_CELL: u32 = u32::MAX;

/// The name of one kept text; the holder frees it once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextRef(u32);

impl TextRef {
    /// The name of no text.
    pub const NONE: TextRef = TextRef(u32::MAX);

    /// The name as a word, for a slot that holds other words too.
    #[inline]
    #[must_use]
    pub fn word(self) -> u32 {
        self.0
    }

    /// The name that [`TextRef::word`] gave.
    #[inline]
    #[must_use]
    pub fn of_word(word: u32) -> TextRef {
        TextRef(word)
    }
}

struct Class {
    pages: Vec<Box<[u8]>>,
    free: u32,
    /// Cells handed out from the pages at least once.
    begun: u32,
}

/// Pages of cells, at most so many octets of them.
pub struct Arena {
    classes: Vec<Class>,
    /// Class of a text by its length in units of 16, rounded up.
    class_of: [u8; TEXT_BYTES_MAX / 16 + 1],
    bytes: usize,
    bytes_max: usize,
}

impl Arena {
    /// Builds an arena whose pages take `bytes_max` octets at most, one page of each class aside.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        let class = || Class {
            pages: Vec::new(),
            free: NO_CELL,
            begun: 0,
        };
        let mut class_of = [0; TEXT_BYTES_MAX / 16 + 1];
        for (units, class) in class_of.iter_mut().enumerate() {
            let fits = CLASSES
                .iter()
                .position(|&bytes| usize::from(bytes) >= units * 16);
            *class = fits.expect("the last class holds the longest text") as u8;
        }
        Self {
            classes: std::iter::repeat_with(class).take(CLASSES.len()).collect(),
            class_of,
            bytes: 0,
            bytes_max,
        }
    }

    /// Octets of all pages.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.bytes
    }

    /// Takes a cell of at least `length` octets; `None` when that is too long or the bound is reached.
    #[inline]
    pub fn take(&mut self, length: usize) -> Option<TextRef> {
        if length > TEXT_BYTES_MAX {
            return None;
        }
        let number = self.class_of[length.div_ceil(16)];
        let class = &mut self.classes[usize::from(number)];
        let size = usize::from(CLASSES[usize::from(number)]);
        let cell = if class.free == NO_CELL {
            self.begin(usize::from(number))?
        } else {
            let cell = class.free;
            let (page, at) = place(cell, size);
            let link = &class.pages[page][at..at + 4];
            class.free = u32::from_le_bytes(link.try_into().expect("four octets"));
            cell
        };
        Some(TextRef(u32::from(number) << NUMBER_BITS | cell))
    }

    /// The cell's octets, at least as many as were asked for.
    #[inline]
    #[must_use]
    pub fn octets(&self, text: TextRef) -> &[u8] {
        let (class, size) = class_of(text);
        let (page, at) = place(text.0 & NUMBER_MASK, size);
        &self.classes[class].pages[page][at..at + size]
    }

    /// The cell's octets, to be written.
    #[inline]
    pub fn octets_mut(&mut self, text: TextRef) -> &mut [u8] {
        let (class, size) = class_of(text);
        let (page, at) = place(text.0 & NUMBER_MASK, size);
        &mut self.classes[class].pages[page][at..at + size]
    }

    /// Gives a cell back; [`TextRef::NONE`] is none.
    #[inline]
    pub fn free(&mut self, text: TextRef) {
        if text == TextRef::NONE {
            return;
        }
        let (number, _) = class_of(text);
        let link = self.classes[number].free.to_le_bytes();
        self.octets_mut(text)[..4].copy_from_slice(&link);
        self.classes[number].free = text.0 & NUMBER_MASK;
    }

    /// The next cell that was never handed out, in a new page if need be.
    fn begin(&mut self, number: usize) -> Option<u32> {
        let class = &mut self.classes[number];
        let cells = PAGE_BYTES / usize::from(CLASSES[number]);
        if class.begun as usize == class.pages.len() * cells {
            let first = class.pages.is_empty();
            let room = self.bytes + PAGE_BYTES <= self.bytes_max || first;
            if !room || class.begun + cells as u32 > NUMBER_MASK {
                return None;
            }
            class.pages.push(vec![0; PAGE_BYTES].into_boxed_slice());
            self.bytes += PAGE_BYTES;
        }
        class.begun += 1;
        Some(class.begun - 1)
    }
}

#[inline]
fn class_of(text: TextRef) -> (usize, usize) {
    let class = (text.0 >> NUMBER_BITS) as usize;
    (class, usize::from(CLASSES[class]))
}

/// Page and offset of a cell.
#[inline]
fn place(cell: u32, size: usize) -> (usize, usize) {
    let cells = PAGE_BYTES / size;
    (cell as usize / cells, cell as usize % cells * size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn texts_stay_apart_and_cells_come_back(
            steps in proptest::collection::vec((0..=TEXT_BYTES_MAX, any::<bool>()), 1..400),
        ) {
            let mut arena = Arena::new(8 << 20);
            let mut held: Vec<(TextRef, usize, u8)> = Vec::new();
            for (at, (length, frees)) in steps.into_iter().enumerate() {
                if frees && !held.is_empty() {
                    let (text, length, mark) = held.swap_remove(at % held.len());
                    prop_assert!(arena.octets(text)[..length].iter().all(|octet| *octet == mark));
                    arena.free(text);
                } else if let Some(text) = arena.take(length) {
                    arena.octets_mut(text)[..length].fill(at as u8);
                    held.push((text, length, at as u8));
                }
            }
            for (text, length, mark) in held {
                prop_assert!(arena.octets(text)[..length].iter().all(|octet| *octet == mark));
            }
        }
    }

    #[test]
    fn the_bound_holds_and_freed_cells_serve_again() {
        let mut arena = Arena::new(3 * PAGE_BYTES);
        let held: Vec<_> = std::iter::from_fn(|| arena.take(1000)).collect();
        assert_eq!(held.len(), 3 * 64);
        assert_eq!(arena.memory_bytes(), 3 * PAGE_BYTES);
        assert!(arena.take(TEXT_BYTES_MAX + 1).is_none());
        held.iter().for_each(|text| arena.free(*text));
        let again = std::iter::from_fn(|| arena.take(1024)).count();
        assert_eq!((again, arena.memory_bytes()), (held.len(), 3 * PAGE_BYTES));
    }

    #[test]
    fn a_class_wastes_an_eighth_or_sixteen_octets_at_most() {
        let arena = Arena::new(0);
        for length in 1..=600 {
            let class = CLASSES[usize::from(arena.class_of[usize::div_ceil(length, 16)])];
            let waste = usize::from(class) - length;
            assert!(waste < 16 || waste * 7 <= usize::from(class), "{length}");
        }
    }
}

//! A bounded writer over a caller's buffer, used by every encoder of this crate.
//!
//! It never allocates and never writes past its end: what does not fit is an [`Overflow`].

/// The caller's buffer is too small for what is being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message does not fit into the buffer; give a larger one")]
pub struct Overflow;

/// Appends octets to a fixed buffer.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl<'a> Writer<'a> {
    /// Starts writing at the first octet of `out`.
    pub fn new(out: &'a mut [u8]) -> Self {
        Self { out, at: 0 }
    }

    /// Returns the number of octets written so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.at
    }

    /// Tells whether nothing has been written yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.at == 0
    }

    /// Appends `octets`, or writes nothing and fails with [`Overflow`].
    #[inline]
    pub fn put(&mut self, octets: &[u8]) -> Result<(), Overflow> {
        let end = self.at + octets.len();
        let target = self.out.get_mut(self.at..end).ok_or(Overflow)?;
        target.copy_from_slice(octets);
        self.at = end;
        Ok(())
    }

    /// Appends one octet.
    #[inline]
    pub fn put_octet(&mut self, octet: u8) -> Result<(), Overflow> {
        self.put(&[octet])
    }

    /// Appends `value` as decimal digits without leading zeros.
    pub fn put_decimal(&mut self, value: u32) -> Result<(), Overflow> {
        let mut digits = [0u8; 10];
        let mut first = digits.len();
        let mut rest = value;
        loop {
            first -= 1;
            digits[first] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.put(&digits[first..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_has_no_leading_zeros() {
        let mut out = [0u8; 16];
        let mut writer = Writer::new(&mut out);
        writer.put_decimal(0).unwrap();
        writer.put_octet(b' ').unwrap();
        writer.put_decimal(u32::MAX).unwrap();
        assert_eq!(writer.len(), 12);
        assert_eq!(&out[..12], b"0 4294967295");
    }

    #[test]
    fn overflow_writes_nothing() {
        let mut out = *b"....";
        let mut writer = Writer::new(&mut out);
        assert_eq!(writer.put(b"12345"), Err(Overflow));
        assert!(writer.is_empty());
        assert_eq!(&out, b"....");
    }
}

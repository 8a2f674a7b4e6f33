//! Histograms as they leave a process: HdrHistogram's V2 form in base64, so that the histograms of
//! several processes are added bucket by bucket and no count is lost, and any other HdrHistogram reads
//! them. Not deflated: the length of what is inside is then known before anything is taken for it.
//! Called by `meter`, `sum` and by whoever reads a report.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2Serializer};
use serde::{Deserialize, Serialize};

/// The longest text that is read: above the densest histogram of this program, 90,000 counts.
const TEXT_BYTES_MAX: usize = 2 << 20;
/// The octets before the counts: cookie, length, normalisation, digits, lowest, highest, ratio.
const HEADER_BYTES: usize = 40;
/// Where the header says how many octets of counts follow.
const LENGTH_AT: std::ops::Range<usize> = 4..8;
/// Where it says how many significant digits there are.
const DIGITS_AT: std::ops::Range<usize> = 12..16;
/// The most significant digits that are read; each more takes ten times the memory.
const DIGITS_MAX: u32 = 3;

/// A histogram in HdrHistogram's V2 form, in base64.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Packed(String);

/// Why a text is no histogram.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackedError {
    /// It is no base64.
    #[error("a histogram is no base64: {0}")]
    Base64(String),
    /// It is longer than any histogram of this program, cut short, or finer than is read.
    #[error(
        "a histogram has not the form of one: {0}; both ends have to be of one version of this program"
    )]
    Form(&'static str),
    /// What is inside was refused.
    #[error("a histogram is not in HdrHistogram's V2 form: {0}")]
    Content(String),
}

impl Packed {
    /// Packs a histogram; all its counts are kept.
    #[must_use]
    pub fn of(histogram: &Histogram<u64>) -> Packed {
        let mut octets = Vec::new();
        // A Vec takes everything, and the bounds of every histogram here are small.
        V2Serializer::new()
            .serialize(histogram, &mut octets)
            .expect("a histogram with small bounds goes into memory");
        Packed(STANDARD.encode(octets))
    }

    /// Returns the histogram.
    ///
    /// # Errors
    /// The text is none; no more memory is taken than its length accounts for.
    pub fn unpack(&self) -> Result<Histogram<u64>, PackedError> {
        if self.0.len() > TEXT_BYTES_MAX {
            return Err(PackedError::Form("it is too long"));
        }
        let octets = STANDARD.decode(&self.0);
        let octets = octets.map_err(|error| PackedError::Base64(error.to_string()))?;
        let word = |at| {
            let octets: Option<[u8; 4]> =
                octets.get(at).and_then(|four: &[u8]| four.try_into().ok());
            octets.map(u32::from_be_bytes)
        };
        let (Some(length), Some(digits)) = (word(LENGTH_AT), word(DIGITS_AT)) else {
            return Err(PackedError::Form("it is cut short"));
        };
        if octets.len().checked_sub(HEADER_BYTES) != usize::try_from(length).ok() {
            return Err(PackedError::Form("its length is not what it says"));
        }
        if digits > DIGITS_MAX {
            return Err(PackedError::Form("it has too many digits"));
        }
        Deserializer::new()
            .deserialize(&mut &octets[..])
            .map_err(|error| PackedError::Content(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::seeded;

    fn delays() -> Histogram<u64> {
        Histogram::new_with_bounds(1, 60_000_000_000, 3).unwrap()
    }

    #[test]
    fn what_was_packed_apart_and_added_is_what_was_recorded_together() {
        let mut all = delays();
        let mut parts: Vec<_> = (0..5).map(|_| delays()).collect();
        for n in 0..200_000 {
            // Over all magnitudes, to the highest that is kept.
            let value = seeded(1, n) >> (seeded(2, n) % 60);
            all.saturating_record(value);
            parts[(seeded(3, n) % 5) as usize].saturating_record(value);
        }
        let mut merged = delays();
        for part in &parts {
            let text = serde_json::to_string(&Packed::of(part)).unwrap();
            assert!(text.starts_with("\"HISTEw"), "{}", &text[..16]);
            let packed: Packed = serde_json::from_str(&text).unwrap();
            let read = packed.unpack().unwrap();
            assert_eq!(&read, part);
            merged.add(&read).unwrap();
        }
        assert_eq!(merged, all);
        assert_eq!(merged.len(), 200_000);
        let counts = |histogram: &Histogram<u64>| -> Vec<(u64, u64)> {
            let buckets = histogram.iter_recorded();
            buckets
                .map(|bucket| (bucket.value_iterated_to(), bucket.count_at_value()))
                .collect()
        };
        assert_eq!(counts(&merged), counts(&all));
    }

    #[test]
    fn an_empty_histogram_stays_one() {
        assert_eq!(Packed::of(&delays()).unpack().unwrap(), delays());
    }

    #[test]
    fn hostile_texts_are_refused() {
        let sound = Packed::of(&delays()).0;
        let mut octets = STANDARD.decode(&sound).unwrap();
        octets[4..8].copy_from_slice(&u32::MAX.to_be_bytes());
        let boasting = STANDARD.encode(&octets);
        let counts = (octets.len() - HEADER_BYTES) as u32;
        octets[4..8].copy_from_slice(&counts.to_be_bytes());
        octets[12..16].copy_from_slice(&5u32.to_be_bytes());
        let fine = STANDARD.encode(&octets);
        for text in [
            String::new(),
            "not base64!".to_owned(),
            sound[..24].to_owned(),
            "A".repeat(64),
            "A".repeat(TEXT_BYTES_MAX + 4),
            boasting,
            fine,
        ] {
            assert!(Packed(text.clone()).unpack().is_err(), "{:.80}", text);
        }
    }
}

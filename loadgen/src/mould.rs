//! What one accepted request teaches about the next: a sender that compiles its requests sends the
//! same octets again and again, except for a few fields.
//!
//! A [`Mould`] keeps the header section of a request that the wire parser and its screen accepted, and
//! the places where user and device of the Request-URI, branch, user of To and Call-ID stood. A later
//! datagram of the same length fits when every other octet is equal and those fields hold plain octets
//! only, which cannot move a boundary. It then needs no second parse. This is no parser: what does not fit goes
//! to the wire crate, and a test holds that both ways give the same answer.
//! Called by `population` for every datagram, before anything else.

use std::ops::Range;

use memchr::memchr;
use sirocco_wire::sip::{HeaderName, Message};

use crate::script::{END, Script, TAG_BYTES};

/// The moulds kept: more than the length classes one engine has open towards one edge at a time.
const MOULDS_MAX: usize = 32;
/// The longest header section learned; a longer one is parsed each time.
const SECTION_BYTES_MAX: usize = 2048;
const METHOD: &[u8] = b"MESSAGE ";
const VERSION: &[u8] = b" SIP/2.0\r\n";
/// RFC 5627 4.2: the parameter by which a Request-URI names one device.
const GRUU: &[u8] = b";gr=";
/// The fields an answer copies, in the order the wire crate writes them.
const COPIED: [(HeaderName, &[u8]); 5] = [
    (HeaderName::Via, b"Via"),
    (HeaderName::From, b"From"),
    (HeaderName::To, b"To"),
    (HeaderName::CallId, b"Call-ID"),
    (HeaderName::CSeq, b"CSeq"),
];

/// The shape of a request, and the octets that never change in it.
#[derive(Debug)]
struct Mould {
    /// The length of the whole datagram.
    length: usize,
    /// The header section as learned, empty line included.
    section: Vec<u8>,
    /// The end of the URI's scheme and colon: up to here the request line stays.
    scheme_end: usize,
    /// The `@` and the host of the URI, which stay.
    at_host: Range<usize>,
    /// What follows the request line before Via, split where its white space may grow.
    before_space: Range<usize>,
    after_space: Range<usize>,
    block_start: usize,
    branch: Range<usize>,
    /// The To value with the white space behind it, from `<` up to the line end.
    to: Range<usize>,
    call_id: Range<usize>,
    /// Where the fields copied into answers end, past the CSeq line.
    block_end: usize,
}

/// A datagram that fits a mould: where its variable fields lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cast {
    /// The mould's index, valid until the next [`Moulds::learn`].
    pub(crate) mould: u8,
    /// The end of the Request-URI.
    uri_end: u16,
    /// The end of the To URI, past its `>`.
    to_end: u16,
}

/// The moulds learned so far, and the one that fitted last.
#[derive(Debug, Default)]
pub(crate) struct Moulds {
    moulds: Vec<Mould>,
    last: usize,
    next: usize,
}

impl Moulds {
    /// Returns the cast of a datagram that fits a mould.
    #[inline]
    pub(crate) fn fit(&mut self, datagram: &[u8]) -> Option<Cast> {
        let fitting = |at: usize| {
            let (uri_end, to_end) = self.moulds[at].fit(datagram)?;
            Some(Cast {
                mould: at as u8,
                uri_end,
                to_end,
            })
        };
        if self.last < self.moulds.len()
            && let Some(cast) = fitting(self.last)
        {
            return Some(cast);
        }
        let cast = (0..self.moulds.len()).find_map(fitting)?;
        self.last = usize::from(cast.mould);
        Some(cast)
    }

    /// Learns from an accepted MESSAGE; one whose fields stand otherwise than expected teaches nothing.
    pub(crate) fn learn(&mut self, message: &Message<'_>) {
        let Some(mould) = Mould::of(message) else {
            return;
        };
        if self.moulds.len() < MOULDS_MAX {
            self.moulds.push(mould);
            return;
        }
        self.moulds[self.next] = mould;
        self.next = (self.next + 1) % MOULDS_MAX;
    }

    /// Returns the most octets an answer to a request of this mould has besides the script's.
    #[inline]
    pub(crate) fn copied_bytes_max(&self, mould: u8) -> usize {
        let mould = &self.moulds[usize::from(mould)];
        mould.block_end - mould.block_start + b";tag=".len() + TAG_BYTES
    }

    /// Returns the Request-URI and the branch of a datagram that fitted.
    #[inline]
    pub(crate) fn keys<'a>(&self, cast: Cast, datagram: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        let mould = &self.moulds[usize::from(cast.mould)];
        let uri = &datagram[METHOD.len()..usize::from(cast.uri_end)];
        (uri, &datagram[mould.branch.clone()])
    }

    /// Returns the body of a datagram that fitted.
    #[inline]
    pub(crate) fn body<'a>(&self, cast: Cast, datagram: &'a [u8]) -> &'a [u8] {
        &datagram[self.moulds[usize::from(cast.mould)].section.len()..]
    }

    /// Writes the answer to a datagram that fitted, padded to the length of `out`; returns the
    /// position of the branch's last octet, or nothing when `out` is too short.
    #[inline]
    pub(crate) fn write(
        &self,
        cast: Cast,
        datagram: &[u8],
        script: &Script,
        tag: [u8; TAG_BYTES],
        out: &mut [u8],
    ) -> Option<usize> {
        let mould = &self.moulds[usize::from(cast.mould)];
        let first = datagram.get(mould.block_start..usize::from(cast.to_end))?;
        let second = datagram.get(mould.to.end..mould.block_end)?;
        let used = first.len() + second.len() + b";tag=".len() + TAG_BYTES;
        let padding = out.len().checked_sub(used + script.literal_bytes())?;
        let rest = put(out, &script.head);
        let rest = put(rest, first);
        let rest = put(rest, b";tag=");
        let rest = put(rest, &tag);
        let rest = put(rest, second);
        let rest = put(rest, &script.middle);
        let (spaces, rest) = rest.split_at_mut(padding);
        spaces.fill(b' ');
        put(rest, END);
        Some(script.head.len() + mould.branch.end - mould.block_start - 1)
    }
}

#[inline]
fn put<'a>(out: &'a mut [u8], part: &[u8]) -> &'a mut [u8] {
    let (target, rest) = out.split_at_mut(part.len());
    target.copy_from_slice(part);
    rest
}

impl Mould {
    /// Returns the ends of the Request-URI and of the To URI of a datagram of this shape.
    #[inline]
    fn fit(&self, datagram: &[u8]) -> Option<(u16, u16)> {
        if datagram.len() != self.length {
            return None;
        }
        // Learning put every position below the length, in ascending order.
        let section = &self.section;
        let same = |range: Range<usize>| datagram[range.clone()] == section[range];
        let line = &datagram[..self.block_start];
        let uri_end = METHOD.len() + memchr(b' ', &line[METHOD.len()..])?;
        let uri = &line[METHOD.len()..uri_end];
        let (aor, device) = uri.split_at(memchr(b';', uri).unwrap_or(uri.len()));
        let user = aor.strip_suffix(&section[self.at_host.clone()])?;
        let user = user.strip_prefix(&section[METHOD.len()..self.scheme_end])?;
        let user = user.strip_prefix(b"+").unwrap_or(user);
        let between = line[uri_end..].strip_prefix(VERSION)?;
        let between = between.strip_prefix(&section[self.before_space.clone()])?;
        let spaces = between.strip_suffix(&section[self.after_space.clone()])?;
        // The To URI is the Request-URI without its device, or the datagram is the parser's.
        let to = datagram[self.to.clone()].strip_prefix(b"<")?;
        let to_spaces = to.strip_prefix(aor)?.strip_prefix(b">")?;
        let branch = &datagram[self.branch.clone()];
        let call_id = &datagram[self.call_id.clone()];
        let fits = same(0..METHOD.len())
            && is_plain(user, b'_')
            && (device.is_empty()
                || device
                    .strip_prefix(GRUU)
                    .is_some_and(|urn| is_plain(urn, b':')))
            && are_spaces(spaces)
            && are_spaces(to_spaces)
            && same(self.block_start..self.branch.start)
            && same(self.branch.end..self.to.start)
            && same(self.to.end..self.call_id.start)
            && same(self.call_id.end..section.len())
            && is_plain(branch, b'_')
            && (branch.ends_with(call_id) || is_plain(call_id, b'_'));
        fits.then_some((uri_end as u16, (self.to.end - to_spaces.len()) as u16))
    }

    fn of(message: &Message<'_>) -> Option<Mould> {
        let datagram = message.datagram();
        let section_end = 4 + datagram.windows(4).position(|four| four == b"\r\n\r\n")?;
        let section = &datagram[..section_end];
        let uri = message.request_uri()?;
        if section_end > SECTION_BYTES_MAX {
            return None;
        }
        let uri_end = METHOD.len() + uri.len();
        if !section.starts_with(METHOD) || !section.get(uri_end..)?.starts_with(VERSION) {
            return None;
        }
        let lines = copied_lines(message)?;
        let [via, from, to, call_id, cseq] = lines;
        let block_start = via.start - b"Via: ".len();
        let line_end = uri_end + VERSION.len();
        let (before_space, after_space) = split_at_space(section, line_end..block_start);
        let contiguous = via.end + b"\r\nFrom: ".len() == from.start
            && from.end + b"\r\nTo: ".len() == to.start
            && cseq.start == call_id.end + b"\r\nCSeq: ".len();
        let branch = range_in(datagram, message.top_via()?.branch?)?;
        let to_line_end = call_id.start.checked_sub(b"\r\nCall-ID: ".len())?;
        let spaces = section.get(to.end..to_line_end)?;
        let plain = contiguous
            && branch.start > via.start
            && branch.end <= via.end
            && spaces.iter().all(|&octet| octet == b' ')
            && section[to.clone()].starts_with(b"<")
            && section[to].ends_with(b">");
        let scheme_end = METHOD.len() + 1 + uri.iter().position(|&octet| octet == b':')?;
        let at = METHOD.len() + memchr(b'@', uri)?;
        let host = &section[at..uri_end];
        let host_end = at + memchr(b';', host).unwrap_or(host.len());
        let mould = Mould {
            at_host: at..host_end,
            length: datagram.len(),
            section: section.to_vec(),
            scheme_end,
            before_space,
            after_space,
            block_start,
            branch,
            to: from.end + b"\r\nTo: ".len()..to_line_end,
            call_id,
            block_end: cseq.end + b"\r\n".len(),
        };
        // The datagram it was learned of must fit, or the mould would answer for a shape unseen.
        (plain && mould.fit(datagram).is_some()).then_some(mould)
    }
}

/// Returns where the values of the copied fields lie, if each occurs once, in the order of answers,
/// under its full name, with one space before the value and nothing folded.
fn copied_lines(message: &Message<'_>) -> Option<[Range<usize>; 5]> {
    let datagram = message.datagram();
    let mut lines = message
        .headers()
        .skip_while(|(name, ..)| *name != HeaderName::Via);
    let mut ranges = [const { 0..0 }; 5];
    for (range, (name, full)) in ranges.iter_mut().zip(COPIED) {
        let (found, written, value) = lines.next()?;
        let at = range_in(datagram, written)?;
        *range = range_in(datagram, value)?;
        let straight = datagram.get(at.end..range.start)? == b": ";
        let folded = value.contains(&b'\n');
        let ended = datagram[range.end..].starts_with(b"\r\n") || name == HeaderName::To;
        let once = found == name && !message.repeats(name);
        if !once || written != full || !straight || folded || !ended {
            return None;
        }
    }
    Some(ranges)
}

/// Splits the lines between the request line and Via behind their first colon, without the spaces there.
fn split_at_space(section: &[u8], lines: Range<usize>) -> (Range<usize>, Range<usize>) {
    let text = &section[lines.clone()];
    let colon = text
        .iter()
        .position(|&octet| octet == b':')
        .map_or(0, |at| at + 1);
    let spaces = match colon {
        0 => 0,
        _ => text[colon..]
            .iter()
            .take_while(|&&octet| octet == b' ')
            .count(),
    };
    let before = lines.start..lines.start + colon;
    (before, lines.start + colon + spaces..lines.end)
}

/// Returns where `part` lies in `whole`; nothing when it is not a part of it.
fn range_in(whole: &[u8], part: &[u8]) -> Option<Range<usize>> {
    let start = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
    let end = start + part.len();
    (end <= whole.len()).then_some(start..end)
}

/// Tells whether there are octets and each is a letter, a digit, `-`, `.`, `_` or `extra`: none that
/// ends, quotes, escapes or folds a field.
#[inline]
fn is_plain(octets: &[u8], extra: u8) -> bool {
    let Some(last) = octets.last_chunk::<16>() else {
        return !octets.is_empty() && octets.iter().all(|&octet| is_plain_octet(octet, extra));
    };
    // Whole blocks and the last 16 octets again: the compiler compares 16 at a time.
    let (blocks, _) = octets.as_chunks::<16>();
    let mut foreign = [0u8; 16];
    for block in blocks.iter().chain([last]) {
        for (mark, &octet) in foreign.iter_mut().zip(block) {
            *mark |= u8::from(!is_plain_octet(octet, extra));
        }
    }
    foreign == [0; 16]
}

#[inline]
fn is_plain_octet(octet: u8, extra: u8) -> bool {
    (octet.wrapping_sub(b'0') <= 9)
        | ((octet | 0x20).wrapping_sub(b'a') <= 25)
        | (octet.wrapping_sub(b'-') <= 1)
        | (octet == b'_')
        | (octet == extra)
}

#[inline]
fn are_spaces(octets: &[u8]) -> bool {
    octets
        .iter()
        .fold(true, |all, &octet| all & (octet == b' '))
}

#[cfg(test)]
mod tests;

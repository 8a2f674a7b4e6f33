//! Moulds: a message that repeats an earlier one but for the fields that name its transaction and its
//! dialog is recognised by comparison, without another parse.
//!
//! Whoever renders messages from templates (our trains, and most user agents) sends the same octets
//! again but for Request-URI, sent-by, branch, From, To, Call-ID, CSeq number, Contact and body. A mould is
//! learnt from a parsed [`Message`], request or response, and keeps where those lie; the sent-by of a response
//! is its receiver's own, and stays as it was. A datagram that fits has the same lines in the same places, so
//! the parser would read it alike; whatever does not fit goes to the parser. Values may be padded: white space
//! between a value and its line end counts as part of the field, and a Request-URI may take room from the
//! white space behind the next colon.
//!
//! It judges no value but sent-by, branch and CSeq number. [`super::shape`] is the narrower recogniser
//! of answers to SIRs. Used where sessions are read: `engine/session`, the load generator.

use std::ops::Range;

use memchr::{memchr, memchr2, memchr3};

use super::header::HeaderName;
use super::message::{CSEQ_MAX, Message, Method};
use super::token::{address_params, decimal, is_white, trim};

/// Longest header section that is learnt, in octets: what fits an Ethernet frame.
pub const SECTION_BYTES_MAX: usize = 1472;

/// Moulds kept: the kinds of messages of a session in the length classes of one population.
pub const MOULDS_MAX: usize = 64;

/// Octets compared at once.
const BLOCK: usize = 32;

const VERSION: &[u8] = b" SIP/2.0\r\n";

/// A piece of the header section and what is to be compared in it.
#[derive(Debug, Clone)]
struct Block {
    reference: [u8; BLOCK],
    /// All ones where the octet is that of the reference.
    literal: [u8; BLOCK],
    /// All ones where the octet is anything but CR and LF.
    guard: [u8; BLOCK],
}

impl Block {
    /// Returns zeros where `octets` fit.
    #[inline]
    fn misfit(&self, octets: &[u8; BLOCK]) -> [u8; BLOCK] {
        let mut misfit = [0; BLOCK];
        for (at, misfit) in misfit.iter_mut().enumerate() {
            let octet = octets[at];
            let breaks = u8::from((octet == b'\r') | (octet == b'\n')).wrapping_neg();
            *misfit = ((octet ^ self.reference[at]) & self.literal[at]) | (breaks & self.guard[at]);
        }
        misfit
    }
}

/// Where the variable fields lie.
#[derive(Debug, Clone)]
struct Layout {
    /// Request-URI, version, the next header's name and the white space behind it; empty in a response.
    line: Range<usize>,
    /// Host and port of the sender of a request; empty in a response.
    sent_by: Range<usize>,
    branch: Range<usize>,
    from: Range<usize>,
    to: Range<usize>,
    call_id: Range<usize>,
    /// The CSeq number with the white space before it.
    cseq: Range<usize>,
    /// Empty without a Contact.
    contact: Range<usize>,
    /// Where the body starts.
    section_end: usize,
}

/// What all messages of one form have in common.
#[derive(Debug, Clone)]
pub struct Mould {
    length: usize,
    blocks: Box<[Block]>,
    /// The last octets of the section, which may overlap the last block.
    last: Box<Block>,
    /// The version and the name of the header behind the request line, with its colon.
    after_uri: Box<[u8]>,
    layout: Layout,
    method: Option<Box<[u8]>>,
    status: Option<u16>,
    cseq_method: Box<[u8]>,
}

/// A datagram that fits a mould, with the places of its fields.
#[derive(Debug, Clone, Copy)]
pub struct Cast<'m, 'd> {
    mould: &'m Mould,
    datagram: &'d [u8],
    uri_end: usize,
    cseq_number: u32,
}

impl Mould {
    /// Learns from a parsed message.
    ///
    /// `None` where a field is missing, repeated or folded, where there are several Via, where octets
    /// follow the body, or where the header section is longer than [`SECTION_BYTES_MAX`].
    #[must_use]
    pub fn learn(message: &Message<'_>) -> Option<Mould> {
        let datagram = message.datagram();
        let section_end = range_in(datagram, message.body())?.start;
        let whole = section_end + message.body().len() == datagram.len();
        if !whole || section_end > SECTION_BYTES_MAX || message.has_several_vias() {
            return None;
        }
        let value = |name: HeaderName| {
            let value = message.header(name).filter(|_| !message.repeats(name))?;
            field_in(datagram, value)
        };
        let method = message.method().map(|method| method.name().into());
        let cseq_method = message.cseq()?.method.name();
        let cseq = message.header(HeaderName::CSeq)?;
        let number_len = cseq
            .iter()
            .take_while(|octet| octet.is_ascii_digit())
            .count();
        let cseq_start = value(HeaderName::CSeq)?.start;
        let (line, after_uri) = match message.request_uri() {
            Some(uri) => request_line(datagram, uri)?,
            None => (0..0, [].into()),
        };
        let contact = match message.header(HeaderName::Contact) {
            Some(_) => value(HeaderName::Contact)?,
            None => 0..0,
        };
        let via = message.top_via()?;
        let sent_by = match method {
            Some(_) => range_in(datagram, via.sent_by)?,
            None => 0..0,
        };
        let layout = Layout {
            line,
            sent_by,
            branch: range_in(datagram, via.branch?)?,
            from: value(HeaderName::From)?,
            to: value(HeaderName::To)?,
            call_id: value(HeaderName::CallId)?,
            cseq: padding_start(datagram, cseq_start)..cseq_start + number_len,
            contact,
            section_end,
        };
        let mould = Mould {
            length: datagram.len(),
            blocks: layout.blocks(datagram),
            last: Box::new(layout.block(datagram, section_end.checked_sub(BLOCK)?)),
            after_uri,
            method,
            status: message.status_code(),
            cseq_method: cseq_method.into(),
            layout,
        };
        // What it was learnt of must fit, or it would answer for a form unseen.
        mould.fit(datagram).is_some().then_some(mould)
    }

    /// Returns the fields of a datagram of this form, `None` where it has another.
    #[inline]
    #[must_use]
    pub fn fit<'d>(&self, datagram: &'d [u8]) -> Option<Cast<'_, 'd>> {
        let (uri_end, cseq_number) = self.compare(datagram)?;
        Some(Cast {
            mould: self,
            datagram,
            uri_end,
            cseq_number,
        })
    }

    /// Returns the end of the Request-URI and the CSeq number of a datagram that fits.
    #[inline]
    fn compare(&self, datagram: &[u8]) -> Option<(usize, u32)> {
        if datagram.len() != self.length {
            return None;
        }
        let section = datagram.get(..self.layout.section_end)?;
        // Another form of the same length mostly differs here: methods, and what follows the fields.
        let mut misfit = self.last.misfit(section.last_chunk()?);
        if misfit != [0; BLOCK] {
            return None;
        }
        for (octets, block) in section.as_chunks().0.iter().zip(&self.blocks) {
            for (sum, one) in misfit.iter_mut().zip(block.misfit(octets)) {
                *sum |= one;
            }
        }
        if misfit != [0; BLOCK] {
            return None;
        }
        let uri_end = self.uri_end(section)?;
        let sent_by = section.get(self.layout.sent_by.clone())?;
        let branch = section.get(self.layout.branch.clone())?;
        let cseq = trim(section.get(self.layout.cseq.clone())?);
        let cseq_number = decimal(cseq).filter(|number| *number <= CSEQ_MAX)?;
        let names = is_plain(branch) && are_sender(sent_by);
        names.then_some((uri_end, cseq_number))
    }

    /// Returns the end of the Request-URI, 0 for a response.
    #[inline]
    fn uri_end(&self, section: &[u8]) -> Option<usize> {
        let region = section.get(self.layout.line.clone())?;
        if region.is_empty() {
            return Some(0);
        }
        let len = memchr3(b' ', b'\r', b'\n', region).filter(|len| *len > 0)?;
        let padding = region[len..].strip_prefix(&*self.after_uri)?;
        let spaces = padding
            .iter()
            .fold(true, |all, octet| all & (*octet == b' '));
        spaces.then_some(self.layout.line.start + len)
    }

    /// Returns the method of a request, `None` for a response.
    #[inline]
    #[must_use]
    pub fn method(&self) -> Option<Method<'_>> {
        self.method.as_deref().map(Method::of)
    }

    /// Returns the status code of a response, `None` for a request.
    #[inline]
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// Returns the method of CSeq.
    #[inline]
    #[must_use]
    pub fn cseq_method(&self) -> Method<'_> {
        Method::of(&self.cseq_method)
    }
}

impl Layout {
    fn blocks(&self, datagram: &[u8]) -> Box<[Block]> {
        let starts = (0..self.section_end / BLOCK).map(|number| number * BLOCK);
        starts.map(|start| self.block(datagram, start)).collect()
    }

    fn block(&self, datagram: &[u8], start: usize) -> Block {
        let mut block = Block {
            reference: [0; BLOCK],
            literal: [0; BLOCK],
            guard: [0; BLOCK],
        };
        let fields = [
            &self.sent_by,
            &self.branch,
            &self.from,
            &self.to,
            &self.call_id,
            &self.cseq,
            &self.contact,
        ];
        for (offset, &octet) in datagram[start..start + BLOCK].iter().enumerate() {
            let at = start + offset;
            block.reference[offset] = octet;
            if fields.iter().any(|field| field.contains(&at)) {
                block.guard[offset] = 0xFF;
            } else if !self.line.contains(&at) {
                block.literal[offset] = 0xFF;
            }
        }
        block
    }
}

impl<'m, 'd> Cast<'m, 'd> {
    /// Returns the mould that fitted: method, status and CSeq method are its.
    #[inline]
    #[must_use]
    pub fn mould(&self) -> &'m Mould {
        self.mould
    }

    /// Returns the whole datagram.
    #[inline]
    #[must_use]
    pub fn datagram(&self) -> &'d [u8] {
        self.datagram
    }

    /// Returns the Request-URI of a request.
    #[inline]
    #[must_use]
    pub fn request_uri(&self) -> Option<&'d [u8]> {
        let start = self.mould.layout.line.start;
        self.datagram
            .get(start..self.uri_end)
            .filter(|uri| !uri.is_empty())
    }

    /// Returns the branch of the top Via, cookie included: letters, digits, `-`, `.` and `_`.
    #[inline]
    #[must_use]
    pub fn branch(&self) -> &'d [u8] {
        &self.datagram[self.mould.layout.branch.clone()]
    }

    /// Returns the From value.
    #[inline]
    #[must_use]
    pub fn from(&self) -> &'d [u8] {
        trim(&self.datagram[self.mould.layout.from.clone()])
    }

    /// Returns the To value.
    #[inline]
    #[must_use]
    pub fn to(&self) -> &'d [u8] {
        trim(&self.datagram[self.mould.layout.to.clone()])
    }

    /// Returns the Call-ID value.
    #[inline]
    #[must_use]
    pub fn call_id(&self) -> &'d [u8] {
        trim(&self.datagram[self.mould.layout.call_id.clone()])
    }

    /// Returns the number of CSeq, at most [`CSEQ_MAX`].
    #[inline]
    #[must_use]
    pub fn cseq_number(&self) -> u32 {
        self.cseq_number
    }

    /// Returns the Contact value, if messages of this form have one.
    #[inline]
    #[must_use]
    pub fn contact(&self) -> Option<&'d [u8]> {
        let contact = self.mould.layout.contact.clone();
        (!contact.is_empty()).then(|| trim(&self.datagram[contact]))
    }

    /// Returns the body.
    #[inline]
    #[must_use]
    pub fn body(&self) -> &'d [u8] {
        &self.datagram[self.mould.layout.section_end..]
    }
}

/// The moulds of one receiver, the one that fitted last tried first.
#[derive(Debug, Default)]
pub struct Moulds {
    moulds: Vec<Mould>,
    /// The length of each, side by side: what has another length costs nothing.
    lengths: Vec<usize>,
    last: usize,
    next: usize,
}

impl Moulds {
    /// Returns the fields of a datagram that fits one of the moulds.
    #[inline]
    pub fn fit<'d>(&mut self, datagram: &'d [u8]) -> Option<Cast<'_, 'd>> {
        let recent = self.moulds.get(self.last)?.compare(datagram);
        let (at, (uri_end, cseq_number)) = match recent {
            Some(found) => (self.last, found),
            None => {
                let lengths = self.lengths.iter().enumerate();
                let mut alike = lengths.filter(|(_, length)| **length == datagram.len());
                alike.find_map(|(at, _)| Some((at, self.moulds[at].compare(datagram)?)))?
            }
        };
        self.last = at;
        Some(Cast {
            mould: &self.moulds[at],
            datagram,
            uri_end,
            cseq_number,
        })
    }

    /// Learns from a message that no mould fitted; the oldest of [`MOULDS_MAX`] makes room.
    ///
    /// Returns whether it teaches anything.
    #[cold]
    pub fn learn(&mut self, message: &Message<'_>) -> bool {
        let Some(mould) = Mould::learn(message) else {
            return false;
        };
        if self.moulds.len() < MOULDS_MAX {
            self.last = self.moulds.len();
            self.lengths.push(mould.length);
            self.moulds.push(mould);
        } else {
            self.last = self.next;
            self.lengths[self.next] = mould.length;
            self.moulds[self.next] = mould;
            self.next = (self.next + 1) % MOULDS_MAX;
        }
        true
    }

    /// Returns the number of moulds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.moulds.len()
    }

    /// Tells whether nothing has been learnt.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.moulds.is_empty()
    }
}

/// Returns the tag of a From or To value; quick for `<uri>;tag=value`, right for all.
#[inline]
#[must_use]
pub fn tag_of(value: &[u8]) -> Option<&[u8]> {
    let quick = || {
        let uri = value.strip_prefix(b"<")?;
        let tag = uri[memchr(b'>', uri)? + 1..].strip_prefix(b";tag=")?;
        is_plain(tag).then_some(tag)
    };
    quick().or_else(|| address_params(value).find(b"tag")?.value)
}

/// Returns the region of Request-URI and padding, and what stands between the two.
fn request_line(datagram: &[u8], uri: &[u8]) -> Option<(Range<usize>, Box<[u8]>)> {
    let uri = range_in(datagram, uri)?;
    let after = datagram[uri.end..].strip_prefix(VERSION)?;
    let colon = after.iter().position(|octet| *octet == b':')?;
    let spaces = after[colon + 1..]
        .iter()
        .take_while(|octet| **octet == b' ')
        .count();
    let name_end = uri.end + VERSION.len() + colon + 1;
    Some((
        uri.start..name_end + spaces,
        datagram[uri.end..name_end].into(),
    ))
}

/// Returns where a value lies, white space up to its line end included; `None` when it is folded.
fn field_in(datagram: &[u8], value: &[u8]) -> Option<Range<usize>> {
    let range = range_in(datagram, value)?;
    let end = range.end + memchr2(b'\r', b'\n', &datagram[range.end..])?;
    let padding = &datagram[range.end..end];
    let straight =
        memchr2(b'\r', b'\n', value).is_none() && padding.iter().all(|&octet| is_white(octet));
    (straight && !range.is_empty()).then_some(range.start..end)
}

/// Returns where the spaces before `start` begin.
fn padding_start(datagram: &[u8], start: usize) -> usize {
    let spaces = datagram[..start]
        .iter()
        .rev()
        .take_while(|octet| **octet == b' ');
    start - spaces.count()
}

/// Returns where `part`, a piece of `whole`, lies in it.
fn range_in(whole: &[u8], part: &[u8]) -> Option<Range<usize>> {
    let start = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
    let end = start + part.len();
    (end <= whole.len()).then_some(start..end)
}

/// Tells whether all octets may stand in host and port and none ends them: letters, digits, `-`, `.`, `_`, `:`
/// and brackets.
#[inline]
fn are_sender(octets: &[u8]) -> bool {
    let fits = |octet: u8| {
        (octet.wrapping_sub(b'0') <= 10)
            | ((octet | 0x20).wrapping_sub(b'a') <= 25)
            | (octet.wrapping_sub(b'-') <= 1)
            | (octet == b'_')
            | (octet == b'[')
            | (octet == b']')
    };
    octets.iter().fold(true, |all, &octet| all & fits(octet))
}

/// Tells whether there are octets, all of them letters, digits, `-`, `.` and `_`: none that ends a
/// parameter.
#[inline]
fn is_plain(octets: &[u8]) -> bool {
    let fits = |octet: u8| {
        (octet.wrapping_sub(b'0') <= 9)
            | ((octet | 0x20).wrapping_sub(b'a') <= 25)
            | (octet.wrapping_sub(b'-') <= 1)
            | (octet == b'_')
    };
    let Some(last) = octets.last_chunk::<16>() else {
        return !octets.is_empty() && octets.iter().all(|&octet| fits(octet));
    };
    // Whole blocks and the last 16 octets again: the compiler compares 16 at a time.
    let (blocks, _) = octets.as_chunks::<16>();
    let mut foreign = [0u8; 16];
    for block in blocks.iter().chain([last]) {
        for (mark, &octet) in foreign.iter_mut().zip(block) {
            *mark |= u8::from(!fits(octet));
        }
    }
    foreign == [0; 16]
}

#[cfg(test)]
mod tests;

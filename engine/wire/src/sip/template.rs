//! A SIR compiled once into literal octets and slots.
//!
//! Send slabs are filled with the literals at start-up; a dispatch then writes only the slots.
//! Every rendering of one template has the same length, as UDP_SEGMENT wants it: identities narrower
//! than their class are padded with white space where RFC 3261 allows it.
//!
//! ```text
//! MESSAGE <request-uri> SIP/2.0\r\nMax-Forwards: <pad>70\r\n     HCOLON allows white space
//! Via: SIP/2.0/UDP <sent-by>;branch=z9hG4bK<branch 32>\r\n
//! From: <ppg>;tag=<tag>\r\nTo: <<aor>><pad>\r\n                 RAQUOT allows white space
//! Call-ID: <branch 32>\r\nCSeq: 1 MESSAGE\r\n ... \r\n\r\n
//! <SIR v1 body: ... ProvURL = <ppg-uri>[;ask=..][;app=..;when=..];t=<token 32>[;a=<seal 16>] ...>
//! ```
//!
//! It validates nothing at run time but widths: identities are checked when a population is loaded.
//! `write.rs` is its oracle. Called by dispatch for every SIR and every retransmission.

use super::seal::{self, SEAL_LEN, Sealing, SirKey};
use super::token::is_token;
use crate::sir::{Ask, PROV_PARAMETERS, SirFields};
use crate::writer::Overflow;
use crate::wsp::ApplicationId;

pub use crate::sir::{DevicePosition, When};

/// RFC 3428 8: a MESSAGE on a path that is not known to be congestion-safe has at most this size.
pub const REQUEST_BYTES_MAX: usize = 1300;

/// Longest Request-URI, AOR or device identity: keeps length classes few and templates far below
/// [`REQUEST_BYTES_MAX`].
pub const URI_MAX: usize = 255;

/// Length of the branch behind its cookie, and of the token.
pub const BRANCH_LEN: usize = 32;

/// Width step of padded slots: one 16-octet store of spaces covers the padding.
const WIDTH_STEP: usize = 16;

const METHOD: &[u8] = b"MESSAGE ";
const AFTER_URI: &[u8; 24] = b" SIP/2.0\r\nMax-Forwards: ";
const GRUU_PARAMETER: &[u8; 4] = b";gr=";
const TOKEN_PARAMETER: &[u8] = b";t=";
const SEAL_PARAMETER: &[u8] = b";a=";

/// What all SIRs of one template have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SirSpec<'a> {
    /// Via sent-by: where responses go, such as `127.0.0.1:5070`.
    pub sent_by: &'a str,
    /// URI of From, such as `sip:ppg@ims.example`.
    pub from: &'a str,
    /// Tag of From.
    pub from_tag: &'a str,
    /// Where the device builds its session: the ProvURL without its token.
    pub ppg_uri: &'a str,
    /// Application name without prefix, such as `push.sia`.
    pub application: &'a str,
    /// Where the body carries the device identity.
    pub device_position: DevicePosition,
    /// Whether the Request-URI carries the device identity as `gr` (RFC 5627), to be routed by.
    pub routed: bool,
    /// Expires in seconds (RFC 3428 4), none to leave it out.
    pub expires_s: Option<u32>,
    /// Letters of what the device is asked for ([`Ask::letters`]), empty for nothing.
    pub ask: &'a str,
    /// The application that the device activates, a token, and when.
    pub activate: Option<(&'a str, When)>,
    /// The key of the SIR's tag ([`super::seal`]), none for a SIR without one.
    pub sealed: Option<&'a SirKey>,
}

/// The widths of a template's slots: messages of one class have one length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LengthClass {
    /// Width of the Request-URI, a multiple of 16.
    pub request_uri: u16,
    /// Width of the AOR in To, a multiple of 16.
    pub aor: u16,
    /// Exact length of the device identity when the body carries it, otherwise 0.
    pub device: u16,
}

impl LengthClass {
    /// Returns the class of an AOR and a device identity of these lengths; a device length of 0
    /// is a SIR without device. `None` when the AOR is empty or a width exceeds [`URI_MAX`].
    #[inline]
    #[must_use]
    pub fn of(aor_len: usize, device_len: usize, spec: &SirSpec<'_>) -> Option<LengthClass> {
        if aor_len == 0 || aor_len > URI_MAX || device_len > URI_MAX {
            return None;
        }
        let mut request_uri = aor_len;
        if spec.routed && device_len > 0 {
            request_uri += GRUU_PARAMETER.len() + device_len;
        }
        let in_body = spec.device_position != DevicePosition::None;
        (request_uri <= URI_MAX).then(|| LengthClass {
            request_uri: request_uri.next_multiple_of(WIDTH_STEP) as u16,
            aor: aor_len.next_multiple_of(WIDTH_STEP) as u16,
            device: if in_body { device_len as u16 } else { 0 },
        })
    }
}

/// What one SIR puts into the slots.
#[derive(Debug, Clone, Copy)]
pub struct Slots<'a> {
    /// AOR up to its user part, such as `sip:+`.
    pub aor_prefix: &'a [u8],
    /// User part, such as the digits.
    pub aor_user: &'a [u8],
    /// AOR behind the user part, such as `@ims.example`.
    pub aor_suffix: &'a [u8],
    /// URN text of the device, empty for none.
    pub device: &'a [u8],
    /// Branch behind its cookie; also the Call-ID.
    pub branch: [u8; BRANCH_LEN],
    /// Token of the session to come, in ProvURL.
    pub token: [u8; BRANCH_LEN],
}

/// Why a template cannot be compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The request would exceed [`REQUEST_BYTES_MAX`].
    #[error("the request exceeds {REQUEST_BYTES_MAX} octets; shorten the URIs")]
    TooLong,
    /// A field of the specification is empty or has an octet that would end its header field.
    #[error("a field of the SIR specification is empty or has a forbidden octet; correct it")]
    Field,
}

impl SirSpec<'_> {
    /// Refuses fields that would let one header field, or one parameter, run into another.
    fn validate(&self) -> Result<(), TemplateError> {
        let fields = [
            self.sent_by,
            self.from,
            self.from_tag,
            self.ppg_uri,
            self.application,
        ];
        let forbidden = |octet: u8| !octet.is_ascii_graphic() || b"\"<>,".contains(&octet);
        let parameters = self.ppg_uri.split(';').skip(1);
        let own = |parameter: &str| {
            let name = parameter.split('=').next().unwrap_or_default();
            PROV_PARAMETERS.contains(&name)
        };
        let unfit = fields
            .iter()
            .any(|field| field.is_empty() || field.bytes().any(forbidden))
            || !Ask::are_letters(self.ask)
            || self
                .activate
                .is_some_and(|(name, _)| !is_token(name.as_bytes()))
            || { parameters }.any(own);
        if unfit {
            return Err(TemplateError::Field);
        }
        Ok(())
    }

    /// Returns the ProvURL up to the token.
    fn prov_url_before_token(&self) -> Vec<u8> {
        let mut out = self.ppg_uri.as_bytes().to_vec();
        if !self.ask.is_empty() {
            out.extend_from_slice(b";ask=");
            out.extend_from_slice(self.ask.as_bytes());
        }
        if let Some((application, when)) = self.activate {
            let activate = format!(";app={application};when={}", when.word());
            out.extend_from_slice(activate.as_bytes());
        }
        out.extend_from_slice(TOKEN_PARAMETER);
        out
    }

    /// Writes the SIR body for `device` and `token`; a sealed one has the tag `seal`.
    pub(super) fn body(
        &self,
        device: &[u8],
        token: &[u8; BRANCH_LEN],
        seal: &[u8; SEAL_LEN],
    ) -> Result<Vec<u8>, TemplateError> {
        let mut prov_url = [&self.prov_url_before_token()[..], token].concat();
        if self.sealed.is_some() {
            prov_url.extend_from_slice(SEAL_PARAMETER);
            prov_url.extend_from_slice(seal);
        }
        let fields = SirFields {
            version: 1,
            applications: &[ApplicationId::of(self.application.as_bytes())],
            prov_url: &prov_url,
            device,
            device_position: self.device_position,
            ..SirFields::default()
        };
        let mut out = vec![0; REQUEST_BYTES_MAX];
        let len = fields
            .write(&mut out)
            .map_err(|Overflow| TemplateError::TooLong)?;
        out.truncate(len);
        Ok(out)
    }

    /// Returns the tag of the SIR to `aor`, zeros for one that is not sealed.
    pub(super) fn seal(
        &self,
        aor: &[u8],
        device: &[u8],
        token: &[u8; BRANCH_LEN],
    ) -> [u8; SEAL_LEN] {
        let Some(key) = self.sealed else {
            return [b'0'; SEAL_LEN];
        };
        let prov_url = [&self.prov_url_before_token()[..], token].concat();
        let in_body = self.device_position != DevicePosition::None;
        let device = if in_body { device } else { b"" };
        seal::text(key.seal(&prov_url, aor, device))
    }
}

/// Where the slots of a template lie.
#[derive(Debug, Clone, Copy, Default)]
struct Layout {
    /// End of the region of Request-URI, version and padding.
    uri_end: usize,
    branch: usize,
    to: usize,
    /// End of the region of AOR, closing bracket and padding.
    to_end: usize,
    call_id: usize,
    token: usize,
    /// Where the tag of a sealed template lies.
    seal: usize,
    device: usize,
}

/// A SIR compiled for one length class.
#[derive(Debug, Clone)]
pub struct Template {
    literal: Box<[u8]>,
    class: LengthClass,
    routed: bool,
    layout: Layout,
    /// The tag over what all SIRs of a sealed template have in common.
    sealing: Option<Sealing>,
}

impl Template {
    /// Compiles the SIRs of `spec` that have the widths of `class`.
    ///
    /// Fails when a rendering would exceed [`REQUEST_BYTES_MAX`] or a field of `spec` is unfit.
    pub fn compile(spec: &SirSpec<'_>, class: LengthClass) -> Result<Template, TemplateError> {
        spec.validate()?;
        let mut layout = Layout::default();
        let mut literal = METHOD.to_vec();
        literal.resize(
            METHOD.len() + usize::from(class.request_uri) + AFTER_URI.len(),
            b' ',
        );
        layout.uri_end = literal.len();
        literal.extend_from_slice(b"70\r\nVia: SIP/2.0/UDP ");
        literal.extend_from_slice(spec.sent_by.as_bytes());
        literal.extend_from_slice(b";branch=z9hG4bK");
        layout.branch = slot(&mut literal, BRANCH_LEN);
        literal.extend_from_slice(b"\r\nFrom: <");
        literal.extend_from_slice(spec.from.as_bytes());
        literal.extend_from_slice(b">;tag=");
        literal.extend_from_slice(spec.from_tag.as_bytes());
        literal.extend_from_slice(b"\r\nTo: <");
        layout.to = slot(&mut literal, usize::from(class.aor) + 1);
        layout.to_end = literal.len();
        literal.extend_from_slice(b"\r\nCall-ID: ");
        layout.call_id = slot(&mut literal, BRANCH_LEN);
        let mut rest = format!(
            "\r\nCSeq: 1 MESSAGE\r\nAccept-Contact: *;+g.oma.pusheventapp=\"{0}\";require;explicit\
             \r\nX-Wap-Application-Id: x-wap-application:{0}\r\n",
            spec.application
        );
        if let Some(seconds) = spec.expires_s {
            rest.push_str(&format!("Expires: {seconds}\r\n"));
        }
        literal.extend_from_slice(rest.as_bytes());
        let body = BodyLayout::of(spec, usize::from(class.device))?;
        let length = body.octets.len();
        let head =
            format!("Content-Type: application/vnd.wap.sia\r\nContent-Length: {length}\r\n\r\n");
        literal.extend_from_slice(head.as_bytes());
        layout.token = literal.len() + body.token;
        layout.seal = layout.token + BRANCH_LEN + SEAL_PARAMETER.len();
        layout.device = literal.len() + body.device;
        literal.extend_from_slice(&body.octets);
        if literal.len() > REQUEST_BYTES_MAX {
            return Err(TemplateError::TooLong);
        }
        Ok(Template {
            literal: literal.into_boxed_slice(),
            class,
            routed: spec.routed,
            layout,
            sealing: spec
                .sealed
                .map(|key| key.start(&spec.prov_url_before_token())),
        })
    }

    /// Returns the length of every rendering, in octets.
    #[expect(clippy::len_without_is_empty, reason = "a template is never empty")]
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.literal.len()
    }

    /// Returns the class the template was compiled for.
    #[inline]
    #[must_use]
    pub fn class(&self) -> LengthClass {
        self.class
    }

    /// Copies all literal octets to the start of `segment`, which is at least [`Template::len`]
    /// long; a shorter one is left as it is.
    pub fn fill(&self, segment: &mut [u8]) {
        if let Some(target) = segment.get_mut(..self.literal.len()) {
            target.copy_from_slice(&self.literal);
        }
    }

    /// Writes the slots into a filled segment and returns the number of octets written.
    ///
    /// Writes nothing and returns 0 when the segment is shorter than [`Template::len`] or the
    /// slots are not of this template's class.
    #[inline]
    pub fn patch(&self, segment: &mut [u8], slots: &Slots<'_>) -> usize {
        let aor_len = slots.aor_prefix.len() + slots.aor_user.len() + slots.aor_suffix.len();
        let gruu_len = if self.routed && !slots.device.is_empty() {
            GRUU_PARAMETER.len() + slots.device.len()
        } else {
            0
        };
        let fits = fits_width(aor_len + gruu_len, self.class.request_uri)
            && fits_width(aor_len, self.class.aor)
            && (self.class.device == 0 || usize::from(self.class.device) == slots.device.len());
        let Some(segment) = segment.get_mut(..self.literal.len()).filter(|_| fits) else {
            return 0;
        };
        let layout = &self.layout;
        let pad = *b"                ";
        put_fixed(segment, layout.uri_end - WIDTH_STEP, &pad);
        let mut at = put_aor(segment, METHOD.len(), slots);
        if gruu_len > 0 {
            put_fixed(segment, at, GRUU_PARAMETER);
            at = put_short(segment, at + GRUU_PARAMETER.len(), slots.device);
        }
        put_fixed(segment, at, AFTER_URI);
        put_fixed(segment, layout.branch, &slots.branch);
        put_fixed(segment, layout.to_end - WIDTH_STEP, &pad);
        let bracket = put_aor(segment, layout.to, slots);
        put_fixed(segment, bracket, b">");
        put_fixed(segment, layout.call_id, &slots.branch);
        put_fixed(segment, layout.token, &slots.token);
        let mut written = layout.uri_end - METHOD.len() + layout.to_end - layout.to;
        written += 3 * BRANCH_LEN;
        if self.class.device > 0 {
            put_short(segment, layout.device, slots.device);
            written += slots.device.len();
        }
        if let Some(sealing) = &self.sealing {
            written += self.put_seal(*sealing, segment, slots);
        }
        written
    }

    /// Writes the tag of a segment whose other slots are written; returns the octets written.
    #[inline(never)]
    fn put_seal(&self, mut sealing: Sealing, segment: &mut [u8], slots: &Slots<'_>) -> usize {
        let aor_len = slots.aor_prefix.len() + slots.aor_user.len() + slots.aor_suffix.len();
        let aor = &segment[self.layout.to..self.layout.to + aor_len];
        let device = &slots.device[..usize::from(self.class.device)];
        let tag = seal::text(sealing.finish(&slots.token, aor, device));
        put_fixed(segment, self.layout.seal, &tag);
        SEAL_LEN
    }
}

/// Appends `width` spaces and returns where they start.
fn slot(literal: &mut Vec<u8>, width: usize) -> usize {
    let start = literal.len();
    literal.resize(start + width, b' ');
    start
}

/// Tells whether `len` octets belong to a slot of `width`: one step of spaces covers the rest.
#[inline]
fn fits_width(len: usize, width: u16) -> bool {
    usize::from(width).wrapping_sub(len) < WIDTH_STEP
}

/// Copies an array whose length the compiler knows.
#[inline]
fn put_fixed<const N: usize>(segment: &mut [u8], at: usize, octets: &[u8; N]) {
    segment[at..at + N].copy_from_slice(octets);
}

/// Copies the three pieces of the AOR and returns where they end.
#[inline]
fn put_aor(segment: &mut [u8], at: usize, slots: &Slots<'_>) -> usize {
    let at = put_short(segment, at, slots.aor_prefix);
    let at = put_short(segment, at, slots.aor_user);
    put_short(segment, at, slots.aor_suffix)
}

/// Copies a short slice and returns where it ends.
///
/// Two overlapping fixed-size copies instead of a call of memcpy: the pieces of an AOR have 5 to 30
/// octets, where the call costs more than the copy.
#[inline]
fn put_short(segment: &mut [u8], at: usize, octets: &[u8]) -> usize {
    let end = at + octets.len();
    let target = &mut segment[at..end];
    match octets.len() {
        4..8 => put_ends::<4>(target, octets),
        8..16 => put_ends::<8>(target, octets),
        16..=32 => put_ends::<16>(target, octets),
        33..=64 => put_ends::<32>(target, octets),
        0..4 => {
            for (to, from) in target.iter_mut().zip(octets) {
                *to = *from;
            }
        }
        _ => target.copy_from_slice(octets),
    }
    end
}

/// Copies a slice of N to 2 N octets as its first N and its last N.
#[inline]
fn put_ends<const N: usize>(target: &mut [u8], octets: &[u8]) {
    if let (Some(to), Some(from)) = (target.first_chunk_mut::<N>(), octets.first_chunk::<N>()) {
        *to = *from;
    }
    if let (Some(to), Some(from)) = (target.last_chunk_mut::<N>(), octets.last_chunk::<N>()) {
        *to = *from;
    }
}

/// The body of a template and where its slots lie.
struct BodyLayout {
    octets: Vec<u8>,
    token: usize,
    device: usize,
}

impl BodyLayout {
    /// Renders the body twice with different slot contents: where they differ are the slots.
    fn of(spec: &SirSpec<'_>, device_len: usize) -> Result<BodyLayout, TemplateError> {
        let render = |device: u8, token: u8| {
            spec.body(
                &vec![device; device_len],
                &[token; BRANCH_LEN],
                &[b'0'; SEAL_LEN],
            )
        };
        let octets = render(b'a', b'c')?;
        let other_token = render(b'a', b'd')?;
        let other_device = render(b'b', b'c')?;
        let first_difference = |other: &[u8]| {
            octets
                .iter()
                .zip(other)
                .position(|(one, other)| one != other)
                .unwrap_or(octets.len())
        };
        let token = first_difference(&other_token);
        let device = first_difference(&other_device);
        Ok(BodyLayout {
            octets,
            token,
            device,
        })
    }
}

#[cfg(test)]
mod tests;

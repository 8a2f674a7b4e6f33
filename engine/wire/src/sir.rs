//! The SIR body, `application/vnd.wap.sia` versions 0 and 1 (WAP-189, WAP-235): a borrowed reader
//! and a writer, with the device identity in one of three positions.
//!
//! It does not judge whether a SIR should be obeyed. Readers in the field skip what follows the
//! fields they know, so every position below survives them.

pub mod ask;

use crate::writer::{Overflow, Writer};
use crate::wsp::{
    ADDRESS_OCTETS_MAX, APPLICATION_ID_HEADER, ApplicationId, WspError, counted, put_uintvar,
    split_text, uintvar,
};

pub use ask::{Ask, Request, When};

/// Highest version of the body that any implementation has.
pub const VERSION_MAX: u8 = 1;

/// Name of the textual header that carries the device identity inside the application list.
pub const DEVICE_HEADER: &[u8] = b"X-Device-Id";

/// What precedes the device identity in ProvURL.
const DEVICE_PARAMETER: &[u8] = b";gr=";

/// What precedes the device identity behind the last field.
const DEVICE_TRAILER: &[u8] = b"gr=";

/// The ProvURL parameters that belong to the SIR; what precedes the first is the gateway's URI.
pub const PROV_PARAMETERS: [&str; 6] = ["ask", "app", "when", "t", "a", "gr"];

/// Where a SIR body carries the identity of the wanted device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DevicePosition {
    /// Nowhere: only the Request-URI tells the device.
    #[default]
    None,
    /// A textual header in the Application-Id List: `X-Device-Id`, NUL, the identity, NUL.
    Header,
    /// The `gr` parameter of X-Wap-ProvURL; version 1 only.
    Value,
    /// Octets behind the last field: `gr=` and the identity.
    Body,
}

/// Why octets are no SIR body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SirError {
    /// The version octet is missing or above [`VERSION_MAX`].
    #[error("unknown version of the SIR body; refuse it")]
    Version,
    /// A field does not parse.
    #[error(transparent)]
    Field(#[from] WspError),
}

/// A contact point: bearer, port and address of a gateway (WSP address record).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContactPoint<'a> {
    /// WDP bearer, such as 0x0B for GPRS.
    pub bearer: Option<u8>,
    /// Port; without one the client takes its default.
    pub port: Option<u16>,
    /// The address, binary or text as the bearer says, at most 63 octets.
    pub address: &'a [u8],
}

const BEARER_FLAG: u8 = 0x80;
const PORT_FLAG: u8 = 0x40;

impl<'a> ContactPoint<'a> {
    fn split(octets: &'a [u8]) -> Result<(ContactPoint<'a>, &'a [u8]), WspError> {
        let (&flags, mut rest) = octets.split_first().ok_or(WspError::Truncated)?;
        let mut point = ContactPoint {
            bearer: None,
            port: None,
            address: &[],
        };
        if flags & BEARER_FLAG != 0 {
            let (&bearer, after) = rest.split_first().ok_or(WspError::Truncated)?;
            point.bearer = Some(bearer);
            rest = after;
        }
        if flags & PORT_FLAG != 0 {
            let (port, after) = rest.split_first_chunk::<2>().ok_or(WspError::Truncated)?;
            point.port = Some(u16::from_be_bytes(*port));
            rest = after;
        }
        let len = usize::from(flags) & ADDRESS_OCTETS_MAX;
        (point.address, rest) = rest.split_at_checked(len).ok_or(WspError::Truncated)?;
        Ok((point, rest))
    }

    fn encoded_len(&self) -> usize {
        1 + usize::from(self.bearer.is_some())
            + 2 * usize::from(self.port.is_some())
            + self.address.len()
    }

    fn put(&self, writer: &mut Writer<'_>) -> Result<(), Overflow> {
        if self.address.len() > ADDRESS_OCTETS_MAX {
            return Err(Overflow);
        }
        let bearer = if self.bearer.is_some() {
            BEARER_FLAG
        } else {
            0
        };
        let port = if self.port.is_some() { PORT_FLAG } else { 0 };
        writer.put_octet(bearer | port | self.address.len() as u8)?;
        if let Some(bearer) = self.bearer {
            writer.put_octet(bearer)?;
        }
        if let Some(port) = self.port {
            writer.put(&port.to_be_bytes())?;
        }
        writer.put(self.address)
    }
}

/// One entry of the Application-Id List.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListEntry<'a> {
    /// An application that shall be served.
    Application(ApplicationId<'a>),
    /// The device the SIR wants ([`DEVICE_HEADER`]).
    Device(&'a [u8]),
}

/// A borrowed view of a SIR body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sir<'a> {
    /// 0 or 1.
    pub version: u8,
    /// X-Wap-ProvURL; empty in version 0.
    pub prov_url: &'a [u8],
    /// Octets behind the last field.
    pub trailing: &'a [u8],
    application_list: &'a [u8],
    wsp_contact_points: &'a [u8],
    contact_points: &'a [u8],
    protocol_options: &'a [u8],
    cpi_tags: &'a [u8],
}

impl<'a> Sir<'a> {
    /// Parses a SIR body.
    ///
    /// The entries of the application list and of the contact points are read when iterated:
    /// their faults (several senders in the field have some) do not hide the other fields.
    pub fn parse(body: &'a [u8]) -> Result<Sir<'a>, SirError> {
        let (&version, rest) = body.split_first().ok_or(SirError::Version)?;
        if version > VERSION_MAX {
            return Err(SirError::Version);
        }
        let (application_list, rest) = counted(rest)?;
        let (wsp_contact_points, rest) = counted(rest)?;
        let mut sir = Sir {
            version,
            prov_url: &[],
            trailing: rest,
            application_list,
            wsp_contact_points,
            contact_points: &[],
            protocol_options: &[],
            cpi_tags: &[],
        };
        if version == 0 {
            return Ok(sir);
        }
        let (contact_points, rest) = counted(rest)?;
        let (options_count, options) = uintvar(rest)?;
        let mut rest = options;
        // Each option takes an octet at least, so a large count ends with the octets.
        for _ in 0..options_count {
            rest = uintvar(rest)?.1;
        }
        sir.protocol_options = &options[..options.len() - rest.len()];
        let (prov_url, rest) = counted(rest)?;
        let (tags_count, rest) = uintvar(rest)?;
        let tags_len = (tags_count as usize)
            .checked_mul(4)
            .ok_or(WspError::IntegerRange)?;
        (sir.cpi_tags, sir.trailing) =
            rest.split_at_checked(tags_len).ok_or(WspError::Truncated)?;
        sir.contact_points = contact_points;
        sir.prov_url = prov_url;
        Ok(sir)
    }

    /// Iterates over the Application-Id List; ends after the first malformed entry.
    ///
    /// Accepts header fields and bare values, for implementations disagree on the list's form.
    pub fn application_list(&self) -> impl Iterator<Item = Result<ListEntry<'a>, WspError>> {
        entries(self.application_list, split_list_entry)
    }

    /// Iterates over the WSP contact points; ends after the first malformed one.
    pub fn wsp_contact_points(&self) -> impl Iterator<Item = Result<ContactPoint<'a>, WspError>> {
        entries(self.wsp_contact_points, ContactPoint::split)
    }

    /// Iterates over the non-WSP contact points; ends after the first malformed one.
    pub fn contact_points(&self) -> impl Iterator<Item = Result<ContactPoint<'a>, WspError>> {
        entries(self.contact_points, ContactPoint::split)
    }

    /// Iterates over the protocol options.
    pub fn protocol_options(&self) -> impl Iterator<Item = u32> {
        entries(self.protocol_options, uintvar).map_while(Result::ok)
    }

    /// Iterates over the CPI tags.
    pub fn cpi_tags(&self) -> impl Iterator<Item = [u8; 4]> {
        self.cpi_tags
            .chunks_exact(4)
            .map(|tag| [tag[0], tag[1], tag[2], tag[3]])
    }

    /// Returns the identity of the wanted device and its position; the trailer wins over the
    /// header, the header over ProvURL.
    #[must_use]
    pub fn device(&self) -> Option<(DevicePosition, &'a [u8])> {
        if let Some(device) = self.trailing.strip_prefix(DEVICE_TRAILER) {
            return Some((DevicePosition::Body, device));
        }
        for entry in self.application_list().map_while(Result::ok) {
            if let ListEntry::Device(device) = entry {
                return Some((DevicePosition::Header, device));
            }
        }
        let device = self.prov_parameter(b"gr")?;
        Some((DevicePosition::Value, device))
    }

    /// Returns the value of the first ProvURL parameter called `name`.
    #[must_use]
    pub fn prov_parameter(&self, name: &[u8]) -> Option<&'a [u8]> {
        let (_, value) = self
            .prov_parameters()
            .find(|(_, parameter)| parameter.0 == name)?;
        value.1
    }

    /// Returns the URI of the gateway that the device builds its session to: the ProvURL without the
    /// parameters that belong to the SIR ([`PROV_PARAMETERS`]) and what follows them.
    #[must_use]
    pub fn gateway(&self) -> &'a [u8] {
        let own = |name: &[u8]| PROV_PARAMETERS.iter().any(|own| own.as_bytes() == name);
        let mut parameters = self.prov_parameters();
        let first = parameters.find(|(_, parameter)| own(parameter.0));
        first.map_or(self.prov_url, |(at, _)| &self.prov_url[..at])
    }

    /// Returns the token that the device's session has to show.
    #[inline]
    #[must_use]
    pub fn token(&self) -> Option<&'a [u8]> {
        self.prov_parameter(b"t")
    }

    /// Returns the tag of the SIR ([`crate::sip::seal`]).
    #[must_use]
    pub fn seal(&self) -> Option<&'a [u8]> {
        self.split_seal().map(|(_, seal)| seal)
    }

    /// Returns the octets of ProvURL that the tag covers, those before `;a=`, and the tag.
    #[must_use]
    pub fn split_seal(&self) -> Option<(&'a [u8], &'a [u8])> {
        let mut parameters = self.prov_parameters();
        let (at, (_, seal)) = parameters.find(|(_, parameter)| parameter.0 == b"a")?;
        Some((&self.prov_url[..at], seal?))
    }

    /// Returns what the device is asked for beside its session.
    #[must_use]
    pub fn ask(&self) -> Ask {
        self.prov_parameter(b"ask")
            .map_or(Ask::NOTHING, Ask::of_letters)
    }

    /// Returns the application that the device is to activate, and when.
    #[must_use]
    pub fn activation(&self) -> Option<(&'a [u8], When)> {
        let when = self.prov_parameter(b"when").and_then(When::of_word);
        Some((self.prov_parameter(b"app")?, when.unwrap_or_default()))
    }

    /// Iterates over the parameters of ProvURL: where their semicolon is, name and value.
    fn prov_parameters(&self) -> impl Iterator<Item = (usize, (&'a [u8], Option<&'a [u8]>))> {
        let prov_url = self.prov_url;
        let mut semicolons = memchr::memchr_iter(b';', prov_url).peekable();
        std::iter::from_fn(move || {
            let at = semicolons.next()?;
            let end = semicolons.peek().copied().unwrap_or(prov_url.len());
            let parameter = &prov_url[at + 1..end];
            Some((
                at,
                match memchr::memchr(b'=', parameter) {
                    Some(equals) => (&parameter[..equals], Some(&parameter[equals + 1..])),
                    None => (parameter, None),
                },
            ))
        })
    }
}

fn entries<'a, T>(
    octets: &'a [u8],
    split: impl Fn(&'a [u8]) -> Result<(T, &'a [u8]), WspError>,
) -> impl Iterator<Item = Result<T, WspError>> {
    let mut rest = octets;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        match split(rest) {
            Ok((entry, after)) => {
                rest = after;
                Some(Ok(entry))
            }
            Err(error) => {
                rest = &[];
                Some(Err(error))
            }
        }
    })
}

fn split_list_entry(octets: &[u8]) -> Result<(ListEntry<'_>, &[u8]), WspError> {
    if let [APPLICATION_ID_HEADER, value @ ..] = octets {
        if !value.is_empty() {
            let (id, rest) = ApplicationId::split(value)?;
            return Ok((ListEntry::Application(id), rest));
        }
    } else if octets[0] >= 0x20 && octets[0] < 0x80 {
        let (name, value) = split_text(octets);
        if name.eq_ignore_ascii_case(DEVICE_HEADER) && !value.is_empty() {
            let (device, rest) = split_text(value);
            return Ok((ListEntry::Device(device), rest));
        }
        if name.eq_ignore_ascii_case(b"X-Wap-Application-Id") && !value.is_empty() {
            let (id, rest) = ApplicationId::split(value)?;
            return Ok((ListEntry::Application(id), rest));
        }
    }
    let (id, rest) = ApplicationId::split(octets)?;
    Ok((ListEntry::Application(id), rest))
}

/// The fields of a SIR body to be written.
#[derive(Debug, Clone, Copy, Default)]
pub struct SirFields<'a> {
    /// 0 or 1; version 0 has no field after `wsp_contact_points`.
    pub version: u8,
    /// Applications to be served, written as full header fields.
    pub applications: &'a [ApplicationId<'a>],
    /// Gateways that speak WSP.
    pub wsp_contact_points: &'a [ContactPoint<'a>],
    /// Gateways that speak HTTP or SIP.
    pub contact_points: &'a [ContactPoint<'a>],
    /// Protocol options: 0 OTA-HTTP without CPITag, 1 with.
    pub protocol_options: &'a [u32],
    /// X-Wap-ProvURL without the device.
    pub prov_url: &'a [u8],
    /// CPI tags that the gateway knows.
    pub cpi_tags: &'a [[u8; 4]],
    /// The wanted device, empty for none.
    pub device: &'a [u8],
    /// Where the device goes.
    pub device_position: DevicePosition,
}

impl SirFields<'_> {
    /// Writes the body into `out` and returns its length.
    ///
    /// Fails when `out` is too small, when an address is above 63 octets, and when version 0
    /// would have to carry the device in ProvURL.
    pub fn write(&self, out: &mut [u8]) -> Result<usize, Overflow> {
        let mut writer = Writer::new(out);
        writer.put_octet(self.version)?;
        self.put_application_list(&mut writer)?;
        put_points(&mut writer, self.wsp_contact_points)?;
        if self.version > 0 {
            self.put_version_1(&mut writer)?;
        } else if self.carries(DevicePosition::Value) {
            return Err(Overflow);
        }
        if self.carries(DevicePosition::Body) {
            writer.put(DEVICE_TRAILER)?;
            writer.put(self.device)?;
        }
        Ok(writer.len())
    }

    fn carries(&self, position: DevicePosition) -> bool {
        self.device_position == position && !self.device.is_empty()
    }

    fn put_application_list(&self, writer: &mut Writer<'_>) -> Result<(), Overflow> {
        let mut len: usize = self
            .applications
            .iter()
            .map(|id| 1 + id.encoded_len())
            .sum();
        if self.carries(DevicePosition::Header) {
            len += DEVICE_HEADER.len() + 1 + self.device.len() + 1;
        }
        put_uintvar(writer, u32::try_from(len).map_err(|_| Overflow)?)?;
        for id in self.applications {
            writer.put_octet(APPLICATION_ID_HEADER)?;
            id.put(writer)?;
        }
        if self.carries(DevicePosition::Header) {
            writer.put(DEVICE_HEADER)?;
            writer.put_octet(0)?;
            writer.put(self.device)?;
            writer.put_octet(0)?;
        }
        Ok(())
    }

    fn put_version_1(&self, writer: &mut Writer<'_>) -> Result<(), Overflow> {
        put_points(writer, self.contact_points)?;
        put_uintvar(
            writer,
            u32::try_from(self.protocol_options.len()).map_err(|_| Overflow)?,
        )?;
        for &option in self.protocol_options {
            put_uintvar(writer, option)?;
        }
        let mut len = self.prov_url.len();
        if self.carries(DevicePosition::Value) {
            len += DEVICE_PARAMETER.len() + self.device.len();
        }
        put_uintvar(writer, u32::try_from(len).map_err(|_| Overflow)?)?;
        writer.put(self.prov_url)?;
        if self.carries(DevicePosition::Value) {
            writer.put(DEVICE_PARAMETER)?;
            writer.put(self.device)?;
        }
        put_uintvar(
            writer,
            u32::try_from(self.cpi_tags.len()).map_err(|_| Overflow)?,
        )?;
        for tag in self.cpi_tags {
            writer.put(tag)?;
        }
        Ok(())
    }
}

fn put_points(writer: &mut Writer<'_>, points: &[ContactPoint<'_>]) -> Result<(), Overflow> {
    let len: usize = points.iter().map(ContactPoint::encoded_len).sum();
    put_uintvar(writer, u32::try_from(len).map_err(|_| Overflow)?)?;
    for point in points {
        point.put(writer)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;

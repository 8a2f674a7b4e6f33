//! The PPGs that SIRs name, and their addresses. Called by `calls` once for each PPG.

use std::net::SocketAddr;

use sirocco_wire::sip::SipUri;

/// A PPG that SIRs name.
pub(super) struct Ppg {
    uri: Box<[u8]>,
    address: SocketAddr,
}

impl Ppg {
    pub(super) fn new(uri: &[u8], address: SocketAddr) -> Ppg {
        let uri = uri.into();
        Ppg { uri, address }
    }

    /// Returns its URI.
    pub(super) fn uri(&self) -> &[u8] {
        &self.uri
    }

    /// Returns where its messages go.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the Request-URI of an INVITE to it.
    pub(super) fn invite_uri<'a>(&'a self, token: &'a [u8]) -> [&'a [u8]; 3] {
        let parameter: &[u8] = if token.is_empty() { b"" } else { b";t=" };
        [&self.uri, parameter, token]
    }

    /// Returns where a request goes whose first hop is this URI: a numeric host is gone to, any other is
    /// reached by way of the PPG.
    #[inline]
    pub(super) fn way_to(&self, hop: &[u8]) -> SocketAddr {
        if authority(hop) == authority(&self.uri) {
            return self.address;
        }
        let named = address(hop);
        let same_family = |address: &SocketAddr| address.is_ipv4() == self.address.is_ipv4();
        named.filter(same_family).unwrap_or(self.address)
    }
}

/// Returns the address of a PPG's URI: a numeric host, for the load generator asks no name service.
pub(crate) fn address(uri: &[u8]) -> Option<SocketAddr> {
    SipUri::parse(uri)?.address()
}

/// Returns the `host:port` of a SIP URI as written.
pub(crate) fn authority(uri: &[u8]) -> &[u8] {
    let start = uri.iter().position(|&octet| octet == b'@');
    let rest = &uri[start.map_or(uri.len().min(4), |at| at + 1)..];
    rest.split(|&octet| octet == b';').next().unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numeric_addresses_are_called() {
        assert_eq!(address(b"sip:ppg@127.0.0.1"), "127.0.0.1:5060".parse().ok());
        assert_eq!(
            address(b"sip:ppg@[::1]:5070;x=y"),
            "[::1]:5070".parse().ok()
        );
        assert_eq!(address(b"sip:ppg@ppg.example"), None);
        assert_eq!(address(b"http://127.0.0.1/"), None);
    }

    #[test]
    fn an_authority_stands_between_user_and_parameters() {
        assert_eq!(authority(b"sip:ppg@127.0.0.1:5070;x=y"), b"127.0.0.1:5070");
        assert_eq!(authority(b"sip:ppg.example"), b"ppg.example");
    }
}

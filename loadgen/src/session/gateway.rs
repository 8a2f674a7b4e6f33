//! The address of a PPG as SIRs name it. Called by `calls` once for each PPG.

use std::net::SocketAddr;

use sirocco_wire::sip::SipUri;

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

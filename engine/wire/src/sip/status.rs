//! Status codes with the reason phrases of the standards, for the responses we write.

/// A status code and its reason phrase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// The code, 100 to 699.
    pub code: u16,
    /// The reason phrase, without CR or LF.
    pub reason: &'static str,
}

/// The codes we name (RFC 3261 21, RFC 3428 7, RFC 8599 8.1), in ascending order.
const NAMED: [Status; 43] = [
    status(100, "Trying"),
    status(180, "Ringing"),
    status(200, "OK"),
    status(202, "Accepted"),
    status(300, "Multiple Choices"),
    status(301, "Moved Permanently"),
    status(302, "Moved Temporarily"),
    status(305, "Use Proxy"),
    status(400, "Bad Request"),
    status(401, "Unauthorized"),
    status(403, "Forbidden"),
    status(404, "Not Found"),
    status(405, "Method Not Allowed"),
    status(406, "Not Acceptable"),
    status(407, "Proxy Authentication Required"),
    status(408, "Request Timeout"),
    status(410, "Gone"),
    status(413, "Request Entity Too Large"),
    status(414, "Request-URI Too Long"),
    status(415, "Unsupported Media Type"),
    status(416, "Unsupported URI Scheme"),
    status(420, "Bad Extension"),
    status(423, "Interval Too Brief"),
    status(430, "Flow Failed"),
    status(439, "First Hop Lacks Outbound Support"),
    status(480, "Temporarily Unavailable"),
    status(481, "Call/Transaction Does Not Exist"),
    status(482, "Loop Detected"),
    status(483, "Too Many Hops"),
    status(484, "Address Incomplete"),
    status(485, "Ambiguous"),
    status(486, "Busy Here"),
    status(488, "Not Acceptable Here"),
    status(491, "Request Pending"),
    status(500, "Server Internal Error"),
    status(501, "Not Implemented"),
    status(503, "Service Unavailable"),
    status(504, "Server Time-out"),
    status(505, "Version Not Supported"),
    status(555, "Push Notification Service Not Supported"),
    status(600, "Busy Everywhere"),
    status(603, "Decline"),
    status(606, "Not Acceptable"),
];

const fn status(code: u16, reason: &'static str) -> Status {
    Status { code, reason }
}

impl Status {
    /// 200 OK.
    pub const OK: Status = status(200, "OK");
    /// 202 Accepted: stored, not delivered (RFC 3428 7).
    pub const ACCEPTED: Status = status(202, "Accepted");
    /// 503 Service Unavailable.
    pub const SERVICE_UNAVAILABLE: Status = status(503, "Service Unavailable");

    /// Returns the status of `code`; a code without a name takes the phrase of its class.
    #[must_use]
    pub fn of(code: u16) -> Status {
        if let Ok(index) = NAMED.binary_search_by_key(&code, |named| named.code) {
            return NAMED[index];
        }
        let reason = match code / 100 {
            1 => "Session Progress",
            2 => "OK",
            3 => "Multiple Choices",
            4 => "Bad Request",
            5 => "Server Internal Error",
            _ => "Busy Everywhere",
        };
        status(code, reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_found() {
        assert!(NAMED.windows(2).all(|pair| pair[0].code < pair[1].code));
        assert_eq!(Status::of(480).reason, "Temporarily Unavailable");
        assert_eq!(Status::of(499), status(499, "Bad Request"));
    }
}

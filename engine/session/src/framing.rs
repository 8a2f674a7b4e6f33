//! Where one SIP message ends in a byte stream (RFC 3261 18.3): Content-Length says it, and has to be there.
//!
//! What was searched is not searched again, so a sender of single octets costs no more than another. A fault is
//! one of the stream: nothing behind it can be told.

use memchr::memmem;
use sirocco_wire::sip::token::decimal;
use sirocco_wire::sip::{HeaderName, Message};

/// What a look at the octets gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// So many octets of line ends between messages (RFC 5626 3.5.1: a keep-alive).
    Blank(usize),
    /// The first so many octets are one message.
    Whole(usize),
    /// The message has not ended.
    More,
    /// No message can be told.
    Fault,
}

/// What is known of a message that has not ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Framing {
    /// Octets in which the header section does not end.
    searched: usize,
    /// Octets of the whole message, once its header section has ended.
    whole: usize,
}

impl Framing {
    /// Looks for the message that `octets` begin with, of `bytes_max` octets at most.
    #[inline]
    pub fn step(&mut self, octets: &[u8], bytes_max: usize) -> Frame {
        if self.whole == 0 {
            let blank = octets
                .iter()
                .take_while(|octet| b"\r\n".contains(octet))
                .count();
            if blank > 0 {
                return Frame::Blank(blank);
            }
            let from = self.searched.saturating_sub(3);
            let Some(end) = memmem::find(&octets[from..], b"\r\n\r\n") else {
                self.searched = octets.len();
                return if octets.len() < bytes_max {
                    Frame::More
                } else {
                    Frame::Fault
                };
            };
            let head = from + end + 4;
            let length = Message::scan(&octets[..head])
                .ok()
                .and_then(|(message, _)| decimal(message.header(HeaderName::ContentLength)?));
            match length {
                Some(length) if head + length as usize <= bytes_max => {
                    self.whole = head + length as usize;
                }
                _ => return Frame::Fault,
            }
        }
        if octets.len() < self.whole {
            return Frame::More;
        }
        Frame::Whole(std::mem::take(self).whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &[u8] = b"BYE sip:a SIP/2.0\r\nl: 3\r\n\r\nabc";

    #[test]
    fn a_message_ends_where_its_length_says_however_it_comes() {
        let two = [MESSAGE, b"\r\n\r\n", MESSAGE].concat();
        let mut framing = Framing::default();
        assert_eq!(framing.step(&two, 100), Frame::Whole(MESSAGE.len()));
        assert_eq!(framing.step(&two[MESSAGE.len()..], 100), Frame::Blank(4));
        for cut in 1..MESSAGE.len() {
            assert_eq!(framing.step(&MESSAGE[..cut], 100), Frame::More, "{cut}");
        }
        assert_eq!(framing.step(MESSAGE, 100), Frame::Whole(MESSAGE.len()));
    }

    #[test]
    fn what_has_no_length_or_too_much_is_a_fault() {
        for text in [
            "x\r\n\r\n",
            "BYE sip:a SIP/2.0\r\n\r\n",
            "BYE sip:a SIP/2.0\r\nl: 999\r\n\r\n",
            "BYE sip:a SIP/2.0\r\nl: x\r\n\r\n",
        ] {
            assert_eq!(
                Framing::default().step(text.as_bytes(), 100),
                Frame::Fault,
                "{text}"
            );
        }
        let endless = [b'a'; 100];
        let mut framing = Framing::default();
        assert_eq!(framing.step(&endless[..99], 100), Frame::More);
        assert_eq!(framing.step(&endless, 100), Frame::Fault);
    }
}

//! The ladder: each failure as people draw it, engine left, other side right, time downwards.
//!
//! It says what failed, why, what that means and what of it is not known. Text for people: programs take the
//! capture. Called by `flight` alone.

use std::fmt::Write;

use sirocco_dispatch::flight::{Event, Flight, FlightLog, Step, Subject};

use super::Origin;

/// Columns between the two sides.
const WIDTH: usize = 72;

/// The text of a log.
#[must_use]
pub fn text(log: &FlightLog, origin: Origin) -> String {
    let mut text = format!(
        "flight recorder: the last {} of {} failures, those of each cause apart\nengine {}; times in seconds \
         since the first event of each\n",
        log.flights.len(),
        log.failures,
        origin.local
    );
    for (number, flight) in (1..).zip(&log.flights) {
        // Writing to a string does not fail.
        let _ = one(&mut text, number, flight, origin);
    }
    text
}

fn one(text: &mut String, number: usize, flight: &Flight, origin: Origin) -> std::fmt::Result {
    let Some(first) = flight.events().first() else {
        return Ok(());
    };
    let subject = match flight.subject {
        Subject::Sir => "SIR",
        Subject::Session => "session",
    };
    writeln!(text, "\n{number}. {subject} failed: {}", flight.cause)?;
    if let Some(meaning) = meaning(flight.subject, &flight.cause) {
        writeln!(text, "   {meaning}")?;
    }
    let unix_ns = origin.unix_ns(first.at_ns);
    write!(
        text,
        "   at Unix time {}.{:09}",
        unix_ns / 1_000_000_000,
        unix_ns % 1_000_000_000
    )?;
    if flight.first_within_ns > 0 {
        write!(
            text,
            " (up to {} us later)",
            flight.first_within_ns.div_ceil(1_000)
        )?;
    }
    if !flight.order.is_empty() {
        write!(text, ", order {}", flight.order)?;
    }
    if flight.due_ns > 0 {
        let late_ns = first.at_ns.saturating_sub(flight.due_ns);
        write!(text, ", due {:.6} s before", late_ns as f64 / 1e9)?;
    }
    if flight.retries > 0 {
        write!(
            text,
            ", after {} earlier attempts that a 503 ended",
            flight.retries
        )?;
    }
    writeln!(text)?;
    writeln!(text, "   {}", printable(flight.octets(first)))?;
    let peer = first.peer.to_string();
    writeln!(
        text,
        "   {:>12} engine{peer:>width$}",
        "",
        width = WIDTH - 4
    )?;
    for event in flight.events() {
        let after = event.at_ns.saturating_sub(first.at_ns) as f64 / 1e9;
        writeln!(text, "   {after:>12.6} {}", rung(flight, event, first))?;
    }
    if flight.untimed > 0 {
        writeln!(
            text,
            "   sent {} more times, whose times were not kept: they are neither here nor in the capture",
            flight.untimed
        )?;
    }
    Ok(())
}

/// One line between the two sides.
fn rung(flight: &Flight, event: &Event, first: &Event) -> String {
    let octets = flight.octets(event);
    let is_again = !std::ptr::eq(event, first) && octets.as_ptr() == flight.octets(first).as_ptr();
    let (left, right, label) = match event.step {
        Step::Sent if is_again => ("|--- ", "-->|", format!("{} again", method(octets))),
        Step::Sent => ("|--- ", "-->|", start_line(octets)),
        Step::Received => ("|<-- ", "---|", start_line(octets)),
        Step::Provisional(status) => ("|<-- ", "---|", format!("{status} (octets not kept)")),
        Step::Failed => return format!("x    {}", flight.cause),
    };
    let fill = WIDTH.saturating_sub(label.chars().count() + left.len() + right.len() + 1);
    let mut line = format!("{left}{label} {}{right}", "-".repeat(fill));
    if !octets.is_empty() {
        let _ = write!(line, " {} octets", octets.len());
    }
    if event.peer != first.peer {
        let _ = write!(line, ", {}", event.peer);
    }
    line
}

/// The first line of a message; what came from the network is shown as text whatever it is.
fn printable(octets: &[u8]) -> String {
    let line = octets
        .split(|&octet| octet == b'\r' || octet == b'\n')
        .next()
        .unwrap_or_default();
    String::from_utf8_lossy(line).replace(char::is_control, "?")
}

/// The first line of a message without its version, shortened.
fn start_line(octets: &[u8]) -> String {
    let text = printable(octets);
    let text = text
        .strip_suffix(" SIP/2.0")
        .or(text.strip_prefix("SIP/2.0 "))
        .unwrap_or(&text);
    let longest = WIDTH - 12;
    if text.chars().count() <= longest {
        return text.to_owned();
    }
    text.chars().take(longest - 2).chain("..".chars()).collect()
}

fn method(octets: &[u8]) -> String {
    let line = start_line(octets);
    line.split(' ').next().unwrap_or_default().to_owned()
}

/// What a cause means, for whoever has to do something about it.
fn meaning(subject: Subject, cause: &str) -> Option<&'static str> {
    let meaning = match (subject, cause) {
        (Subject::Sir, "timeout") => {
            "no final response within 32 s (Timer F): device or path silent"
        }
        (Subject::Sir, "transport") => "the kernel refused the datagram: route, length or address",
        (Subject::Sir, "expired") => "its order's deadline passed before an answer came",
        (Subject::Sir, "cancelled") => "the engine was stopped while it was open",
        (Subject::Sir, "503") => "the next hop is overloaded; with Retry-After it is tried again",
        (Subject::Sir, "415") => "a user agent that knows no SIR",
        (Subject::Sir, "404" | "410") => "nobody is registered under that GRUU any more",
        (Subject::Sir, "480" | "486" | "600" | "603") => "the device does not want it now",
        _ => return None,
    };
    Some(meaning)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sirocco_dispatch::flight::Recorder;

    #[test]
    fn a_ladder_shows_who_said_what_when_and_what_is_not_known() {
        let mut recorder = Recorder::new(4);
        let flight = recorder.begin(1, (Subject::Sir, 1000), false).unwrap();
        let (peer, other) = (
            "192.0.2.9:5060".parse().unwrap(),
            "192.0.2.8:5060".parse().unwrap(),
        );
        flight.cause.push_str("timeout");
        flight.order.push_str("night");
        (flight.due_ns, flight.untimed, flight.first_within_ns) = (500, 3, 156_250);
        let sir =
            flight.keep(|out| out.extend_from_slice(b"MESSAGE sip:a@h SIP/2.0\r\nVia: x\r\n"));
        let odd = flight.keep(|out| out.extend_from_slice(b"\x1b[31m\xff\r\n"));
        flight.add(1_000_500, Step::Sent, peer, sir);
        flight.add(500_000_500, Step::Sent, peer, sir);
        flight.add(500_000_600, Step::Provisional(100), peer, (0, 0));
        flight.add(600_000_000, Step::Received, other, odd);
        flight.add(32_001_000_500, Step::Failed, peer, (0, 0));
        let origin = Origin {
            local: "192.0.2.1:5070".parse().unwrap(),
            epoch_ns: 7_000_000_000,
        };
        let text = text(&recorder.log(), origin);
        for line in [
            "1. SIR failed: timeout",
            "Timer F",
            "at Unix time 7.001000500 (up to 157 us later), order night, due 0.001000 s before",
            "0.000000 |--- MESSAGE sip:a@h ---",
            "0.499000 |--- MESSAGE again ---",
            "|<-- 100 (octets not kept) ---",
            "|<-- ?[31m\u{fffd} ---",
            "192.0.2.8:5060",
            "32.000000 x    timeout",
            "sent 3 more times",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
        assert!(!text.contains('\x1b'));
    }
}

//! SIP over connections.

use super::*;
use crate::{StreamId, StreamKind};

fn closed(device: &Device) -> Vec<StreamId> {
    device.net.closed.clone()
}

#[test]
fn a_session_is_built_over_one_connection_however_its_octets_come() {
    for step in [1, 7, 100, 5_000] {
        let mut device = Device::new(config());
        let stream = device.connect(5, StreamKind::Sip);
        let tcp = |text: String| text.replace("SIP/2.0/UDP", "SIP/2.0/TCP");
        let invite = tcp(device.invite(""));
        let feed = |device: &mut Device, text: &str| {
            text.as_bytes()
                .chunks(step)
                .for_each(|part| device.write(stream, part));
        };
        feed(&mut device, &invite);
        let accepted = device.read(stream);
        assert!(accepted.starts_with("SIP/2.0 200 OK\r\n"), "{accepted}");
        assert!(accepted.contains("Contact: <sip:ppg@127.0.0.1:5070;transport=tcp>\r\n"));
        device.learn_tag(&accepted);
        let ack = device.inside("ACK", 1, "", "");
        feed(&mut device, &format!("{ack}\r\n\r\n"));
        let pushed = device.read(stream);
        let (pong, pushed) = match pushed.strip_suffix("\r\n") {
            Some(pushed) => (true, pushed.to_owned()),
            None => (false, pushed),
        };
        assert!(pong, "a ping is answered");
        assert!(
            pushed.starts_with("MESSAGE ") && pushed.contains("Via: SIP/2.0/TCP 127.0.0.1:5070;")
        );
        device.wait(10 * SECOND);
        assert!(
            device.read(stream).is_empty(),
            "nothing is repeated over TCP"
        );
        device.answer(&pushed, 200);
        let bye = device.read(stream);
        device.answer(&bye, 200);
        assert!(device.sessions.is_empty() && device.net.datagrams.is_empty());
        assert_eq!(device.sessions.counts().delivered, 1);
    }
}

#[test]
fn two_messages_in_one_piece_are_two() {
    let mut device = Device::new(config());
    let stream = device.connect(5, StreamKind::Sip);
    let options = device.outside("OPTIONS", "sip:127.0.0.1", "", "");
    device.write(stream, format!("{options}{options}").as_bytes());
    assert_eq!(device.read(stream).matches("SIP/2.0 200 OK\r\n").count(), 2);
}

#[test]
fn what_cannot_be_framed_closes_its_connection_only() {
    let mut device = Device::new(SessionConfig {
        stream_bytes_max: 1_000,
        stream_bytes_total_max: 2_500,
        ..config()
    });
    let faults = [
        b"INVITE sip:a SIP/2.0\r\n\r\n".to_vec(),
        vec![b'x'; 1_000],
        b"BYE sip:a SIP/2.0\r\nContent-Length: 5000\r\n\r\n".to_vec(),
    ];
    for (number, octets) in faults.iter().enumerate() {
        let stream = device.connect(number as u64, StreamKind::Sip);
        device.write(stream, octets);
        assert_eq!(closed(&device).last(), Some(&stream), "{number}");
    }
    let held: Vec<_> = (10..13)
        .map(|number| device.connect(number, StreamKind::Sip))
        .collect();
    for stream in &held {
        device.write(*stream, &[b'x'; 900]);
    }
    assert_eq!(
        closed(&device).last(),
        Some(&held[0]),
        "all buffers together are bounded"
    );
    device.write(held[0], b"x");
    assert_eq!(
        closed(&device).len(),
        5,
        "octets for a connection that is gone"
    );
    assert_eq!(device.sessions.counts().strays.streams, 4);
}

#[test]
fn connections_are_bounded_and_silent_ones_closed() {
    let mut device = Device::new(SessionConfig {
        streams_max: 3,
        ..config()
    });
    let silent = device.connect(1, StreamKind::Sip);
    let slow = device.connect(2, StreamKind::Sip);
    let unbound = device.connect(3, StreamKind::Msrp);
    let more = StreamId(4);
    assert!(
        !device
            .sessions
            .stream_opened(device.now, more, StreamKind::Sip, PEER)
    );
    let options = device.outside("OPTIONS", "sip:127.0.0.1", "", "");
    device.write(slow, options.as_bytes());
    device.wait(20 * SECOND);
    assert!(closed(&device).is_empty());
    device.write(slow, b"INV");
    device.wait(12 * SECOND);
    let mut gone = closed(&device);
    gone.sort_by_key(|stream| stream.0);
    assert_eq!(gone, [silent, slow, unbound]);
    assert_eq!(device.sessions.counts().streams_silent, 3);
    device.connect(5, StreamKind::Sip);
}

#[test]
fn connections_that_nobody_uses_or_that_take_nothing_are_closed() {
    let mut device = Device::new(SessionConfig {
        end: End::Device,
        ..config()
    });
    let idle = device.connect(1, StreamKind::Sip);
    device.write(idle, b"\r\n\r\n");
    let used = device.connect(2, StreamKind::Sip);
    let invite = device.invite("").replace("SIP/2.0/UDP", "SIP/2.0/TCP");
    device.write(used, invite.as_bytes());
    let accepted = device.read(used);
    device.learn_tag(&accepted);
    device.say(&device.inside("ACK", 1, "", ""));
    let pushed = device.read(used);
    device.answer(&pushed, 200);
    device.wait(60 * SECOND);
    assert!(device.net.closed.is_empty());
    device.wait(70 * SECOND);
    assert_eq!(device.net.closed, [idle]);
    let mut device = Device::new(config());
    let stuck = device.connect(3, StreamKind::Sip);
    device.write(stuck, invite.as_bytes());
    let accepted = device.read(stuck);
    device.learn_tag(&accepted);
    device.net.full = true;
    let ack = device.inside("ACK", 1, "", "");
    device.write(stuck, ack.as_bytes());
    device.wait(32 * SECOND);
    assert_eq!(device.net.closed, [stuck]);
}

#[test]
fn whoever_holds_most_of_incomplete_messages_makes_room() {
    let mut device = Device::new(SessionConfig {
        stream_bytes_total_max: 10_000,
        ..config()
    });
    let greedy = device.connect(1, StreamKind::Sip);
    let modest = device.connect(2, StreamKind::Sip);
    let long = format!("OPTIONS sip:h SIP/2.0\r\nX: {}", "x".repeat(9_870));
    device.write(greedy, long.as_bytes());
    let options = device.outside("OPTIONS", "sip:127.0.0.1", "", "");
    device.write(modest, &options.as_bytes()[..150]);
    assert_eq!(device.net.closed, [greedy]);
    device.write(modest, &options.as_bytes()[150..]);
    assert!(device.read(modest).starts_with("SIP/2.0 200 "));
}

#[test]
fn no_address_takes_all_connections() {
    let mut device = Device::new(SessionConfig {
        streams_max: 80,
        ..config()
    });
    let mut open = |number, peer| {
        let (now, stream) = (device.now, StreamId(number));
        device
            .sessions
            .stream_opened(now, stream, StreamKind::Sip, peer)
    };
    let taken = (0..80).filter(|number| open(*number, PEER)).count();
    assert_eq!(taken, 20);
    assert!(open(90, "127.0.0.9:5".parse().unwrap()));
}

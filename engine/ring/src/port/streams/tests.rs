//! The life of a slot against a scripted kernel: what it wants, when it is free, what is told.

use std::net::{Ipv4Addr, TcpListener};

use std::os::fd::OwnedFd;

use super::opening::ACCEPTS_PAUSE;
use super::*;
use crate::config::{PortConfig, SocketConfig};

fn streams(count: u32) -> Streams {
    let mut config = PortConfig::new(vec![SocketConfig::default()]);
    config.streams_max = count;
    config.stream_blocks = 8;
    config.stream_buffers = 4;
    Streams::new(&config).unwrap()
}

/// A socket that nobody uses.
fn socket() -> OwnedFd {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().into()
}

fn peer() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 9))
}

/// What is told now, in short.
fn told(streams: &mut Streams) -> Vec<String> {
    let mut told = Vec::new();
    let mut note = |event: StreamEvent<'_>| {
        told.push(match event {
            StreamEvent::Accepted { .. } => "accepted".to_owned(),
            StreamEvent::Connected { .. } => "connected".to_owned(),
            StreamEvent::Refused { errno, .. } => format!("refused {errno}"),
            StreamEvent::Received { bytes, .. } => format!("received {}", bytes.len()),
            StreamEvent::Drained { .. } => "drained".to_owned(),
            StreamEvent::Closed { cause, .. } => format!("closed {cause:?}"),
        });
    };
    while streams.tell(&mut note).is_some() {}
    told
}

/// Serves every listed slot as a kernel would that takes all operations; returns what was wanted.
fn served(streams: &mut Streams) -> Vec<Wants> {
    let mut all = Vec::new();
    for _ in 0..streams.work_count() {
        let Some(slot) = streams.next_work() else {
            break;
        };
        let wants = streams.wants(slot);
        if wants.send {
            streams.depart(slot);
        }
        let at = streams.slot_mut(slot);
        at.connecting |= wants.connect;
        at.sending |= wants.send;
        at.receiving |= wants.receive;
        at.canceled |= wants.cancel;
        all.push(wants);
    }
    all
}

#[test]
fn a_slot_is_free_only_after_its_last_completion_and_its_last_event() {
    let mut streams = streams(1);
    let slot = streams.accepted(socket(), 0, peer());
    let stream = streams.id(slot);
    streams.send(stream, b"octets").unwrap();
    let wanted = served(&mut streams);
    assert!(wanted[0].send && wanted[0].receive);
    streams.reset(stream);
    assert!(served(&mut streams)[0].cancel);
    assert_eq!(told(&mut streams), ["accepted", "closed Local"]);
    assert_eq!(streams.free_count(), 0, "two operations are the kernel's");
    streams.receive_ended(slot, libc::ECANCELED);
    streams.sent(slot, -libc::ECANCELED);
    assert_eq!(streams.blocks.free_count(), 8);
    served(&mut streams);
    assert_eq!(streams.free_count(), 1);
    let next = streams.accepted(socket(), 0, peer());
    assert_eq!(next, slot);
    assert_ne!(streams.id(next), stream);
    assert_eq!(streams.send(stream, b"x"), Err(StreamFull::Closed));
}

#[test]
fn an_end_that_was_not_told_keeps_its_slot() {
    let mut streams = streams(1);
    let slot = streams.accepted(socket(), 0, peer());
    streams.reset(streams.id(slot));
    served(&mut streams);
    assert_eq!(streams.free_count(), 0);
    assert_eq!(told(&mut streams), ["accepted", "closed Local"]);
    assert_eq!(streams.free_count(), 1);
}

#[test]
fn a_send_of_nothing_ends_the_stream_instead_of_going_round() {
    let mut streams = streams(1);
    let slot = streams.accepted(socket(), 0, peer());
    streams.send(streams.id(slot), b"octets").unwrap();
    served(&mut streams);
    streams.sent(slot, 0);
    assert_eq!(told(&mut streams), ["accepted", "closed Failed(5)"]);
}

#[test]
fn a_partial_send_goes_on_where_it_stopped() {
    let mut streams = streams(1);
    let slot = streams.accepted(socket(), 0, peer());
    streams.send(streams.id(slot), &[1; 20_000]).unwrap();
    served(&mut streams);
    streams.sent(slot, 12_345);
    assert_eq!(streams.slots[slot as usize].queue.bytes(), 20_000 - 12_345);
    assert!(served(&mut streams)[0].send);
    streams.sent(slot, 20_000 - 12_345);
    assert!(!streams.has_work());
    let counters = streams.counters;
    assert_eq!((counters.sends, counters.partial_sends), (2, 1));
}

#[test]
fn octets_of_a_closing_stream_are_dropped_and_their_buffer_is_free() {
    let mut streams = streams(1);
    let slot = streams.accepted(socket(), 0, peer());
    served(&mut streams);
    assert!(streams.received(slot, 0, 10));
    streams.close(streams.id(slot));
    assert!(!streams.received(slot, 1, 7));
    assert_eq!(streams.receive.available(), 3);
    streams.receive_ended(slot, 0);
    let all = ["accepted", "received 10", "closed Local"];
    assert_eq!(told(&mut streams), all);
    assert_eq!(streams.receive.available(), 4);
    assert_eq!(streams.counters.bytes_discarded, 7);
}

#[test]
fn a_starved_stream_is_served_again_when_a_buffer_is_free() {
    let mut streams = streams(2);
    let (one, other) = (
        streams.accepted(socket(), 0, peer()),
        streams.accepted(socket(), 0, peer()),
    );
    served(&mut streams);
    for buffer in 0..4 {
        assert!(streams.received(one, buffer, 1));
    }
    streams.receive_ended(other, libc::ENOBUFS);
    streams.feed();
    assert!(!streams.has_work(), "there is no buffer");
    told(&mut streams);
    streams.feed();
    assert!(served(&mut streams)[0].receive);
}

#[test]
fn one_want_of_descriptors_is_counted_once_and_a_stream_that_ends_ends_it() {
    let mut streams = streams(1);
    for _ in 0..ACCEPTS_MAX {
        streams.accept_failed(libc::EMFILE);
    }
    assert_eq!(streams.counters.accepts_starved, 1);
    assert!(!streams.accepts());
    assert!(
        streams
            .begin_turn()
            .is_some_and(|wait| wait <= ACCEPTS_PAUSE)
    );
    let slot = streams.accepted(socket(), 0, peer());
    streams.reset(streams.id(slot));
    assert!(streams.accepts());
    assert_eq!(streams.begin_turn(), None);
}

#[test]
fn octets_queued_for_a_refused_connect_are_given_back() {
    let mut streams = streams(1);
    let stream = streams.connect(Ok(socket()), peer()).unwrap();
    streams.send(stream, &[1; 30_000]).unwrap();
    assert!(served(&mut streams)[0].connect);
    streams.connected(stream.slot(), libc::ECONNREFUSED);
    assert_eq!(told(&mut streams), ["refused 111"]);
    served(&mut streams);
    assert_eq!((streams.free_count(), streams.blocks.free_count()), (1, 8));
    assert_eq!(
        streams.connect(Ok(socket()), peer()).map(|id| id == stream),
        Some(false)
    );
    assert_eq!(streams.connect(Ok(socket()), peer()), None);
    assert_eq!(streams.counters.connects_full, 1);
}

//! Every protocol of Sirocco as bytes: SIP messages, SIP URIs, device identities and the SIR body
//! `application/vnd.wap.sia`.
//!
//! Pure functions over borrowed octets: no I/O, no clock, no allocation on the paths that see
//! network bytes, no `unsafe`. The engine, the load generator and the bench all use this one codec.

#![forbid(unsafe_code)]

pub mod identity;
pub mod msrp;
pub mod parameters;
pub mod sdp;
pub mod sip;
pub mod sir;
pub mod writer;
pub mod wsp;

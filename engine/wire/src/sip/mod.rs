//! SIP (RFC 3261) as bytes: one parser for both directions, a writer, and the compiled template.
//!
//! Transactions, timers and routing live in `engine/dispatch`; this module knows neither time nor
//! sockets. docs/sip.md lists what is implemented and what is not.

pub mod address;
pub mod contact;
pub mod header;
mod line;
pub mod list;
pub mod message;
pub mod mould;
pub mod screen;
pub mod seal;
pub mod shape;
pub mod status;
pub mod stream;
pub mod template;
pub mod token;
pub mod uri;
pub mod via;
pub mod write;

pub use address::Address;
pub use contact::Contact;
pub use header::HeaderName;
pub use message::{CSeq, Message, Method, ParseError, StartLine};
pub use screen::{DropReason, Role, Transport, Verdict, screen, screen_as};
pub use seal::{SealCheck, SirKey};
pub use status::Status;
pub use template::{DevicePosition, LengthClass, SirSpec, Slots, Template, TemplateError, When};
pub use uri::SipUri;
pub use via::Via;

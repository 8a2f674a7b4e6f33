//! Sessions: what a device does once it has a SIR. It decides, calls the PPG that the SIR names, takes
//! the content and ends the call, or returns why it does not.
//!
//! State machines without sockets or clocks. `consider` is the way in for SIRs, `dialog` for what the
//! other side says, `calls` for time; everything that leaves goes onto `lanes`.

mod calls;
mod consider;
mod counts;
mod credentials;
mod decide;
mod delay;
mod dialog;
mod digest;
mod edges;
mod gateway;
mod held;
mod lanes;
mod links;
mod name;
mod outgoing;
pub(crate) mod people;
mod policy;
mod source;
mod table;
mod wheel;
mod write;

pub(crate) use calls::{Calls, CallsConfig};
pub(crate) use consider::{Delivery, Setting};
pub use counts::{SessionCounts, SessionTotals};
pub(crate) use credentials::Accounts;
pub use credentials::Credentials;
pub use decide::Word;
pub use delay::{DELAY_S_MAX, Delay, DelayError};
pub use lanes::Disturbance;
pub(crate) use lanes::{Fate, Load};
pub(crate) use links::LINKS_MAX;
pub use name::GENERATORS_MAX;
pub use people::PeopleError;
pub use policy::{Fault, PPG_LIST_MAX, SessionPolicy, Take, Traits, Transport};
pub use source::{Flood, Invite, RATE_MAX, Register};
pub(crate) use source::{Sources, SourcesConfig};
pub use table::CALLS_MAX;

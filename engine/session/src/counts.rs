//! What became of every request and every session: counts that balance.
//!
//! opened = ended by cause + open, at every moment; each content pushed is delivered or failed by cause once.
//! What a stranger sends is counted by what it was and leaves nothing else behind. Nothing here decides.

use crate::host::{Cause, Refusal};
use serde::{Deserialize, Serialize};

macro_rules! counts {
    ($(#[$what:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident),* $(,)? }) => {
        $(#[$what])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case", default)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: u64,)*
        }

        impl $name {
            /// The sum of all of them.
            #[must_use]
            pub fn total(&self) -> u64 {
                0 $(+ self.$field)*
            }
        }
    };
}

counts! {
    /// Endings, or failed contents, by cause.
    ByCause {
        /// The engine's BYE, its work done.
        engine,
        /// The device's BYE.
        peer,
        /// No ACK for the 2xx within 64*T1.
        no_ack,
        /// No answer to a request of ours within 64*T1.
        no_answer,
        /// The device answered 481 or 408: it has no such dialog.
        gone,
        /// The device refused the content with another final response.
        refused,
        /// The content was taken back before it was sent.
        content_gone,
        /// The device did not connect for MSRP in time.
        not_connected,
        /// A connection was lost or its peer broke the protocol.
        connection,
        /// The engine is told to end all sessions.
        drained,
        /// The longest hold time was over.
        held_too_long,
    }
}

counts! {
    /// Requests that opened nothing, by what was wrong with them.
    RefusedCounts {
        /// 403: no token.
        token_missing,
        /// 403: a token that this engine did not make for that device.
        token_forged,
        /// 403: a token whose time is over.
        token_expired,
        /// 403: a token that opened a session already.
        token_used,
        /// 410: the content is no longer there.
        content_gone,
        /// 400 and what else a malformed request gets.
        malformed,
        /// 405.
        method,
        /// 415.
        media_type,
        /// 416.
        scheme,
        /// 420.
        extension,
        /// 481.
        no_dialog,
        /// 482.
        merged,
        /// 488: no usable offer, no way for the content, or an offer in an open session.
        offer,
        /// 500: CSeq out of order.
        out_of_order,
        /// 503: no room, or draining.
        overload,
        /// 513: a text too long to keep.
        too_long,
    }
}

counts! {
    /// What came and changed nothing.
    StrayCounts {
        /// ACKs of refusals and of nothing.
        acks,
        /// Responses to transactions that are over.
        late,
        /// Responses of other kinds: a branch of ours with another CSeq, a status out of range.
        odd_responses,
        /// Messages that are neither request nor response, or cannot be answered.
        unreadable,
        /// Octets of a connection that follow no protocol of ours.
        streams,
    }
}

/// All counts of the sessions of one worker since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct SessionCounts {
    /// Requests of all kinds.
    pub requests: u64,
    /// INVITEs outside dialogs, retransmissions included.
    pub invites: u64,
    /// INVITEs that were answered 200: each opened a session.
    pub opened: u64,
    /// Sessions whose ACK came.
    pub established: u64,
    /// Sessions that are open now.
    pub open: u64,
    /// Sessions that ended, by cause.
    pub ended: ByCause,
    /// Contents that are under way now: begun with the 200 to INVITE or later, neither delivered nor failed.
    pub pushing: u64,
    /// Contents of which a device said that it has them.
    pub delivered: u64,
    /// Contents that were not delivered, by cause.
    pub failed: ByCause,
    /// Requests that were refused, by what was wrong.
    pub refused: RefusedCounts,
    /// Refusals that were not sent because there were too many; counted in `refused` as well.
    pub refusals_dropped: u64,
    /// Requests that came again and changed nothing.
    pub repeated: u64,
    /// CANCELs for a session that was answered already.
    pub cancels: u64,
    /// OPTIONS answered.
    pub options: u64,
    /// Messages with returned information that the host took.
    pub returned: u64,
    /// MESSAGEs from devices inside sessions.
    pub messages: u64,
    /// REGISTERs that the host took.
    pub registers: u64,
    /// Transmissions after the first: of a 2xx, MESSAGE or BYE.
    pub retransmissions: u64,
    /// BYEs of ours that nobody answered.
    pub byes_unanswered: u64,
    /// Chunks of contents that went by MSRP.
    pub chunks: u64,
    /// Requests of MSRP that were refused.
    pub msrp_refused: u64,
    /// Connections taken.
    pub streams: u64,
    /// Connections refused because there were too many.
    pub streams_refused: u64,
    /// Connections closed because they said nothing, or took nothing, for too long.
    pub streams_silent: u64,
    /// Messages that found no room in the outbox; timers repair it.
    pub no_room: u64,
    /// What changed nothing.
    pub strays: StrayCounts,
}

impl SessionCounts {
    /// What the balance lacks: 0, or a bug.
    #[must_use]
    pub fn residue(&self) -> i64 {
        self.opened.cast_signed() - self.ended.total().cast_signed() - self.open.cast_signed()
    }
}

impl ByCause {
    pub(crate) fn count(&mut self, cause: Cause) {
        *match cause {
            Cause::Engine => &mut self.engine,
            Cause::Peer => &mut self.peer,
            Cause::NoAck => &mut self.no_ack,
            Cause::NoAnswer => &mut self.no_answer,
            Cause::Gone => &mut self.gone,
            Cause::Refused(_) => &mut self.refused,
            Cause::ContentGone => &mut self.content_gone,
            Cause::NotConnected => &mut self.not_connected,
            Cause::Connection => &mut self.connection,
            Cause::Drained => &mut self.drained,
            Cause::HeldTooLong => &mut self.held_too_long,
        } += 1;
    }
}

impl RefusedCounts {
    pub(crate) fn count(&mut self, refusal: Refusal) {
        *match refusal {
            Refusal::TokenMissing => &mut self.token_missing,
            Refusal::TokenForged => &mut self.token_forged,
            Refusal::TokenExpired => &mut self.token_expired,
            Refusal::TokenUsed => &mut self.token_used,
            Refusal::ContentGone => &mut self.content_gone,
            Refusal::ContentUntaken => &mut self.offer,
        } += 1;
    }
}

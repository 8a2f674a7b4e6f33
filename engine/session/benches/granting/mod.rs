//! A host that admits everybody and has one content: for the bench and the example, which measure the sessions
//! alone.

use sirocco_session::{Content, Grant, Host, Invitation, Push, Refusal, SessionEvent};

/// Grants each INVITE the same content.
pub struct Granting(pub &'static [u8]);

impl Host for Granting {
    fn admit(
        &mut self,
        _: u64,
        _: &Invitation<'_>,
        takes: impl FnOnce(&Content<'_>) -> bool,
    ) -> Result<Grant, Refusal> {
        if !self
            .content([1, 2], 1)
            .is_some_and(|content| takes(&content))
        {
            return Err(Refusal::ContentUntaken);
        }
        Ok(Grant {
            content: 1,
            owner: [1, 2],
        })
    }
    fn content(&self, _: [u64; 2], _: u16) -> Option<Content<'_>> {
        Some(Content {
            content_type: "text/plain",
            octets: self.0,
            prefer: Push::Auto,
        })
    }
    fn returned(&mut self, _: u64, _: &Invitation<'_>, _: &[u8]) -> Result<(), Refusal> {
        Ok(())
    }
    fn register(&mut self, _: u64, _: &Invitation<'_>, _: &[u8], _: u32) -> Result<(), Refusal> {
        Ok(())
    }
    fn note(&mut self, _: u64, _: [u64; 2], _: u16, _: SessionEvent) {}
}

//! What a full line does that is not to refuse: others give way.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::Core;
use crate::packet::Publish;
use crate::session::error::PublishError;
use crate::session::link::Phase;
use crate::time::Instant;
use crate::types::{QoS, Token};

impl Core {
    pub(in crate::session) fn has_room(&self, publish: &Publish) -> bool {
        let acknowledged = publish.qos != QoS::AtMostOnce;
        self.state.outbound.has_room(publish.size(), acknowledged, &self.settings.bounds)
    }

    /// Takes a message whatever the bounds say; returns its token and its place.
    pub(in crate::session) fn publish_over(
        &mut self,
        mut publish: Publish,
        place: Option<Token>,
        now: Instant,
        taken: &mut Vec<(Token, Publish)>,
    ) -> Result<(Token, Token), PublishError> {
        if self.phase() == Phase::Closing {
            return Err(PublishError::Closing(Box::new(publish)));
        }
        if let Err(error) = self.check(&publish) {
            self.state.outbound.spent.put(publish);
            return Err(error);
        }
        let (size, before) = (publish.size(), taken.len());
        let outbound = &mut self.state.outbound;
        if publish.qos != QoS::AtMostOnce
            && outbound.lacks_identifier()
            && !outbound.free_identifier(place, taken)
        {
            return Err(PublishError::Full(Box::new(publish)));
        }
        if let Some(place) = place {
            match outbound.replace(place, publish, size, now) {
                Ok((token, old)) => {
                    // It is the first of them, also if another one has given its identifier.
                    if let Some(old) = old {
                        taken.insert(before, old);
                    }
                    self.shed(place, taken);
                    return Ok((token, place));
                }
                Err(back) => publish = back,
            }
        }
        while !self.has_room(&publish)
            && let Some(oldest) = self.state.outbound.take_oldest(None)
        {
            taken.push(oldest);
        }
        // What is in flight cannot be given up: beside that, one message may always wait.
        let token = self.state.outbound.push(publish, size, now);
        let token = token.map_err(|publish| PublishError::Full(Box::new(publish)))?;
        Ok((token, token))
    }

    /// A message that is larger than the one whose place it took may make others give way.
    fn shed(&mut self, place: Token, taken: &mut Vec<(Token, Publish)>) {
        while self.state.outbound.held_bytes() > self.settings.bounds.bytes
            && let Some(oldest) = self.state.outbound.take_oldest(Some(place))
        {
            taken.push(oldest);
        }
        self.make_writable();
    }

    pub(in crate::session) fn take_back(
        &mut self,
        unwanted: impl FnMut(&Publish) -> bool,
    ) -> Vec<(Token, Publish)> {
        let taken = self.state.outbound.take_unwanted(unwanted);
        self.make_writable();
        taken
    }
}

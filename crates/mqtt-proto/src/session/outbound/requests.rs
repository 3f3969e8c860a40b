//! SUBSCRIBE and UNSUBSCRIBE on their way out.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use super::{Exchange, InFlight, Outbound};
use crate::codec;
use crate::packet::{Packet, Subscribe, Unsubscribe};
use crate::session::error::Failure;
use crate::session::event::Event;
use crate::session::limits::Wire;
use crate::session::list::relax;
use crate::txbuf::TxBuf;
use crate::types::{PacketId, Token};

/// A SUBSCRIBE or an UNSUBSCRIBE.
#[derive(Debug)]
pub(in crate::session) enum Request {
    Subscribe(Box<Subscribe>),
    Unsubscribe(Box<Unsubscribe>),
}

impl Request {
    pub(in crate::session) fn into_packet(self, id: PacketId) -> Packet {
        match self {
            Request::Subscribe(subscribe) => Packet::Subscribe(id, subscribe),
            Request::Unsubscribe(unsubscribe) => Packet::Unsubscribe(id, unsubscribe),
        }
    }

    /// Takes a request back out of its packet.
    pub(in crate::session) fn from_packet(packet: Packet) -> Option<Request> {
        match packet {
            Packet::Subscribe(_, subscribe) => Some(Request::Subscribe(subscribe)),
            Packet::Unsubscribe(_, unsubscribe) => Some(Request::Unsubscribe(unsubscribe)),
            _ => None,
        }
    }
}

impl Outbound {
    pub(in crate::session) fn push_request(&mut self, request: Request) -> Token {
        let token = self.token();
        self.requests.push_back((token, request));
        token
    }

    /// Returns how many requests have no answer yet.
    pub(in crate::session) fn requests(&self) -> usize {
        self.requests.len() + self.requests_in_flight
    }

    /// Sends the next request; false if there is none, or if no identifier is free.
    pub(in crate::session) fn send_request(
        &mut self,
        wire: &Wire<'_>,
        out: &mut TxBuf,
        events: &mut VecDeque<Event>,
    ) -> bool {
        let key = self.in_flight.next_key();
        while let Some((token, request)) = self.requests.pop_front() {
            let lacks = match &request {
                Request::Subscribe(subscribe) => wire.limits.lacks_for_subscribe(subscribe),
                Request::Unsubscribe(_) => None,
            };
            if let Some(what) = lacks {
                events.push_back(Event::Failed { token, error: Failure::NotSupported(what) });
                continue;
            }
            let Some(id) = self.ids.allocate(key) else {
                self.requests.push_front((token, request));
                return false;
            };
            let packet = request.into_packet(id);
            let result = encode_packet(&packet, wire, out);
            let Some(request) = Request::from_packet(packet) else { continue };
            match result {
                Ok(()) => {
                    let exchange = Exchange::Request(request);
                    self.in_flight.push(InFlight { token, id, link: wire.link, exchange });
                    self.requests_in_flight += 1;
                    // There is seldom a next one, and it needs memory of its own anyway.
                    relax(&mut self.requests);
                    return true;
                }
                Err(error) => {
                    self.ids.free(id);
                    events.push_back(Event::Failed { token, error });
                }
            }
        }
        false
    }
}

fn encode_packet(packet: &Packet, wire: &Wire<'_>, out: &mut TxBuf) -> Result<(), Failure> {
    let size = codec::encoded_len(packet, wire.version).map_err(Failure::Invalid)?;
    if size > wire.limits.maximum_packet_size as usize {
        return Err(Failure::TooLarge { size, limit: wire.limits.maximum_packet_size });
    }
    codec::encode(packet, wire.version, out).map_err(Failure::Invalid)
}

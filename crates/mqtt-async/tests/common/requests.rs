//! Requests of a client, and what a responder would answer.

use std::time::Duration;

use mqtt_async::{Message, Publish, QoS, RequestError, Requesting, TopicName};

use super::bench::Bench;
use super::server::Seen;

pub const SECOND: Duration = Duration::from_secs(1);

pub fn request(bench: &Bench, payload: &str) -> Requesting {
    bench.client().request("service", payload.to_owned(), 10 * SECOND)
}

/// The requests that the server has seen, not counting what is sent again.
pub fn requests(bench: &Bench) -> Vec<Publish> {
    bench.server.script(|script| script.published.clone())
}

pub fn filters(bench: &Bench) -> Vec<String> {
    let seen = bench.server.seen().into_iter();
    let filters = seen.filter_map(|seen| match seen {
        Seen::Subscribe(filters) => Some(filters),
        _ => None,
    });
    filters.flatten().collect()
}

/// What a responder would answer.
pub fn response(request: &Publish, payload: &str) -> Publish {
    let fields = request.properties.get();
    match fields.and_then(|fields| fields.response_topic.clone()) {
        Some(topic) => {
            let mut response = Publish::new(topic, payload.to_owned());
            response.properties.edit().correlation_data =
                fields.and_then(|fields| fields.correlation_data.clone());
            response
        }
        None => {
            let (_, topic) = request.topic.as_str().split_once("/$response/").unwrap();
            Publish::new(TopicName::new(topic).unwrap(), payload.to_owned())
        }
    }
}

pub fn send(bench: &mut Bench, response: Publish) {
    bench.server.script(|script| script.push.push_back(response.qos(QoS::AtLeastOnce)));
    bench.settle();
}

/// Answers the request of that place.
pub fn answer(bench: &mut Bench, place: usize, payload: &str) {
    let response = response(&requests(bench)[place], payload);
    send(bench, response);
}

pub fn payload(result: Result<Message, RequestError>) -> String {
    String::from_utf8(result.unwrap().payload().to_vec()).unwrap()
}

pub fn is_hex(level: &str, digits: usize) -> bool {
    level.len() == digits && level.bytes().all(|byte| byte.is_ascii_hexdigit())
}

//! An authenticator for tests, and what it has done.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Poll, Waker};

use bytes::Bytes;
use mqtt_async::{Authenticator, Client, Config, HookError, Phase, ReasonCode, Text, Version};

use super::bench::{Bench, lasting};
use super::pipe::Shape;
use super::server::Seen;

/// What the authenticators of a test do, and what they have done.
#[derive(Clone, Default)]
pub struct Play(pub Arc<Mutex<Inner>>);

#[derive(Default)]
pub struct Inner {
    log: Vec<String>,
    made: usize,
    /// The step that fails, or that waits.
    fails: Option<&'static str>,
    waits: Option<&'static str>,
    waker: Option<Waker>,
    pub method: Option<&'static str>,
}

impl Play {
    pub fn log(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().log)
    }

    pub fn made(&self) -> usize {
        self.0.lock().unwrap().made
    }

    pub fn fails(&self, step: Option<&'static str>) {
        self.0.lock().unwrap().fails = step;
    }

    pub fn waits(&self, step: Option<&'static str>) {
        let waker = {
            let mut inner = self.0.lock().unwrap();
            inner.waits = step;
            inner.waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    /// Makes an authenticator.
    pub fn actor(&self, client: Arc<OnceLock<Client>>) -> Actor {
        let mut inner = self.0.lock().unwrap();
        inner.made += 1;
        let method = inner.method.unwrap_or("METHOD");
        drop(inner);
        Actor { play: self.clone(), client, method }
    }

    pub fn note(&self, what: String) {
        self.0.lock().unwrap().log.push(what);
    }
}

/// Says `name(data)` to everything, and expects `proof` in the end. It also uses the client all the time.
pub struct Actor {
    pub play: Play,
    pub client: Arc<OnceLock<Client>>,
    pub method: &'static str,
}

impl Actor {
    async fn step(&self, name: &'static str, data: Option<Bytes>) -> Result<String, HookError> {
        let data = data.map(|data| String::from_utf8(data.to_vec()).unwrap()).unwrap_or_default();
        let said = format!("{name}({data})");
        self.play.note(said.clone());
        // Tells that the future is gone before its time.
        let mut dropped = Dropped(Some(self.play.clone()));
        poll_fn(|cx| {
            self.look();
            let mut inner = self.play.0.lock().unwrap();
            inner.waker = Some(cx.waker().clone());
            if inner.waits == Some(name) { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
        dropped.0 = None;
        if self.play.0.lock().unwrap().fails == Some(name) {
            return Err(format!("{name} fails").into());
        }
        Ok(said)
    }

    fn look(&self) {
        if let Some(client) = self.client.get() {
            drop(client.status());
        }
    }
}

pub struct Dropped(Option<Play>);

impl Drop for Dropped {
    fn drop(&mut self) {
        if let Some(play) = &self.0 {
            play.note("dropped".into());
        }
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.look();
    }
}

impl Authenticator for Actor {
    fn method(&self) -> &str {
        self.look();
        self.method
    }

    async fn start(&mut self) -> Result<Option<Bytes>, HookError> {
        Ok(Some(self.step("start", None).await?.into()))
    }

    async fn answer(&mut self, challenge: Option<Bytes>) -> Result<Option<Bytes>, HookError> {
        Ok(Some(self.step("answer", challenge).await?.into()))
    }

    async fn finish(&mut self, data: Option<Bytes>) -> Result<(), HookError> {
        self.step("finish", data).await.map(drop)
    }
}

/// A client with an authenticator.
pub fn staged_with(config: Config, play: &Play, shape: Shape) -> Bench {
    let place: Arc<OnceLock<Client>> = Arc::default();
    let (play, client) = (play.clone(), Arc::clone(&place));
    let bench = Bench::hooked(config, shape, |driver| {
        driver.authenticator(move || {
            let actor = play.actor(Arc::clone(&client));
            actor.look();
            actor
        })
    });
    place.set(bench.client().clone()).unwrap();
    bench
}

pub fn staged(play: &Play) -> Bench {
    staged_with(lasting(Version::V5), play, Shape::default())
}

/// One that is connected.
pub fn standing(play: &Play) -> Bench {
    let mut bench = staged(play);
    bench.settle();
    assert_eq!(bench.client().status().phase, Phase::Connected);
    play.log();
    bench
}

pub fn auths(bench: &Bench) -> Vec<(ReasonCode, String)> {
    let steps = bench.server.seen().into_iter().filter_map(|seen| match seen {
        Seen::Auth(reason, data) => Some((reason, data)),
        _ => None,
    });
    steps.collect()
}

pub fn text(text: &str) -> Option<Text> {
    Some(Text::new(text).unwrap())
}

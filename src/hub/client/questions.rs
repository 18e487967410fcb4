//! Questions to a hub that have a short answer: asked again where that may help.

use reqwest::{Method, Response, Url};

use super::fault::{Fault, Kind};
use super::http::{Answer, Client, Patience, host};

/// Bytes of the longest answer that is read as JSON.
const LONGEST_ANSWER: usize = 64 << 20;

impl Client {
    /// Asks about a file, without its bytes.
    ///
    /// # Errors
    /// As [`json`](Self::json).
    pub async fn head(&self, url: Url) -> Result<Answer, Fault> {
        let ask = async || self.send(Method::HEAD, url.clone(), None, Patience::Answer).await;
        let answer = self.patiently(ask).await?;
        self.clock.answered();
        Ok(answer)
    }

    /// An answer in JSON.
    ///
    /// # Errors
    /// No such answer comes. What passes is tried again, and that is told, but for a server that nobody reaches or that
    /// says nothing: whoever waits wants to hear that. So it is where connections end until the time is over.
    pub async fn json(&self, url: Url) -> Result<serde_json::Value, Fault> {
        self.patiently(async || self.json_once(url.clone()).await).await
    }

    async fn patiently<T>(&self, mut attempt: impl AsyncFnMut() -> Result<T, Fault>) -> Result<T, Fault> {
        let mut failed = 0;
        loop {
            let fault = match attempt().await {
                Ok(answer) => return Ok(answer),
                Err(fault) => fault,
            };
            failed += 1;
            let wait = self.wait(&fault, failed);
            match (fault.kind, wait) {
                (Kind::Busy(_) | Kind::Server(_), Some(wait)) if self.is_hasty => {
                    if wait >= self.clock.left() {
                        return Err(Fault { is_early: true, ..fault });
                    }
                    self.again(&self.repo.hub.to_string(), &fault, wait).await;
                }
                // It has answered, though only that.
                (Kind::Busy(_) | Kind::Server(_), Some(wait)) => {
                    self.again(&self.repo.hub.to_string(), &fault, wait).await;
                    self.clock.waited();
                }
                (Kind::Cut, Some(wait)) if wait < self.clock.left() => {
                    self.again(&self.repo.hub.to_string(), &fault, wait).await;
                }
                (Kind::Cut, _) => return Err(Fault::new(Kind::Unreachable, fault.message)),
                _ => return Err(fault),
            }
        }
    }

    async fn json_once(&self, url: Url) -> Result<serde_json::Value, Fault> {
        let mut response = self.send(Method::GET, url.clone(), None, Patience::Answer).await?.response;
        let body = self.body(&mut response, LONGEST_ANSWER, Patience::Answer).await?;
        self.clock.answered();
        serde_json::from_slice(&body).map_err(|_| self.page(response.url(), &body))
    }

    /// The whole of an answer that is short.
    pub(super) async fn body(
        &self,
        response: &mut Response,
        limit: usize,
        patience: Patience,
    ) -> Result<Vec<u8>, Fault> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk(response, patience).await? {
            if body.len() + chunk.len() > limit {
                let message = format!("{} answers more than {} MB", host(response.url()), limit >> 20);
                return Err(Fault::new(Kind::Other, message));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

//! Questions to a hub that have a short answer: asked again where that may help.

use std::sync::atomic::Ordering;

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
        self.patiently(async || self.send(Method::HEAD, url.clone(), None, Patience::Answer).await).await
    }

    /// An answer in JSON.
    ///
    /// # Errors
    /// No such answer comes. What passes is tried again, but for a server that nobody reaches or that says nothing:
    /// whoever waits wants to hear that.
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
            // Nothing was ever heard of it, but for connections that end.
            let unheard = !self.has_answered.load(Ordering::Relaxed);
            let left = self.network.answer.saturating_sub(self.began.elapsed());
            let hopeless = matches!(fault.kind, Kind::Unreachable | Kind::Stalled);
            failed += 1;
            match self.wait(&fault, failed) {
                Some(wait) if !hopeless && (!unheard || wait < left) => tokio::time::sleep(wait).await,
                _ if unheard && fault.kind == Kind::Cut => {
                    return Err(Fault::new(Kind::Unreachable, fault.message));
                }
                _ => return Err(fault),
            }
        }
    }

    async fn json_once(&self, url: Url) -> Result<serde_json::Value, Fault> {
        let mut response = self.send(Method::GET, url.clone(), None, Patience::Answer).await?.response;
        let body = self.body(&mut response, LONGEST_ANSWER).await?;
        serde_json::from_slice(&body).map_err(|_| {
            let shown: String = String::from_utf8_lossy(&body).chars().take(80).collect();
            let what = "answers something else than a hub does, perhaps the page of a proxy or of a login";
            Fault::new(Kind::Other, format!("{} {what}: {:?}", host(&url), shown.trim()))
        })
    }

    /// The whole of an answer that is short.
    pub(super) async fn body(&self, response: &mut Response, limit: usize) -> Result<Vec<u8>, Fault> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk(response, Patience::Answer).await? {
            if body.len() + chunk.len() > limit {
                let message = format!("{} answers more than {} MB", host(response.url()), limit >> 20);
                return Err(Fault::new(Kind::Other, message));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

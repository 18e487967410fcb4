//! Requests to a hub: redirects are followed by hand, so that a token reaches no other server.

use std::error::Error as _;
use std::time::Duration;

use reqwest::{Method, Response, Url, header};
use tokio::time::timeout;

use super::address::{self, Token};
use super::fault::{Fault, Kind};
use super::network::{Network, authorities, is_loopback, proxied};
use super::refused;
use crate::error::brief;
use crate::hub::Repo;

/// Redirects that are followed.
const REDIRECTS: usize = 10;
/// Bytes of the longest answer that is read as JSON.
const LONGEST_ANSWER: usize = 64 << 20;
/// Bytes of an error's answer that are read for its message.
const LONGEST_ERROR: usize = 64 << 10;
/// The longest wait that a server's Retry-After is obeyed for.
const LONGEST_WAIT: Duration = Duration::from_secs(120);

/// A hub's server, asked about one repository.
pub struct Client {
    http: reqwest::Client,
    pub repo: Repo,
    /// The repository's name as it stands in addresses.
    pub id: String,
    pub network: Network,
    base: Url,
    token: Option<Token>,
}

/// An answer, and what the hub itself said before it sent us on to where the bytes are.
pub struct Answer {
    pub response: Response,
    pub linked: Linked,
}

/// Hugging Face's word for a file's checksum and size, told in headers.
#[derive(Debug, Clone, Default)]
pub struct Linked {
    pub etag: Option<String>,
    pub size: Option<u64>,
}

impl Client {
    /// # Errors
    /// The repository's name or the server's address is none.
    pub fn new(repo: &Repo, network: &Network) -> Result<Self, Fault> {
        if let Some(variable) = address::offline(repo.hub) {
            let message = format!("{} is not asked: {variable} says so", repo.hub);
            return Err(Fault::new(Kind::Unreachable, message));
        }
        let base = match &network.server {
            Some(server) => Url::parse(server.trim_end_matches('/'))
                .map_err(|e| Fault::new(Kind::Other, format!("{server}: {e}")))?,
            None => address::endpoint(repo.hub)?,
        };
        // Ring instead of the default, which wants more than a C compiler; another part may have chosen before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("qwen-tui/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(network.connect)
            .tcp_keepalive(Duration::from_secs(30));
        if is_loopback(&base) {
            builder = builder.no_proxy();
        }
        for authority in authorities()? {
            builder = builder.add_root_certificate(authority);
        }
        let http = builder
            .build()
            .map_err(|e| Fault::new(Kind::Other, format!("cannot make requests: {}", innermost(&e))))?;
        let (id, token) = (address::id(repo)?, address::token(repo.hub));
        Ok(Self { http, repo: repo.clone(), id, network: network.clone(), base, token })
    }

    /// The address of a path on the server, which begins with a slash and is encoded already.
    ///
    /// # Errors
    /// It is none: never where its parts are encoded.
    pub fn at(&self, path: &str) -> Result<Url, Fault> {
        let whole = format!("{}{path}", self.base.as_str().trim_end_matches('/'));
        Url::parse(&whole).map_err(|e| Fault::new(Kind::Other, format!("{whole}: {e}")))
    }

    /// The server, to be named in messages.
    pub fn server(&self) -> String {
        self.base.origin().ascii_serialization()
    }

    /// Where the token is from that is sent, if one is.
    pub fn token_from(&self) -> Option<&str> {
        self.token.as_ref().map(|token| token.from.as_str())
    }

    /// Asks once; redirects are followed, but for HEAD only on this server, where the answer about a file is.
    ///
    /// # Errors
    /// Nobody answers, or no answer with a status of 200 or 206 comes.
    pub async fn send(
        &self,
        method: Method,
        url: Url,
        from: Option<u64>,
        wait: Duration,
    ) -> Result<Answer, Fault> {
        let (mut url, mut linked) = (url, Linked::default());
        for _ in 0..=REDIRECTS {
            let own = url.origin() == self.base.origin();
            let mut request = self.http.request(method.clone(), url.clone());
            request = request.header(header::ACCEPT_ENCODING, "identity");
            if let Some(from) = from {
                request = request.header(header::RANGE, format!("bytes={from}-"));
            }
            // Whoever we are sent on to has an address that was signed for it, and needs no token.
            for (name, value) in
                self.token.iter().filter(|_| own).flat_map(|token| token.headers(self.repo.hub))
            {
                let mut value = header::HeaderValue::try_from(value)
                    .map_err(|_| Fault::new(Kind::Other, "the token has characters that none has"))?;
                value.set_sensitive(true);
                request = request.header(name, value);
            }
            let sent = timeout(wait, request.send()).await;
            let response = sent.map_err(|_| stalled(&url, wait))?.map_err(|e| self.failed(&url, &e))?;
            if own {
                linked.note(response.headers());
            }
            let status = response.status();
            if !status.is_redirection() {
                return match status.as_u16() {
                    200 | 206 => Ok(Answer { response, linked }),
                    _ => Err(self.refusal(response, own).await),
                };
            }
            let location = response.headers().get(header::LOCATION).and_then(|l| l.to_str().ok());
            let next = location.and_then(|l| url.join(l).ok());
            let next = next.filter(|next| matches!(next.scheme(), "http" | "https")).ok_or_else(|| {
                Fault::new(Kind::Other, format!("{} sends us on without saying where to", host(&url)))
            })?;
            if method == Method::HEAD && next.origin() != self.base.origin() {
                return Ok(Answer { response, linked });
            }
            url = next;
        }
        Err(Fault::new(Kind::Other, format!("{} sends us on in a circle", self.server())))
    }

    /// Asks about a file, without its bytes.
    ///
    /// # Errors
    /// As [`json`](Self::json).
    pub async fn head(&self, url: Url) -> Result<Answer, Fault> {
        self.patiently(async || self.send(Method::HEAD, url.clone(), None, self.network.answer).await).await
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
            let hopeless = matches!(fault.kind, Kind::Unreachable | Kind::Stalled);
            failed += 1;
            match self.wait(&fault, failed) {
                Some(wait) if !hopeless => tokio::time::sleep(wait).await,
                _ => return Err(fault),
            }
        }
    }

    async fn json_once(&self, url: Url) -> Result<serde_json::Value, Fault> {
        let mut response = self.send(Method::GET, url.clone(), None, self.network.answer).await?.response;
        let body = self.body(&mut response, LONGEST_ANSWER).await?;
        serde_json::from_slice(&body).map_err(|_| {
            let shown: String = String::from_utf8_lossy(&body).chars().take(80).collect();
            let what = "answers something else than a hub does, perhaps the page of a proxy or of a login";
            Fault::new(Kind::Other, format!("{} {what}: {:?}", host(&url), shown.trim()))
        })
    }

    /// The whole of an answer that is short.
    async fn body(&self, response: &mut Response, limit: usize) -> Result<Vec<u8>, Fault> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk(response).await? {
            if body.len() + chunk.len() > limit {
                let message = format!("{} answers more than {} MB", host(response.url()), limit >> 20);
                return Err(Fault::new(Kind::Other, message));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// The next bytes of an answer; none at its end.
    ///
    /// # Errors
    /// The connection ends before, or nothing comes.
    pub async fn chunk(
        &self,
        response: &mut Response,
    ) -> Result<Option<impl std::ops::Deref<Target = [u8]> + use<>>, Fault> {
        let url = response.url().clone();
        match timeout(self.network.stall, response.chunk()).await {
            Err(_) => Err(stalled(&url, self.network.stall)),
            Ok(Err(e)) => {
                let message = format!("the connection to {} was cut ({})", host(&url), innermost(&e));
                Err(Fault::new(Kind::Cut, message))
            }
            Ok(Ok(chunk)) => Ok(chunk),
        }
    }

    /// How long to wait before what failed so is tried again, after this many failures in a row; none: not at all.
    pub fn wait(&self, fault: &Fault, failed: u32) -> Option<Duration> {
        if !fault.passes() || failed > self.network.retries {
            return None;
        }
        match fault.kind {
            Kind::Busy(Some(wait)) => (wait <= LONGEST_WAIT).then_some(wait),
            _ => Some(self.network.pause * 2u32.pow(failed.clamp(1, 7) - 1)),
        }
    }

    /// A request that had no answer.
    fn failed(&self, url: &Url, e: &reqwest::Error) -> Fault {
        let (why, server) = (innermost(e), url.origin().ascii_serialization());
        if !e.is_connect() {
            return Fault::new(Kind::Cut, format!("the connection to {} was cut ({why})", host(url)));
        }
        let why = if e.is_timeout() {
            format!("no connection within {} s", self.network.connect.as_secs_f64())
        } else {
            why
        };
        let advice = match (why.contains("certificate"), proxied(url)) {
            (true, _) => "; SSL_CERT_FILE names the certificates of a company's proxy".to_owned(),
            (false, Some(proxy)) => format!(" (through the proxy of {proxy})"),
            (false, None) => String::new(),
        };
        Fault::new(Kind::Unreachable, format!("cannot reach {server}: {why}{advice}"))
    }

    async fn refusal(&self, mut response: Response, own: bool) -> Fault {
        let status = response.status().as_u16();
        if !own && (400..500).contains(&status) && status != 429 {
            // No word about the repository: a store of files that is barred here, or has lost one.
            let message = format!(
                "{}, where {} keeps its files, answers {status}",
                host(response.url()),
                self.server()
            );
            return Fault::new(Kind::Other, message);
        }
        let said = self.body(&mut response, LONGEST_ERROR).await.unwrap_or_default();
        refused::fault(self, response.status(), response.headers(), &said)
    }
}

impl Linked {
    fn note(&mut self, headers: &header::HeaderMap) {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let etag = text("x-linked-etag")
            .or_else(|| text("etag"))
            .map(|etag| etag.trim_start_matches("W/").trim_matches('"').to_ascii_lowercase());
        self.etag = self.etag.take().or(etag);
        self.size = self.size.or_else(|| text("x-linked-size")?.parse().ok());
    }
}

fn stalled(url: &Url, waited: Duration) -> Fault {
    Fault::new(Kind::Stalled, format!("{} has sent nothing for {} s", host(url), waited.as_secs_f64()))
}

/// A server's name in messages, without what was signed for us behind it.
pub fn host(url: &Url) -> String {
    url.host_str().unwrap_or("the server").to_owned()
}

/// What really happened, of an error within errors that repeats an address.
fn innermost(e: &reqwest::Error) -> String {
    let mut deepest: &dyn std::error::Error = e;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    match e.source() {
        Some(_) => brief(&deepest),
        None => "no answer".to_owned(),
    }
}

//! Requests to a hub: redirects are followed by hand, so that a token reaches no other server.

use std::time::{Duration, Instant};

use reqwest::{Method, Response, Url, header};
use tokio::time::timeout;

use super::address::{self, Token};
use super::clock::Clock;
use super::failed::{innermost, stalled};
use super::fault::{Fault, Kind};
use super::network::{Network, authorities, download_timeout, is_loopback};
use super::notes::Notes;
use super::proxy::Proxy;
use crate::hub::Repo;

/// Redirects that are followed.
const REDIRECTS: usize = 10;

/// A hub's server, asked about one repository.
pub struct Client {
    http: reqwest::Client,
    pub repo: Repo,
    /// The repository's name as it stands in addresses.
    pub id: String,
    pub network: Network,
    base: Url,
    /// The variable that names the server, where one does.
    variable: Option<&'static str>,
    token: Option<Token>,
    /// The time for what it has.
    pub(super) clock: Clock,
    /// Another hub may have the same: a busy one is waited for no longer than a silent one.
    pub is_hasty: bool,
    notes: Notes,
}

/// How long an answer is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// The answer to a question: without progress the hubs that are asked have one time together, `Network::answer`.
    Answer,
    /// A file's bytes: `Network::stall` without any.
    Bytes,
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
    /// `began`: when the first of the hubs was asked that may have the repository. `notes` hears what is tried again.
    ///
    /// # Errors
    /// The repository's name or the server's address is none, or a variable of the environment has a value that means
    /// nothing.
    pub fn new(repo: &Repo, network: &Network, began: Instant, notes: &Notes) -> Result<Self, Fault> {
        download_timeout()?;
        if let Some(variable) = address::offline(repo.hub) {
            let message = format!("{} is not asked: {variable} says so", repo.hub);
            return Err(Fault::new(Kind::Unreachable, message));
        }
        let (base, variable) = address::server(repo.hub, network)?;
        // Ring instead of the default, which wants more than a C compiler; another part may have chosen before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("qwen-tui/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(network.connect)
            .tcp_keepalive(Duration::from_secs(30));
        if is_loopback(&base) {
            builder = builder.no_proxy();
        } else {
            Proxy::of(&base)?;
        }
        for authority in authorities()? {
            builder = builder.add_root_certificate(authority);
        }
        let http = builder
            .build()
            .map_err(|e| Fault::new(Kind::Other, format!("cannot make requests: {}", innermost(&e))))?;
        let (id, token) = (address::id(repo)?, address::token(repo.hub)?);
        let (repo, network, notes) = (repo.clone(), network.clone(), notes.clone());
        let clock = Clock::new(began, network.answer);
        Ok(Self { http, repo, id, network, base, variable, token, clock, is_hasty: false, notes })
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

    /// The variable that names the server, where one does.
    pub(super) fn named_by(&self) -> Option<&'static str> {
        self.variable
    }

    /// Whether an address is the hub's own server's.
    pub(super) fn is_own(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }

    /// The proxy that requests to `url` go through.
    pub(super) fn proxy(&self, url: &Url) -> Option<Proxy> {
        // As the client was made.
        if is_loopback(&self.base) { None } else { Proxy::of(url).ok().flatten() }
    }

    /// The proxy that itself answers requests to `url`: a tunnel leads past it.
    pub(super) fn answering(&self, url: &Url) -> Option<Proxy> {
        self.proxy(url).filter(|proxy| url.scheme() == "http" && !proxy.is_socks())
    }

    /// What a server does next, as long as that is waited for.
    async fn within<T>(
        &self,
        patience: Patience,
        url: &Url,
        next: impl Future<Output = T>,
    ) -> Result<T, Fault> {
        let wait = match patience {
            Patience::Bytes => self.network.stall,
            Patience::Answer => self.clock.left(),
        };
        timeout(wait, next).await.map_err(|_| {
            let fault = match patience {
                Patience::Bytes => stalled(url, wait),
                Patience::Answer => self.clock.late(url),
            };
            match self.answering(url) {
                Some(proxy) => Fault { message: proxy.silent(url, &fault.message), ..fault },
                None => fault,
            }
        })
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
        patience: Patience,
    ) -> Result<Answer, Fault> {
        let (mut url, mut linked) = (url, Linked::default());
        for _ in 0..=REDIRECTS {
            let own = self.is_own(&url);
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
            let sent = self.within(patience, &url, request.send()).await?;
            let response = sent.map_err(|e| self.failed(&url, &e))?;
            if own {
                linked.note(response.headers());
            }
            let status = response.status();
            if !status.is_redirection() {
                return match status.as_u16() {
                    200 | 206 => Ok(Answer { response, linked }),
                    _ => {
                        let of_file = patience == Patience::Bytes || method == Method::HEAD;
                        Err(self.refusal(response, own, patience, of_file).await)
                    }
                };
            }
            let location = response.headers().get(header::LOCATION).and_then(|l| l.to_str().ok());
            let next = location.and_then(|l| url.join(l).ok());
            let next = next
                .filter(|next| matches!(next.scheme(), "http" | "https"))
                .ok_or_else(|| self.no_way(&url, location, status.as_u16()))?;
            if method == Method::HEAD && !self.is_own(&next) {
                return Ok(Answer { response, linked });
            }
            url = next;
        }
        Err(self.strange(&url, "sends us on in a circle", b""))
    }

    /// The next bytes of an answer; none at its end.
    ///
    /// # Errors
    /// The connection ends before, or nothing comes.
    pub async fn chunk(
        &self,
        response: &mut Response,
        patience: Patience,
    ) -> Result<Option<impl std::ops::Deref<Target = [u8]> + use<>>, Fault> {
        let url = response.url().clone();
        let chunk = self.within(patience, &url, response.chunk()).await?;
        let chunk = chunk.map_err(|e| self.cut(&url, &e))?;
        if patience == Patience::Answer {
            self.clock.came(chunk.as_ref().map_or(0, |chunk| chunk.len()));
        }
        Ok(chunk)
    }

    /// How long to wait before what failed so is tried again, after this many failures in a row; none: not at all.
    pub fn wait(&self, fault: &Fault, failed: u32) -> Option<Duration> {
        if !fault.passes() || failed > self.network.retries {
            return None;
        }
        let pause = self.network.pause * 2u32.pow(failed.clamp(1, 7) - 1);
        match fault.kind {
            Kind::Busy(asked) | Kind::Server(asked) => {
                Some(asked.unwrap_or(pause)).filter(|wait| *wait <= self.network.longest_wait)
            }
            _ => Some(pause),
        }
    }

    /// Tells that `what` failed so and is tried again, and waits until then.
    pub async fn again(&self, what: &str, fault: &Fault, wait: Duration) {
        let _waiting = self.notes.wait(what, fault.reason(), wait);
        tokio::time::sleep(wait).await;
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

/// A server's name in messages, without what was signed for us behind it.
pub fn host(url: &Url) -> String {
    let name = url.host_str().unwrap_or("the server");
    url.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"))
}

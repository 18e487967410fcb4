//! What it means that a request had no answer, or none of the hub's.

use std::error::Error as _;
use std::time::Duration;

use reqwest::{Response, StatusCode, Url};
use tokio::time::timeout;

use super::fault::{Fault, Kind};
use super::http::{Client, Patience, host};
use super::refused;
use crate::error::brief;

/// Bytes of an error's answer that are read for its message.
const LONGEST_ERROR: usize = 64 << 10;

impl Client {
    /// A request that had no answer.
    pub(super) fn failed(&self, url: &Url, e: &reqwest::Error) -> Fault {
        let (why, server, errors) = (innermost(e), server(url), chain(e));
        if !e.is_connect() {
            return self.cut(url, e);
        }
        let why = if e.is_timeout() {
            format!("no connection within {} s", self.network.connect.as_secs_f64())
        } else {
            why
        };
        let told = if why.contains("certificate") {
            format!("{why}; SSL_CERT_FILE names the certificates of a company's proxy")
        } else if let Some(proxy) = self.proxy(url) {
            proxy.failed(url, &why, &errors)
        } else if ["InvalidContentType", "handshake eof"].iter().any(|words| errors.contains(words)) {
            // What rustls says of an answer that is none of TLS, and of one that ends before it begins.
            self.plain(url)
        } else {
            why
        };
        Fault::new(Kind::Unreachable, format!("cannot reach {server}: {told}"))
    }

    /// A connection that ended before the answer did.
    pub(super) fn cut(&self, url: &Url, e: &reqwest::Error) -> Fault {
        let (why, host) = (innermost(e), host(url));
        let message = match self.answering(url) {
            None => format!("the connection to {host} was cut ({why})"),
            Some(proxy) => proxy.cut(url, &why),
        };
        Fault::new(Kind::Cut, message)
    }

    /// What to do where a server that is asked by https answers without TLS.
    fn plain(&self, url: &Url) -> String {
        let host = host(url);
        match self.named_by() {
            Some(variable) if self.is_own(url) => format!(
                "it answers without TLS. If it is to be asked by plain http, say so with the scheme: {variable}=http://{host}"
            ),
            _ => "it answers without TLS, perhaps the page of a proxy or of a login".to_owned(),
        }
    }

    /// An answer with another status than was hoped for; `of_file`: about a file that the hub has listed.
    pub(super) async fn refusal(
        &self,
        mut response: Response,
        own: bool,
        patience: Patience,
        of_file: bool,
    ) -> Fault {
        let (status, url) = (response.status(), response.url().clone());
        let headers = response.headers().clone();
        // The status says enough to wait for no more than an answer's time.
        let said = timeout(self.network.answer, self.body(&mut response, LONGEST_ERROR, patience)).await;
        let said = said.ok().and_then(Result::ok).unwrap_or_default();
        // A tunnel shows no proxy's answers, and a hub says in JSON or a header of its own what is wrong.
        let proxy = self.proxy(&url).filter(|_| url.scheme() == "http" && !refused::is_hubs(&headers, &said));
        if let Some(told) = proxy.as_ref().and_then(|proxy| proxy.answered(&url, status)) {
            return Fault::new(Kind::Unreachable, format!("cannot reach {}: {told}", server(&url)));
        }
        if status == StatusCode::NETWORK_AUTHENTICATION_REQUIRED {
            return self.page(&url, &said);
        }
        let code = status.as_u16();
        if of_file && status == StatusCode::RANGE_NOT_SATISFIABLE {
            return self.not_the_file(&url, "answers with status 416, as if the file ended before");
        }
        if !own && of_file && (400..500).contains(&code) && code != 429 {
            // No word about the repository: a store of files that is barred here, or has lost one.
            let message = format!("{}, where {} keeps its files, answers {code}", host(&url), self.server());
            return Fault::new(Kind::Other, message);
        }
        refused::fault(self, &url, (status, &headers, &said), of_file)
    }
}

/// The fault of a server that sends no more of what it has begun.
pub fn stalled(url: &Url, waited: Duration) -> Fault {
    Fault::new(Kind::Stalled, format!("{} has sent nothing for {} s", server(url), waited.as_secs_f64()))
}

/// The fault of one that does not begin to answer in the time that all hubs have together.
pub fn silent(url: &Url, limit: Duration) -> Fault {
    Fault::new(Kind::Stalled, format!("{} has not answered within {} s", server(url), limit.as_secs_f64()))
}

/// The fault of one that begins to tell what it has, and does not come to the end of it.
pub fn unfinished(url: &Url, came: u64) -> Fault {
    let server = server(url);
    let message =
        format!("{server} has begun to tell what it has and sends no more, or too slowly: {came} bytes came");
    Fault::new(Kind::Stalled, message)
}

/// A server with its port, as somebody who looks after a firewall wants to know it.
pub fn server(url: &Url) -> String {
    match (url.host_str(), url.port_or_known_default()) {
        (Some(host), Some(port)) => format!("{}://{host}:{port}", url.scheme()),
        _ => url.origin().ascii_serialization(),
    }
}

/// What really happened, of an error within errors that repeats an address.
pub fn innermost(e: &reqwest::Error) -> String {
    let mut deepest: &dyn std::error::Error = e;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    match e.source() {
        Some(_) => brief(&deepest),
        None => "no answer".to_owned(),
    }
}

/// All of an error within errors.
fn chain(e: &reqwest::Error) -> String {
    let mut all = String::new();
    let mut next = e.source();
    while let Some(error) = next {
        all += &format!("{error}: ");
        next = error.source();
    }
    all
}

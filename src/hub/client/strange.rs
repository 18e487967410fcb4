//! Answers that are none of a hub's: of a network's login, of a proxy, of a filter, or of what is no hub at all.

use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, HeaderMap};

use super::failed::server;
use super::fault::{Fault, Kind, PERHAPS};
use super::http::Client;
use crate::error::brief;

/// Characters of such an answer that are shown.
const SHOWN: usize = 80;

impl Client {
    /// The fault of an answer that no hub gives: the hub itself was not reached. `does`: what the server at `from` does;
    /// `said`: the body of its answer.
    pub(super) fn strange(&self, from: &Url, does: &str, said: &[u8]) -> Fault {
        let shown: String = String::from_utf8_lossy(said).trim().chars().take(SHOWN).collect();
        let shown = if shown.is_empty() { shown } else { format!(": {shown:?}") };
        let named = self.named_by().map(|variable| format!(", which {variable} names,")).unwrap_or_default();
        let sends = match self.is_own(from) {
            true => String::new(),
            false => format!(" sends us on to {}, which", server(from)),
        };
        Fault::new(
            Kind::NoHub,
            format!(
                "{}{named}{sends} {does}{PERHAPS}the login page of this network or of a proxy, or what filters it (open {} \
                 in a browser), or it is no hub{shown}",
                self.server(),
                self.server(),
            ),
        )
    }

    /// The fault of a page in the place of an answer.
    pub(super) fn page(&self, from: &Url, said: &[u8]) -> Fault {
        self.strange(from, "answers something else than a hub does", said)
    }

    /// The fault of a page in the place of a file.
    pub fn page_for_file(&self, from: &Url) -> Fault {
        self.strange(from, "sends a page in the place of the file", b"")
    }

    /// The fault of what cannot be the file that the hub has listed: `does` tells what the server at `from` does.
    pub fn not_the_file(&self, from: &Url, does: &str) -> Fault {
        Fault { kind: Kind::NotFile, ..self.strange(from, does, b"") }
    }

    /// The fault of an answer with `status`, which no hub gives.
    pub(super) fn no_status(&self, from: &Url, status: u16, said: &[u8]) -> Fault {
        self.strange(from, &format!("answers with status {status}, as no hub does"), said)
    }

    /// The fault of JSON that is no listing.
    pub(super) fn no_listing(&self, why: &str) -> Fault {
        // Where we were sent on to is not known any more, nor does it matter.
        match self.at("/") {
            Ok(url) => self.strange(&url, &format!("gives something else than a listing ({why})"), b""),
            Err(fault) => fault,
        }
    }

    /// The fault of a redirect from `from` to nowhere.
    pub(super) fn no_way(&self, from: &Url, location: Option<&str>, status: u16) -> Fault {
        let does = match location.map(|location| from.join(location)) {
            None => format!("answers with status {status} and does not say where to go on"),
            // Nothing else of it: what is signed or secret stays behind.
            Some(Ok(to)) => {
                format!(
                    "sends us on to an address of the scheme {}, by which no hub is asked",
                    brief(&to.scheme())
                )
            }
            Some(Err(_)) => "sends us on to what is no address".to_owned(),
        };
        self.strange(from, &does, b"")
    }
}

/// Whether an answer is a page in the place of the file at `path`, which is none by its name.
pub fn is_page_for(path: &str, headers: &HeaderMap) -> bool {
    let path = path.to_ascii_lowercase();
    is_page(headers) && ![".html", ".htm", ".xhtml"].iter().any(|end| path.ends_with(end))
}

/// Whether an answer is a page for people.
pub fn is_page(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    ["text/html", "application/xhtml+xml"].contains(&kind.as_str())
}

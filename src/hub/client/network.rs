//! The way to a hub, as the environment describes it.

use std::time::Duration;

use reqwest::Url;

use super::fault::{Fault, Kind};
use crate::error::brief;

/// How long a hub is waited for.
#[derive(Debug, Clone)]
pub struct Network {
    /// Another server than the environment names: an address with its scheme.
    pub server: Option<String>,
    /// Until a connection stands, the look-up of the name included.
    pub connect: Duration,
    /// Until a listing's answer begins, as long as `huggingface_hub` waits.
    pub answer: Duration,
    /// Without a byte of a file.
    pub stall: Duration,
    /// How often in a row a request is tried again that brought nothing.
    pub retries: u32,
    /// Before the first of them; twice as long before each further one.
    pub pause: Duration,
}

impl Default for Network {
    fn default() -> Self {
        // As huggingface_hub has it, where it is set.
        let told = std::env::var("HF_HUB_DOWNLOAD_TIMEOUT").ok().and_then(|text| text.trim().parse().ok());
        Self {
            server: None,
            // Two hubs are asked in turn, and who has no network is told within ten seconds.
            connect: Duration::from_millis(4500),
            answer: Duration::from_secs(10),
            stall: Duration::from_secs(told.filter(|s| *s > 0).unwrap_or(30)),
            retries: 5,
            pause: Duration::from_millis(500),
        }
    }
}

/// Whether an address is this machine's own, which no proxy is asked for.
pub fn is_loopback(url: &Url) -> bool {
    match url.host_str() {
        Some("localhost") => true,
        Some(host) => {
            host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
        }
        None => false,
    }
}

/// The variable that names a proxy for this address, where one does.
pub fn proxied(url: &Url) -> Option<&'static str> {
    let own: &[&str] = match url.scheme() {
        "https" => &["HTTPS_PROXY", "https_proxy"],
        _ => &["HTTP_PROXY", "http_proxy"],
    };
    let all = own.iter().chain(&["ALL_PROXY", "all_proxy"]);
    let set = |name: &&&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let name = all.into_iter().find(set)?;
    ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]
        .into_iter()
        .find(|n| n == name)
}

/// The certificates that Python's tools are told to trust beside the system's own (requests, httpx).
pub fn authorities() -> Result<Vec<reqwest::Certificate>, Fault> {
    let named = ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"]
        .into_iter()
        .find_map(|name| Some((name, std::env::var_os(name).filter(|path| !path.is_empty())?)));
    let Some((name, path)) = named else { return Ok(Vec::new()) };
    let wrong = |e: &dyn std::fmt::Display| {
        Fault::new(Kind::Other, format!("{name}={} holds no certificates: {}", path.display(), brief(&e)))
    };
    let path: &std::path::Path = path.as_ref();
    let pem = crate::plain::read(path, crate::plain::SETTINGS).map_err(|e| wrong(&e))?;
    reqwest::Certificate::from_pem_bundle(&pem).map_err(|e| wrong(&e))
}

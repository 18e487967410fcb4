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
    /// Until a hub has told what it has, unless that makes progress: all that are asked have this time together.
    pub answer: Duration,
    /// Without a byte of a file.
    pub stall: Duration,
    /// How often in a row a request is tried again that brought nothing.
    pub retries: u32,
    /// Before the first of them; twice as long before each further one.
    pub pause: Duration,
    /// The longest wait for a hub that is busy or ill, whether it asks for it or not.
    pub longest_wait: Duration,
}

impl Network {
    /// For whoever has something else to do meanwhile: no wait for a hub that is busy or ill.
    pub fn without_waits() -> Self {
        Self { longest_wait: Duration::ZERO, ..Self::default() }
    }
}

impl Default for Network {
    fn default() -> Self {
        // A value that is none has been told by then.
        let told = download_timeout().ok().flatten();
        Self {
            server: None,
            connect: Duration::from_millis(4500),
            // Who has no network is told within ten seconds.
            answer: Duration::from_secs(9),
            stall: told.unwrap_or(Duration::from_secs(30)),
            retries: 5,
            pause: Duration::from_millis(500),
            longest_wait: Duration::from_secs(120),
        }
    }
}

/// `HF_HUB_DOWNLOAD_TIMEOUT`, in seconds, where it is set. 0 is as if it were not, as in `huggingface_hub`.
///
/// # Errors
/// It is no whole number, which `huggingface_hub` does not begin with either.
pub fn download_timeout() -> Result<Option<Duration>, Fault> {
    const NAME: &str = "HF_HUB_DOWNLOAD_TIMEOUT";
    let Some(value) = std::env::var_os(NAME).filter(|value| !value.is_empty()) else { return Ok(None) };
    let seconds = value.to_str().and_then(|text| text.trim().parse::<u32>().ok()).ok_or_else(|| {
        let message = format!(
            "{NAME}={} is no number of seconds: set it to a whole one, such as 30",
            brief(&value.display())
        );
        Fault::new(Kind::Other, message)
    })?;
    Ok((seconds > 0).then(|| Duration::from_secs(seconds.into())))
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

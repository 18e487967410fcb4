//! What a hub's refusal means, and what to do about it.

use std::time::{Duration, SystemTime};

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{StatusCode, Url};

use super::address::called;
use super::fault::{Fault, Kind};
use super::http::Client;
use super::strange::is_page;
use crate::error::brief;
use crate::hub::Hub;

/// The fault of an answer from `url` with another status than 200 or 206; `said` is what it says. `of_file`: about a file
/// that the hub has listed, so that there is a repository.
pub fn fault(
    client: &Client,
    url: &Url,
    (status, headers, said): (StatusCode, &HeaderMap, &[u8]),
    of_file: bool,
) -> Fault {
    let repo = &client.repo;
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let (what, server) = (called(repo), client.server());
    let code = status.as_u16();
    let words = words(said).or_else(|| text("x-error-message").map(|m| brief(&m)));
    let words = words.map(|words| format!(" It says: {words}")).unwrap_or_default();
    let wait = headers.get(RETRY_AFTER).and_then(|value| seconds(value.to_str().ok()?));
    let when = match wait {
        Some(Duration::ZERO) => "try again now".to_owned(),
        Some(wait) => format!("it asks to try again in {}", span(wait)),
        None => "try again later".to_owned(),
    };
    match code {
        // What filters a network refuses so as well.
        401 | 403 | 404 | 410 if !of_file && is_page(headers) && !is_hubs(headers, said) => {
            client.no_status(url, code, said)
        }
        401 | 403 => {
            let login = match (client.token_from(), repo.hub) {
                (Some(from), _) => format!("the token of {from} does not open it"),
                (None, Hub::Hf) => "set HF_TOKEN, or log in with `hf auth login`".to_owned(),
                (None, Hub::ModelScope) => {
                    "set MODELSCOPE_API_TOKEN to the token of your account's page".to_owned()
                }
            };
            let why = match text("x-error-code") {
                Some("GatedRepo") => "its page asks to accept terms first",
                _ if of_file => {
                    let message = format!(
                        "{what} lists it, and {server} does not give it ({code}): perhaps its terms are not accepted yet; \
                         {login}.{words}"
                    );
                    return Fault::new(Kind::Withheld, message);
                }
                Some("RepoNotFound") => "there is none of this name, or it is private",
                _ => "it is private, its terms are not accepted yet, or there is none of this name",
            };
            Fault::new(Kind::Denied, format!("{server} refuses {what} ({code}): {why}; {login}.{words}"))
        }
        404 | 410 if of_file && text("x-error-code").is_none_or(|code| code == "EntryNotFound") => {
            Fault::new(
                Kind::Withheld,
                format!("{what} lists it, and {server} does not have it ({code}): try again later.{words}"),
            )
        }
        404 | 410 => {
            let revision = repo.revision();
            let message = match text("x-error-code") {
                Some("RevisionNotFound") => format!("{what} has no revision {revision} ({server})."),
                _ => format!(
                    "there is no {} in its revision {revision} ({server}): is the name right?",
                    &what[4..]
                ),
            };
            Fault::new(Kind::Missing, format!("{message}{words}"))
        }
        429 => {
            let advice =
                if client.token_from().is_none() { ", or with a token, which is allowed more" } else { "" };
            Fault::new(
                Kind::Busy(wait),
                format!("{server} had too many requests from here (429): {when}{advice}.{words}"),
            )
        }
        500..=599 => Fault::new(
            Kind::Server(wait),
            format!("{server} has a fault of its own ({code}): {when}.{words}"),
        ),
        _ if !is_hubs(headers, said) => client.no_status(url, code, said),
        _ => Fault::new(Kind::Other, format!("{server} answers with status {code} for {what}.{words}")),
    }
}

/// Whether an answer is a hub's, and none of something between here and there.
pub fn is_hubs(headers: &HeaderMap, said: &[u8]) -> bool {
    words(said).is_some()
        || ["x-error-code", "x-error-message"].iter().any(|name| headers.contains_key(*name))
}

/// A time that a server may have made up, in the unit that says most.
pub fn span(wait: Duration) -> String {
    let seconds = wait.as_secs();
    match seconds {
        0 if wait > Duration::ZERO => format!("{} s", wait.as_secs_f64()),
        0..300 => format!("{seconds} s"),
        300..7200 => format!("{} min", seconds.div_ceil(60)),
        7200..172_800 => format!("{} h", seconds.div_ceil(3600)),
        _ => format!("{} days", seconds.div_ceil(86_400)),
    }
}

/// The message of an answer in either hub's JSON.
fn words(said: &[u8]) -> Option<String> {
    let value: serde_json::Value = serde_json::from_slice(said).ok()?;
    let words = ["Message", "error", "message"].iter().find_map(|key| value.get(key)?.as_str())?;
    let words = words.trim();
    (!words.is_empty()).then(|| brief(&words.chars().take(300).collect::<String>()))
}

/// How long a `Retry-After` asks to wait: seconds, or until a date.
fn seconds(text: &str) -> Option<Duration> {
    let digits = text.trim();
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        // More than can be counted is very long all the same.
        return Some(Duration::from_secs(digits.parse().unwrap_or(u64::MAX)));
    }
    let date = chrono::DateTime::parse_from_rfc2822(text.trim()).ok()?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(Duration::from_secs(u64::try_from(date.timestamp()).ok()?.saturating_sub(now.as_secs())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_seconds_or_a_date() {
        assert_eq!(seconds(" 7 "), Some(Duration::from_secs(7)));
        assert_eq!(seconds("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        let later = chrono::Utc::now() + chrono::Duration::seconds(100);
        let wait = seconds(&later.to_rfc2822()).unwrap();
        assert!((90..=100).contains(&wait.as_secs()), "{wait:?}");
        assert_eq!(seconds("soon"), None);
        assert_eq!(seconds(""), None);
        assert_eq!(seconds("99999999999999999999999"), Some(Duration::from_secs(u64::MAX)));
    }

    #[test]
    fn nobody_is_told_to_wait_for_less_than_was_asked() {
        for (wait, told) in
            [(299, "299 s"), (300, "5 min"), (500, "9 min"), (7201, "3 h"), (172_801, "3 days")]
        {
            assert_eq!(span(Duration::from_secs(wait)), told);
        }
    }

    #[test]
    fn a_refusal_is_quoted_without_what_a_terminal_obeys() {
        assert_eq!(words(br#"{"Code":1,"Message":"no\u001b[31m"}"#).unwrap(), "no\\u{1b}[31m");
        assert_eq!(words(b"<html>"), None);
    }
}

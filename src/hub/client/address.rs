//! Where a hub is, and who asks: what the hubs' own tools read from the environment.

use std::path::PathBuf;

use super::fault::{Fault, Kind};
use super::text::encoded;
use crate::hub::{Hub, Repo, Sort};
use crate::plain;

/// Bytes of the longest token that is read.
const LONGEST_TOKEN: u64 = 64 << 10;

/// A token. It can be sent and not be shown.
pub struct Token {
    value: String,
    /// Where it is from: `HF_TOKEN`, a file.
    pub from: String,
}

impl Token {
    /// The headers that carry it.
    pub fn headers(&self, hub: Hub) -> Vec<(&'static str, String)> {
        let bearer = ("authorization", format!("Bearer {}", self.value));
        match hub {
            Hub::Hf => vec![bearer],
            // The API takes either, its pages the cookie alone (modelscope_hub/_legacy_api.py).
            Hub::ModelScope => vec![bearer, ("cookie", format!("m_session_id={}", self.value))],
        }
    }
}

fn variable(name: &str) -> Option<String> {
    let value = std::env::var(name).ok()?;
    let value = value.trim();
    (!value.is_empty()).then(|| value.to_owned())
}

/// The variables that name another server, first come first served, and the server where none is set.
fn variables(hub: Hub) -> (&'static [&'static str], &'static str) {
    match hub {
        Hub::ModelScope => (&["MODELSCOPE_ENDPOINT", "MODELSCOPE_DOMAIN"], "https://www.modelscope.cn"),
        Hub::Hf => (&["HF_ENDPOINT"], "https://huggingface.co"),
    }
}

/// The address of a hub's server, without a slash at its end. A host alone is asked by https.
///
/// # Errors
/// The variable holds no address.
pub fn endpoint(hub: Hub) -> Result<reqwest::Url, Fault> {
    let (names, default) = variables(hub);
    let named = names.iter().find_map(|name| Some((*name, variable(name)?)));
    let (name, text) = named.unwrap_or(("", default.to_owned()));
    let wrong = || {
        let message =
            format!("{name}={text} is no address of a server; set it to a host or to https://HOST[:PORT]");
        Fault::new(Kind::Other, message)
    };
    let whole = if text.contains("://") { text.clone() } else { format!("https://{text}") };
    let url = reqwest::Url::parse(whole.trim_end_matches('/')).map_err(|_| wrong())?;
    let plain = matches!(url.scheme(), "http" | "https") && url.has_host();
    if plain && url.query().is_none() && url.fragment().is_none() { Ok(url) } else { Err(wrong()) }
}

/// The variable by which a hub's tool is told to ask nobody, where it is set.
pub fn offline(hub: Hub) -> Option<&'static str> {
    let names: &[&str] = match hub {
        Hub::ModelScope => &[],
        Hub::Hf => &["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"],
    };
    names.iter().copied().find(|name| variable(name).is_some_and(|value| is_true(&value)))
}

/// The token that the hub's own tools would send.
pub fn token(hub: Hub) -> Option<Token> {
    let told = |name: &str| Some(Token { value: sendable(variable(name)?)?, from: name.to_owned() });
    match hub {
        // Who has logged in with its tool has the token in a pickle (`~/.modelscope/credentials/cookies`): not read.
        Hub::ModelScope => told("MODELSCOPE_API_TOKEN"),
        Hub::Hf => {
            if variable("HF_HUB_DISABLE_IMPLICIT_TOKEN").is_some_and(|v| is_true(&v)) {
                return None;
            }
            told("HF_TOKEN").or_else(|| told("HUGGING_FACE_HUB_TOKEN")).or_else(|| {
                let file = hf_token_file()?;
                let value = sendable(plain::read_text(&file, LONGEST_TOKEN).ok()?)?;
                Some(Token { value, from: file.display().to_string() })
            })
        }
    }
}

/// A token without the line end of its file; none where it cannot stand in a header.
fn sendable(text: String) -> Option<String> {
    let text = text.trim();
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())).then(|| text.to_owned())
}

fn is_true(value: &str) -> bool {
    matches!(value.to_ascii_uppercase().as_str(), "1" | "ON" | "YES" | "TRUE")
}

fn hf_token_file() -> Option<PathBuf> {
    if let Some(path) = variable("HF_TOKEN_PATH") {
        return Some(path.into());
    }
    let home = variable("HF_HOME").map(PathBuf::from);
    let cache = || {
        let cache = variable("XDG_CACHE_HOME").map(PathBuf::from);
        Some(cache.or_else(|| Some(std::env::home_dir()?.join(".cache")))?.join("huggingface"))
    };
    Some(home.or_else(cache)?.join("token"))
}

/// `owner/name` as it stands in an address.
///
/// # Errors
/// It is no such name.
pub fn id(repo: &Repo) -> Result<String, Fault> {
    let parts: Vec<&str> = repo.id.split('/').collect();
    let good = |part: &&str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.len() <= 200
            && !part.chars().any(|c| c.is_control() || c == '\\')
    };
    match parts.len() == 2 && parts.iter().all(good) {
        true => Ok(parts.iter().map(|part| encoded(part)).collect::<Vec<_>>().join("/")),
        false => {
            let message = format!(
                "{:?} is no name of a repository: it is written owner/name, such as qwen/Qwen-1_8B",
                repo.id
            );
            Err(Fault::new(Kind::Other, message))
        }
    }
}

/// What a repository is called in a message.
pub fn called(repo: &Repo) -> String {
    let sort = match repo.sort {
        Sort::Model => "model",
        Sort::Dataset => "data set",
    };
    format!("the {sort} {} on {}", repo.id, repo.hub)
}

//! Where a hub is, and who asks: what the hubs' own tools read from the environment.

use std::io;
use std::path::{Path, PathBuf};

use super::fault::{Fault, Kind};
use super::network::Network;
use super::text::encoded;
use crate::hub::{Hub, Repo};
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

/// An address without the user and password that may stand in it, and without what is asked of it, which may be a token: to
/// be quoted.
pub fn hidden(address: &str) -> String {
    let (scheme, rest) = match address.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), address),
    };
    // The last one, and beyond the first slash: a password may have either.
    let (user, rest) = rest.rsplit_once('@').map_or(("", rest), |(_, rest)| ("…@", rest));
    let (rest, asked) = match rest.find(['?', '#']) {
        Some(at) => (&rest[..at], format!("{}…", &rest[at..=at])),
        None => (rest, String::new()),
    };
    format!("{scheme}{user}{rest}{asked}")
}

/// The variables that name another server, first come first served, and the server where none is set.
fn variables(hub: Hub) -> (&'static [&'static str], &'static str) {
    match hub {
        Hub::ModelScope => (&["MODELSCOPE_ENDPOINT", "MODELSCOPE_DOMAIN"], "https://www.modelscope.cn"),
        Hub::Hf => (&["HF_ENDPOINT"], "https://huggingface.co"),
    }
}

/// The address of a hub's server, without a slash at its end, and the variable that names it. A host alone is asked by
/// https.
///
/// # Errors
/// The variable holds no address.
fn endpoint(hub: Hub) -> Result<(reqwest::Url, Option<&'static str>), Fault> {
    let (names, default) = variables(hub);
    let named = names.iter().find_map(|name| Some((*name, variable(name)?)));
    let variable = named.as_ref().map(|(name, _)| *name);
    let (name, text) = named.unwrap_or(("", default.to_owned()));
    let wrong = || {
        let message = format!(
            "{name}={} is no address of a server; set it to a host or to https://HOST[:PORT]",
            hidden(&text)
        );
        Fault::new(Kind::Other, message)
    };
    let whole = if text.contains("://") { text.clone() } else { format!("https://{text}") };
    let url = reqwest::Url::parse(whole.trim_end_matches('/')).map_err(|_| wrong())?;
    let plain = matches!(url.scheme(), "http" | "https") && url.has_host();
    if plain && url.query().is_none() && url.fragment().is_none() {
        Ok((url, variable))
    } else {
        Err(wrong())
    }
}

/// [`endpoint`], unless `network` names another server.
///
/// # Errors
/// As [`endpoint`].
pub fn server(hub: Hub, network: &Network) -> Result<(reqwest::Url, Option<&'static str>), Fault> {
    let Some(server) = &network.server else { return endpoint(hub) };
    let url = reqwest::Url::parse(server.trim_end_matches('/'));
    Ok((url.map_err(|e| Fault::new(Kind::Other, format!("{server}: {e}")))?, None))
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
///
/// # Errors
/// What is there cannot be one: it is named by its place, and never shown.
pub fn token(hub: Hub) -> Result<Option<Token>, Fault> {
    match hub {
        // Who has logged in with its tool has the token in a pickle (`~/.modelscope/credentials/cookies`): not read.
        Hub::ModelScope => told("MODELSCOPE_API_TOKEN"),
        Hub::Hf => {
            if variable("HF_HUB_DISABLE_IMPLICIT_TOKEN").is_some_and(|v| is_true(&v)) {
                return Ok(None);
            }
            for name in ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"] {
                if let Some(token) = told(name)? {
                    return Ok(Some(token));
                }
            }
            hf_token_file().map_or(Ok(None), |file| kept(&file))
        }
    }
}

/// The token in a variable.
fn told(name: &str) -> Result<Option<Token>, Fault> {
    let Some(value) = std::env::var_os(name) else { return Ok(None) };
    let value = value.into_string().map_err(|_| unsendable(name))?;
    sendable(&value, name)
}

/// The token in a file, where there is one.
fn kept(file: &Path) -> Result<Option<Token>, Fault> {
    let from = file.display().to_string();
    match plain::read_text(file, LONGEST_TOKEN) {
        Ok(text) => sendable(&text, &from),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => {
            let message = format!("the token in {from} cannot be read: {e}; mend that, or take it away");
            Err(Fault::new(Kind::Other, message))
        }
    }
}

/// A token without the line end of its file; none where nothing else is there.
///
/// # Errors
/// It cannot stand in a header.
fn sendable(text: &str, from: &str) -> Result<Option<Token>, Fault> {
    let text = text.trim();
    match text.bytes().all(|b| b.is_ascii_graphic()) {
        true => Ok((!text.is_empty()).then(|| Token { value: text.to_owned(), from: from.to_owned() })),
        false => Err(unsendable(from)),
    }
}

fn unsendable(from: &str) -> Fault {
    let message = format!(
        "{from} holds no token: there is a space, a line break or another character in it that no token has. Put the token \
         there alone, in one line, or take it away"
    );
    Fault::new(Kind::Other, message)
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
    format!("the {} {} on {}", repo.sort, repo.id, repo.hub)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_secret_in_an_address_is_not_quoted() {
        for (address, told) in [
            ("https://u:pw/x@hf.co/a/b", "https://…@hf.co/a/b"),
            ("hf.co/a/b?token=seKret", "hf.co/a/b?…"),
            ("https://hf.co/a/b#seKret", "https://hf.co/a/b#…"),
            ("https://u:p?w@hf.co/a/b?token=seKret#x", "https://…@hf.co/a/b?…"),
            ("git@hf.co:a/b", "…@hf.co:a/b"),
            ("qwen-1_8b", "qwen-1_8b"),
        ] {
            assert_eq!(hidden(address), told);
        }
    }
}

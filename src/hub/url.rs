//! What an address names, as it is copied out of a browser, a `git clone` or a script.

use reqwest::Url;

use super::client::{Network, server};
use super::repo::{Hub, Repo, Sort};
use crate::args::models::is_id;

/// What an address of a hub names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A repository, by its page or one beneath it, by a call about it, or to be cloned from.
    Repository(Repo),
    /// What is no repository of a model or of rows, and what it is, where that is known.
    Other(Hub, Option<&'static str>),
}

impl Address {
    /// None where `text` is no address of a hub, nor of the server that the environment names for one.
    pub fn of(text: &str) -> Option<Self> {
        let whole = text.trim();
        let (scheme, rest) = match whole.split_once("://") {
            Some((scheme, rest)) => (Some(scheme.to_ascii_lowercase()), rest),
            None => (None, whole),
        };
        if scheme.as_deref().is_some_and(|scheme| !matches!(scheme, "http" | "https")) {
            return None;
        }
        let cloned = cloned(whole);
        let rest = cloned.as_deref().unwrap_or(rest);
        let rest = rest.trim_start_matches('/').split('#').next().unwrap_or_default();
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (host, path) = path.split_once('/').unwrap_or((path, ""));
        let host = host.rsplit('@').next().unwrap_or_default().to_ascii_lowercase();
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        if let Some(hub) = known(&host) {
            return Some(named(hub, &parts, query));
        }
        // A name may look like a host without a dot.
        if scheme.is_none() && !host.contains(['.', ':']) {
            return None;
        }
        let beneath = |hub| beneath(hub, scheme.as_deref(), &host, &parts);
        match (beneath(Hub::ModelScope), beneath(Hub::Hf)) {
            // One server for both: the pages of ModelScope's models lie in a folder of their own.
            (Some(parts), Some(_))
                if matches!(parts[..], ["models" | "datasets", ..] | ["api", "v1", ..]) =>
            {
                Some(named(Hub::ModelScope, &parts, query))
            }
            (_, Some(parts)) => Some(named(Hub::Hf, &parts, query)),
            (Some(parts), None) => Some(named(Hub::ModelScope, &parts, query)),
            (None, None) => None,
        }
    }
}

/// `HOST/OWNER/NAME` of `USER@HOST:OWNER/NAME`, as `git clone` takes it.
fn cloned(text: &str) -> Option<String> {
    let (before, path) = text.split_once(':')?;
    let (_, host) = before.rsplit_once('@')?;
    let is_port = path.split('/').next().is_some_and(|port| port.parse::<u16>().is_ok());
    (!before.contains('/') && !is_port && known(&host.to_ascii_lowercase()).is_some())
        .then(|| format!("{host}/{path}"))
}

/// The hub of a host, which is in lower case.
fn known(host: &str) -> Option<Hub> {
    let host = host.strip_suffix(":443").or_else(|| host.strip_suffix(":80")).unwrap_or(host);
    match host.strip_prefix("www.").unwrap_or(host) {
        "huggingface.co" | "hf.co" | "hf-mirror.com" => Some(Hub::Hf),
        "modelscope.cn" | "modelscope.ai" => Some(Hub::ModelScope),
        _ => None,
    }
}

/// The rest of a path on the server that the environment names for a hub; none where it is another server's.
fn beneath<'a>(hub: Hub, scheme: Option<&str>, host: &str, parts: &[&'a str]) -> Option<Vec<&'a str>> {
    let (base, variable) = server(hub, &Network::default()).ok()?;
    variable?;
    let typed = Url::parse(&format!("{}://{host}", scheme.unwrap_or(base.scheme()))).ok()?;
    let is_there = typed.host_str() == base.host_str()
        && (typed.port() == base.port() || typed.port_or_known_default() == base.port_or_known_default());
    let folder: Vec<&str> = base.path().split('/').filter(|part| !part.is_empty()).collect();
    (is_there && parts.starts_with(&folder)).then(|| parts[folder.len()..].to_vec())
}

/// What the parts of a path on a hub name.
fn named(hub: Hub, parts: &[&str], query: &str) -> Address {
    let sort = |head: &str| if head == "datasets" { Sort::Dataset } else { Sort::Model };
    let (sort, rest, is_call) = match (hub, parts) {
        (Hub::Hf, ["api", head @ ("models" | "datasets"), rest @ ..])
        | (Hub::ModelScope, ["api", "v1", head @ ("models" | "datasets"), rest @ ..]) => {
            (sort(head), rest, true)
        }
        (_, [head @ ("models" | "datasets"), rest @ ..]) => (sort(head), rest, false),
        (_, [head, ..]) if let Some(what) = other(hub, head) => return what,
        (_, rest) => (Sort::Model, rest, false),
    };
    let [owner, name, rest @ ..] = rest else { return Address::Other(hub, None) };
    // As it is cloned.
    let id = format!("{owner}/{}", name.strip_suffix(".git").unwrap_or(name));
    let revision = match (hub, rest) {
        (Hub::ModelScope, _) if is_call => asked(query, "Revision"),
        (Hub::Hf, ["revision" | "tree", revision, ..]) if is_call => Some(*revision),
        (_, ["tree" | "blob" | "resolve" | "raw", revision, ..]) if !is_call => Some(*revision),
        _ => None,
    };
    let revision = revision.map(decoded).filter(|revision| revision != hub.default_revision());
    match is_id(&id) {
        true => Address::Repository(Repo { hub, sort, id, revision }),
        false => Address::Other(hub, None),
    }
}

/// What lies on a hub beside repositories of models and rows, by the first part of its path.
fn other(hub: Hub, head: &str) -> Option<Address> {
    const HF: [&str; 24] = [
        "api",
        "blog",
        "brand",
        "buckets",
        "chat",
        "docs",
        "enterprise",
        "inference",
        "join",
        "kernels",
        "learn",
        "login",
        "new",
        "notifications",
        "organizations",
        "papers",
        "posts",
        "pricing",
        "privacy",
        "search",
        "settings",
        "storage",
        "tasks",
        "terms-of-service",
    ];
    const MODELSCOPE: [&str; 18] = [
        "aigc",
        "api",
        "brand",
        "civision",
        "competition",
        "docs",
        "headlines",
        "home",
        "learn",
        "mcp",
        "my",
        "organization",
        "papers",
        "profile",
        "search",
        "skills",
        "topic",
        "user",
    ];
    let what = match (hub, head) {
        (Hub::Hf, "spaces") => Some("a space, a program that runs there"),
        (Hub::ModelScope, "studios") => Some("a studio, a program that runs there"),
        (_, "collections") => Some("a collection, a list of repositories"),
        (Hub::Hf, _) if HF.contains(&head) => None,
        (Hub::ModelScope, _) if MODELSCOPE.contains(&head) => None,
        _ => return None,
    };
    Some(Address::Other(hub, what))
}

/// What a query says of a key.
fn asked<'a>(query: &'a str, key: &str) -> Option<&'a str> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
    value.filter(|value| !value.is_empty())
}

/// A part of an address without its percent signs; itself where one of them stands for nothing.
fn decoded(part: &str) -> String {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let [first, more @ ..] = rest {
        let code = match (first, more) {
            (b'%', [high, low, ..]) => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                digit(high).zip(digit(low)).map(|(high, low)| (high * 16 + low) as u8)
            }
            (b'%', _) => None,
            _ => Some(*first),
        };
        let Some(code) = code else { return part.to_owned() };
        bytes.push(code);
        rest = if *first == b'%' { &more[2..] } else { more };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| part.to_owned())
}

/// The repository that an address names; none where `address` is no such one.
pub fn repo_of(address: &str) -> Option<Repo> {
    match Address::of(address)? {
        Address::Repository(repo) => Some(repo),
        Address::Other(..) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_names_its_repository() {
        let told = |address: &str| repo_of(address).map(|r| (r.hub, r.sort, r.id, r.revision));
        let (ms, hf, model, rows) = (Hub::ModelScope, Hub::Hf, Sort::Model, Sort::Dataset);
        for (address, hub, sort, id, revision) in [
            ("https://huggingface.co/Qwen/Qwen-1_8B", hf, model, "Qwen/Qwen-1_8B", None),
            ("https://huggingface.co/Qwen/Qwen-1_8B/tree/main", hf, model, "Qwen/Qwen-1_8B", None),
            ("hf.co/Qwen/Qwen-1_8B/blob/v1/config.json?x=1", hf, model, "Qwen/Qwen-1_8B", Some("v1")),
            ("https://huggingface.co/datasets/a/rows/tree/v2", hf, rows, "a/rows", Some("v2")),
            ("https://www.modelscope.cn/models/qwen/Qwen-1_8B/summary", ms, model, "qwen/Qwen-1_8B", None),
            ("https://modelscope.cn/models/qwen/Qwen-1_8B/files", ms, model, "qwen/Qwen-1_8B", None),
            ("http://modelscope.cn/datasets/DAMO_NLP/jd/#x", ms, rows, "DAMO_NLP/jd", None),
            ("HTTPS://HUGGINGFACE.CO/Qwen/Qwen-1_8B", hf, model, "Qwen/Qwen-1_8B", None),
            ("https://me:secret@huggingface.co:443/Qwen/Qwen-1_8B.git", hf, model, "Qwen/Qwen-1_8B", None),
            ("git@hf.co:Qwen/Qwen-1_8B", hf, model, "Qwen/Qwen-1_8B", None),
            ("git@hf.co:datasets/a/rows.git", hf, rows, "a/rows", None),
            ("me@hf.co:443/Qwen/Qwen-1_8B", hf, model, "Qwen/Qwen-1_8B", None),
            ("https://www.modelscope.cn/qwen/Qwen-1_8B.git", ms, model, "qwen/Qwen-1_8B", None),
            ("https://www.modelscope.cn/datasets/a/rows.git", ms, rows, "a/rows", None),
            ("https://huggingface.co/api/models/Qwen/Qwen-1_8B", hf, model, "Qwen/Qwen-1_8B", None),
            ("hf.co/api/datasets/a/rows/revision/refs%2Fpr%2F1", hf, rows, "a/rows", Some("refs/pr/1")),
            (
                "modelscope.cn/api/v1/models/a/b/repo/files?Recursive=True&Revision=v1",
                ms,
                model,
                "a/b",
                Some("v1"),
            ),
            ("modelscope.cn/api/v1/datasets/a/b/repo?Revision=master", ms, rows, "a/b", None),
        ] {
            let expected = (hub, sort, id.to_owned(), revision.map(str::to_owned));
            assert_eq!(told(address), Some(expected), "{address}");
        }
        for none in [
            "git@example.com:a/b",
            "ssh://git@hf.co/a/b",
            "https://huggingface.co",
            "https://example.com/a/b",
            "ftp://hf.co/a/b",
            "qwen/Qwen-1_8B",
            "",
        ] {
            assert_eq!(told(none), None, "{none}");
        }
    }

    #[test]
    fn what_is_no_repositorys_is_told_as_what_it_is() {
        for (address, hub, what) in [
            ("https://huggingface.co/spaces/me/x", Hub::Hf, Some("a space")),
            ("modelscope.cn/studios/me/x/summary", Hub::ModelScope, Some("a studio")),
            ("https://huggingface.co/collections/me/x", Hub::Hf, Some("a collection")),
            ("https://huggingface.co/api/spaces/me/x", Hub::Hf, None),
            ("https://modelscope.cn/api/v1/studios/me/x", Hub::ModelScope, None),
            ("https://huggingface.co/docs/hub/index", Hub::Hf, None),
            ("hf.co/Qwen", Hub::Hf, None),
            ("https://huggingface.co/", Hub::Hf, None),
        ] {
            match Address::of(address) {
                Some(Address::Other(of, told)) => {
                    let told = told.and_then(|told| told.split(',').next());
                    assert_eq!((of, told), (hub, what), "{address}");
                }
                all => panic!("{address}: {all:?}"),
            }
        }
    }

    #[test]
    fn what_stands_for_a_byte_is_that_byte() {
        for (part, told) in
            [("refs%2Fpr%2F1", "refs/pr/1"), ("a%20b", "a b"), ("%zz", "%zz"), ("50%", "50%"), ("%ff", "%ff")]
        {
            assert_eq!(decoded(part), told);
        }
    }
}

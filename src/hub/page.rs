//! The address of a repository's page, as it is copied out of a browser: what it names.

use super::repo::{Hub, Repo, Sort};
use crate::args::models::is_id;

/// The repository whose page, or a page beneath it, is at this address; none where it is no such address.
pub fn repo_of(address: &str) -> Option<Repo> {
    let whole = address.trim();
    let (scheme, rest) = whole.split_once("://").unwrap_or(("https", whole));
    let path = rest.split(['?', '#']).next().unwrap_or_default();
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let host = parts.next()?.to_ascii_lowercase();
    let hub = match host.strip_prefix("www.").unwrap_or(&host) {
        "huggingface.co" | "hf.co" | "hf-mirror.com" => Hub::Hf,
        "modelscope.cn" | "modelscope.ai" => Hub::ModelScope,
        _ => return None,
    };
    if !matches!(scheme, "http" | "https") {
        return None;
    }
    let mut parts = parts.peekable();
    let sort = if parts.next_if_eq(&"datasets").is_some() { Sort::Dataset } else { Sort::Model };
    // The pages of ModelScope's models lie under that; Hugging Face's, at the top.
    let _ = parts.next_if_eq(&"models");
    let id = format!("{}/{}", parts.next()?, parts.next()?);
    let named = parts.next().is_some_and(|page| ["tree", "blob", "resolve"].contains(&page));
    let revision = parts.next().filter(|_| named).map(str::to_owned);
    let revision = revision.filter(|revision| revision != hub.default_revision());
    is_id(&id).then_some(Repo { hub, sort, id, revision })
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
        ] {
            let expected = (hub, sort, id.to_owned(), revision.map(str::to_owned));
            assert_eq!(told(address), Some(expected), "{address}");
        }
        for none in
            ["https://huggingface.co", "https://example.com/a/b", "ftp://hf.co/a/b", "qwen/Qwen-1_8B", ""]
        {
            assert_eq!(told(none), None, "{none}");
        }
    }
}

//! Hugging Face's calls, as `huggingface_hub` makes them (0.36 and 2.4).

use reqwest::Url;
use serde::Deserialize;

use super::fault::Fault;
use super::http::Client;
use super::listing::{Checksum, Listing, RemoteFile};
use super::strange::is_page_for;
use super::text::{encoded, encoded_path};
use crate::hub::Sort;

#[derive(Deserialize)]
struct Info {
    sha: Option<String>,
    siblings: Option<Vec<Sibling>>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    #[serde(rename = "blobId")]
    blob: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: Option<String>,
    size: Option<u64>,
}

/// What a repository holds.
pub async fn list(client: &Client) -> Result<Listing, Fault> {
    let sort = match client.repo.sort {
        Sort::Model => "models",
        Sort::Dataset => "datasets",
    };
    let revision = encoded(client.repo.revision());
    let url = client.at(&format!("/api/{sort}/{}/revision/{revision}?blobs=true", client.id))?;
    let value = client.json(url).await?;
    let info: Info = serde_json::from_value(value)
        .map_err(|e| client.no_listing(&format!("it is none of Hugging Face's: {e}")))?;
    let (Some(commit), Some(siblings)) = (info.sha, info.siblings) else {
        return Err(client.no_listing("it names no commit or no files"));
    };
    let file = |sibling: Sibling| {
        let (checksum, size) = match sibling.lfs {
            Some(lfs) => (lfs.sha256, lfs.size.or(sibling.size)),
            None => (sibling.blob, sibling.size),
        };
        let checksum = checksum.as_deref().and_then(Checksum::of);
        RemoteFile { path: sibling.rfilename, size, checksum, needed: false }
    };
    Ok(Listing { commit, files: siblings.into_iter().map(file).collect() })
}

/// Asks for what the listing does not tell of the files that are needed: a mirror's may have names alone.
pub async fn complete(client: &Client, listing: &mut Listing) -> Result<(), Fault> {
    let commit = listing.commit.clone();
    for remote in &mut listing.files {
        if !remote.needed || remote.size.is_some() && remote.checksum.is_some() {
            continue;
        }
        let answer = client.head(file(client, &commit, &remote.path)?).await?;
        let is_linked = answer.linked.size.is_some() || answer.response.status().is_redirection();
        if !is_linked && is_page_for(&remote.path, answer.response.headers()) {
            return Err(client.page_for_file(answer.response.url()).about(&remote.path));
        }
        let told = answer.linked.etag.as_deref().and_then(Checksum::of);
        remote.checksum = remote.checksum.take().or(told);
        remote.size = remote.size.or(answer.linked.size).or_else(|| {
            let sent_on = answer.response.status().is_redirection();
            let length =
                answer.response.headers().get(reqwest::header::CONTENT_LENGTH).filter(|_| !sent_on)?;
            length.to_str().ok()?.parse().ok()
        });
    }
    Ok(())
}

/// Where a file's bytes are asked for.
pub fn file(client: &Client, commit: &str, path: &str) -> Result<Url, Fault> {
    let sort = match client.repo.sort {
        Sort::Model => "",
        Sort::Dataset => "/datasets",
    };
    client.at(&format!("{sort}/{}/resolve/{}/{}", client.id, encoded(commit), encoded_path(path)))
}

//! ModelScope's calls, as its own tools make them (`modelscope` 1.11 and 1.30, `modelscope_hub` 0.5).

use reqwest::Url;
use serde::Deserialize;

use super::fault::{Fault, Kind};
use super::http::Client;
use super::listing::{Checksum, Listing, RemoteFile};
use super::text::encoded;
use crate::hub::Sort;

/// Entries of a page of a data set's listing.
const PAGE: usize = 200;
/// Pages at most.
const MOST_PAGES: usize = 250;

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Code")]
    code: Option<i64>,
    #[serde(rename = "Message")]
    message: Option<String>,
    #[serde(rename = "Data")]
    data: Option<Data>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(rename = "Files")]
    files: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "Path")]
    path: String,
    #[serde(rename = "Type")]
    kind: Option<String>,
    #[serde(rename = "Size")]
    size: Option<u64>,
    #[serde(rename = "Sha256")]
    sha256: Option<String>,
}

/// What a repository holds.
pub async fn list(client: &Client) -> Result<Listing, Fault> {
    let (id, revision) = (&client.id, encoded(client.repo.revision()));
    let mut files = Vec::new();
    match client.repo.sort {
        Sort::Model => {
            let path = format!("/api/v1/models/{id}/repo/files?Revision={revision}&Recursive=True");
            take(client, client.at(&path)?, &mut files).await?;
        }
        Sort::Dataset => {
            for page in 1..=MOST_PAGES {
                let path = format!(
                    "/api/v1/datasets/{id}/repo/tree?Revision={revision}&Recursive=True&PageNumber={page}&PageSize={PAGE}"
                );
                if take(client, client.at(&path)?, &mut files).await? < PAGE {
                    return Ok(Listing { commit: client.repo.revision().to_owned(), files });
                }
            }
            let message =
                format!("{} has more than {} files", super::called(&client.repo), PAGE * MOST_PAGES);
            return Err(Fault::new(Kind::Other, message));
        }
    }
    Ok(Listing { commit: client.repo.revision().to_owned(), files })
}

/// Adds the files of one answer; how many entries it has.
async fn take(client: &Client, url: Url, files: &mut Vec<RemoteFile>) -> Result<usize, Fault> {
    let wrong = |what: &str| Fault::new(Kind::Other, format!("{}: {what}", client.server()));
    let value = client.json(url).await?;
    let answer: Answer = serde_json::from_value(value)
        .map_err(|e| client.no_listing(&format!("it is none of ModelScope's: {e}")))?;
    if answer.code.is_some_and(|code| code != 200) {
        let said = answer.message.map(|m| crate::error::brief(&m)).unwrap_or_default();
        let what = super::called(&client.repo);
        let message = format!(
            "{} gives no listing of {what} in its revision {}: {said}",
            client.server(),
            client.repo.revision()
        );
        return Err(Fault::new(Kind::Missing, message));
    }
    let entries =
        answer.data.and_then(|data| data.files).ok_or_else(|| client.no_listing("it names no files"))?;
    let many = entries.len();
    for entry in entries {
        match entry.kind.as_deref() {
            Some("tree") => continue,
            Some("blob") | None => {}
            Some(other) => {
                let message = format!("it lists {:?}, which is no file but a {other:?}", entry.path);
                return Err(wrong(&message));
            }
        }
        let checksum = entry.sha256.as_deref().and_then(Checksum::of);
        files.push(RemoteFile { path: entry.path, size: entry.size, checksum, needed: false });
    }
    Ok(many)
}

/// Where a file's bytes are asked for.
pub fn file(client: &Client, path: &str) -> Result<Url, Fault> {
    let (id, revision) = (&client.id, encoded(client.repo.revision()));
    let path = encoded(path);
    client.at(&match client.repo.sort {
        Sort::Model => format!("/api/v1/models/{id}/repo?Revision={revision}&FilePath={path}"),
        Sort::Dataset => format!("/api/v1/datasets/{id}/repo?Source=SDK&Revision={revision}&FilePath={path}"),
    })
}

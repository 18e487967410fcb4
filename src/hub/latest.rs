//! Whether a hub has something newer than what lies in its cache (`check_model_is_latest`). Nobody waits for the answer.

use std::fs;
use std::path::Path;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::client::{Checksum, Listing, Network, RemoteFile, list};
use super::find::Cached;
use super::repo::Hub;
use crate::plain;

/// Bytes of the longest file whose checksum is counted: of longer ones the length has to do.
const SHORT: u64 = 4 << 20;

/// Asks the hub that `model` is from; what it has that is newer, in a line for people. Blocking, for some seconds at most
/// where nobody answers.
pub fn newer(model: &Cached) -> Option<String> {
    let network = Network {
        connect: Duration::from_secs(3),
        stall: Duration::from_secs(5),
        retries: 0,
        ..Network::default()
    };
    let listing = list(&model.repo, &network, &|| false).ok()?;
    let what = compare(model, &listing)?;
    Some(format!(
        "the files of {} on {} are newer than those of this run ({what}): `qwen-tui pull {} --to DIR` fetches them",
        model.repo.id, model.repo.hub, model.repo.id
    ))
}

/// What differs.
fn compare(model: &Cached, listing: &Listing) -> Option<String> {
    if model.repo.hub == Hub::Hf
        && let Some(commit) = &model.found.revision
    {
        return (*commit != listing.commit).then(|| format!("commit {}", listing.commit));
    }
    listing.needed().find(|file| differs(&model.found.dir, file)).map(|file| file.path.clone())
}

fn differs(dir: &Path, file: &RemoteFile) -> bool {
    let path = dir.join(&file.path);
    let Ok(there) = fs::metadata(&path) else { return true };
    if file.size.is_some_and(|size| size != there.len()) {
        return true;
    }
    match &file.checksum {
        Some(Checksum::Sha256(sum)) if there.len() <= SHORT => {
            let hex =
                |bytes: Vec<u8>| Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect::<String>();
            plain::read(&path, SHORT).is_ok_and(|bytes| hex(bytes) != *sum)
        }
        _ => false,
    }
}

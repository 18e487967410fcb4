//! What lies in the hubs' caches: ids by the names of folders, files and their sizes.

use std::fs;
use std::path::{Path, PathBuf};

use crate::args::models::is_id;
use crate::hub::caches::{Caches, segment};
use crate::hub::repo::{Hub, Sort};

/// Folders of ModelScope's cache that are no owner's.
const NO_OWNERS: [&str; 6] = ["models", "datasets", "hub", "temp", "credentials", "downloads"];
/// Entries that are read of a folder: a cache has some dozens.
const MOST: usize = 10_000;

/// Links are followed: Hugging Face's cache is made of them.
pub fn size(file: &Path) -> u64 {
    fs::metadata(file).map_or(0, |m| if m.is_file() { m.len() } else { 0 })
}

/// The ids of what is of this sort in a hub's cache, whole or not, each once in any case.
pub fn ids(caches: &Caches, hub: Hub, sort: Sort) -> Vec<String> {
    let root = caches.root(hub);
    let mut ids: Vec<String> = Vec::new();
    // `OWNER--NAME`; neither has two dashes in a row.
    let dashed = |folder: &str| folder.split_once("--").map(|(owner, name)| format!("{owner}/{name}"));
    match hub {
        Hub::Hf => {
            let prefix = format!("{}--", segment(sort));
            ids.extend(names(root).iter().filter_map(|name| dashed(name.strip_prefix(&prefix)?)));
        }
        Hub::ModelScope => {
            for root in [root.to_owned(), root.join("hub")] {
                let mut places = vec![root.join(segment(sort))];
                // 1.11 keeps models there.
                places.extend((sort == Sort::Model).then_some(root));
                for above in places {
                    for folder in names(&above).into_iter().filter(|name| !NO_OWNERS.contains(&name.as_str()))
                    {
                        match dashed(&folder) {
                            Some(id) => ids.push(id),
                            None => {
                                let named = names(&above.join(&folder));
                                ids.extend(
                                    named.iter().map(|name| format!("{folder}/{}", name.replace("___", "."))),
                                );
                            }
                        }
                    }
                }
            }
        }
    }
    ids.retain(|id| is_id(id));
    ids.sort_by_cached_key(|id| (id.to_ascii_lowercase(), id.clone()));
    ids.dedup_by(|a, b| a.eq_ignore_ascii_case(b));
    ids
}

/// The names of the folders in `dir`, but for hidden ones.
pub fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().take(MOST);
    let folders = entries.filter(|entry| entry.path().is_dir());
    let names = folders.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| !name.starts_with('.')).collect()
}

/// What is in `dir`.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).into_iter().flatten().flatten().take(MOST).map(|entry| entry.path()).collect()
}

//! Data sets that a hub's tool has put on this machine, as files of rows.

use std::path::{Path, PathBuf};

use super::folders::{files, names, size};
use super::{Item, Shelf, absent};
use crate::hub::caches::{Caches, leads_nowhere};
use crate::hub::names::files_of;
use crate::hub::repo::{Repo, Sort};

/// Folders that files of rows lie below, at most: `data/`, and `master/meta/` of ModelScope's oldest layout.
const DEPTH: usize = 3;
/// Folders of a data set that are looked into: one of sounds or pictures may have very many.
const MOST_FOLDERS: usize = 1000;
/// JSON that says something of a data set, and is none of its rows.
const ABOUT: [&str; 6] =
    ["dataset_info", "dataset_infos", "dataset_dict", "configuration", "config", "state"];

/// The files of rows of a data set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rows {
    pub train: Vec<PathBuf>,
    /// Those whose names say so.
    pub validation: Vec<PathBuf>,
}

impl Rows {
    /// The files of rows in `dir`, sorted by what their paths say: `dev`, `val`, `valid`, `validation` and `eval` are
    /// validation rows; so is `test` where there are none of these. All of them are training rows where nothing else is.
    ///
    /// # Errors
    /// There are no training rows but links to what is not there, in words.
    fn of(dir: &Path, name: &str) -> Result<Rows, String> {
        let (mut train, mut validation, mut test) = (Vec::new(), Vec::new(), Vec::new());
        let mut lost = None;
        let mut folders = MOST_FOLDERS;
        for file in gather(dir, name, DEPTH, &mut folders) {
            if let Some(why) = leads_nowhere(&file) {
                lost.get_or_insert(why);
                continue;
            }
            let said = file.strip_prefix(dir).unwrap_or(&file).to_string_lossy().to_ascii_lowercase();
            let says = |words: &[&str]| {
                said.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| words.contains(&word))
            };
            if says(&["train"]) {
                train.push(file);
            } else if says(&["dev", "val", "valid", "validation", "eval"]) {
                validation.push(file);
            } else if says(&["test"]) {
                test.push(file);
            } else {
                train.push(file);
            }
        }
        // Others are not trained on in the place of what is lost.
        if let Some(lost) = lost.filter(|_| train.is_empty()) {
            return Err(lost);
        }
        if train.is_empty() {
            train.append(&mut validation);
            train.append(&mut test);
            train.sort();
        }
        if validation.is_empty() {
            validation = test;
        }
        Ok(Rows { train, validation })
    }

    /// All of them.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.train.iter().chain(&self.validation)
    }
}

/// The data set in the cache of a hub by this id; none where it has no rows in a format that is read here. Where what
/// should name its directory is broken, or its rows are links to what is not there, that is told.
pub fn cached(caches: &Caches, repo: &Repo) -> Option<Item> {
    let name = repo.id.split('/').next_back().unwrap_or_default();
    let known = files_of(repo);
    let mut unusable = Vec::new();
    let candidates = caches.candidates(repo, &mut unusable);
    let found = candidates.into_iter().find_map(|found| {
        let rows = match Rows::of(&found.dir, name) {
            Ok(rows) => rows,
            Err(why) => {
                unusable.push((found.dir, why));
                return None;
            }
        };
        let is_whole = known.iter().all(|file| found.dir.join(file).is_file());
        (!rows.train.is_empty() && is_whole).then_some((found.dir, rows))
    });
    let Some((dir, rows)) = found else {
        let (dir, why) = unusable.into_iter().next()?;
        let repos = vec![repo.clone()];
        return Some(Item { place: Shelf::Broken(dir, why, repos.clone()), ..absent(&repo.id, repos) });
    };
    Some(Item {
        sort: Sort::Dataset,
        name: repo.id.clone(),
        model_type: None,
        family: String::new(),
        bytes: Some(rows.files().map(|file| size(file)).sum()),
        dtype: None,
        place: Shelf::Cache(repo.hub, dir),
        rows: Some(rows),
        page: None,
    })
}

/// The files of rows in `dir` and in the folders in it, in the order of their names.
fn gather(dir: &Path, name: &str, depth: usize, folders: &mut usize) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = files(dir).into_iter().filter(|file| is_rows(file, name)).collect();
    if depth > 0 {
        for folder in names(dir) {
            let Some(left) = folders.checked_sub(1) else { break };
            *folders = left;
            all.extend(gather(&dir.join(folder), name, depth - 1, folders));
        }
    }
    all.sort();
    all
}

/// Whether it is a file of rows by its name, or a link that should lead to one. What is no UTF-8 could not be written into a file of arguments.
fn is_rows(file: &Path, name: &str) -> bool {
    let Some((stem, end)) = file.file_name().and_then(|n| n.to_str()).and_then(|n| n.rsplit_once('.')) else {
        return false;
    };
    // ModelScope's old tool describes a data set in `NAME.json`.
    let says_what_it_is = end == "json" && (ABOUT.contains(&stem) || stem.eq_ignore_ascii_case(name));
    ["csv", "jsonl", "json"].contains(&end)
        && !stem.is_empty()
        && !stem.starts_with('.')
        && !says_what_it_is
        && file.to_str().is_some()
        && (file.is_file() || leads_nowhere(file).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn names_of_files_tell_what_they_are_for() {
        let told = |all: &[&str]| {
            let dir = tempfile::tempdir().unwrap();
            for file in all {
                let file = dir.path().join(file);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, "x").unwrap();
            }
            let rows = Rows::of(dir.path(), "评论").unwrap();
            let short = |all: &[PathBuf]| {
                let names =
                    all.iter().map(|file| file.strip_prefix(dir.path()).unwrap().display().to_string());
                names.collect::<Vec<_>>().join(" ")
            };
            format!("{} | {}", short(&rows.train), short(&rows.validation))
        };
        assert_eq!(told(&["train.csv", "dev.csv", "test.csv"]), "train.csv | dev.csv");
        assert_eq!(
            told(&["data/train-00000-of-00002.jsonl", "data/train-00001-of-00002.jsonl", "data/test.jsonl"]),
            "data/train-00000-of-00002.jsonl data/train-00001-of-00002.jsonl | data/test.jsonl"
        );
        assert_eq!(
            told(&["jd_validation.json", "评论一.json", "dataset_infos.json"]),
            "评论一.json | jd_validation.json"
        );
        assert_eq!(told(&["test.csv", "dev.csv", "README.md"]), "dev.csv test.csv | ");
        assert_eq!(
            told(&[".pulled.json", ".x/a.csv", "评论.json", "a/b/c/d.csv", "a/b/c/d/e.csv"]),
            "a/b/c/d.csv | "
        );
        assert_eq!(told(&["devices.csv", "contrain.csv"]), "contrain.csv devices.csv | ");
    }
}

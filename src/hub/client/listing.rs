//! What a repository holds, as far as it can be believed.

use std::collections::HashSet;
use std::path::{Component, Path};

use super::address::called;
use super::fault::{Fault, Kind};
use crate::hub::{Repo, Sort};

/// The most files that are taken for a listing.
const MOST_FILES: usize = 50_000;
/// The largest file, and all of them: 16 TiB.
const MOST_BYTES: u64 = 1 << 44;
/// Bytes of the longest path.
const LONGEST_PATH: usize = 1024;

/// How a file is known again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Checksum {
    Sha256(String),
    /// SHA1 of the file with git's header before it: Hugging Face has no other of a file outside LFS.
    GitBlob(String),
}

impl Checksum {
    /// In lower-case hexadecimal: Hugging Face's cache names a file by it.
    pub fn hex(&self) -> &str {
        match self {
            Checksum::Sha256(hex) | Checksum::GitBlob(hex) => hex,
        }
    }

    /// What is said to be one, told by its length.
    pub fn of(text: &str) -> Option<Self> {
        let hex = text.to_ascii_lowercase();
        let hex = Some(hex).filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))?;
        match hex.len() {
            64 => Some(Checksum::Sha256(hex)),
            40 => Some(Checksum::GitBlob(hex)),
            _ => None,
        }
    }

    pub fn name(&self) -> &'static str {
        match self {
            Checksum::Sha256(_) => "SHA256",
            Checksum::GitBlob(_) => "git's SHA1",
        }
    }
}

/// A file on a hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteFile {
    /// Relative to the repository, with slashes.
    pub path: String,
    /// Bytes; not every mirror tells them.
    pub size: Option<u64>,
    /// Not every hub has one of every file.
    pub checksum: Option<Checksum>,
    /// Whether a job reads it, or its licence asks that it comes along.
    pub needed: bool,
}

/// What a repository holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The commit; on ModelScope, which names none, the revision that was asked for.
    pub commit: String,
    pub files: Vec<RemoteFile>,
}

impl Listing {
    /// What a job needs.
    pub fn needed(&self) -> impl Iterator<Item = &RemoteFile> {
        self.files.iter().filter(|file| file.needed)
    }

    /// Bytes of what a job needs.
    pub fn bytes(&self) -> u64 {
        self.needed().filter_map(|file| file.size).sum()
    }

    /// Whether a model's weights are there in a format that is read here.
    pub fn has_weights(&self) -> bool {
        self.needed().any(|file| file.path.ends_with(WEIGHTS))
    }

    /// Whether there are weights as Python pickles.
    pub fn has_pickles(&self) -> bool {
        let ends = [".bin", ".pt", ".pth", ".ckpt"];
        self.files.iter().any(|file| ends.iter().any(|end| file.path.ends_with(end)))
    }

    /// Refuses what cannot be the listing of a repository.
    pub(super) fn check(&self, repo: &Repo) -> Result<(), Fault> {
        let wrong = |what: String| {
            Err(Fault::new(Kind::Other, format!("{}: {what}; nothing was fetched", called(repo))))
        };
        if self.files.len() > MOST_FILES {
            return wrong(format!("it lists {} files, more than {MOST_FILES}", self.files.len()));
        }
        if !is_inside(&self.commit) || self.commit.contains('/') && repo.hub == crate::hub::Hub::Hf {
            return wrong(format!("it names the commit {:?}, which is none", self.commit));
        }
        let (mut seen, mut bytes) = (HashSet::new(), 0u64);
        for file in &self.files {
            if !is_inside(&file.path) {
                return wrong(format!(
                    "it lists a file {:?}, which would lie outside of its directory",
                    file.path
                ));
            }
            if !seen.insert(&file.path) {
                return wrong(format!("it lists {} twice", file.path));
            }
            bytes = bytes.saturating_add(file.size.unwrap_or(0));
        }
        match bytes > MOST_BYTES {
            // No hub has as much: perhaps another has what is meant.
            true => wrong(format!("its files are {} TB by its listing", bytes / 1_000_000_000_000))
                .map_err(|fault| Fault { kind: Kind::NoHub, ..fault }),
            false => Ok(()),
        }
    }

    /// Marks what a job needs.
    pub(super) fn mark(&mut self, repo: &Repo) {
        let named = crate::hub::names::files_of(repo);
        for file in &mut self.files {
            file.needed = match repo.sort {
                Sort::Model => of_model(&file.path),
                Sort::Dataset if !named.is_empty() => {
                    named.contains(&file.path.as_str()) || is_paper(&file.path)
                }
                Sort::Dataset => of_data_set(&file.path),
            };
        }
    }
}

const WEIGHTS: &str = ".safetensors";

/// Weights in safetensors with their index, configuration, tokenizer, the model's Python (never run here; a merged model
/// carries it on), licence. They lie at the top: what is in folders are pictures, other formats and other dtypes.
fn of_model(path: &str) -> bool {
    const NAMES: [&str; 12] = [
        "config.json",
        "configuration.json",
        "generation_config.json",
        "model.safetensors.index.json",
        "qwen.tiktoken",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "chat_template.jinja",
        "vocab.json",
        "merges.txt",
    ];
    let top = !path.contains('/');
    top && (NAMES.contains(&path) || path.ends_with(WEIGHTS) || path.ends_with(".py") || is_paper(path))
}

/// Rows in a format that is read here.
fn of_data_set(path: &str) -> bool {
    [".csv", ".jsonl", ".json"].iter().any(|end| path.ends_with(end))
        && !path.split('/').any(|p| p.starts_with('.'))
        || is_paper(path)
}

/// What goes along with every copy.
fn is_paper(path: &str) -> bool {
    let name = path.to_ascii_lowercase();
    !path.contains('/') && ["readme.md", "notice", "notice.txt", "notice.md"].contains(&name.as_str())
        || !path.contains('/')
            && ["license", "licence"].iter().any(|word| name.contains(word))
            && !name.ends_with(".json")
}

/// Whether a path stays in the directory it is relative to.
pub fn is_inside(path: &str) -> bool {
    let parts = Path::new(path).components();
    !path.is_empty()
        && path.len() <= LONGEST_PATH
        && !path.chars().any(|c| c.is_control() || c == '\\')
        && path.split('/').all(|part| !part.is_empty() && part != "." && part != ".." && part != ".git")
        && parts.into_iter().all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::Hub;

    fn repo(sort: Sort) -> Repo {
        Repo { hub: Hub::Hf, sort, id: "a/b".into(), revision: None }
    }

    fn listing(paths: &[&str]) -> Listing {
        let file =
            |path: &&str| RemoteFile { path: (*path).into(), size: Some(1), checksum: None, needed: false };
        Listing { commit: "c".into(), files: paths.iter().map(file).collect() }
    }

    #[test]
    fn what_leads_out_of_the_directory_is_refused() {
        for path in [
            "../x",
            "/etc/passwd",
            "a/../../x",
            "a//b",
            "a/./b",
            "",
            "a\\b",
            "a\nb",
            ".git/config",
            "a/..",
            "~/..",
        ] {
            let e = listing(&["config.json", path]).check(&repo(Sort::Model)).unwrap_err();
            assert!(e.message.contains("outside of its directory"), "{path}: {}", e.message);
        }
        for path in ["~", "评论.csv", "a/b.csv", ".gitattributes", "...", "a b"] {
            listing(&[path]).check(&repo(Sort::Model)).unwrap();
        }
        assert!(listing(&["a", "a"]).check(&repo(Sort::Model)).is_err());
        let mut commit = listing(&["a"]);
        commit.commit = "../..".into();
        assert!(commit.check(&repo(Sort::Model)).is_err());
        let mut large = listing(&["a", "b"]);
        large.files.iter_mut().for_each(|f| f.size = Some(u64::MAX));
        assert!(large.check(&repo(Sort::Model)).unwrap_err().message.contains("TB"));
    }

    #[test]
    fn only_what_a_job_needs_is_marked() {
        let needed = |sort, paths: &[&str]| {
            let mut listing = listing(paths);
            listing.mark(&repo(sort));
            listing.needed().map(|f| f.path.clone()).collect::<Vec<_>>()
        };
        let model = [
            "README.md",
            "LICENSE",
            "Tongyi Qianwen RESEARCH LICENSE AGREEMENT.md",
            "NOTICE",
            "config.json",
            "model-00001-of-00002.safetensors",
            "model.safetensors.index.json",
            "qwen.tiktoken",
            "modeling_qwen.py",
        ];
        let rest =
            ["assets/logo.jpg", "pytorch_model.bin", ".gitattributes", "onnx/model.safetensors", "logo.png"];
        assert_eq!(needed(Sort::Model, &[&model[..], &rest].concat()), model);
        let rows = ["train.csv", "data/dev.jsonl", "README.md"];
        let rest = [".cache/x.json", "jd.py", "picture.png"];
        assert_eq!(needed(Sort::Dataset, &[&rows[..], &rest].concat()), rows);
    }

    #[test]
    fn a_checksum_is_told_by_its_length() {
        assert_eq!(Checksum::of(&"A".repeat(64)), Some(Checksum::Sha256("a".repeat(64))));
        assert_eq!(Checksum::of(&"0".repeat(40)), Some(Checksum::GitBlob("0".repeat(40))));
        assert_eq!(Checksum::of("d41d8cd98f00b204e9800998ecf8427e-2"), None);
        assert_eq!(Checksum::of(&"g".repeat(64)), None);
    }
}

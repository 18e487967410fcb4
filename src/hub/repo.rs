//! What lies on a hub, by name.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hub {
    ModelScope,
    /// Hugging Face.
    Hf,
}

/// What a repository holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sort {
    Model,
    Dataset,
}

/// A repository on a hub.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Repo {
    pub hub: Hub,
    pub sort: Sort,
    /// `owner/name`, as this hub writes it.
    pub id: String,
    /// Branch, tag or commit; not set: the hub's own (`master` on ModelScope, `main` on Hugging Face).
    pub revision: Option<String>,
}

impl Hub {
    /// The branch that is meant where none is named.
    pub fn default_revision(self) -> &'static str {
        match self {
            Hub::ModelScope => "master",
            Hub::Hf => "main",
        }
    }
}

impl fmt::Display for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Hub::ModelScope => "ModelScope",
            Hub::Hf => "Hugging Face",
        })
    }
}

impl fmt::Display for Sort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Sort::Model => "model",
            Sort::Dataset => "data set",
        })
    }
}

impl Repo {
    /// The revision that is meant.
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or(self.hub.default_revision())
    }
}

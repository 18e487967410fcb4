//! The names of data sets, and the repositories behind names.

use super::repo::{Repo, Sort};

/// A data set of SWIFT's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataSet {
    /// What `dataset` is set to.
    pub name: &'static str,
    /// Its id on ModelScope. It is on no other hub.
    pub id: &'static str,
    /// The file of training rows in the repository, and of validation rows.
    pub train: &'static str,
    pub validation: &'static str,
}

/// The data sets that are known by name.
pub static DATA_SETS: [DataSet; 1] =
    [DataSet { name: "jd-sentiment-zh", id: "DAMO_NLP/jd", train: "train.csv", validation: "dev.csv" }];

/// The files of a data set's repository that a job reads; empty where that is not known.
pub fn files_of(repo: &Repo) -> Vec<&'static str> {
    let known =
        DATA_SETS.iter().find(|set| repo.sort == Sort::Dataset && set.id.eq_ignore_ascii_case(&repo.id));
    known.map_or_else(Vec::new, |set| vec![set.train, set.validation])
}

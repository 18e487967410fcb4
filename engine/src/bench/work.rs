//! The folder of a benchmark: the model, the rows, the runs. It goes when the benchmark is over.

use std::path::{Path, PathBuf};
use std::process::Command;

use qwen_tui::bench::{BenchArguments, Lengths, Synthetic};
use qwen_tui::data::tokenizer::VOCABULARY_FILE;
use qwen_tui::error::{Context, Error, Result};
use qwen_tui::job::inputs::check_model_dir;

use super::job::flags;
use super::stop;
use crate::model::QwenConfig;

/// A folder that is removed with all that is in it.
#[derive(Debug)]
pub struct Work {
    dir: PathBuf,
}

impl Work {
    pub fn new() -> Result<Self> {
        let dir = std::env::temp_dir().join(format!("qwen-tui-bench-{}", std::process::id()));
        std::fs::create_dir_all(&dir).user(dir.display())?;
        Ok(Self { dir })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The model's directory: the one that is named, one that is kept from before, or a new one.
    ///
    /// # Errors
    /// A model that cannot be made.
    pub fn model(&self, arguments: &BenchArguments, shape: &str, dtype: &str) -> Result<PathBuf> {
        if let Some(dir) = &arguments.model {
            check_model_dir(dir)?;
            return Ok(dir.clone());
        }
        let name = format!("{shape}-{dtype}-{}", arguments.seed);
        let dir = arguments.work.as_ref().map_or_else(|| self.path(&name), |kept| kept.join(&name));
        if arguments.work.is_some() && dir.join("config.json").is_file() {
            let there = dir.join(VOCABULARY_FILE);
            let read = |file: &Path| std::fs::read(file).user(file.display());
            return match &arguments.tokenizer {
                Some(file) if read(file)? != read(&there)? => Err(Error::user(format!(
                    "--tokenizer {}: the model that is kept in {} has another; name another --work, or remove it",
                    file.display(),
                    dir.display()
                ))),
                _ => Ok(dir),
            };
        }
        let mut more = flags(&[
            ("shape", shape.to_owned()),
            ("out", dir.display().to_string()),
            ("dtype", dtype.to_owned()),
            ("seed", arguments.seed.to_string()),
        ]);
        if let Some(file) = &arguments.tokenizer {
            more.extend(flags(&[("tokenizer", file.display().to_string())]));
        }
        let engine = std::env::current_exe().internal("finding this program's own path")?;
        let mut maker =
            Command::new(engine).arg("new-model").args(more).spawn().internal("making the model")?;
        stop::ends(&mut maker)?;
        let status = maker.wait().internal("making the model")?;
        stop::forget(&maker);
        match status.success() {
            true => Ok(dir),
            false => Err(Error::user("the model could not be made")),
        }
    }

    /// Files of rows to train on and to evaluate on.
    ///
    /// # Errors
    /// Lengths that no row can have.
    pub fn rows(&self, arguments: &BenchArguments, model: &Path) -> Result<[PathBuf; 2]> {
        if let Some(file) = &arguments.rows_file {
            return Ok([file.clone(), file.clone()]);
        }
        let files = [self.path("train.jsonl"), self.path("validation.jsonl")];
        let count = arguments.total() * arguments.accumulation;
        self.write_rows(model, arguments.seed, &files[0], count, arguments.lengths)?;
        self.write_rows(model, arguments.seed + 1, &files[1], arguments.validation, arguments.lengths)?;
        Ok(files)
    }

    fn write_rows(&self, model: &Path, seed: u64, file: &Path, count: usize, lengths: Lengths) -> Result<()> {
        let tokenizer = QwenConfig::load(model)?.tokenizer(model)?;
        Synthetic::new(&tokenizer, seed)?.write(file, count, lengths)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // What cannot be removed stays in the machine's folder for what is temporary.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

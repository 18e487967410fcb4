//! The file in the checkpoint that answers are kept in.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use qwen_tui::args::InferArgs;
use qwen_tui::stderr::{note, warning};
use serde_json::Value;

/// `infer_result_YYYYMMDD-HHMMSS.jsonl` in the checkpoint, made when there is an answer to write.
pub struct Answers {
    /// None: nothing is saved.
    path: Option<PathBuf>,
    file: Option<File>,
}

impl Answers {
    pub fn new(args: &InferArgs) -> Self {
        let name = || format!("infer_result_{}.jsonl", qwen_tui::run::dir::timestamp());
        let dir = args.ckpt_dir.as_deref().filter(|_| args.save_result);
        Self { path: dir.map(|dir| Path::new(dir).join(name())), file: None }
    }

    /// Appends one object. An answer is worth its telling without the file too: what goes wrong is said once.
    pub fn append(&mut self, object: &Value) {
        let Some(path) = &self.path else { return };
        let written = match &mut self.file {
            Some(file) => writeln!(file, "{object}"),
            None => OpenOptions::new().create(true).append(true).open(path).and_then(|mut file| {
                writeln!(file, "{object}")?;
                self.file = Some(file);
                Ok(())
            }),
        };
        if let Err(e) = written {
            warning(format!(
                "answers are not saved: {}: {e}; --save_result false silences this",
                path.display()
            ));
            self.path = None;
        }
    }

    /// Where answers have been written, if any were.
    pub fn written(&self) -> Option<PathBuf> {
        self.file.as_ref().and(self.path.clone())
    }

    /// Says where the answers are, if any were written.
    pub fn tell(&self) {
        if let Some(path) = self.written() {
            note(&format!("answers: {}", path.display()));
        }
    }
}

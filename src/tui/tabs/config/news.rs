//! What the effects tell the tab, and what they are asked to look for.

use std::path::PathBuf;

use super::start::beside_question;
use super::typing::Typing;
use super::{Config, LOOK_AGAIN, Page, Sought};
use crate::args::SftArgs;
use crate::job::inputs::{Inputs, Missing, model_dir};
use crate::tui::action::{Action, Notice, Tab};
use crate::tui::configs::{ConfigNews, ConfigWork};
use crate::tui::fetching::not_started;
use crate::tui::popups::{Choice, Question};
use crate::tui::repl::BaseModel;

impl Config {
    pub(super) fn hear(&mut self, news: &ConfigNews) -> Vec<Action> {
        match news {
            ConfigNews::Files(files) => {
                if let Page::Picker(picker) = &mut self.page {
                    picker.found(files);
                }
            }
            ConfigNews::Loaded { file, read } => {
                self.form.load(file.clone(), read.clone());
                let left = self.leave_shelves();
                if let Some(warning) = read.warnings.first() {
                    return left.into_iter().chain([Action::Tell(Notice::info(warning.clone()))]).collect();
                }
                return left.into_iter().collect();
            }
            ConfigNews::Saved(path) => {
                if let Some(written) = self.writing.take() {
                    self.form.saved = written;
                }
                self.form.file = Some(path.clone());
                if matches!(self.page, Page::Picker(_)) {
                    self.page = Page::Form;
                }
                return vec![Action::Tell(Notice::info(format!("wrote {}", path.display())))];
            }
            ConfigNews::Exists { path, text } => {
                let (path, text) = (path.clone(), text.clone());
                let words = format!("{} is there already.", path.display());
                let write = ConfigWork::Save { path, text, overwrite: true };
                let choices = vec![
                    Choice::new('o', "Overwrite it", vec![Action::Config(write)]),
                    Choice::new('k', "Keep it: choose another name", Vec::new()),
                ];
                return vec![Action::Ask(Box::new(Question::new("Write", words, choices)))];
            }
            ConfigNews::Found { inputs, missing, names } => {
                if let Some(sought) = self.sought.as_mut().filter(|s| s.inputs == **inputs) {
                    sought.answered = true;
                }
                self.form.hear_found(inputs.as_ref().clone(), missing.clone(), names.clone());
            }
            ConfigNews::Shelves(items) => {
                if let Page::Shelves(shelves) = &mut self.page {
                    shelves.found(items);
                }
            }
            ConfigNews::Offer { repos, told } => {
                if let Page::Shelves(shelves) = &mut self.page {
                    shelves.answered(repos, told);
                }
            }
            // The queue keeps it.
            ConfigNews::Queued => self.started = self.queueing.take().or(self.started.take()),
            ConfigNews::Occupied(args) => {
                self.queueing = self.starting.take();
                return vec![Action::Show(Tab::Config), Action::Ask(Box::new(beside_question(args.clone())))];
            }
            ConfigNews::NotStarted(why) => {
                self.starting = None;
                return vec![Action::Show(Tab::Config), Action::Ask(Box::new(not_started(why)))];
            }
            ConfigNews::Preview(look) => self.look = Some(look.clone()),
        }
        Vec::new()
    }

    /// What a training with what is typed now would read, or with the form as it is.
    fn wanted(&self) -> Option<&Inputs> {
        let typed = match &self.page {
            Page::Typing(Typing::Value(value)) => value.inputs(),
            Page::Editor(editor) => editor.inputs(),
            _ => None,
        };
        typed.or(self.form.inputs.as_ref())
    }

    /// Has model and data looked for where other ones are named than before. While an answer is waited for nothing else
    /// is looked for: what lies on a disk that does not answer would leave a thread behind at each key.
    pub(super) fn seek(&mut self, now: f64) -> Option<Action> {
        let wanted = self.wanted()?;
        let sought = self.sought.as_ref();
        let waits = sought.is_some_and(|s| !s.answered && (0.0..LOOK_AGAIN).contains(&(now - s.at)));
        let is_new = sought.is_none_or(|s| s.inputs != *wanted) && self.form.missing(wanted).is_none();
        (is_new && !waits).then_some(())?;
        self.seek_again(now)
    }

    /// Looks again for what was missing: it may have come.
    pub(super) fn seek_missing(&mut self, now: f64) -> Option<Action> {
        let is_old = self.sought.as_ref().is_some_and(|s| s.answered && now - s.at >= LOOK_AGAIN);
        let is_missing = self.form.missing(self.wanted()?).is_some_and(|missing| !missing.is_empty());
        if is_old && is_missing { self.seek_again(now) } else { self.seek(now) }
    }

    pub(super) fn seek_again(&mut self, now: f64) -> Option<Action> {
        let inputs = self.wanted()?.clone();
        self.sought = Some(Sought { inputs: inputs.clone(), at: now, answered: false });
        Some(Action::Config(ConfigWork::Find(Box::new(inputs))))
    }

    /// Names the base model of the arguments to the other tabs, where it is another than before. While it is looked for
    /// the one before stays.
    pub(super) fn name_base(&mut self) -> Option<Action> {
        let base = match (&self.form.checked, self.form.inputs_found()) {
            (Ok(_), None) => return None,
            (Ok(loaded), Some(found)) if !found.is_err_and(Missing::is_model) => {
                let found = self.form.names().and_then(|names| names.model.clone());
                base_model(&loaded.args, found)
            }
            _ => None,
        };
        (base != self.named).then_some(())?;
        self.named.clone_from(&base);
        Some(Action::NameBase(base.map(Box::new)))
    }
}

/// The base model of `args`, which was `found` where they name it.
fn base_model(args: &SftArgs, found: Option<PathBuf>) -> Option<BaseModel> {
    Some(BaseModel {
        dir: found.or_else(|| Some(model_dir(args).ok()?.to_owned()))?,
        model_type: args.model_type.clone(),
        template_type: args.template_type.clone(),
        system: args.system.clone(),
        dtype: args.dtype.clone(),
    })
}

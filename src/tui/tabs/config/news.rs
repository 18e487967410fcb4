//! What the effects tell the tab, and what they are asked to look for.

use super::{Config, Page};
use crate::tui::action::{Action, Notice, Tab};
use crate::tui::configs::{ConfigNews, ConfigWork};
use crate::tui::popups::{Choice, Question};

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
                self.page = Page::Form;
                if let Some(warning) = read.warnings.first() {
                    return vec![Action::Tell(Notice::info(warning.clone()))];
                }
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
            ConfigNews::Found { inputs, found } => {
                self.form.found = Some((inputs.as_ref().clone(), found.clone()));
            }
            ConfigNews::NotStarted(why) => {
                self.starting = None;
                let close = vec![Choice::new('c', "Close", Vec::new())];
                let question = Question::new("The training did not start", why.as_str(), close);
                return vec![Action::Show(Tab::Config), Action::Ask(Box::new(question))];
            }
            ConfigNews::Preview(look) => self.look = Some(look.clone()),
        }
        Vec::new()
    }

    /// Has model and data looked for where other ones are named than before.
    pub(super) fn seek(&mut self, now: f64) -> Option<Action> {
        let inputs = self.form.inputs.as_ref()?;
        (self.sought.as_ref().map(|(sought, _)| sought) != Some(inputs)).then_some(())?;
        self.seek_again(now)
    }

    pub(super) fn seek_again(&mut self, now: f64) -> Option<Action> {
        let inputs = self.form.inputs.clone()?;
        self.sought = Some((inputs.clone(), now));
        Some(Action::Config(ConfigWork::Find(Box::new(inputs))))
    }
}

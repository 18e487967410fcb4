//! What the effects tell the tab, and what they are asked to look for.

use super::{Config, Page};
use crate::args::SftArgs;
use crate::job::inputs::{Missing, model_dir};
use crate::tui::action::{Action, Notice, Tab};
use crate::tui::configs::{ConfigNews, ConfigWork};
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

    /// Names the base model of the arguments to the other tabs, where it is another than before. While it is looked for
    /// the one before stays.
    pub(super) fn name_base(&mut self) -> Option<Action> {
        let base = match (&self.form.checked, self.form.inputs_found()) {
            (Ok(_), None) => return None,
            (Ok(loaded), Some(found)) if !found.is_err_and(Missing::is_model) => base_model(&loaded.args),
            _ => None,
        };
        (base != self.named).then_some(())?;
        self.named.clone_from(&base);
        Some(Action::NameBase(base.map(Box::new)))
    }

    pub(super) fn seek_again(&mut self, now: f64) -> Option<Action> {
        let inputs = self.form.inputs.clone()?;
        self.sought = Some((inputs.clone(), now));
        Some(Action::Config(ConfigWork::Find(Box::new(inputs))))
    }
}

fn base_model(args: &SftArgs) -> Option<BaseModel> {
    Some(BaseModel {
        dir: model_dir(args).ok()?.to_owned(),
        model_type: args.model_type.clone(),
        template_type: args.template_type.clone(),
        system: args.system.clone(),
        dtype: args.dtype.clone(),
    })
}

//! From the form to a job, or to a look at its data.

use super::{Config, Page, tell, tell_error};
use crate::args::{FIELDS, Field, SftArgs};
use crate::tui::action::{Action, Notice, QueueWork};
use crate::tui::component::Handled;
use crate::tui::configs::ConfigWork;
use crate::tui::popups::{Choice, Question};
use crate::tui::state::State;

impl Config {
    /// The arguments with every rule applied, for a run where the cockpit looks for runs.
    fn resolved(&mut self, state: &State) -> Result<Box<SftArgs>, String> {
        match &self.form.checked {
            Ok(loaded) => {
                let mut args = loaded.args.clone();
                let unset = |f: &Field| f.name == "output_dir" && !self.form.draft.is_set(f);
                if FIELDS.iter().any(unset) {
                    args.output_dir = state.output_dir.display().to_string();
                }
                Ok(Box::new(args))
            }
            Err(problem) => {
                let (key, message) = (problem.key, problem.message.clone());
                if let Some(key) = key {
                    self.form.show(key);
                }
                Err(message)
            }
        }
    }

    /// The arguments of a job whose model and data are there, or what is done where they are not.
    fn ready(&mut self, state: &State) -> Result<Box<SftArgs>, Handled> {
        let args = self.resolved(state).map_err(|why| {
            self.page = Page::Form;
            tell_error(why)
        })?;
        let Some(Err(missing)) = self.form.inputs_found() else { return Ok(args) };
        let (key, why) = (missing.key, missing.message.clone());
        self.form.show(key);
        self.page = Page::Form;
        let mut actions = vec![Action::Tell(Notice::error(why))];
        // Perhaps it is there by now.
        actions.extend(self.seek_again(state.now));
        Err(Handled::Yes(actions))
    }

    pub(super) fn start(&mut self, state: &State) -> Handled {
        if let Some(fetching) = &state.fetch {
            return tell(fetching.in_the_way());
        }
        let args = match self.ready(state) {
            Ok(args) => args,
            Err(handled) => return handled,
        };
        let question = match &state.engine {
            Some(Err(missing)) => Question::no_engine(missing),
            _ if state.has_job() => {
                self.queueing = Some(self.form.draft.clone());
                beside_question(args)
            }
            _ => {
                self.starting = Some(self.form.draft.clone());
                return Handled::with(Action::StartJob { args, beside: false });
            }
        };
        Handled::with(Action::Ask(Box::new(question)))
    }

    /// Without an engine too: the job waits for one.
    pub(super) fn put_into_queue(&mut self, state: &State) -> Handled {
        match self.ready(state) {
            Ok(args) => {
                self.queueing = Some(self.form.draft.clone());
                Handled::with(Action::Queue(QueueWork::Put(args)))
            }
            Err(handled) => handled,
        }
    }

    pub(super) fn look(&mut self, state: &State) -> Handled {
        match self.resolved(state) {
            Ok(args) => {
                self.page = Page::Data;
                self.look = None;
                Handled::with(Action::Config(ConfigWork::Preview(args)))
            }
            Err(why) => tell_error(why),
        }
    }
}

/// Asked before a job starts while another runs.
pub(super) fn beside_question(args: Box<SftArgs>) -> Question {
    let queue = vec![Action::Queue(QueueWork::Put(args.clone()))];
    let choices = vec![
        Choice::new('b', "Start this one beside it", vec![Action::StartJob { args, beside: true }]),
        Choice::new('a', "Put it into the queue: it starts when its device is free", queue),
        Choice::new('n', "Not now", Vec::new()),
    ];
    let text = "A job is running. Both would share this machine's memory and cores.";
    Question::new("Start", text, choices)
}

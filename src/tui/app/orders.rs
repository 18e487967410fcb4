//! Commands to the job that they were meant for: at once, or held until its worker hears.

use super::App;
use crate::job::event::Command;
use crate::tui::action::{Action, Notice, Whom};
use crate::tui::model::Worker;
use crate::tui::state::Hearing;
use crate::tui::tabs::nobody;

impl App {
    /// The end of the cockpit, which a job that is about to start needs until it has its worker.
    pub(super) fn leave(&mut self) -> Option<Action> {
        match (&self.state.fetch, self.state.starting) {
            // What is held for it is told first.
            (_, false) if self.held.is_empty() || !self.state.is_starting() => Some(Action::Exit),
            // Nothing was known of that when it was asked.
            (Some(fetching), true) if !fetching.starts => Some(Action::Quit),
            _ => {
                self.notice = Some((Notice::info("quitting as soon as the job has begun"), self.state.now));
                self.hold(Action::Leave);
                None
            }
        }
    }

    /// What was held for a worker, once it hears; where none has come to be nothing is left of it.
    pub(super) fn release(&mut self) -> Vec<Action> {
        let is_open = self.state.run.as_ref().is_some_and(|run| run.worker == Worker::Unknown);
        let cancels = |(action, _): &(Action, _)| {
            matches!(
                action,
                Action::CancelFetch
                    | Action::Order(Command::Stop, Whom::Next)
                    | Action::StopAndExit(Whom::Next)
            )
        };
        let leaves = |(action, _): &(Action, _)| matches!(action, Action::Leave);
        match &self.state.fetch {
            _ if self.held.is_empty() => return Vec::new(),
            // Held on: where all was there a moment before, the job starts, and is to be stopped.
            Some(fetching) if self.state.begun.is_none() && self.held.iter().any(cancels) => {
                return match fetching.is_ending || fetching.starts {
                    true => Vec::new(),
                    false => vec![Action::CancelFetch],
                };
            }
            Some(_) => return Vec::new(),
            // It goes on without the cockpit from here on.
            None if self.state.begun.is_some() && self.held.iter().all(leaves) => {
                self.held.clear();
                return vec![Action::Exit];
            }
            None if self.state.is_starting() || is_open => return Vec::new(),
            None => {}
        }
        let mut held = std::mem::take(&mut self.held);
        // Without a start there is nobody to hear, and why is told by others.
        let is_begun = self.state.begun.is_some();
        if !is_begun {
            // What was said of them is not so.
            self.notice = None;
        }
        held.retain(|(action, _)| match action {
            Action::CancelFetch => false,
            Action::Order(_, Whom::Next) | Action::StopAndExit(Whom::Next) | Action::Leave => is_begun,
            _ => true,
        });
        if !self.state.is_live() {
            self.stopping = false;
            return Vec::new();
        }
        held.into_iter()
            .flat_map(|(action, notice)| notice.map(Action::Tell).into_iter().chain([action]))
            .collect()
    }

    /// Gives a command to the job that it was meant for.
    pub(super) fn order(&mut self, command: Command, whom: Whom) -> Option<Action> {
        match self.state.hearing(&whom) {
            Hearing::Nobody => {
                let words = nobody(&self.state.name(&whom));
                self.notice = Some((Notice::error(words), self.state.now));
                return None;
            }
            Hearing::Fetch(fetching) if command == Command::Stop => {
                let is_ending = fetching.is_ending;
                self.notice = None;
                self.hold(Action::Order(command, whom));
                return (!is_ending).then_some(Action::CancelFetch);
            }
            Hearing::Fetch(_) | Hearing::Starts | Hearing::Run(_) => {}
        }
        self.pausing = match command {
            Command::Pause => true,
            Command::Resume | Command::Stop => false,
            Command::Save => self.pausing,
        };
        if matches!(self.state.hearing(&whom), Hearing::Run(_)) {
            return Some(Action::Send(command));
        }
        self.hold(Action::Order(command, whom));
        None
    }

    /// The end of the cockpit and of the job that the question was about: of no other one.
    pub(super) fn stop_and_exit(&mut self, whom: Whom) -> Option<Action> {
        if self.state.is_starting() {
            self.stopping = true;
            self.hold(Action::StopAndExit(whom));
            return None;
        }
        match self.state.hearing(&whom) {
            Hearing::Nobody => {
                let words = nobody(&self.state.name(&whom));
                self.notice = Some((Notice::error(words), self.state.now));
                None
            }
            // Its end is the cockpit's.
            Hearing::Fetch(fetching) => {
                let is_ending = fetching.is_ending;
                self.hold(Action::StopAndExit(whom));
                (!is_ending).then_some(Action::CancelFetch)
            }
            Hearing::Starts | Hearing::Run(_) => {
                self.stopping = true;
                Some(Action::StopAndExit(whom))
            }
        }
    }

    /// Does what follows from an order where it is the application's own; the rest is for the effects.
    pub(super) fn follow_up(&mut self, next: Option<Action>, rest: &mut Vec<Action>) {
        rest.extend(match next {
            Some(own @ (Action::Quit | Action::CancelFetch)) => self.act(vec![own]),
            next => next.into_iter().collect(),
        });
    }

    /// From here on the fetch is shown as one that ends, unless its job starts already.
    pub(super) fn cancel_fetch(&mut self) {
        if let Some(fetching) = &mut self.state.fetch {
            fetching.is_ending = !fetching.starts;
        }
    }

    /// Keeps what its worker does not hear yet, with what has just been said of it.
    pub(super) fn hold(&mut self, action: Action) {
        self.held.push((action, self.notice.as_ref().map(|(notice, _)| notice.clone())));
        self.changed = true;
    }
}

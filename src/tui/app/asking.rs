//! Questions whose words follow what is.

use super::App;
use crate::tui::action::Whom;
use crate::tui::fetching::fetching_question;
use crate::tui::model::Worker;
use crate::tui::popups::{Popup, Question};
use crate::tui::questions::{merging_question, no_other, nothing_runs, quit_question, unsaved_question};
use crate::tui::state::Hearing;
use crate::tui::tabs::{nobody, stop_question};

impl App {
    /// What is asked before the end of the cockpit; none where nothing would be lost or left behind.
    pub(super) fn quit_question(&self) -> Option<Question> {
        let unsaved: Vec<&str> = self.tabs.iter().filter_map(|tab| tab.unsaved()).collect();
        let unsaved = unsaved.join(" ");
        if self.state.is_live() || self.state.is_starting() {
            return Some(quit_question(&self.state, self.pausing, &unsaved));
        }
        if !self.state.merges.is_empty() {
            return Some(merging_question(&self.state, &unsaved));
        }
        match &self.state.fetch {
            Some(fetching) => Some(fetching_question(fetching, &unsaved, &self.state)),
            None => (!unsaved.is_empty()).then(|| unsaved_question(&unsaved)),
        }
    }

    /// A question about a job, or about the end, has the words of this moment; of a job that has not come to be there is
    /// nothing to ask.
    pub(super) fn ask_anew(&mut self) {
        let Some(Popup::Question(question)) = &self.popup else { return };
        if let Some(asked) = &self.asks_to_quit {
            // In a moment it is known what is at it.
            if self.state.run.as_ref().is_some_and(|run| run.worker == Worker::Unknown) {
                return;
            }
            let (now, begun) = (self.state.whom(), self.state.begun.clone().map(Whom::Run));
            let is_other = matches!(now, Whom::Run(_)) && now != *asked && Some(&now) != begun.as_ref();
            let question = match is_other {
                true => no_other(nobody(&self.state.name(asked))),
                false => self.quit_question().unwrap_or_else(nothing_runs).in_place_of(question),
            };
            if is_other {
                self.asks_to_quit = None;
            }
            self.popup = Some(Popup::Question(question));
            return;
        }
        let Some(whom) = question.about.clone() else { return };
        let is_none = whom == Whom::Next
            && self.state.begun.is_none()
            && matches!(self.state.hearing(&whom), Hearing::Nobody);
        self.popup = match is_none {
            true => None,
            false => Some(Popup::Question(stop_question(&self.state, whom).in_place_of(question))),
        };
    }
}

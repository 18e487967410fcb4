//! What the world tells: what the application makes of it, and what follows.

use std::path::Path;

use super::{App, NOTICE_SECONDS};
use crate::job::queue::Job;
use crate::tui::action::{Action, Awaited, Notice, Tab};
use crate::tui::fetching::{FetchNews, not_started};
use crate::tui::message::Message;
use crate::tui::model::Worker;

impl App {
    /// Takes news of the world; returns what the effects should do.
    pub fn message(&mut self, message: &Message) -> Vec<Action> {
        if matches!(message, Message::Runs { output_dir, .. } if *output_dir != self.state.output_dir) {
            // Another directory has taken the place of that one meanwhile, and is looked at.
            return Vec::new();
        }
        let mut started = self.started(message);
        if let Message::Fetch(news) = message {
            started.extend(self.hear_fetch(news));
        }
        if matches!(message, Message::Notice(notice) if notice.is_error)
            && self.state.starting
            && (self.shown, self.asked_on) == (Tab::Train, Tab::Checkpoints)
        {
            // It does not start, and why is told there.
            started.push(Action::Show(Tab::Checkpoints));
        }
        let output_dir = self.state.output_dir.clone();
        self.changed |= self.state.see(message);
        self.changed |=
            matches!(message, Message::Tick(_)) && self.tabs[self.shown as usize].counts_seconds();
        if self
            .notice
            .as_ref()
            .and_then(|(n, _)| n.until)
            .is_some_and(|awaited| self.has_come(awaited, message))
        {
            self.notice = None;
            self.changed = true;
        }
        self.pausing &= match message {
            Message::Opened(_) | Message::Deleted(_) => false,
            Message::Notice(notice) => !notice.is_error,
            message => !self.has_come(Awaited::Paused, message),
        };
        let mut actions: Vec<Action> =
            self.tabs.iter_mut().flat_map(|tab| tab.receive(message, &self.state)).collect();
        actions.extend(started);
        actions.extend(self.release());
        self.ask_anew();
        match message {
            Message::Tick(now)
                if self.notice.as_ref().is_some_and(|(_, since)| now - since > NOTICE_SECONDS) =>
            {
                self.notice = None;
                self.changed = true;
            }
            Message::Notice(notice) => actions.push(Action::Tell(notice.clone())),
            Message::Runs { runs, .. } => {
                if let Some(chosen) = self.opening.choose(runs, self.shown, &self.state) {
                    if chosen.shown {
                        self.shown = Tab::Train;
                    }
                    actions.push(Action::OpenRun(chosen.run));
                }
            }
            Message::Opened(_) => self.opening.opened(),
            _ => {}
        }
        let is_tick = matches!(message, Message::Tick(_));
        if !actions.iter().any(|action| matches!(action, Action::ListRuns)) {
            if output_dir != self.state.output_dir {
                actions.push(Action::ListRuns);
            } else if is_tick && self.opening.looks(self.shown, &self.state) {
                actions.push(Action::LookForJobs);
            }
        }
        self.act(actions)
    }

    /// What is said of jobs that the queue has started, or put aside, since it was looked at last.
    fn started(&self, message: &Message) -> Vec<Action> {
        let Message::Queue(now) = message else { return Vec::new() };
        let before = |job: &Job| self.state.queue.job(job.number);
        let mut actions = Vec::new();
        for job in &now.jobs {
            let notice = match (job.run(), before(job)) {
                (Some(run), Some(before)) if before.run().is_none() => {
                    actions.push(Action::ListRuns);
                    let (number, run) = (job.number, run.display());
                    Notice::info(format!("job {number} of the queue is trained in {run}: Q, Enter shows it"))
                }
                (None, Some(before)) if job.word() == "failed" && before.word() != "failed" => Notice::error(
                    format!("job {} was not started: {}", job.number, job.note().unwrap_or_default()),
                ),
                _ => continue,
            };
            actions.push(Action::Tell(notice));
        }
        actions
    }

    /// What follows from news of a fetch, before the state has heard them.
    fn hear_fetch(&mut self, news: &FetchNews) -> Vec<Action> {
        let was = self.state.fetch.as_ref();
        // Where it was asked for, unless somebody has gone elsewhere meanwhile.
        let back = (self.shown == Tab::Train).then_some(Action::Show(self.asked_on));
        match news {
            FetchNews::Goes(_) if was.is_none() => {
                let before = self.held.len();
                self.held.retain(|(held, _)| !matches!(held, Action::Leave));
                // It was not known that the job needs the cockpit for long.
                let asks = (self.held.len() < before).then_some(Action::Quit);
                [Action::Show(Tab::Train)].into_iter().chain(asks).collect()
            }
            FetchNews::Goes(_) | FetchNews::Starts | FetchNews::Over => Vec::new(),
            FetchNews::Cancelled
                if self.held.iter().any(|(held, _)| matches!(held, Action::StopAndExit(_))) =>
            {
                vec![Action::Exit]
            }
            FetchNews::Cancelled => {
                let told = was.map(|fetching| Action::Tell(Notice::info(fetching.cancelled())));
                back.into_iter().chain(told).collect()
            }
            FetchNews::Failed(why) => {
                vec![Action::Show(self.asked_on), Action::Ask(Box::new(not_started(why)))]
            }
        }
    }

    /// Whether a message of the followed run brings what a notice has announced.
    fn has_come(&self, awaited: Awaited, message: &Message) -> bool {
        let is_followed = |run: &Path| self.state.run.as_ref().is_some_and(|r| r.path == run);
        match message {
            Message::Events { run, records } => {
                is_followed(run) && records.iter().any(|r| awaited.has_come(&r.event))
            }
            Message::Worker { run, worker: Worker::Gone { .. } } => is_followed(run),
            Message::Opened(_) | Message::Deleted(_) => true,
            _ => false,
        }
    }
}

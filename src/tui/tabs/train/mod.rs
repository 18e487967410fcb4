//! The run that is followed: how far it is, its curves, the machine, its log.

mod charts;
mod fetch;
mod figures;
mod layout;
mod log;
mod progress;

use crossterm::event::KeyEvent;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};

use crate::job::event::Command;
use crate::tui::action::{Action, Awaited, Notice, Whom};
use crate::tui::component::{CommandInfo, Component, Handled};
use crate::tui::keys;
use crate::tui::model::RunState;
use crate::tui::popups::{Choice, Question};
use crate::tui::state::{Hearing, State};
use crate::tui::widgets;

/// The tab; all that it shows is in the state.
#[derive(Debug)]
pub struct Train;

impl Component for Train {
    fn commands(&self, state: &State) -> Vec<CommandInfo> {
        let live = state.is_live() || state.is_starting();
        let pause = if is_paused(state) { &keys::RESUME } else { &keys::PAUSE };
        let fetches = state.fetch.is_some();
        let cancel = CommandInfo { binding: &keys::CANCEL_FETCH, enabled: fetches, main: fetches };
        let of_run = [pause, &keys::SAVE, &keys::STOP].map(|b| CommandInfo::main(b, live));
        // What is about what is shown comes first.
        match fetches {
            true => [cancel].into_iter().chain(of_run).collect(),
            false => of_run.into_iter().chain([cancel]).collect(),
        }
    }

    fn handle(&mut self, key: &KeyEvent, state: &State) -> Handled {
        let (command, told, awaited) = if keys::PAUSE.is(key) {
            match is_paused(state) {
                true => (Command::Resume, "going on", Awaited::Resumed),
                false => (Command::Pause, "it pauses after the step at hand", Awaited::Paused),
            }
        } else if keys::SAVE.is(key) {
            (Command::Save, "it saves after the step at hand", Awaited::Saved)
        } else if keys::STOP.is(key) {
            (Command::Stop, "", Awaited::Ended)
        } else if keys::CANCEL_FETCH.is(key) && (state.fetch.is_some() || state.starting) {
            return Handled::with(Action::CancelFetch);
        } else {
            return Handled::No;
        };
        let whom = state.whom();
        let is_fetched = matches!(state.hearing(&whom), Hearing::Fetch(_));
        let is_cancelled = is_fetched && command == Command::Stop;
        if !(state.is_live() || state.is_starting() || is_cancelled) {
            let words = match &state.fetch {
                Some(_) => "nothing runs yet: Esc cancels what is fetched for it",
                None => "no job is running here",
            };
            return Handled::with(Action::Tell(Notice::info(words).until(Awaited::Ended)));
        }
        if command == Command::Stop {
            return Handled::with(Action::Ask(Box::new(stop_question(state, whom))));
        }
        Handled::Yes(vec![Action::Tell(Notice::info(told).until(awaited)), Action::Order(command, whom)])
    }

    fn draw(&self, frame: &mut Frame, area: Rect, state: &State) {
        let area = match &state.fetch {
            None => area,
            // A run that goes on stays in sight.
            Some(fetching) if state.is_live() => {
                let height = fetch::height(fetching).min(area.height / 2);
                let [above, below] =
                    Layout::vertical([Constraint::Length(height), Constraint::Min(0)]).areas(area);
                fetch::draw(frame, above, fetching, state);
                below
            }
            Some(fetching) => return fetch::draw(frame, area, fetching, state),
        };
        match state.shown() {
            Some(run) => draw_run(frame, area, run, state),
            None => widgets::words(frame, area, &nothing_open(state), state.theme.text),
        }
    }
}

fn is_paused(state: &State) -> bool {
    !state.is_starting() && state.run.as_ref().is_some_and(|r| r.paused || r.no_room.is_some())
}

/// Asks whether the job is to be stopped; its words are those of this moment.
pub fn stop_question(state: &State, whom: Whom) -> Question {
    let name = state.name(&whom);
    let hearing = state.hearing(&whom);
    let (text, told) = match hearing {
        Hearing::Fetch(fetching) => {
            (format!("{} is being fetched for it: the fetch ends, and it is not started.", fetching.name), "")
        }
        Hearing::Starts => (
            "It is starting: before its first step there is nothing to save.".to_owned(),
            "it ends as soon as its engine hears of it",
        ),
        Hearing::Run(run) => of_run(run, state),
        Hearing::Nobody => {
            let close = vec![Choice::new('c', "Close", Vec::new())];
            return Question::new("Stop", nobody(&name), close).about(whom);
        }
    };
    let keep = match hearing {
        Hearing::Run(run) if run.paused || run.no_room.is_some() => "Keep it paused",
        _ => "Keep it running",
    };
    let stop = vec![
        Action::Tell(Notice::info(told).until(Awaited::Ended)),
        Action::Order(Command::Stop, whom.clone()),
    ];
    let choices = vec![Choice::new('x', "Stop it", stop), Choice::new('k', keep, Vec::new())];
    Question::new("Stop", format!("{name}\n{text}"), choices).about(whom)
}

/// What a stop does to a run whose worker hears, and what is said when it has been told.
fn of_run(run: &RunState, state: &State) -> (String, &'static str) {
    let (text, told) = match run.no_room {
        Some(_) => (
            "It waits for room on the disk; stopped now, it loses what it has learned since its last checkpoint.",
            "it ends without saving",
        ),
        None => (
            "The step at hand is finished and saved; what was learned is kept.",
            "it finishes the step at hand, saves and ends",
        ),
    };
    match run.hung(state.now) {
        Some(_) => (format!("It hangs, and may never hear of this: {}.", run.way_out()), told),
        None => (text.to_owned(), told),
    }
}

/// Said where a command has nobody to go to.
pub fn nobody(name: &str) -> String {
    format!(
        "{name} has ended, or is not the run that is followed any more: no other one is told in its place"
    )
}

/// What is said until a job has its worker.
const STARTING: &str = "Starting the job.";

/// What is said where there is no run to show.
fn nothing_open(state: &State) -> String {
    if state.starting {
        return STARTING.to_owned();
    }
    let gone = state.gone.as_ref().map_or(String::new(), |run| {
        format!("The run that was shown has been deleted:\n{}\n\n", run.display())
    });
    let mut text = match &state.runs {
        None => "Looking for runs".to_owned(),
        Some(_) => format!(
            "{gone}No run is open.\n\n1 Config starts one, 3 Checkpoints has those under {}.",
            state.output_dir.display()
        ),
    };
    if let Some(Err(missing)) = &state.engine {
        text += &format!("\n\n{missing}");
    }
    text
}

fn draw_run(frame: &mut Frame, area: Rect, run: &RunState, state: &State) {
    let areas = layout::areas(area, run);
    progress::head(frame, areas.head, run, state);
    progress::gauge(frame, areas.gauge, run, state);
    charts::loss(frame, areas.loss, run, &state.theme);
    figures::draw(frame, areas.figures, run, state);
    charts::schedule(frame, areas.schedule, run, &state.theme);
    if let Some([acc, grad]) = areas.more {
        charts::accuracy(frame, acc, run, &state.theme);
        charts::gradient(frame, grad, run, &state.theme);
    }
    if let Some(end) = areas.end {
        log::end(frame, end, run, state);
    }
    if let Some(area) = areas.log {
        log::lines(frame, area, run, state);
    }
}

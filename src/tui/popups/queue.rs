//! The queue, over the tabs: what waits, in its order, and what the marked job would train.

use std::cell::Cell;

use crossterm::event::KeyEvent;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::{Choice, PAGE, Question, open};
use crate::job::human::counted;
use crate::job::queue::{Job, Listing, State as JobState, To};
use crate::tui::action::{Action, Notice, QueueWork, Tab};
use crate::tui::component::CommandInfo;
use crate::tui::keys;
use crate::tui::state::State;
use crate::tui::text;

/// Cells that it takes at most.
const WIDTH: u16 = 120;
/// Cells of a job's line before what it trains.
const HEAD: usize = 34;
/// From this width on a line has the time.
const WITH_TIME: usize = 84;

/// The page.
#[derive(Debug, Clone, Default)]
pub struct QueuePage {
    /// The number of the marked job.
    mark: Option<u64>,
    /// Its place in the list, for when it is gone.
    place: usize,
    /// Lines about it that are scrolled away, and those that can be of what was drawn last.
    scroll: usize,
    most: Cell<usize>,
}

/// What became of a key.
pub struct Pressed {
    pub actions: Vec<Action>,
    pub closes: bool,
}

fn stay(actions: Vec<Action>) -> Pressed {
    Pressed { actions, closes: false }
}

fn close(actions: Vec<Action>) -> Pressed {
    Pressed { actions, closes: true }
}

fn tell(text: impl Into<String>) -> Pressed {
    stay(vec![Action::Tell(Notice::info(text))])
}

impl QueuePage {
    /// With `mark` marked, or else the first job.
    pub fn on(mark: Option<u64>) -> QueuePage {
        QueuePage { mark, ..QueuePage::default() }
    }

    /// The index of the marked job. Where it is gone, the one in its place.
    fn index(&self, jobs: &[Job]) -> usize {
        let of_mark = jobs.iter().position(|j| Some(j.number) == self.mark);
        of_mark.unwrap_or(self.place.min(jobs.len().saturating_sub(1)))
    }

    fn set(&mut self, jobs: &[Job], at: usize) {
        let mark = jobs.get(at).map(|j| j.number);
        if mark != self.mark {
            self.scroll = 0;
        }
        (self.mark, self.place) = (mark, at);
    }

    /// Takes a key.
    pub fn press(&mut self, key: &KeyEvent, state: &State) -> Pressed {
        let jobs = &state.queue.jobs;
        if keys::CLOSE.is(key) || keys::QUEUE.is(key) {
            return close(Vec::new());
        } else if keys::PAUSE_QUEUE.is(key) {
            return stay(vec![Action::Queue(QueueWork::Pause(!state.queue.paused))]);
        }
        if keys::MORE_BELOW.is(key) {
            self.scroll = (self.scroll + PAGE).min(self.most.get());
            return stay(Vec::new());
        } else if keys::MORE_ABOVE.is(key) {
            self.scroll = self.scroll.min(self.most.get()).saturating_sub(PAGE);
            return stay(Vec::new());
        }
        let at = self.index(jobs);
        let to = if keys::UP.is(key) {
            at.saturating_sub(1)
        } else if keys::DOWN.is(key) {
            (at + 1).min(jobs.len().saturating_sub(1))
        } else if keys::FIRST.is(key) {
            0
        } else if keys::LAST.is(key) {
            jobs.len().saturating_sub(1)
        } else {
            self.set(jobs, at);
            return jobs.get(at).map_or_else(|| stay(Vec::new()), |job| on_job(job, key, state));
        };
        self.set(jobs, to);
        stay(Vec::new())
    }

    /// The commands for where it is now.
    pub fn commands(&self, state: &State) -> Vec<CommandInfo> {
        let queue = &state.queue;
        let job = queue.jobs.get(self.index(&queue.jobs));
        let place = job.and_then(|job| queue.place(job.number));
        let has_failed = job.is_some_and(|job| matches!(job.state, Ok(JobState::Failed { .. })));
        let pause = if queue.paused { &keys::RESUME_QUEUE } else { &keys::PAUSE_QUEUE };
        let mut commands = vec![
            CommandInfo::main(&keys::MOVE_UP, place.is_some_and(|p| p > 1)),
            CommandInfo::main(&keys::MOVE_DOWN, place.is_some_and(|p| p < queue.waiting().count())),
            CommandInfo::main(
                &keys::OPEN_JOB,
                job.is_some_and(|job| job.run().is_some() || job.what.is_ok()),
            ),
            CommandInfo::main(&keys::RETRY_JOB, has_failed),
            CommandInfo::main(&keys::REMOVE_JOB, job.is_some_and(|job| !job.is_taken())),
            CommandInfo::main(pause, true),
            CommandInfo::main(&keys::CLOSE, true),
        ];
        let scrolls = self.most.get() > 0;
        let scroll = [&keys::MORE_BELOW, &keys::MORE_ABOVE];
        commands.extend(scroll.map(|binding| CommandInfo { binding, enabled: scrolls, main: false }));
        commands.extend([&keys::UP, &keys::DOWN, &keys::FIRST, &keys::LAST].map(CommandInfo::other));
        commands
    }

    pub fn draw(&self, frame: &mut Frame, area: Rect, state: &State) {
        let (queue, theme) = (&state.queue, &state.theme);
        let waiting = queue.waiting().count() as u64;
        let paused = if queue.paused { ", paused" } else { "" };
        let title = format!("Queue{paused}: {} waiting", counted(waiting, "job"));
        let width = WIDTH.min(area.width.saturating_sub(4));
        let height = area.height.saturating_sub(2);
        let inner = open(frame, area, &title, width, height, theme);
        let (width, at) = (inner.width as usize, self.index(&queue.jobs));
        let Some(job) = queue.jobs.get(at) else {
            let words = "Nothing waits. a on the Config tab puts a job here: it starts when no other job trains on its \
                device.";
            return frame.render_widget(Paragraph::new(lines(words, width, theme.dim)), inner);
        };
        let trouble = queue.trouble.as_deref().map_or(Vec::new(), |why| lines(why, width, theme.bad));
        let list = (queue.jobs.len().min(200) as u16).min(inner.height / 2).max(1);
        let rows = [trouble.len() as u16, list, 1, 0].map(Constraint::Length);
        let [above, list, _, _] = Layout::vertical(rows).areas(inner);
        frame.render_widget(Paragraph::new(trouble), above);
        // The marked one stays in the middle, as far as the ends of the list allow.
        let height = list.height as usize;
        let first = at.saturating_sub(height / 2).min(queue.jobs.len().saturating_sub(height));
        let shown = queue.jobs.iter().enumerate().skip(first).take(height);
        let shown: Vec<Line> = shown
            .map(|(i, job)| match (line(job, queue, width, state), i == at) {
                (line, false) => line,
                (line, true) => {
                    let all: String = line.spans.iter().map(|s| s.content.as_ref()).collect();
                    Line::styled(text::pad(&all, width), theme.selected)
                }
            })
            .collect();
        frame.render_widget(Paragraph::new(shown), list);
        let top = (list.bottom() + 1).min(inner.bottom());
        let below = Rect { y: top, height: inner.bottom() - top, ..inner };
        let (all, height) = (details(job, width, state), below.height as usize);
        // The last line says that there is more.
        let most = if all.len() > height { all.len() + 1 - height.max(1) } else { 0 };
        self.most.set(most);
        let scroll = self.scroll.min(most);
        let mut shown: Vec<Line> = all.into_iter().skip(scroll).collect();
        if let more @ 1.. = most - scroll {
            shown.truncate(height.saturating_sub(1));
            shown.push(Line::styled(format!("PgDn shows {more} more"), theme.dim));
        }
        frame.render_widget(Paragraph::new(shown), below);
    }
}

/// Keys that are about the marked job.
fn on_job(job: &Job, key: &KeyEvent, state: &State) -> Pressed {
    let number = job.number;
    let act = |work| stay(vec![Action::Queue(work)]);
    let shift = |to| match job.is_waiting() {
        true => act(QueueWork::Move { job: number, to }),
        false => tell(format!("job {number} does not wait: it is {}", job.word())),
    };
    if keys::MOVE_UP.is(key) {
        shift(To::Up)
    } else if keys::MOVE_DOWN.is(key) {
        shift(To::Down)
    } else if keys::RETRY_JOB.is(key) {
        match job.state {
            Ok(JobState::Failed { .. }) => act(QueueWork::Retry(number)),
            _ => tell(format!("job {number} has not failed: it is {}", job.word())),
        }
    } else if keys::REMOVE_JOB.is(key) {
        match job.is_taken() {
            true => tell(format!("job {number} is {}: x on the Train tab stops it", job.word())),
            false => close(vec![Action::Ask(Box::new(remove(job)))]),
        }
    } else if keys::OPEN_JOB.is(key) {
        match (job.run(), &job.what) {
            (Some(run), _) => {
                let followed = state.run.as_ref().is_some_and(|r| r.path == run);
                let open = (!followed).then(|| Action::OpenRun(run.to_owned()));
                close(open.into_iter().chain([Action::Show(Tab::Train)]).collect())
            }
            (None, Ok(_)) => close(vec![Action::LoadConfig(job.file.clone())]),
            (None, Err(why)) => tell(why.clone()),
        }
    } else {
        stay(Vec::new())
    }
}

/// Asked before a job is taken out; then the queue is shown again.
fn remove(job: &Job) -> Question {
    let number = job.number;
    let words = job.what.as_ref().map_or(String::new(), |what| format!(" ({})", what.words()));
    let text = format!("Take job {number}{words} out of the queue?\n\nNothing of it has been trained.");
    let again = Action::ShowQueue(Some(number));
    // Not the key that asks: a key held down a moment too long must not answer.
    let choices = vec![
        Choice::new(
            'y',
            "Yes, take it out",
            vec![Action::Queue(QueueWork::Remove(number)), Action::ShowQueue(None)],
        ),
        Choice::new('k', "Keep it", vec![again]),
    ];
    Question::new("Remove", text, choices)
}

fn line(job: &Job, queue: &Listing, width: usize, state: &State) -> Line<'static> {
    let theme = &state.theme;
    let style = match job.word() {
        "waiting" => theme.text,
        "failed" | "unreadable" => theme.bad,
        _ => theme.good,
    };
    let place = queue.place(job.number).map_or(String::new(), |p| format!("{p}."));
    let what = job.what.as_ref();
    let time = match width >= WITH_TIME && job.put > 0.0 {
        true => format!("  {}", state.clock.date(job.put)),
        false => String::new(),
    };
    let room = width.saturating_sub(HEAD + time.len());
    let words = what.map_or(String::new(), |w| w.words());
    Line::from(vec![
        Span::styled(format!(" {place:>3} "), theme.strong),
        Span::raw(format!("job {:<5}", job.number)),
        Span::styled(format!("{:<11}", job.word()), style),
        Span::styled(format!("{:<9}", what.map_or("", |w| w.device.as_str())), theme.dim),
        Span::raw(text::pad(&text::fit(&text::clean(&words), room), room)),
        Span::styled(time, theme.dim),
    ])
}

/// What is to be said of a job, where its run lies or will lie, and its arguments other than the defaults.
fn details(job: &Job, width: usize, state: &State) -> Vec<Line<'static>> {
    let theme = &state.theme;
    let mut all = Vec::new();
    if let Some(note) = job.note() {
        let style = if job.is_waiting() { theme.warning } else { theme.bad };
        all.extend(lines(note, width, style));
    }
    if let Some(run) = job.run() {
        all.extend(lines(&format!("trained in {}", run.display()), width, theme.text));
    }
    let Ok(what) = &job.what else { return all };
    if job.run().is_none() {
        all.extend(lines(&format!("into {}", what.output_dir), width, theme.text));
    }
    all.push(Line::default());
    let chosen = what.chosen();
    let names = chosen.iter().map(|(name, _)| name.len()).max().unwrap_or(0).min(width / 2);
    let room = width.saturating_sub(names + 2);
    all.extend(chosen.iter().map(|(name, value)| {
        let value = text::clean(value);
        // The end of a path says more.
        let value =
            if value.starts_with('/') { text::fit_end(&value, room) } else { text::fit(&value, room) };
        Line::from(vec![Span::styled(format!("{}  ", text::pad(name, names)), theme.dim), Span::raw(value)])
    }));
    all
}

fn lines(words: &str, width: usize, style: Style) -> Vec<Line<'static>> {
    text::wrap(words, width).into_iter().map(|line| Line::styled(line, style)).collect()
}

//! The application: keys and messages in, actions out, a picture of what is. It touches nothing outside itself.

mod orders;

use std::path::Path;

use crossterm::event::{Event as Input, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::Frame;

use super::action::{Action, Awaited, Notice, Tab};
use super::chrome;
use super::component::{CommandInfo, Component, Handled};
use super::configs::ConfigWork;
use super::fetching::{FetchNews, Fetching, fetching_question, not_started};
use super::keys;
use super::message::Message;
use super::model::Worker;
use super::opening::Opening;
use super::parting::Left;
use super::popups::{Help, Popup, QueuePage};
use super::questions::{load_question, merging_question, quit_question, unsaved_question};
use super::state::State;
use super::tabs;
use crate::job::queue::Job;

/// Seconds that a notice stays where no key takes it away.
const NOTICE_SECONDS: f64 = 8.0;

/// The whole cockpit.
pub struct App {
    pub state: State,
    tabs: [Box<dyn Component>; 4],
    shown: Tab,
    popup: Option<Popup>,
    notice: Option<(Notice, f64)>,
    opening: Opening,
    /// What was drawn last is not what is.
    changed: bool,
    /// The worker has been told to end as the cockpit does, or the merges have.
    stopping: bool,
    stopping_merges: bool,
    /// It has been told to pause, and has not yet said that it does.
    pausing: bool,
    /// What a worker that does not hear yet is to be told, and what is said of it.
    held: Vec<(Action, Option<Notice>)>,
    /// Where the job was asked for that is to start next.
    asked_on: Tab,
    /// The question that is shown is about the fetch, and means nothing when that is over.
    asks_of_fetch: bool,
}

impl App {
    /// With `open_first_run`, the running job, or else the newest run, is opened when the runs are known.
    pub fn new(state: State, open_first_run: bool) -> App {
        App {
            state,
            tabs: tabs::all(),
            shown: if open_first_run { Tab::Config } else { Tab::Train },
            popup: None,
            notice: None,
            opening: Opening::new(open_first_run),
            changed: true,
            stopping: false,
            stopping_merges: false,
            pausing: false,
            held: Vec::new(),
            asked_on: Tab::Config,
            asks_of_fetch: false,
        }
    }

    /// Somebody has named the arguments in the form.
    pub fn want_form(&mut self) {
        self.opening.want_form();
    }

    /// Puts a component into the place of a tab.
    pub fn replace_tab(&mut self, tab: Tab, component: Box<dyn Component>) {
        self.tabs[tab as usize] = component;
    }

    /// Whether it should be drawn again; asked once for each drawing.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Takes what the terminal sent; returns what the effects should do.
    pub fn input(&mut self, input: Input) -> Vec<Action> {
        let actions = match input {
            Input::Key(key) if key.kind != KeyEventKind::Release => self.key(&key),
            Input::Paste(text) if self.popup.is_none() => {
                let text = text.replace("\r\n", "\n").replace('\r', "\n");
                match self.tabs[self.shown as usize].paste(&text, &self.state) {
                    Handled::Yes(actions) => actions,
                    Handled::No => Vec::new(),
                }
            }
            Input::Resize(..) => Vec::new(),
            _ => return Vec::new(),
        };
        self.changed = true;
        self.act(actions)
    }

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
        if !matches!(news, FetchNews::Goes(_)) && std::mem::take(&mut self.asks_of_fetch) {
            self.popup = None;
        }
        // Where it was asked for, unless somebody has gone elsewhere meanwhile.
        let back = (self.shown == Tab::Train).then_some(Action::Show(self.asked_on));
        match news {
            FetchNews::Goes(_) if was.is_none() => vec![Action::Show(Tab::Train)],
            FetchNews::Goes(_) | FetchNews::Starts | FetchNews::Over => Vec::new(),
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

    /// For the shell's screen, when the cockpit has gone: what goes on without it, and what does not.
    pub fn parting_words(&self) -> Option<String> {
        let left =
            Left { stopping: self.stopping, stopping_merges: self.stopping_merges, pausing: self.pausing };
        left.words(&self.state)
    }

    /// Asks to quit, as its key does.
    pub fn quit(&mut self) -> Vec<Action> {
        self.act(vec![Action::Quit])
    }

    fn key(&mut self, key: &KeyEvent) -> Vec<Action> {
        self.notice = None;
        // Ctrl+C is never text and never a popup's.
        if key.modifiers.contains(KeyModifiers::CONTROL) && keys::QUIT.is(key) {
            return vec![Action::Quit];
        }
        if keys::SUSPEND.is(key) && !self.is_typing() {
            return vec![Action::Suspend];
        }
        if let Some(popup) = &mut self.popup {
            // Popups keep every key.
            let pressed = popup.press(key, &self.state);
            if pressed.closes {
                self.popup = None;
                self.asks_of_fetch = false;
            }
            return pressed.actions;
        }
        match self.tabs[self.shown as usize].handle(key, &self.state) {
            Handled::Yes(actions) => actions,
            Handled::No => self.everywhere(key),
        }
    }

    fn everywhere(&mut self, key: &KeyEvent) -> Vec<Action> {
        let tabs = [keys::TAB_1, keys::TAB_2, keys::TAB_3, keys::TAB_4];
        if let Some(i) = tabs.iter().position(|b| b.is(key)) {
            vec![Action::Show(Tab::ALL[i])]
        } else if keys::NEXT_TAB.is(key) {
            vec![Action::Show(self.shown.step(1))]
        } else if keys::PREVIOUS_TAB.is(key) {
            vec![Action::Show(self.shown.step(-1))]
        } else if keys::QUIT.is(key) {
            vec![Action::Quit]
        } else if keys::QUEUE.is(key) {
            vec![Action::ShowQueue(None)]
        } else {
            if keys::HELP.is(key) {
                let here = self.tabs[self.shown as usize].commands(&self.state);
                let sections = vec![
                    (self.shown.title().to_owned(), here),
                    ("Everywhere".to_owned(), everywhere(self.is_typing(), &self.state)),
                ];
                self.popup = Some(Popup::Help(Help::new(sections)));
            }
            Vec::new()
        }
    }

    /// Does what is the application's own; the rest is returned.
    pub fn act(&mut self, actions: Vec<Action>) -> Vec<Action> {
        let mut rest = Vec::new();
        for action in actions {
            match action {
                Action::Show(tab) => {
                    self.shown = tab;
                    // Others may have made runs since.
                    if tab == Tab::Checkpoints || (tab == Tab::Train && self.state.run.is_none()) {
                        rest.push(Action::ListRuns);
                    }
                }
                Action::ShowQueue(mark) => self.popup = Some(Popup::Queue(QueuePage::on(mark))),
                Action::Ask(question) => {
                    self.asks_of_fetch = false;
                    self.popup = Some(Popup::Question(*question));
                }
                Action::Tell(notice) => self.notice = Some((notice, self.state.now)),
                Action::Quit => {
                    let unsaved: Vec<&str> = self.tabs.iter().filter_map(|tab| tab.unsaved()).collect();
                    let unsaved = unsaved.join(" ");
                    self.asks_of_fetch = false;
                    let question = if self.state.is_live() {
                        quit_question(&self.state, self.pausing, &unsaved)
                    } else if !self.state.merges.is_empty() {
                        merging_question(&self.state, &unsaved)
                    } else if let Some(fetching) = &self.state.fetch {
                        self.asks_of_fetch = true;
                        fetching_question(fetching, &unsaved, &self.state)
                    } else if unsaved.is_empty() {
                        rest.push(Action::Exit);
                        continue;
                    } else {
                        unsaved_question(&unsaved)
                    };
                    self.popup = Some(Popup::Question(question));
                }
                Action::NameBase(base) => self.state.base = base.map(|base| *base),
                Action::StopAndExit => {
                    self.stopping = true;
                    if self.state.is_starting() {
                        self.hold(Action::StopAndExit);
                        continue;
                    }
                    rest.push(Action::StopAndExit);
                }
                Action::StopMergesAndExit => {
                    self.stopping_merges = true;
                    rest.push(Action::StopMergesAndExit);
                }
                Action::StartJob(_) | Action::Resume(_) if self.state.fetch.is_some() => {
                    let words = self.state.fetch.as_ref().map(Fetching::in_the_way);
                    self.notice = words.map(|words| (Notice::info(words), self.state.now));
                }
                Action::Order(command, whom) => match self.order(command, whom) {
                    Some(Action::CancelFetch) => {
                        self.cancel_fetch();
                        rest.push(Action::CancelFetch);
                    }
                    ordered => rest.extend(ordered),
                },
                // Nothing is known yet of what is fetched for the job.
                Action::CancelFetch if self.state.fetch.is_none() => self.hold(Action::CancelFetch),
                Action::CancelFetch => {
                    self.cancel_fetch();
                    rest.push(Action::CancelFetch);
                }
                Action::StartJob(args) => {
                    self.asked_on = Tab::Config;
                    self.shown = Tab::Train;
                    (self.state.starting, self.state.begun) = (true, None);
                    self.held.clear();
                    self.opening.asked(self.state.now);
                    rest.push(Action::StartJob(args));
                }
                action @ (Action::OpenRun(_) | Action::Resume(_)) => {
                    let is_start = matches!(action, Action::Resume(_));
                    if is_start {
                        self.asked_on = Tab::Checkpoints;
                    }
                    (self.state.starting, self.state.begun) = (is_start, None);
                    self.held.clear();
                    self.opening.asked(self.state.now);
                    rest.push(action);
                }
                Action::OpenInRepl(dir) => {
                    self.shown = Tab::Repl;
                    rest.push(Action::OpenInRepl(dir));
                }
                Action::LoadConfig(file) => {
                    self.shown = Tab::Config;
                    match self.tabs[Tab::Config as usize].unsaved() {
                        Some(what) => self.popup = Some(Popup::Question(load_question(what, file))),
                        None => rest.push(Action::Config(ConfigWork::Load(file))),
                    }
                }
                action => rest.push(action),
            }
            self.changed = true;
        }
        self.state.covered = self.popup.is_some();
        rest
    }

    /// Whether characters are text now.
    fn is_typing(&self) -> bool {
        self.popup.is_none() && self.tabs[self.shown as usize].takes_text()
    }

    /// Draws everything.
    pub fn draw(&self, frame: &mut Frame) {
        let notice = self.notice.as_ref().map(|(n, _)| n);
        let Some([top, middle, bottom]) = chrome::areas(frame, notice, &self.state) else {
            if let Some(popup) = &self.popup {
                popup.draw(frame, frame.area(), &self.state);
            }
            return;
        };
        chrome::top(frame, top, self.shown, &self.state);
        let tab = &self.tabs[self.shown as usize];
        tab.draw(frame, middle, &self.state);
        let commands = match &self.popup {
            Some(popup) => {
                popup.draw(frame, middle, &self.state);
                popup.commands(&self.state)
            }
            None => {
                let mut commands = tab.commands(&self.state);
                commands.extend(everywhere(self.is_typing(), &self.state));
                commands
            }
        };
        chrome::bottom(frame, bottom, notice, &commands, self.is_typing(), &self.state);
    }
}

/// The commands of everywhere.
fn everywhere(typing: bool, state: &State) -> Vec<CommandInfo> {
    let main = [&keys::NEXT_TAB, &keys::HELP, &keys::QUIT].map(|b| CommandInfo::main(b, true));
    // In the bar only where there is one.
    let queue = CommandInfo { binding: &keys::QUEUE, enabled: true, main: !state.queue.jobs.is_empty() };
    let others =
        [&keys::PREVIOUS_TAB, &keys::TAB_1, &keys::TAB_2, &keys::TAB_3, &keys::TAB_4].map(CommandInfo::other);
    let suspend = CommandInfo { binding: &keys::SUSPEND, enabled: !typing, main: false };
    main.into_iter().chain([queue]).chain(others).chain([suspend]).collect()
}

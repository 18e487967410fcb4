//! The application: keys and messages in, actions out, a picture of what is. It touches nothing outside itself.

mod asking;
mod news;
mod orders;

use crossterm::event::{Event as Input, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::Frame;

use super::action::{Action, Notice, Tab, Whom};
use super::chrome;
use super::component::{CommandInfo, Component, Handled};
use super::configs::ConfigWork;
use super::fetching::Fetching;
use super::keys;
use super::opening::Opening;
use super::parting::Left;
use super::popups::{Help, Popup, QueuePage};
use super::questions::load_question;
use super::state::State;
use super::tabs;

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
    /// The question that is shown is about the end of the cockpit, where this was the job; its words follow what is.
    asks_to_quit: Option<Whom>,
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
            asks_to_quit: None,
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
                self.asks_to_quit = None;
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
                Action::ShowQueue(mark) => {
                    self.asks_to_quit = None;
                    self.popup = Some(Popup::Queue(QueuePage::on(mark)));
                }
                Action::Ask(question) => {
                    self.asks_to_quit = None;
                    self.popup = Some(Popup::Question(*question));
                }
                Action::Tell(notice) => self.notice = Some((notice, self.state.now)),
                Action::Quit => match self.quit_question() {
                    Some(question) => {
                        self.asks_to_quit = Some(self.state.whom());
                        self.popup = Some(Popup::Question(question));
                    }
                    None => rest.push(Action::Exit),
                },
                Action::NameBase(base) => self.state.base = base.map(|base| *base),
                Action::Leave => {
                    let next = self.leave();
                    self.follow_up(next, &mut rest);
                }
                Action::StopAndExit(whom) => {
                    let next = self.stop_and_exit(whom);
                    self.follow_up(next, &mut rest);
                }
                Action::StopMergesAndExit => {
                    self.stopping_merges = true;
                    rest.push(Action::StopMergesAndExit);
                }
                Action::StartJob { .. } | Action::Resume(_) if self.state.fetch.is_some() => {
                    let words = self.state.fetch.as_ref().map(Fetching::in_the_way);
                    self.notice = words.map(|words| (Notice::info(words), self.state.now));
                }
                Action::Resume(_) if self.state.starting => {
                    let words = "another job is about to start: R again once it has begun";
                    self.notice = Some((Notice::info(words), self.state.now));
                }
                Action::Order(command, whom) => {
                    let next = self.order(command, whom);
                    self.follow_up(next, &mut rest);
                }
                // Nothing is known yet of what is fetched for the job.
                Action::CancelFetch if self.state.fetch.is_none() => self.hold(Action::CancelFetch),
                Action::CancelFetch => {
                    self.cancel_fetch();
                    rest.push(Action::CancelFetch);
                }
                action @ Action::StartJob { .. } => {
                    self.asked_on = Tab::Config;
                    self.shown = Tab::Train;
                    (self.state.starting, self.state.begun) = (true, None);
                    self.held.clear();
                    self.opening.asked(self.state.now);
                    rest.push(action);
                }
                action @ (Action::OpenRun(_) | Action::Resume(_)) => {
                    let is_start = matches!(action, Action::Resume(_));
                    if is_start {
                        // Where what is pressed next is for it.
                        (self.asked_on, self.shown) = (Tab::Checkpoints, Tab::Train);
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

//! Every key of the cockpit, declared once: handlers, the bottom bar, the help page and `docs/keys.md` all read this.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// A key with what is held beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Press {
    pub code: KeyCode,
    pub with: KeyModifiers,
}

const fn key(code: KeyCode) -> Press {
    Press { code, with: KeyModifiers::NONE }
}

const fn char(c: char) -> Press {
    key(KeyCode::Char(c))
}

const fn ctrl(c: char) -> Press {
    Press { code: KeyCode::Char(c), with: KeyModifiers::CONTROL }
}

const fn ctrl_key(code: KeyCode) -> Press {
    Press { code, with: KeyModifiers::CONTROL }
}

const fn alt(c: char) -> Press {
    Press { code: KeyCode::Char(c), with: KeyModifiers::ALT }
}

/// What a key does, and how it is called on the screen.
#[derive(Debug, PartialEq, Eq)]
pub struct Binding {
    /// Any of these.
    pub presses: &'static [Press],
    /// The keys as the screen names them.
    pub keys: &'static str,
    /// A word or two, for the bottom bar.
    pub short: &'static str,
    /// A line, for the help page.
    pub help: &'static str,
}

impl Binding {
    /// Whether `event` is one of this binding's keys.
    pub fn is(&self, event: &KeyEvent) -> bool {
        self.presses.iter().any(|p| p.is(event))
    }
}

impl Press {
    fn is(self, event: &KeyEvent) -> bool {
        // Shift is in the character already (`?`), and in BackTab.
        let held = event.modifiers.difference(KeyModifiers::SHIFT);
        self.code == event.code && self.with == held
    }
}

macro_rules! bindings {
    ($($name:ident: [$($press:expr),+], $keys:literal, $short:literal, $help:literal;)+) => {
        $(pub const $name: Binding =
            Binding { presses: &[$($press),+], keys: $keys, short: $short, help: $help };)+
    };
}

bindings! {
    // Everywhere. Characters go to the tab first where it takes text; the rest of these work there too.
    NEXT_TAB: [key(KeyCode::Tab)], "Tab", "next tab", "Next tab";
    PREVIOUS_TAB: [key(KeyCode::BackTab)], "Shift+Tab", "tab before", "Tab before";
    TAB_1: [char('1'), alt('1')], "1, Alt+1", "Config", "Config";
    TAB_2: [char('2'), alt('2')], "2, Alt+2", "Train", "Train";
    TAB_3: [char('3'), alt('3')], "3, Alt+3", "Checkpoints", "Checkpoints";
    TAB_4: [char('4'), alt('4')], "4, Alt+4", "REPL", "REPL";
    HELP: [char('?'), key(KeyCode::F(1))], "?, F1", "help", "The keys of where you are";
    QUEUE: [char('Q'), key(KeyCode::F(7))], "Q, F7", "queue", "The queue: jobs that wait for a device, and their order";
    QUIT: [char('q'), ctrl('c')], "q, Ctrl+C", "quit", "Quit; asks while a job runs or something typed would be lost";
    SUSPEND: [ctrl('z')], "Ctrl+Z", "suspend", "Suspend: back to the shell, whose `fg` returns here; in a text, undo";

    // Config
    EDIT: [key(KeyCode::Enter)], "Enter", "edit", "Edit the value";
    OPEN_GROUP: [key(KeyCode::Enter), key(KeyCode::Right), char(' ')], "Enter, Right, Space", "open group", "On a group: show its arguments";
    CLOSE_GROUP: [key(KeyCode::Enter), key(KeyCode::Left)], "Enter, Left", "close group", "On a group: hide its arguments";
    BEFORE: [key(KeyCode::Left)], "Left", "before", "The choice before";
    AFTER: [key(KeyCode::Right), char(' ')], "Right, Space", "choose", "The next choice";
    TO_DEFAULT: [char('r'), key(KeyCode::Delete)], "r, Del", "default", "Back to the default";
    START: [char('s'), key(KeyCode::F(5))], "s, F5", "start", "Start the training";
    TO_QUEUE: [char('a'), key(KeyCode::F(8))], "a, F8", "queue", "Put the training into the queue: it starts when its device is free";
    DATA: [char('d'), key(KeyCode::F(6))], "d, F6", "data", "Look at the data: rows, labels, lengths";
    AS_JSON: [char('e'), key(KeyCode::F(4))], "e, F4", "JSON", "Edit all as JSON";
    LOAD: [char('o'), key(KeyCode::F(3))], "o, F3", "open", "Open a file of arguments";
    SAVE_AS: [char('w'), key(KeyCode::F(2))], "w, F2", "write", "Write the arguments to a file";
    MODELS: [char('m'), key(KeyCode::F(9))], "m, F9", "models", "Choose model and data: what is here, what a name would fetch";
    ASK: [char('i')], "i", "ask hub", "Ask the hubs what would be fetched, file by file; nothing is fetched";
    NAME: [char('/')], "/", "name", "Type a name: of what is here, or OWNER/NAME on a hub";
    ASK_NAME: [key(KeyCode::Enter)], "Enter", "look up", "Mark it; of a typed name that is not here, ask the hubs what would be fetched";
    MORE_ABOVE: [key(KeyCode::PageUp)], "PgUp", "text up", "Scroll what is said of the marked one up";
    MORE_BELOW: [key(KeyCode::PageDown)], "PgDn", "text down", "Scroll what is said of the marked one down";
    FILTER: [char('/')], "/", "find", "Show only what has these words";
    PAGE_UP: [key(KeyCode::PageUp)], "PgUp", "page up", "A page up";
    PAGE_DOWN: [key(KeyCode::PageDown)], "PgDn", "page down", "A page down";
    FIRST: [key(KeyCode::Home)], "Home", "first", "The first";
    LAST: [key(KeyCode::End)], "End", "last", "The last";
    TAKE: [key(KeyCode::Enter)], "Enter", "take", "Take what was typed";
    OPEN_FILE: [key(KeyCode::Enter)], "Enter", "open", "Open the marked file, or the path that was typed";
    WRITE_FILE: [key(KeyCode::Enter)], "Enter", "write", "Write the file";
    TAKE_TEXT: [ctrl('s'), key(KeyCode::F(2))], "F2, Ctrl+S", "take", "Take the text";
    TAKE_BACK: [key(KeyCode::Esc)], "Esc", "take back", "Leave it as it was";
    ABOVE: [key(KeyCode::Up)], "Up", "above", "The one above";
    BELOW: [key(KeyCode::Down)], "Down", "below", "The one below";

    // Train
    PAUSE: [char('p')], "p", "pause", "Pause after the step at hand";
    RESUME: [char('p')], "p", "resume", "Go on after a pause";
    SAVE: [char('s')], "s", "save now", "Save a checkpoint after the step at hand";
    STOP: [char('x')], "x", "stop", "Finish the step at hand, save, end; asks first";
    CANCEL_FETCH: [key(KeyCode::Esc)], "Esc", "cancel", "Cancel the fetch: its job does not start, what has come stays";

    // Checkpoints
    UP: [key(KeyCode::Up), char('k')], "Up, k", "up", "The one above";
    DOWN: [key(KeyCode::Down), char('j')], "Down, j", "down", "The one below";
    RUN_ABOVE: [key(KeyCode::Left), char('h')], "Left, h", "run above", "The run, or the run above";
    RUN_BELOW: [key(KeyCode::Right), char('l')], "Right, l", "run below", "The run below";
    OPEN_RUN: [key(KeyCode::Enter)], "Enter", "open", "Follow the run; a checkpoint or base model: in the REPL";
    TO_REPL: [char('o')], "o", "REPL", "Try it in the REPL; of a run, its best checkpoint";
    RESUME_FROM: [char('R')], "R", "resume", "Go on training from it; of a run, its last checkpoint, or from the start; asks first";
    MERGE: [char('m')], "m", "merge", "Fold its adapter into the base model: a whole model beside it; asks first";
    TO_CONFIG: [char('c')], "c", "config", "The run's arguments into the Config tab";
    DELETE: [char('d'), key(KeyCode::Delete)], "d, Del", "delete", "Delete the checkpoint or run; asks first";
    REFRESH: [char('r')], "r", "look again", "Look again for what is there";

    // REPL; text is typed there
    ANSWER: [key(KeyCode::Enter)], "Enter", "send", "Send the text";
    NEW_LINE: [Press { code: KeyCode::Enter, with: KeyModifiers::ALT }, ctrl('j')], "Alt+Enter, Ctrl+J", "new line", "A new line in the text";
    OLDER: [key(KeyCode::Up)], "Up", "text before", "From the first line: the text sent before";
    NEWER: [key(KeyCode::Down)], "Down", "text after", "From the last line: the text sent after";
    SCROLL_UP: [key(KeyCode::PageUp)], "PageUp", "scroll up", "Scroll the answers up";
    SCROLL_DOWN: [key(KeyCode::PageDown)], "PageDown", "scroll down", "Scroll the answers down";
    CANCEL: [key(KeyCode::Esc)], "Esc", "cancel", "Stop the answer, or what waits";
    GENERATE: [ctrl('g')], "Ctrl+G", "generate", "Label texts, or let the model go on with them";
    CLASSIFY: [ctrl('g')], "Ctrl+G", "classify", "Label texts, or let the model go on with them";
    MODEL: [ctrl('o')], "Ctrl+O", "model", "Choose the model that answers";
    CLEAR: [ctrl('l')], "Ctrl+L", "clear", "Forget the answers and the conversation";
    UNLOAD: [ctrl('x')], "Ctrl+X", "unload", "Unload the model: frees its memory";
    EMPTY: [ctrl('u')], "Ctrl+U", "empty", "Empty the text";
    DELETE_WORD: [ctrl('w')], "Ctrl+W", "delete word", "Delete the word before the cursor";
    LINE_START: [key(KeyCode::Home), ctrl('a')], "Home, Ctrl+A", "start", "To the start of the line";
    LINE_END: [key(KeyCode::End), ctrl('e')], "End, Ctrl+E", "end", "To the end of the line";
    UNDO: [ctrl('z')], "Ctrl+Z", "undo", "Undo the last change of the text";

    // The queue
    MOVE_UP: [char('K'), ctrl_key(KeyCode::Up)], "K, Ctrl+Up", "sooner", "Move the job up: it starts sooner";
    MOVE_DOWN: [char('J'), ctrl_key(KeyCode::Down)], "J, Ctrl+Down", "later", "Move the job down: it starts later";
    OPEN_JOB: [key(KeyCode::Enter)], "Enter", "open", "Its arguments into the Config tab; of a job that trains, follow it";
    RETRY_JOB: [char('r')], "r", "retry", "Let a job that has failed wait again";
    REMOVE_JOB: [char('d'), key(KeyCode::Delete)], "d, Del", "remove", "Take the job out of the queue; asks first";
    PAUSE_QUEUE: [char('p')], "p", "pause", "Start no more jobs; what trains trains on";
    RESUME_QUEUE: [char('p')], "p", "go on", "Start jobs again";

    // Questions and pages over the tabs
    CHOOSE: [key(KeyCode::Enter)], "Enter", "choose", "Choose what is marked";
    CLOSE: [key(KeyCode::Esc)], "Esc", "close", "Close";
    LEFT: [key(KeyCode::Left), key(KeyCode::Up)], "Left, Up", "before", "The one before";
    RIGHT: [key(KeyCode::Right), key(KeyCode::Down)], "Right, Down", "next", "The next one";
}

/// Keys by place, for `docs/keys.md`.
pub const PLACES: &[(&str, &[&Binding])] = &[
    (
        "Everywhere",
        &[&NEXT_TAB, &PREVIOUS_TAB, &TAB_1, &TAB_2, &TAB_3, &TAB_4, &QUEUE, &HELP, &QUIT, &SUSPEND],
    ),
    (
        "Config",
        &[
            &UP,
            &DOWN,
            &PAGE_UP,
            &PAGE_DOWN,
            &FIRST,
            &LAST,
            &EDIT,
            &OPEN_GROUP,
            &CLOSE_GROUP,
            &BEFORE,
            &AFTER,
            &TO_DEFAULT,
            &FILTER,
            &START,
            &TO_QUEUE,
            &DATA,
            &MODELS,
            &AS_JSON,
            &LOAD,
            &SAVE_AS,
        ],
    ),
    (
        "Config, models and data",
        &[
            &UP,
            &DOWN,
            &FIRST,
            &LAST,
            &CHOOSE,
            &NAME,
            &ASK_NAME,
            &ASK,
            &MORE_ABOVE,
            &MORE_BELOW,
            &REFRESH,
            &CLOSE,
        ],
    ),
    (
        "Config, while typing",
        &[&TAKE, &TAKE_TEXT, &TAKE_BACK, &OPEN_FILE, &WRITE_FILE, &ABOVE, &BELOW, &EMPTY, &UNDO],
    ),
    ("Train", &[&PAUSE, &RESUME, &SAVE, &STOP, &CANCEL_FETCH]),
    (
        "Checkpoints",
        &[
            &UP,
            &DOWN,
            &RUN_ABOVE,
            &RUN_BELOW,
            &PAGE_UP,
            &PAGE_DOWN,
            &FIRST,
            &LAST,
            &OPEN_RUN,
            &TO_REPL,
            &RESUME_FROM,
            &MERGE,
            &TO_CONFIG,
            &DELETE,
            &REFRESH,
        ],
    ),
    (
        "REPL",
        &[
            &ANSWER,
            &NEW_LINE,
            &OLDER,
            &NEWER,
            &SCROLL_UP,
            &SCROLL_DOWN,
            &CANCEL,
            &GENERATE,
            &MODEL,
            &CLEAR,
            &UNLOAD,
            &EMPTY,
            &DELETE_WORD,
            &LINE_START,
            &LINE_END,
            &UNDO,
        ],
    ),
    (
        "The queue",
        &[
            &UP,
            &DOWN,
            &FIRST,
            &LAST,
            &MORE_ABOVE,
            &MORE_BELOW,
            &MOVE_UP,
            &MOVE_DOWN,
            &OPEN_JOB,
            &RETRY_JOB,
            &REMOVE_JOB,
            &PAUSE_QUEUE,
            &RESUME_QUEUE,
            &CLOSE,
        ],
    ),
    ("Questions and pages", &[&LEFT, &RIGHT, &PAGE_UP, &PAGE_DOWN, &CHOOSE, &CLOSE]),
];

/// `docs/keys.md`, whole.
pub fn markdown() -> String {
    let mut text = "# Keys\n\n`?` shows the keys of where you are; the bottom bar shows the main ones. \
        Where text is typed, characters are text:\nuse the other keys named here (`F1`, `Alt+1`, `Ctrl+C`).\n"
        .to_owned();
    for (place, bindings) in PLACES {
        text += &format!("\n## {place}\n\n| keys | what they do |\n|---|---|\n");
        for binding in *bindings {
            text += &format!("| `{}` | {} |\n", binding.keys.replace(", ", "` `"), binding.help);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modifiers_matter_but_shift_only_where_it_is_not_in_the_character() {
        let event = |code, with| KeyEvent::new(code, with);
        assert!(QUIT.is(&event(KeyCode::Char('c'), KeyModifiers::CONTROL)));
        assert!(!QUIT.is(&event(KeyCode::Char('c'), KeyModifiers::NONE)));
        assert!(!QUIT.is(&event(KeyCode::Char('q'), KeyModifiers::ALT)));
        assert!(HELP.is(&event(KeyCode::Char('?'), KeyModifiers::SHIFT)));
        assert!(PREVIOUS_TAB.is(&event(KeyCode::BackTab, KeyModifiers::SHIFT)));
        assert!(TAB_2.is(&event(KeyCode::Char('2'), KeyModifiers::ALT)));
    }

    #[test]
    fn the_page_of_keys_is_this_table() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/keys.md");
        if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
            std::fs::write(&path, markdown()).unwrap();
        }
        let page = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(page == markdown(), "docs/keys.md is old: run the tests with UPDATE_SNAPSHOTS=1");
    }
}

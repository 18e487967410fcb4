//! What is asked before something is lost or left behind.

use std::path::PathBuf;

use super::action::{Action, Whom};
use super::configs::ConfigWork;
use super::popups::{Choice, Question};
use super::state::{Merging, State};

/// Asked before the end while a job runs; `pausing` where it has been told to pause, `unsaved` is what would be lost.
pub fn quit_question(state: &State, pausing: bool, unsaved: &str) -> Question {
    let whom = state.whom();
    let job = match whom {
        Whom::Run(_) => state.name(&whom),
        Whom::Next => "A job".to_owned(),
    };
    let starts = state.is_starting();
    let paused = match state.run.as_ref().is_some_and(|run| run.paused && !starts) {
        true => Some("is paused, and stays so"),
        false => pausing.then_some("pauses after the step at hand, and stays paused"),
    };
    let (leave, mut text) = match paused {
        Some(how) => (
            "Leave it paused: the next qwen-tui finds it",
            format!("{job} {how} until p on the Train tab resumes it. It does not need this screen."),
        ),
        None => (
            "Leave it running: the next qwen-tui finds it",
            match starts {
                true => format!("{job} is starting. Once it has begun it does not need this screen."),
                false => format!("{job} is running. It does not need this screen."),
            },
        ),
    };
    let choices = vec![
        Choice::new('l', leave, vec![Action::Leave]),
        Choice::new('x', "Stop it: finish the step, save, end", vec![Action::StopAndExit(whom.clone())]),
        Choice::new('s', "Stay", Vec::new()),
    ];
    if let Some(run) = state.run.as_ref().filter(|r| r.hung(state.now).is_some()) {
        text = format!("{job} is running, and hangs: it may not hear that it is to stop. {}.", run.way_out());
    }
    // Those that run without being shown do so whatever the answer.
    let shown = usize::from(whom == Whom::Next && state.is_live());
    text += &match state.other_jobs() + shown {
        0 => String::new(),
        1 => "\nAnother one runs too, and goes on in any case.".to_owned(),
        n => format!("\n{n} others run too, and go on in any case."),
    };
    text += &match state.queue.waiting().count() {
        0 => String::new(),
        1 if state.queue.paused => "\nOne waits in the queue, which is paused.".to_owned(),
        n if state.queue.paused => format!("\n{n} wait in the queue, which is paused."),
        1 => "\nOne waits in the queue, and starts in any case.".to_owned(),
        n => format!("\n{n} wait in the queue, and start in any case."),
    };
    if let Some(merges) = merges(state) {
        text += &format!("\n{merges} too, which goes on in any case.");
    }
    text += &fetch(state);
    if !unsaved.is_empty() {
        text += &format!("\n{unsaved} Quitting loses it.");
    }
    Question::new("Quit", text, choices)
}

/// What becomes of a fetch, on a line of its own.
fn fetch(state: &State) -> String {
    state
        .fetch
        .as_ref()
        .filter(|fetching| !fetching.starts)
        .map_or_else(String::new, |fetching| format!("\n{}", fetching.ends()))
}

/// The merges at work, as the beginning of a sentence.
fn merges(state: &State) -> Option<String> {
    let names: Vec<String> = state.merges.iter().map(Merging::name).collect();
    match &names[..] {
        [] => None,
        [name] => Some(format!("{name} is being merged")),
        names => Some(format!("{} are being merged", names.join(", "))),
    }
}

/// Asked before the end while something is merged and no job runs.
pub fn merging_question(state: &State, unsaved: &str) -> Question {
    let mut text = format!("{}. That does not need this screen.", merges(state).unwrap_or_default());
    text += &fetch(state);
    if !unsaved.is_empty() {
        text += &format!("\n{unsaved} Quitting loses it.");
    }
    let choices = vec![
        Choice::new('l', "Leave it running: the merged model is there when it is done", vec![Action::Exit]),
        Choice::new('x', "Stop it: nothing is left of it", vec![Action::StopMergesAndExit]),
        Choice::new('s', "Stay", Vec::new()),
    ];
    Question::new("Quit", text, choices)
}

/// Where what was asked about has ended meanwhile.
pub fn nothing_runs() -> Question {
    let choices = vec![Choice::new('q', "Quit", vec![Action::Exit]), Choice::new('s', "Stay", Vec::new())];
    Question::new("Quit", "What was running here has ended.", choices)
}

/// Where another job has taken the place of the one that was asked about, whose name is in `why`.
pub fn no_other(why: String) -> Question {
    Question::new("Quit", why, vec![Choice::new('c', "Close", Vec::new())])
}

/// Asked before the end where something would be lost.
pub fn unsaved_question(what: &str) -> Question {
    let choices =
        vec![Choice::new('q', "Quit and lose it", vec![Action::Exit]), Choice::new('s', "Stay", Vec::new())];
    Question::new("Quit", what, choices)
}

/// Asked before a file takes the place of what would be lost.
pub fn load_question(what: &str, file: PathBuf) -> Question {
    let text = format!("{what} Opening {} loses it.", file.display());
    let choices = vec![
        Choice::new('o', "Open the file and lose it", vec![Action::Config(ConfigWork::Load(file))]),
        Choice::new('k', "Keep it", Vec::new()),
    ];
    Question::new("Open arguments", text, choices)
}

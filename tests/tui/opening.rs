//! Which runs are found, listed and opened, wherever they lie and whoever started them.

use std::path::{Path, PathBuf};

use super::home::Home;
use super::{Cockpit, OUTPUT, RUN, listed, recorded};
use qwen_tui::job::runs::{RunStatus, RunSummary};
use qwen_tui::tui::action::Action;
use qwen_tui::tui::app::App;
use qwen_tui::tui::message::Message;
use qwen_tui::tui::state::{Clock, State};
use qwen_tui::tui::theme::Theme;

const FAR: &str = "/data/别处/out/qwen-demo/v3-20231114-221400";

/// A run that is trained, listed under OUTPUT.
fn job(path: &str, began: f64) -> RunSummary {
    let elsewhere = (!path.starts_with(OUTPUT)).then(|| "it is not beneath the output directory".to_owned());
    RunSummary {
        path: path.into(),
        status: RunStatus::Running,
        step: 3,
        total_steps: Some(25),
        began,
        newest: 1_700_000_000.0 - began,
        problem: None,
        stays: elsewhere.clone(),
        checkpoints_stay: elsewhere,
    }
}

fn app() -> App {
    App::new(State::new(Theme::plain(), Clock::Utc, OUTPUT.into(), 1_700_000_000.0), true)
}

fn opened(actions: &[Action]) -> Vec<&Path> {
    let opened = actions.iter().filter_map(|action| match action {
        Action::OpenRun(path) => Some(path.as_path()),
        _ => None,
    });
    opened.collect()
}

fn on_form(app: &App) -> bool {
    let mut terminal = ratatui::Terminal::new(ratatui::backend::TestBackend::new(80, 24)).unwrap();
    let buffer = terminal.draw(|frame| app.draw(frame)).unwrap().buffer.clone();
    buffer.content.iter().map(|cell| cell.symbol()).collect::<String>().contains("The defaults")
}

#[test]
fn the_first_run_is_a_job_that_runs_its_own_before_others_and_the_newest() {
    let (ended, _) = ended();
    let near = |name: &str, began| job(&format!("{OUTPUT}/qwen-demo/{name}"), began);
    let own = near("v2-b", 20.0);
    for (runs, wanted) in [
        (vec![ended.clone()], RUN),
        (vec![ended.clone(), job(FAR, 50.0)], FAR),
        (vec![job("/other/v0", 30.0), job(FAR, 50.0), job("/other/v1", 40.0)], FAR),
        (vec![job(FAR, 50.0), near("v1-a", 10.0), own.clone(), ended.clone()], own.path.to_str().unwrap()),
    ] {
        let mut app = app();
        let actions = app.message(&listed(runs));
        assert_eq!(opened(&actions), [Path::new(wanted)], "{actions:?}");
        assert_eq!(on_form(&app), wanted == RUN, "a job is shown at once");
    }
    // Where the form was asked for, it is not taken away for a job elsewhere, which is followed all the same.
    for (wanted, shown) in [(FAR, false), (own.path.to_str().unwrap(), true)] {
        let mut app = app();
        app.want_form();
        let actions = app.message(&listed(vec![job(wanted, 5.0)]));
        assert_eq!(opened(&actions), [Path::new(wanted)]);
        assert_eq!(on_form(&app), !shown);
    }
}

/// A finished run and its details, as they are read from the disk.
fn ended() -> (RunSummary, Message) {
    let home = Home::new();
    home.run(RUN, Some("finished"), |_| true);
    (home.runs().remove(0), Message::RunDetails(Box::new(home.details(RUN))))
}

#[test]
fn a_job_that_begins_later_is_opened_where_none_is_and_it_would_be_seen() {
    let mut cockpit = Cockpit::new(80, 24);
    assert!(cockpit.tell(listed(Vec::new())).is_empty());
    assert!(cockpit.picture().contains("No run is open"));
    // On Train and on Checkpoints it is looked for every few seconds, and not elsewhere.
    let mut looks = |keys: &[&str]| {
        cockpit.press(keys);
        let ticks = (1..=60).map(|second| 1_700_000_000.0 + f64::from(second));
        let asked: Vec<Action> = ticks.flat_map(|now| cockpit.tell(Message::Tick(now))).collect();
        asked.iter().filter(|a| matches!(a, Action::LookForJobs)).count()
    };
    assert!((5..=30).contains(&looks(&["2"])) && (5..=30).contains(&looks(&["3"])));
    assert_eq!((looks(&["1"]), looks(&["4"])), (0, 0));
    assert!(opened(&cockpit.tell(listed(vec![job(FAR, 5.0)]))).is_empty(), "it would take the tab away");
    // What others have done since is looked for when it is to be shown.
    let actions = cockpit.press(&["Esc", "Tab", "Tab"]);
    assert!(actions.iter().any(|a| matches!(a, Action::ListRuns)), "{actions:?}");
    let actions = cockpit.tell(listed(vec![job(FAR, 5.0)]));
    assert_eq!(opened(&actions), [Path::new(FAR)]);
    // One that cannot be opened is not tried again and again.
    cockpit.tell(Message::Tick(1_700_000_200.0));
    assert!(opened(&cockpit.tell(listed(vec![job(FAR, 5.0)]))).is_empty());
    assert_eq!(opened(&cockpit.tell(listed(vec![job("/other/v0", 9.0), job(FAR, 5.0)]))).len(), 1);
    // Nor is what somebody has asked for overtaken.
    cockpit.press(&["3", "Enter"]);
    let third = job("/other/v9", 99.0);
    assert!(opened(&cockpit.tell(listed(vec![third.clone()]))).is_empty());
    cockpit.tell(Message::Opened(FAR.into()));
    assert!(opened(&cockpit.tell(listed(vec![third]))).is_empty(), "a run is open");
}

#[test]
fn the_checkpoints_tab_looks_again_whenever_it_is_shown() {
    let mut cockpit = Cockpit::new(80, 24);
    cockpit.tell(listed(Vec::new()));
    for keys in [&["3"][..], &["1", "Tab", "Tab"], &["4", "Tab", "Tab", "Tab"]] {
        let actions = cockpit.press(keys);
        assert!(actions.iter().any(|a| matches!(a, Action::ListRuns)), "{keys:?}: {actions:?}");
    }
}

#[test]
fn an_answer_about_another_directory_is_none() {
    let (ended, details) = ended();
    // The first look was made before the run's own directory took the place of `output`.
    let mut cockpit = Cockpit::new(80, 24);
    let far: PathBuf = FAR.into();
    let asked = cockpit.tell(Message::Opened(far.clone()));
    assert!(asked.iter().any(|a| matches!(a, Action::ListRuns)), "{asked:?}");
    let asked = cockpit.tell(listed(Vec::new()));
    assert!(asked.is_empty());
    cockpit.press(&["3"]);
    let picture = cockpit.picture();
    assert!(picture.contains("Looking for runs") && !picture.contains("There are no runs"), "{picture}");
    let runs = vec![RunSummary { path: far.clone(), ..ended.clone() }];
    cockpit.tell(Message::Runs { output_dir: "/data/别处/out".into(), runs });
    assert!(cockpit.picture().contains(&format!(" {FAR}\n")), "{}", cockpit.picture());
    cockpit.tell(listed(vec![ended.clone()]));
    assert!(cockpit.picture().contains(&format!(" {FAR}\n")), "{}", cockpit.picture());

    // A job elsewhere that is listed brings no other directory: one's own runs stay where they are.
    let mut cockpit = Cockpit::new(80, 24);
    cockpit.tell(listed(vec![job(FAR, 5.0), ended]));
    cockpit.tell(details);
    cockpit.tell(Message::Opened(far.clone()));
    cockpit.tell(Message::Events { run: far, records: recorded("crashed") });
    cockpit.press(&["3"]);
    cockpit.assert_picture("checkpoints-elsewhere-80x24");
    assert!(cockpit.press(&["d", "y"]).is_empty());
}

/// What is pressed for a run that is gone is for no other one.
#[test]
fn a_run_that_is_deleted_gives_its_place_to_none() {
    let mut app = app();
    app.message(&Message::Opened(RUN.into()));
    app.act(vec![Action::Show(qwen_tui::tui::action::Tab::Train)]);
    app.message(&Message::Deleted(RUN.into()));
    let actions = app.message(&listed(vec![job(FAR, 50.0)]));
    assert!(opened(&actions).is_empty(), "{actions:?}");
}

use super::*;

fn record(seq: u64, json: &str) -> Record<Event> {
    let line = format!(r#"{{"seq":{seq},"time":{},{json}}}"#, 1000 + seq);
    serde_json::from_str(&line).unwrap()
}

fn fold(events: &[&str]) -> RunState {
    let mut run = RunState::new(Path::new("/out/qwen-demo/v0-x"));
    events.iter().enumerate().for_each(|(i, json)| run.see(&record(i as u64 + 1, json)));
    run
}

const STARTED: &str = r#""kind":"started","pid":7,"version":"0.1.0","libtorch":"2.11.0","device":"cpu","device_name":"A processor","threads":2"#;
const PLAN: &str = r#""kind":"plan","total_steps":40,"warmup_steps":2,"micro_batches":320,"accumulation":16,"learning_rate":0.006,"scheduler":"linear""#;
const TRAINING: &str = r#""kind":"stage","stage":"training""#;

fn step(step: u64, loss: &str) -> String {
    format!(
        r#""kind":"step","step":{step},"epoch":0.5,"loss":{loss},"acc":0.5,"learning_rate":0.001,"grad_norm":0.7,"rows":16,"tokens":800,"seconds":2.0"#
    )
}

#[test]
fn time_left_counts_the_evaluations_to_come() {
    let eval = r#""kind":"eval","step":10,"epoch":0.5,"loss":0.4,"acc":0.8,"rows":100,"seconds":7.0"#;
    let mut run = fold(&[STARTED, PLAN, TRAINING, &step(10, "0.5")]);
    assert_eq!(run.seconds_left(), Some(60.0));
    run.see(&record(9, eval));
    assert_eq!(run.seconds_left(), Some(60.0 + 3.0 * 7.0));
    assert_eq!((run.step(), run.progress(), run.percent()), (10, 0.25, 25));
    run.plan.as_mut().unwrap().total_steps = 375;
    for (at, percent) in [(374, 99), (375, 100)] {
        run.see(&record(at, &step(at, "0.5")));
        assert_eq!(run.percent(), percent, "all is done at the last step and not before");
    }
    run.plan.as_mut().unwrap().total_steps = 40;
    assert_eq!(run.plan.as_ref().unwrap().epochs(), 2.0);
    assert_eq!(run.plan.as_ref().unwrap().rate(2), Some(0.006));
    assert_eq!(run.name(), "qwen-demo/v0-x");
}

#[test]
fn the_best_evaluation_is_by_loss_or_by_answers() {
    let eval = |step: u64, loss: &str, scores: &str| {
        format!(
            r#""kind":"eval","step":{step},"epoch":0.5,"loss":{loss},"acc":0.8,{scores}"rows":100,"seconds":7.0"#
        )
    };
    let best = |evals: [String; 4]| {
        let run = fold(&evals.each_ref().map(String::as_str));
        run.best_eval().map(|e| (e.step, e.metric()))
    };
    let by_loss = [("1", ""), (r#""NaN""#, ""), ("0.3", ""), ("0.4", "")];
    let mut steps = 0;
    assert_eq!(
        best(by_loss.map(|(loss, scores)| {
            steps += 1;
            eval(steps, loss, scores)
        })),
        Some((3, 0.3))
    );
    let answered = |step, loss, rouge_l| {
        let scores = format!(r#""scores":{{"rouge-1":1.0,"rouge-2":0.0,"rouge-l":{rouge_l},"bleu-4":2.0}},"#);
        eval(step, loss, &scores)
    };
    let by_answers = [
        answered(1, "1", "20.0"),
        answered(2, "0.9", "50.0"),
        answered(3, "0.3", "50.0"),
        answered(4, "0.2", "40.0"),
    ];
    assert_eq!(best(by_answers), Some((2, 50.0)));
}

#[test]
fn a_worker_that_went_without_a_word_has_crashed_and_one_with_a_word_has_not() {
    let mut run = fold(&[STARTED, TRAINING]);
    run.worker = Worker::Alive;
    assert!(run.is_live() && run.phase() == Phase::Busy(Stage::Training));
    run.worker = Worker::Gone { why: "Killed".into() };
    assert!(!run.is_live() && run.phase() == Phase::Crashed);
    run.see(&record(3, r#""kind":"failed","exit_code":2,"message":"the disk is full""#));
    assert_eq!(run.phase(), Phase::Failed);
    assert_eq!(run.log.back().unwrap().level, Level::Error);
    // A new worker goes on with it.
    run.see(&record(4, STARTED));
    assert_eq!((run.phase(), &run.end), (Phase::Opening, &None));
    run.worker = Worker::Alive;
    assert_eq!(run.phase(), Phase::Starting);
}

#[test]
fn a_resumed_run_forgets_what_it_does_again() {
    let eval = |step| {
        format!(r#""kind":"eval","step":{step},"epoch":0.5,"loss":0.4,"acc":0.8,"rows":100,"seconds":7.0"#)
    };
    let skipped = |step| format!(r#""kind":"step_skipped","step":{step},"loss":"NaN","grad_norm":"NaN""#);
    let resumed = STARTED.replace("\"threads\":2", "\"threads\":2,\"step\":1");
    let before = [STARTED, &skipped(1), &step(1, "1"), &eval(1), &skipped(2), &step(2, "1"), &eval(2)];
    let told = |run: &RunState| {
        (run.evals.iter().map(|e| e.step).collect::<Vec<_>>(), run.steps.all().len(), run.skipped_steps)
    };
    assert_eq!(told(&fold(&before)), (vec![1, 2], 2, 2));
    assert_eq!(told(&fold(&[&before[..], &[&resumed]].concat())), (vec![1], 1, 1));
    assert_eq!(told(&fold(&[&before[..], &[&resumed, &step(2, "0.5")]].concat())), (vec![1], 2, 1));
    // From the beginning.
    assert_eq!(told(&fold(&[&before[..], &[STARTED]].concat())), (vec![], 0, 0));
}

#[test]
fn non_finite_steps_are_counted_and_said() {
    let skipped = r#""kind":"step_skipped","step":2,"loss":"NaN","grad_norm":"NaN""#;
    let run = fold(&[PLAN, &step(1, "0.5"), skipped, &step(2, "\"NaN\""), &step(3, "0.4")]);
    assert_eq!((run.skipped_steps, run.steps.non_finite()), (1, 1));
    assert!(run.log.iter().any(|l| l.level == Level::Warning && l.text.contains("step 2 skipped")));
}

#[test]
fn the_newest_best_checkpoint_is_the_best() {
    let saved = |step, best| {
        format!(
            r#""kind":"checkpoint","step":{step},"path":"checkpoint-{step}","bytes":9,"seconds":0.1,"best":{best}"#
        )
    };
    let removed = r#""kind":"checkpoint_removed","step":10"#;
    let run = fold(&[&saved(10, true), &saved(20, true), removed, &saved(30, false), &saved(20, true)]);
    let all: Vec<_> = run.checkpoints.iter().map(|c| (c.step, c.best)).collect();
    assert_eq!(all, [(20, true), (30, false)]);
}

#[test]
fn a_resumed_run_took_what_it_says_itself() {
    let finished = r#""kind":"finished","step":40,"seconds":98.0,"stopped":false,"last_checkpoint":null,"best_checkpoint":null,"best_metric":null"#;
    let mut run = fold(&[STARTED, PLAN, TRAINING]);
    assert_eq!(run.elapsed(2000.0), 2.0);
    run.see(&record(4, finished));
    assert_eq!(run.elapsed(2000.0), 98.0);
}

#[test]
fn checkpoints_that_a_run_went_back_from_are_its_own_no_more() {
    let saved = |step, best| {
        format!(
            r#""kind":"checkpoint","step":{step},"path":"checkpoint-{step}","bytes":9,"seconds":0.1,"best":{best}"#
        )
    };
    let from = |step| format!("{STARTED},\"step\":{step}");
    let before = [STARTED, &saved(10, true), &saved(20, true)];
    let told = |more: &[&str]| {
        let run = fold(&[&before[..], more].concat());
        run.checkpoints.iter().map(|c| (c.step, c.best)).collect::<Vec<_>>()
    };
    assert_eq!(told(&[]), [(10, false), (20, true)]);
    assert_eq!(told(&[&from(10)]), [(10, true)]);
    assert_eq!(told(&[&from(10), &saved(15, false), &from(20)]), [(10, false), (20, true)]);
}

#[test]
fn a_worker_that_hangs_is_told_and_one_that_is_slow_is_not() {
    let resources = r#""kind":"resources","rss":1,"available":1,"cores":1"#;
    let mut run = fold(&[STARTED, PLAN, TRAINING, &step(1, "0.5")]);
    // Found when its newest event is old: it may have just begun again.
    assert_eq!(run.hung(9000.0), None);
    run.see_worker(&Worker::Alive, 2000.0);
    assert_eq!(run.hung(2019.0), None);
    assert_eq!(run.hung(2040.0), Some(Hung::Silent { seconds: 40.0 }));
    run.see_worker(&Worker::Alive, 2041.0);
    assert_eq!(run.hung(2041.0), Some(Hung::Silent { seconds: 41.0 }), "it was known to live before");
    // The process lives, and its computation does not come back.
    let late = |seq: u64, json: &str| record(seq, json);
    run.see(&late(1300, resources));
    assert_eq!(
        (run.hung(2301.0), run.way_out().contains("kill -9 7")),
        (Some(Hung::Stuck { seconds: 301.0 }), true)
    );
    run.see(&late(1301, &step(2, "0.5")));
    assert_eq!(run.hung(2302.0), None);
    // A pause is none, nor is the end.
    run.see(&late(1302, r#""kind":"paused","step":2"#));
    run.see(&late(1900, resources));
    assert_eq!(run.hung(2901.0), None);
    run.see_worker(&Worker::Gone { why: String::new() }, 2902.0);
    assert_eq!(run.hung(9000.0), None);
}

#[test]
fn an_epoch_of_fewer_batches_than_a_step_asks_for_is_one_step() {
    let epochs = |total_steps, micro_batches| {
        let plan = PLAN_OF.replace("STEPS", total_steps).replace("BATCHES", micro_batches);
        fold(&[STARTED, &plan]).plan.unwrap().epochs()
    };
    const PLAN_OF: &str = r#""kind":"plan","total_steps":STEPS,"warmup_steps":1,"micro_batches":BATCHES,"accumulation":16,"learning_rate":1e-4,"scheduler":"linear""#;
    assert_eq!((epochs("1", "4"), epochs("3", "4"), epochs("375", "2000")), (1.0, 3.0, 3.0));
}

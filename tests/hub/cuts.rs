//! Connections that end, and pulls that are gone on with.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use qwen_tui::hub::{Hub, pull};
use rand_mt::Mt;

use crate::server::Fault;
use crate::tools::{Bench, MODEL, WEIGHTS, is_weights, model, names, repo};

const SIZE: usize = 400_000;

/// The server goes away at a random byte of the weights, and does not come back while this pull lasts. The next goes on
/// at that byte.
#[test]
fn a_pull_that_is_cut_is_gone_on_with_where_it_was_50_times() {
    let bench = Bench::new(vec![model(SIZE)]);
    let mut mt = Mt::new(12);
    for round in 0..50 {
        let hub = if round % 2 == 0 { Hub::ModelScope } else { Hub::Hf };
        let at = u64::from(mt.next_u32()) % (SIZE as u64 - 1) + 1;
        let first = Arc::new(AtomicUsize::new(0));
        bench.server.fault(move |request| match is_weights(request) {
            true if first.fetch_add(1, Ordering::SeqCst) == 0 => Fault::Cut(at),
            true => Fault::Cut(0),
            false => Fault::None,
        });
        let to = format!("model-{round}");
        let e = bench.pull(hub, &to).unwrap_err();
        assert!(e.exit_code() == 2 && e.to_string().contains(WEIGHTS), "{e}");
        assert!(!bench.path(&to).exists(), "something is half placed");
        bench.server.well();
        bench.server.seen();
        let dir = bench.pull(hub, &to).unwrap();
        let from: Vec<u64> =
            bench.server.seen().iter().filter(|r| is_weights(r)).map(|r| r.range().unwrap().0).collect();
        assert_eq!(from, [at], "it goes on where it was cut");
        bench.check(&dir);
        assert!(!names(bench.home.path()).iter().any(|name| name.contains(".pull")), "something is left");
    }
}

/// Every connection ends at a random byte, and one pull gets through all the same.
#[test]
fn a_pull_outlasts_50_cuts() {
    let bench = Bench::new(vec![model(4_000_000)]);
    let mut mt = Mt::new(5);
    let cuts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&cuts);
    bench.server.fault(move |request| {
        if is_weights(request) && counted.fetch_add(1, Ordering::SeqCst) < 50 {
            return Fault::Cut(u64::from(mt.next_u32()) % 60_000 + 5000);
        }
        Fault::None
    });
    let mut notes = 0;
    let dir = bench.watched(Hub::ModelScope, "model", &mut |progress| notes += progress.notes.len()).unwrap();
    assert!(cuts.load(Ordering::SeqCst) >= 50 && notes >= 40, "{cuts:?} cuts, {notes} told");
    bench.check(&dir);
}

#[test]
fn whoever_waits_no_more_ends_it_and_the_next_goes_on() {
    let bench = Bench::new(vec![model(SIZE)]);
    bench.server.fault(|request| if is_weights(request) { Fault::Slow(4000, 10) } else { Fault::None });
    let done = AtomicU64::new(0);
    let told = &mut |progress: &qwen_tui::hub::Progress| done.store(progress.done, Ordering::SeqCst);
    let cancelled = || done.load(Ordering::SeqCst) > 50_000;
    let e = pull(&repo(Hub::Hf), &bench.options("model"), told, &cancelled).unwrap_err();
    assert_eq!(e.to_string(), "stopped");
    assert!(!bench.path("model").exists());
    bench.server.well();
    bench.server.seen();
    bench.check(&bench.pull(Hub::Hf, "model").unwrap());
    let seen = bench.server.seen();
    let from = seen.iter().find(|r| is_weights(r)).and_then(|r| r.range()).unwrap().0;
    assert!(from > 10_000, "it goes on from {from}");
    // The hub's own calls are of the commit, so that nothing changes in between.
    let commit = seen.iter().find(|r| r.path.contains("/resolve/")).unwrap();
    assert!(!commit.path.contains("/main/") && commit.path.starts_with(&format!("/{MODEL}/resolve/")));
}

#[test]
fn a_server_that_knows_no_ranges_sends_it_whole() {
    let bench = Bench::new(vec![model(SIZE)]);
    let calls = Arc::new(AtomicUsize::new(0));
    bench.server.fault(move |request| match is_weights(request) {
        true if calls.fetch_add(1, Ordering::SeqCst) == 0 => Fault::Cut(100_000),
        true => Fault::Whole,
        false => Fault::None,
    });
    bench.check(&bench.pull(Hub::Hf, "model").unwrap());
}

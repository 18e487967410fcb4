//! What a hub, the way to it and the disk can do wrong: one message each, and nothing half placed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use qwen_tui::error::Error;
use qwen_tui::hub::{Hub, Network, PullOptions, Repo, Sort, list, pull, pull_first};

use crate::common::Disk;
use crate::server::{Fault, Repository};
use crate::tools::{Bench, MODEL, NEEDED, WEIGHTS, is_weights, model, noise, repo};

#[track_caller]
fn refused(bench: &Bench, hub: Hub, words: &[&str]) -> Error {
    let e = bench.pull(hub, "model").unwrap_err();
    words.iter().for_each(|word| assert!(e.to_string().contains(word), "{word:?} is not in: {e}"));
    assert_eq!((e.exit_code(), bench.path("model").exists()), (2, false), "{e}");
    e
}

/// The first so many answers about the weights, or about anything.
fn first(times: usize, fault: Fault, weights: bool) -> impl FnMut(&crate::server::Request) -> Fault {
    let calls = AtomicUsize::new(0);
    move |request| match weights != is_weights(request) || calls.fetch_add(1, Ordering::SeqCst) >= times {
        true => Fault::None,
        false => fault.clone(),
    }
}

#[test]
fn bytes_that_are_wrong_are_thrown_away() {
    for hub in [Hub::ModelScope, Hub::Hf] {
        let bench = Bench::new(vec![model(200_000)]);
        bench.server.fault(first(9, Fault::Wrong, true));
        refused(&bench, hub, &[WEIGHTS, "SHA256", "listing says"]);
        // Once may be chance.
        bench.server.fault(first(1, Fault::Wrong, true));
        bench.check(&bench.pull(hub, "model").unwrap());
    }
    // Hugging Face tells git's hash of small files.
    let bench = Bench::new(vec![model(200_000)]);
    let wrong = |r: &crate::server::Request| {
        if r.path.ends_with("qwen.tiktoken") { Fault::Wrong } else { Fault::None }
    };
    bench.server.fault(wrong);
    refused(&bench, Hub::Hf, &["qwen.tiktoken", "git's SHA1"]);
}

#[test]
fn what_was_left_of_another_file_does_no_harm() {
    let bench = Bench::new(vec![model(200_000)]);
    bench.server.fault(|request| if is_weights(request) { Fault::Cut(0) } else { Fault::None });
    let _ = bench.pull(Hub::Hf, "model").unwrap_err();
    let mut sum = String::new();
    bench.server.change(|all| sum = all[0].file(WEIGHTS).unwrap().sha256.clone());
    let part = bench.path(".model.pull").join(format!("{sum}.part"));
    assert!(part.is_file());
    std::fs::write(part, noise(90_000, 77)).unwrap();
    bench.server.well();
    bench.server.seen();
    bench.check(&bench.pull(Hub::Hf, "model").unwrap());
    // It was gone on with, found wrong, and fetched from its beginning.
    let asked: Vec<_> = bench.server.seen().iter().filter(|r| is_weights(r)).map(|r| r.range()).collect();
    assert_eq!(asked, [Some((90_000, None)), None]);
}

#[test]
fn a_size_that_the_listing_does_not_tell_is_refused() {
    let bench = Bench::new(vec![model(200_000)]);
    let short = Fault::Status(200, vec![], "short".into());
    bench.server.fault(first(9, short, true));
    refused(&bench, Hub::ModelScope, &[WEIGHTS, "5 bytes", "200000"]);
}

#[test]
fn a_slow_server_is_waited_for_and_a_silent_one_is_not() {
    let bench = Bench::new(vec![model(100_000)]);
    bench.server.fault(|request| if is_weights(request) { Fault::Slow(1000, 20) } else { Fault::None });
    bench.check(&bench.pull(Hub::ModelScope, "slow").unwrap());
    for fault in [Fault::Stall(1000), Fault::Silence] {
        bench.server.fault(first(99, fault, true));
        refused(&bench, Hub::ModelScope, &[WEIGHTS, "has sent nothing for 0.5 s"]);
    }
    bench.server.fault(first(99, Fault::Silence, false));
    refused(&bench, Hub::Hf, &["has not answered within 0.5 s"]);
    bench.server.well();
    bench.check(&bench.pull(Hub::ModelScope, "model").unwrap());
}

#[test]
fn refusals_say_what_to_do() {
    let mut private = model(200_000);
    private.token = Some("hf_secret".into());
    let bench = Bench::new(vec![private]);
    refused(&bench, Hub::Hf, &["401", MODEL, "HF_TOKEN"]);
    refused(&bench, Hub::ModelScope, &["403", MODEL, "MODELSCOPE_API_TOKEN", "you have no permission"]);
    bench.server.change(|all| all[0].token = None);

    let gated =
        Fault::Status(403, vec![("X-Error-Code", "GatedRepo".into())], "{\"error\":\"accept\"}".into());
    bench.server.fault(first(9, gated, false));
    refused(&bench, Hub::Hf, &["403", "terms", "accept"]);
    bench.server.well();

    bench.server.fault(|request| {
        if is_weights(request) { Fault::Status(403, vec![], String::new()) } else { Fault::None }
    });
    refused(&bench, Hub::Hf, &[WEIGHTS, "keeps its files, answers 403"]);
    bench.server.well();

    let none = Repo { id: "qwen/Qwen-9B".into(), ..repo(Hub::ModelScope) };
    for hub in [Hub::ModelScope, Hub::Hf] {
        let e =
            pull(&Repo { hub, ..none.clone() }, &bench.options("model"), &mut |_| {}, &|| false).unwrap_err();
        assert!(
            e.to_string().contains("qwen/Qwen-9B") && e.to_string().contains("is the name right?"),
            "{e}"
        );
        let old = Repo { revision: Some("v9".into()), ..repo(hub) };
        let e = pull(&old, &bench.options("model"), &mut |_| {}, &|| false).unwrap_err();
        assert!(e.to_string().contains("v9"), "{e}");
    }
    // What one hub does not have, the next may.
    bench.server.change(|all| all[0].id = "Qwen/Other".into());
    let repos = [none.clone(), Repo { hub: Hub::Hf, id: "Qwen/Other".into(), ..none.clone() }];
    let (from, dir) = pull_first(&repos, &bench.options("other"), &mut |_| {}, &|| false).unwrap();
    assert_eq!(from.hub, Hub::Hf);
    bench.check(&dir);
    let repos = [none.clone(), Repo { hub: Hub::Hf, ..none }];
    let e = pull_first(&repos, &bench.options("none"), &mut |_| {}, &|| false).unwrap_err();
    assert!(!e.unreached && e.all.iter().map(|(hub, _)| *hub).eq([Hub::ModelScope, Hub::Hf]));
    let e = Error::from(e).to_string();
    assert!(e.contains("on ModelScope") && e.contains("on Hugging Face"), "{e}");
}

#[test]
fn a_server_that_is_busy_or_ill_is_asked_again() {
    let bench = Bench::new(vec![model(200_000)]);
    let busy = |wait: &str| Fault::Status(429, vec![("Retry-After", wait.into())], "slow down".into());
    for weights in [true, false] {
        bench.server.fault(first(1, busy("1"), weights));
        let began = Instant::now();
        bench.check(&bench.pull(Hub::Hf, &format!("busy-{weights}")).unwrap());
        assert!(began.elapsed() >= Duration::from_secs(1), "it does not wait as long as it is asked to");
        bench.server.fault(first(2, Fault::Status(503, vec![], String::new()), weights));
        bench.check(&bench.pull(Hub::ModelScope, &format!("ill-{weights}")).unwrap());
        bench.server.fault(first(9, busy("3600"), weights));
        refused(&bench, Hub::Hf, &["429", "it asks to try again in 60 min"]);
        bench.server.fault(first(9, Fault::Status(502, vec![], String::new()), weights));
        refused(&bench, Hub::Hf, &["502", "fault of its own"]);
    }
}

#[test]
fn a_page_is_no_listing() {
    let bench = Bench::new(vec![model(200_000)]);
    bench.server.fault(|_| Fault::Status(200, vec![], "<html>Please log in to the hotel".into()));
    refused(&bench, Hub::Hf, &["perhaps the login page of this network", "hotel"]);
    bench.server.fault(|_| Fault::Status(200, vec![], "{\"Code\":200,\"Data\":{}}".into()));
    refused(&bench, Hub::ModelScope, &["names no files"]);
    bench.server.fault(|_| Fault::Status(302, vec![("Location", "/round".into())], String::new()));
    refused(&bench, Hub::ModelScope, &["in a circle"]);
}

#[test]
fn a_listing_that_leads_elsewhere_is_refused() {
    for path in ["../config.json", "/tmp/config.json", "a/../../b.safetensors"] {
        let mut evil = model(200_000);
        evil.files.push(crate::server::File::new(path, b"x".to_vec()));
        let bench = Bench::new(vec![evil]);
        for hub in [Hub::ModelScope, Hub::Hf] {
            refused(&bench, hub, &["outside of its directory"]);
        }
    }
    let link = r#"{"Code":200,"Data":{"Files":[{"Path":"config.json","Type":"link","Size":1}]}}"#;
    let bench = Bench::new(vec![model(200_000)]);
    bench.server.fault(move |_| Fault::Status(200, vec![], link.into()));
    refused(&bench, Hub::ModelScope, &["no file but a \"link\""]);
}

#[test]
fn a_link_on_the_way_is_not_followed() {
    let rows = Repository::new("datasets", "a/rows", vec![("data/train.csv", b"a,b\n".to_vec())]);
    let bench = Bench::new(vec![rows]);
    std::fs::create_dir_all(bench.path("rows")).unwrap();
    std::fs::create_dir_all(bench.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink(bench.path("elsewhere"), bench.path("rows/data")).unwrap();
    let repo = Repo { hub: Hub::Hf, sort: Sort::Dataset, id: "a/rows".into(), revision: None };
    let e = pull(&repo, &bench.options("rows"), &mut |_| {}, &|| false).unwrap_err();
    assert!(e.to_string().contains("is a link"), "{e}");
    assert!(bench.names("elsewhere").is_empty());
}

#[test]
fn what_no_job_could_use_is_refused() {
    let refuse = |files: Vec<(&str, Vec<u8>)>, word: &str| {
        let bench = Bench::new(vec![Repository::new("models", MODEL, files)]);
        refused(&bench, Hub::ModelScope, &[word]);
    };
    refuse(
        vec![("config.json", vec![]), ("pytorch_model-00001-of-00002.bin", noise(9, 1))],
        "safe_serialization=True",
    );
    refuse(vec![("config.json", vec![])], "no weights");
    refuse(vec![(WEIGHTS, noise(9, 1))], "no config.json");
}

#[test]
fn a_disk_without_room_is_told_before_and_while_it_fills() {
    let bench = Bench::new(vec![model(20_000_000)]);
    let Some(small) = Disk::new(bench.path("disk")) else { return };
    let e = bench.pull(Hub::ModelScope, "disk/model").unwrap_err();
    assert!(matches!(e, Error::NoRoom(_)) && e.to_string().contains("are free"), "{e}");
    assert!(e.to_string().contains("20.0 MB are to be fetched, 16.8 MB are to stay free beside that"), "{e}");
    assert!(bench.server.seen().iter().all(|r| !is_weights(r)), "nothing is fetched that would not fit");
    drop(small);

    // Large enough at first; somebody else fills it.
    let bench = Arc::new(Bench::new(vec![model(3_000_000)]));
    let place = bench.path("disk");
    std::fs::create_dir(&place).unwrap();
    let size = ["-t", "tmpfs", "-o", "size=24m", "tmpfs"];
    let mounted = std::process::Command::new("mount").args(size).arg(&place).status();
    assert!(mounted.unwrap().success());
    let disk = Arc::new(Disk(place));
    let filled = Arc::clone(&disk);
    bench.server.fault(move |request| {
        if is_weights(request) {
            filled.fill();
        }
        Fault::None
    });
    let e = bench.pull(Hub::ModelScope, "disk/model").unwrap_err();
    assert!(matches!(e, Error::NoRoom(_)) && e.to_string().contains("free some space"), "{e}");
    assert!(!bench.path("disk/model").exists());
    bench.server.well();
    disk.empty();
    bench.check(&bench.pull(Hub::ModelScope, "disk/model").unwrap());
}

#[test]
fn nobody_at_the_address_is_told_at_once() {
    let repos = [repo(Hub::ModelScope), repo(Hub::Hf)];
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let network = Network { server: Some(format!("http://{free}")), ..Network::default() };
    let options =
        PullOptions { to: Some("/nonexistent".into()), network: network.clone(), ..PullOptions::default() };
    let e = pull_first(&repos, &options, &mut |_| {}, &|| false).unwrap_err();
    assert!(e.unreached);
    let e = Error::from(e).to_string();
    assert_eq!(e.matches(&format!("cannot reach http://{free}")).count(), 2, "{e}");
    let e = list(&repos[0], &network, &|| true).unwrap_err();
    assert_eq!(e.to_string(), "stopped");
    for bad in ["x", "a/b/c", "../x", "a/..", ""] {
        let e = list(&Repo { id: bad.into(), ..repos[0].clone() }, &network, &|| false).unwrap_err();
        assert!(e.to_string().contains("owner/name"), "{bad}: {e}");
    }
}

#[test]
fn a_listing_says_what_a_job_needs() {
    let bench = Bench::new(vec![model(200_000)]);
    for hub in [Hub::ModelScope, Hub::Hf] {
        let listing = list(&repo(hub), &bench.options("").network, &|| false).unwrap();
        let mut needed: Vec<&str> = listing.needed().map(|file| file.path.as_str()).collect();
        needed.sort_unstable();
        assert_eq!((needed, listing.files.len()), (NEEDED.to_vec(), 6));
        assert_eq!(listing.bytes(), 200_000 + 3000 + 2 + 9);
        assert!(listing.needed().all(|file| file.checksum.is_some()));
    }
}

/// A mirror that passes on names alone is asked for the rest file by file.
#[test]
fn what_a_mirror_does_not_list_is_asked_for() {
    let bench = Bench::new(vec![model(200_000)]);
    let mut commit = String::new();
    bench.server.change(|all| commit = all[0].commit());
    let siblings = NEEDED.map(|name| format!("{{\"rfilename\":\"{name}\"}}")).join(",");
    let names = format!("{{\"sha\":\"{commit}\",\"siblings\":[{siblings}]}}");
    bench.server.fault(move |request| match request.path.starts_with("/api/") {
        true => Fault::Status(200, vec![], names.clone()),
        false => Fault::None,
    });
    let listing = list(&repo(Hub::Hf), &bench.options("").network, &|| false).unwrap();
    assert_eq!(listing.bytes(), 200_000 + 3000 + 2 + 9);
    assert!(listing.needed().all(|file| file.checksum.is_some()));
    assert!(bench.server.seen().iter().all(|r| !r.is_cdn), "the CDN's own word is not asked for");
    bench.check(&bench.pull(Hub::Hf, "model").unwrap());
}

#[test]
fn a_file_that_is_listed_and_not_given_is_told_as_that() {
    for (hub, status) in [(Hub::ModelScope, 404), (Hub::Hf, 404), (Hub::ModelScope, 403), (Hub::Hf, 403)] {
        let bench = Bench::new(vec![model(200_000)]);
        bench.server.fault(move |request| {
            match request.asked("FilePath").unwrap_or(&request.path).ends_with("qwen.tiktoken") {
                true => Fault::Status(status, vec![], String::new()),
                false => Fault::None,
            }
        });
        let lists = format!("qwen.tiktoken: the model {MODEL} on {hub} lists it");
        let e = refused(&bench, hub, &[&lists, &format!("({status})")]);
        assert!(!e.to_string().contains("is the name right?"), "{e}");
        assert!(!e.to_string().contains("there is none"), "{e}");
    }
}

#[test]
fn a_job_is_told_of_places_in_its_own_words() {
    let bench = Bench::new(vec![model(20_000_000)]);
    let Some(small) = Disk::new(bench.path("disk")) else { return };
    for (hub, variable) in [(Hub::ModelScope, "MODELSCOPE_CACHE"), (Hub::Hf, "HF_HOME")] {
        let told = |for_job| {
            let options = PullOptions { for_job, ..bench.options("disk/model") };
            pull(&repo(hub), &options, &mut |_| {}, &|| false).unwrap_err().to_string()
        };
        let (job, by_hand) = (told(true), told(false));
        assert!(by_hand.ends_with("choose another disk with --to"), "{by_hand}");
        assert!(job.contains(variable) && job.ends_with("--model_cache_dir DIR"), "{job}");
    }
    drop(small);
    // Small things are told in their own unit.
    let bench = Bench::new(vec![Repository::new("datasets", "me/rows", vec![("a.csv", noise(12_000, 1))])]);
    let Some(_small) = Disk::new(bench.path("disk")) else { return };
    let rows = Repo { sort: Sort::Dataset, id: "me/rows".into(), ..repo(Hub::ModelScope) };
    let options = PullOptions { for_job: true, ..bench.options("disk/rows") };
    let e = pull(&rows, &options, &mut |_| {}, &|| false).unwrap_err().to_string();
    assert!(e.contains("12.0 kB are to be fetched") && e.ends_with("with MODELSCOPE_CACHE"), "{e}");
}

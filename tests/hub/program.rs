//! `qwen-tui pull` as a program: its words, its signals, two of it at once.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Child;

use rustix::process::{Pid, Signal, kill_process};

use crate::server::{Fault, Repository};
use crate::tools::{Bench, MODEL, Said, base, is_weights, model, names};

#[test]
fn a_whole_model_is_pulled_by_its_name() {
    let bench = Bench::new(vec![Repository::of("models", MODEL, &base())]);
    for hub in ["modelscope", "hf"] {
        let said = bench.run(&["pull", "qwen-1_8b", "--hub", hub]);
        let dir = said.dir();
        for name in names(&base()) {
            let read = |dir: &std::path::Path| std::fs::read(dir.join(&name)).unwrap();
            assert!(read(&dir) == read(&base()), "{name}");
        }
        assert!(
            said.err.contains("fetching 10.4 MB in 5 files") && said.err.contains("5/5 files"),
            "{said:?}"
        );
        bench.server.seen();
        assert_eq!(bench.run(&["pull", "qwen-1_8b", "--hub", hub]).dir(), dir);
        assert_eq!(bench.server.seen().len(), 1);
    }
    let to = bench.path("here").display().to_string();
    assert_eq!(bench.run(&["pull", "Qwen/Qwen-1_8B", "--to", &to]).dir(), bench.path("here"));
}

#[test]
fn rows_are_pulled_by_their_name() {
    let files = vec![
        ("train.csv", b"sentence,label\n".to_vec()),
        ("dev.csv", b"sentence\n".to_vec()),
        ("a.json", vec![]),
    ];
    let bench = Bench::new(vec![Repository::new("datasets", "DAMO_NLP/jd", files)]);
    let dir = bench.run(&["pull", "jd-sentiment-zh"]).dir();
    assert_eq!(names(&dir), [".pulled.json", "dev.csv", "train.csv"]);
    let dir = bench
        .run(&[
            "pull",
            "damo_nlp/jd",
            "--dataset",
            "--hub",
            "hf",
            "--to",
            &bench.path("x").display().to_string(),
        ])
        .dir();
    assert_eq!(names(&dir), [".pulled.json", "dev.csv", "train.csv"]);
    for words in [&["pull", "no such thing"][..], &["pull", "jd-sentiment-zh", "--hub", "hf"]] {
        assert_eq!(bench.run(words).status, Some(2));
    }
    // As if it were a model.
    let said = bench.run(&["pull", "DAMO_NLP/jd"]);
    assert!(
        said.status == Some(2) && said.err.contains("Where DAMO_NLP/jd is a data set, add --dataset"),
        "{said:?}"
    );
    let said = bench.run(&["pull", "DAMO_NLP/none", "--dataset"]);
    assert!(said.status == Some(2) && !said.err.contains("add --dataset"), "{said:?}");
}

#[test]
fn the_address_of_a_page_is_answered_with_the_name() {
    let bench = Bench::new(vec![]);
    let server = bench.server.address();
    for (page, command) in [
        ("https://huggingface.co/Qwen/Qwen-1_8B", "qwen-tui pull Qwen/Qwen-1_8B --hub hf`"),
        (
            "https://modelscope.cn/datasets/DAMO_NLP/jd/tree/v2",
            "qwen-tui pull DAMO_NLP/jd --dataset --hub modelscope --revision v2`",
        ),
        ("https://huggingface.co/a/b/tree/refs%2Fpr%2F1", "qwen-tui pull a/b --hub hf --revision refs/pr/1`"),
        ("www.modelscope.cn/models/qwen/Qwen-1_8B/summary", "qwen-tui pull qwen/Qwen-1_8B --hub modelscope`"),
        ("HTTPS://HUGGINGFACE.CO/Qwen/Qwen-1_8B.git", "qwen-tui pull Qwen/Qwen-1_8B --hub hf`"),
        ("https://huggingface.co/api/models/Qwen/Qwen-1_8B", "qwen-tui pull Qwen/Qwen-1_8B --hub hf`"),
        (&format!("{server}/me/Small"), "qwen-tui pull me/Small --hub hf`"),
        (&format!("{server}/models/me/Small/files"), "qwen-tui pull me/Small --hub modelscope`"),
        (
            &format!("{server}/datasets/me/rows/tree/v1"),
            "pull me/rows --dataset --hub modelscope --revision v1`",
        ),
        (&server.replace("http://", ""), "names no model and no data set"),
        ("https://hf.co/Qwen/Qwen-1_8B?token=seKret", "qwen-tui pull Qwen/Qwen-1_8B --hub hf`"),
        ("https://example.com/a/b#seKret", "https://example.com/a/b#… is no address of a hub"),
        ("git@hf.co:Qwen/Qwen-1_8B", "qwen-tui pull Qwen/Qwen-1_8B --hub hf`"),
        ("git@hf.co:datasets/me/rows", "qwen-tui pull me/rows --dataset --hub hf`"),
        ("https://huggingface.co/spaces/me/x", "is the address of a space"),
        ("modelscope.cn/studios/me/x", "is the address of a studio"),
        ("https://huggingface.co/api/spaces/me/x", "names no model and no data set"),
        ("https://me:seKret@example.com/a/b", "https://…@example.com/a/b is no address of a hub"),
    ] {
        let said = bench.run(&["pull", page]);
        assert!(said.status == Some(2) && said.err.contains(command), "{said:?}");
        assert!(!said.err.contains("seKret"), "{said:?}");
    }
    assert!(bench.server.seen().is_empty());
}

#[test]
fn a_directory_that_cannot_be_is_told_with_what_to_do() {
    let bench = Bench::new(vec![model(30_000)]);
    let said = bench.run(&["pull", MODEL, "--to", "/dev/null/x"]);
    assert!(said.status == Some(2) && said.err.contains("/dev/null"), "{said:?}");
    assert!(said.err.contains("name another directory with --to"), "{said:?}");
}

/// The token goes to the hub and nowhere else.
#[test]
fn a_token_is_neither_shown_nor_passed_on() {
    let secret = "hf_a_secret";
    let mut private = model(200_000);
    private.token = Some(secret.into());
    let bench = Bench::new(vec![private]);
    std::fs::create_dir_all(bench.path(".cache/huggingface")).unwrap();
    for (hub, variable) in
        [("hf", "HF_TOKEN"), ("modelscope", "MODELSCOPE_API_TOKEN"), ("hf", "HF_TOKEN_PATH"), ("hf", "")]
    {
        let to = bench.path(&format!("{hub}{variable}")).display().to_string();
        let mut command = bench.program(&["pull", MODEL, "--hub", hub, "--to", &to]);
        let file = match variable {
            "HF_TOKEN_PATH" => bench.path("token"),
            _ => bench.path(".cache/huggingface/token"),
        };
        match variable {
            "HF_TOKEN_PATH" | "" => std::fs::write(&file, format!("{secret}\n")).unwrap(),
            _ => drop(command.env(variable, secret)),
        }
        if variable == "HF_TOKEN_PATH" {
            command.env(variable, &file);
        }
        let said = Said::of(command.output().unwrap());
        bench.check(&said.dir());
        assert!(!format!("{said:?}").contains(secret), "{said:?}");
        let seen = bench.server.seen();
        assert!(seen.iter().any(|r| r.is_cdn));
        for request in seen {
            let carried = request.headers.iter().any(|(_, value)| value.contains(secret));
            assert_eq!(carried, !request.is_cdn, "{request:?}");
        }
        for name in names(std::path::Path::new(&to)) {
            let bytes = std::fs::read(std::path::Path::new(&to).join(name)).unwrap();
            assert!(!bytes.windows(secret.len()).any(|w| w == secret.as_bytes()));
        }
        let _ = std::fs::remove_file(file);
    }
    let said = Said::of(
        bench.program(&["pull", MODEL, "--hub", "hf"]).env("HF_TOKEN", "hf_other").output().unwrap(),
    );
    assert!(
        said.status == Some(2) && said.err.contains("the token of HF_TOKEN does not open it"),
        "{said:?}"
    );
    assert!(!said.err.contains("hf_other"));
}

/// The program, of which a line has been read.
fn began(bench: &Bench, words: &[&str], line: &str) -> (Child, BufReader<std::process::ChildStderr>) {
    let mut child = bench.program(words).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let mut text = String::new();
    while !text.contains(line) {
        text.clear();
        assert!(lines.read_line(&mut text).unwrap() > 0, "it ended without {line:?}");
    }
    (child, lines)
}

fn slow(request: &crate::server::Request) -> Fault {
    if is_weights(request) { Fault::Slow(5000, 10) } else { Fault::None }
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Waits until some of the weights have come.
fn wait_for_bytes(bench: &Bench) {
    let staging = bench.path(".cache/modelscope/models/qwen--Qwen-1_8B/.pull");
    let has = || {
        let entries = std::fs::read_dir(&staging).into_iter().flatten().flatten();
        entries.filter_map(|e| e.metadata().ok()).any(|m| m.len() > 20_000)
    };
    while !has() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

#[test]
fn ctrl_c_ends_it_and_the_same_command_goes_on() {
    let bench = Bench::new(vec![model(2_000_000)]);
    bench.server.fault(slow);
    crate::common::hear_hang_up();
    for stop in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT, Signal::KILL] {
        let (mut child, mut lines) = began(&bench, &["pull", MODEL], "fetching");
        wait_for_bytes(&bench);
        signal(&child, stop);
        let status = child.wait().unwrap();
        assert_eq!(status.code(), (stop != Signal::KILL).then_some(130));
        let mut said = String::new();
        std::io::Read::read_to_string(&mut lines, &mut said).unwrap();
        assert_eq!(said.contains("the same command goes on from there"), stop != Signal::KILL, "{said}");
    }
    bench.server.well();
    bench.server.seen();
    bench.check(&bench.run(&["pull", MODEL]).dir());
    let from =
        bench.server.seen().iter().find(|r| is_weights(r)).and_then(crate::server::Request::range).unwrap().0;
    assert!(from > 20_000, "it goes on from {from}");
}

#[test]
fn of_two_at_once_one_waits_and_finds_it_done() {
    let bench = Bench::new(vec![model(1_000_000)]);
    bench.server.fault(slow);
    let (first, _lines) = began(&bench, &["pull", MODEL], "fetching");
    wait_for_bytes(&bench);
    let (second, _more) = began(&bench, &["pull", MODEL], "waiting for it");
    for child in [first, second] {
        bench.check(&Said::of(child.wait_with_output().unwrap()).dir());
    }
    assert_eq!(bench.server.seen().iter().filter(|r| is_weights(r)).count(), 1);
}

#[test]
fn whoever_dies_leaves_the_rest_to_the_one_that_waits() {
    let bench = Bench::new(vec![model(2_000_000)]);
    bench.server.fault(slow);
    let (mut first, _lines) = began(&bench, &["pull", MODEL], "fetching");
    wait_for_bytes(&bench);
    let (second, _more) = began(&bench, &["pull", MODEL], "waiting for it");
    signal(&first, Signal::KILL);
    first.wait().unwrap();
    bench.check(&Said::of(second.wait_with_output().unwrap()).dir());
    let weights: Vec<_> = bench.server.seen().into_iter().filter(is_weights).collect();
    assert!(weights.len() == 2 && weights[1].range().unwrap().0 > 20_000, "{weights:?}");
}

#[test]
fn a_proxy_is_taken_where_the_environment_names_one() {
    let bench = Bench::new(vec![model(30_000)]);
    let words = ["pull", MODEL, "--hub", "hf"];
    let through = |no: &str| {
        let mut command = bench.program(&words);
        command
            .env("HF_ENDPOINT", "http://hub.invalid")
            .env("HTTP_PROXY", bench.server.address())
            .env("NO_PROXY", no);
        Said::of(command.output().unwrap())
    };
    bench.check(&through("").dir());
    let said = through("hub.invalid");
    assert!(said.status == Some(2) && said.err.contains("cannot reach http://hub.invalid"), "{said:?}");
}

#[test]
fn without_a_network_both_hubs_are_named() {
    let bench = Bench::new(vec![]);
    let mut command = bench.program(&["pull", "qwen-1_8b"]);
    command.env("MODELSCOPE_DOMAIN", "hub.invalid").env("HF_ENDPOINT", "http://127.0.0.1:1");
    let said = Said::of(command.output().unwrap());
    assert_eq!(said.status, Some(2));
    assert!(said.err.contains("https://hub.invalid") && said.err.contains("http://127.0.0.1:1"), "{said:?}");
    let said =
        Said::of(bench.program(&["pull", "qwen-1_8b"]).env("MODELSCOPE_DOMAIN", "ftp://x").output().unwrap());
    assert!(said.status == Some(2) && said.err.contains("MODELSCOPE_DOMAIN=ftp://x"), "{said:?}");
    for variable in ["MODELSCOPE_DOMAIN", "HF_ENDPOINT"] {
        let mut command = bench.program(&[
            "pull",
            "qwen-1_8b",
            "--hub",
            if variable == "HF_ENDPOINT" { "hf" } else { "modelscope" },
        ]);
        let said = Said::of(command.env(variable, "ftp://u:se@/Kret@x").output().unwrap());
        assert!(
            said.status == Some(2) && said.err.contains(&format!("{variable}=ftp://…@x is no")),
            "{said:?}"
        );
    }
}

#[test]
fn what_lies_in_a_cache_and_is_of_no_use_is_told_with_the_reason() {
    let bench = Bench::new(vec![model(60_000)]);
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let cache = bench.path("hf/models--me--Small");
    let snapshot = cache.join("snapshots").join(commit);
    let put = |branch: &str, files: &[(&str, &str)]| {
        let _ = fs::remove_dir_all(&cache);
        fs::create_dir_all(cache.join("refs")).unwrap();
        fs::create_dir_all(&snapshot).unwrap();
        fs::write(cache.join("refs/main"), branch).unwrap();
        files.iter().for_each(|(name, text)| fs::write(snapshot.join(name), text).unwrap());
    };
    let told = |server: &str| {
        let mut command = bench.program(&["pull", "me/Small", "--hub", "hf"]);
        command.env("HF_HUB_CACHE", bench.path("hf")).env("HF_ENDPOINT", server);
        let said = Said::of(command.output().unwrap());
        assert_eq!(said.status, Some(2), "{said:?}");
        said.err
    };
    let nobody = "http://127.0.0.1:9";
    let whole = [("config.json", "{}"), ("qwen.tiktoken", "x")];
    let pickled = [whole[0], whole[1], ("pytorch_model.bin", "x")];
    let cut = [whole[0], whole[1], ("model.safetensors", "x")];
    let of_no_use = "there, and of no use: ";
    for (branch, files, why) in [
        ("", &whole[..], "refs/main names no commit: it is empty"),
        ("fedcba", &whole, "names the commit \"fedcba\", which is not in "),
        (commit, &[], "config.json: missing"),
        (commit, &pickled, "safe_serialization=True"),
        (commit, &pickled[2..], "safe_serialization=True"),
        (commit, &cut, "model.safetensors"),
    ] {
        put(branch, files);
        let told = told(nobody);
        assert!(told.contains(of_no_use) && told.contains(why), "{why}: {told}");
        assert!(told.contains("looked for me/Small in Hugging Face's cache"), "{told}");
    }
    // So it is where a hub answers and does not have it.
    let missing = told(&bench.server.address());
    assert!(missing.contains("there is no model me/Small") && missing.contains(of_no_use), "{missing}");
}

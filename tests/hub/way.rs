//! The way to a hub: silence, tokens and the environment's values.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use qwen_tui::error::Error;
use qwen_tui::hub::shelf::offer_by;
use qwen_tui::hub::{Failures, Hub, Network, PullOptions, Repo, pull_first};

use crate::proxy::serve;
use crate::server::{Fault, File, Request};
use crate::tools::{Bench, MODEL, Said, model, repo};

/// What a pull of the model from Hugging Face's server at `endpoint` says.
pub fn said(bench: &Bench, endpoint: &str, environment: &[(&str, &str)]) -> Said {
    let mut command = bench.program(&["pull", MODEL, "--hub", "hf"]);
    command.env("HF_ENDPOINT", endpoint).envs(environment.iter().copied());
    Said::of(command.output().unwrap())
}

#[track_caller]
pub fn refused(said: &Said, words: &[&str], not: &[&str]) {
    assert_eq!(said.status, Some(2), "{said:?}");
    words.iter().for_each(|word| assert!(said.err.contains(word), "{word:?} is not in: {}", said.err));
    not.iter().for_each(|word| assert!(!said.err.contains(word), "{word:?} is in: {}", said.err));
}

/// A listener whose connections nobody takes: they stand, and nothing is ever said.
pub fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

#[test]
fn two_silent_hubs_are_told_of_in_the_time_of_one() {
    let bench = Bench::new(vec![]);
    let ((_one, first), (_two, second)) = (silent(), silent());
    let began = Instant::now();
    let mut command = bench.program(&["pull", "qwen-1_8b"]);
    command
        .env("MODELSCOPE_DOMAIN", format!("http://{first}"))
        .env("HF_ENDPOINT", format!("http://{second}"));
    let said = Said::of(command.output().unwrap());
    let limit = Network::default().answer;
    assert!(limit < Duration::from_secs(10) && began.elapsed() < 2 * limit, "{:?}", began.elapsed());
    let cache = bench.path(".cache").display().to_string();
    refused(
        &said,
        &[
            &format!("asking ModelScope ({first}) and Hugging Face ({second}) what they have…"),
            &format!("the model qwen/Qwen-1_8B on ModelScope: http://{first} has not answered within 9 s"),
            &format!("the model Qwen/Qwen-1_8B on Hugging Face: http://{second} has not answered within 9 s"),
            &format!("looked for qwen/Qwen-1_8B in ModelScope's cache {cache}/modelscope (MODELSCOPE_CACHE"),
            &format!("looked for Qwen/Qwen-1_8B in Hugging Face's cache {cache}/huggingface/hub"),
            "MODELSCOPE_DOMAIN and HF_ENDPOINT",
            "HTTPS_PROXY",
            "--to DIR",
        ],
        &[],
    );
}

fn impatient(bench: &Bench, answer: Duration) -> PullOptions {
    let options = bench.options("model");
    PullOptions { network: Network { answer, ..options.network.clone() }, ..options }
}

pub fn is_of(hub: Hub, request: &Request) -> bool {
    request.path.starts_with("/api/v1/") == (hub == Hub::ModelScope)
}

#[test]
fn silence_of_all_hubs_is_waited_for_once() {
    let bench = Bench::new(vec![model(60_000)]);
    let (repos, options) =
        ([repo(Hub::ModelScope), repo(Hub::Hf)], impatient(&bench, Duration::from_secs(4)));
    for fault in [Fault::Silence, Fault::Stall(0)] {
        bench.server.fault(move |_| fault.clone());
        let began = Instant::now();
        let e = pull_first(&repos, &options, &mut |_| {}, &|| false).unwrap_err();
        assert!(began.elapsed() < 2 * options.network.answer, "{:?}", began.elapsed());
        assert!(e.unreached && e.all.len() == 2);
        assert_eq!(Error::from(e).to_string().matches("has not answered within 4 s").count(), 2);
    }
    // One alone costs no more, and the other gives what it has.
    bench.server.fault(|request| if is_of(Hub::ModelScope, request) { Fault::Silence } else { Fault::None });
    let (from, dir) = pull_first(&repos, &options, &mut |_| {}, &|| false).unwrap();
    assert_eq!(from.hub, Hub::Hf);
    bench.check(&dir);
}

/// What both hubs say, and what is told meanwhile.
fn failures(options: &PullOptions, repos: &[Repo]) -> (Failures, Vec<String>) {
    let mut notes = Vec::new();
    let failed = pull_first(repos, options, &mut |progress| notes.extend(progress.notes.clone()), &|| false);
    (failed.unwrap_err(), notes)
}

/// 50 ms a byte: a minute for the whole of it.
#[test]
fn a_listing_that_hardly_comes_has_no_more_time_than_silence() {
    let bench = Bench::new(vec![model(60_000)]);
    let (repos, options) =
        ([repo(Hub::ModelScope), repo(Hub::Hf)], impatient(&bench, Duration::from_secs(4)));
    let address = bench.server.address().replace("http://", "");
    for fault in [Fault::Slow(1, 50), Fault::Stall(20)] {
        bench.server.fault(move |_| fault.clone());
        let began = Instant::now();
        let (e, notes) = failures(&options, &repos);
        assert!(began.elapsed() < 2 * options.network.answer, "{:?}", began.elapsed());
        assert!(e.unreached && e.all.len() == 2);
        let told = format!("asking ModelScope ({address}) and Hugging Face ({address}) what they have…");
        assert_eq!(notes[0], told);
        assert!(notes[1].ends_with("; going on with Hugging Face") && notes.len() == 2, "{notes:?}");
        let e = Error::from(e).to_string();
        assert_eq!(e.matches("sends no more, or too slowly").count(), 2, "{e}");
    }
}

#[test]
fn a_long_listing_that_goes_on_is_waited_for() {
    let mut large = model(60_000);
    large.files.extend((0..600).map(|n| File::new(&format!("assets/{n}.png"), vec![])));
    let bench = Bench::new(vec![large]);
    bench.server.fault(|request| match request.path.contains("/api/") {
        true => Fault::Slow(5000, 100),
        false => Fault::None,
    });
    let options = impatient(&bench, Duration::from_secs(1));
    for hub in [Hub::ModelScope, Hub::Hf] {
        let (began, to) =
            (Instant::now(), PullOptions { to: Some(bench.path(&hub.to_string())), ..options.clone() });
        bench.check(&pull_first(&[repo(hub)], &to, &mut |_| {}, &|| false).unwrap().1);
        assert!(began.elapsed() > options.network.answer, "it came too fast to show anything");
    }
}

#[test]
fn a_hub_that_is_busy_with_its_listing_is_told_of() {
    let bench = Bench::new(vec![model(60_000)]);
    let server = bench.server.address();
    let busy = Fault::Status(429, vec![("Retry-After", "1".into())], String::new());
    let ill = Fault::Status(503, vec![], String::new());
    for (fault, told) in
        [(busy, "had too many requests from here (429)"), (ill, "has a fault of its own (503)")]
    {
        let mut left = 2;
        bench.server.fault(move |_| {
            left = i32::max(left - 1, -1);
            if left >= 0 { fault.clone() } else { Fault::None }
        });
        let mut notes = Vec::new();
        let options = bench.options("model");
        let pulled =
            pull_first(&[repo(Hub::Hf)], &options, &mut |p| notes.extend(p.notes.clone()), &|| false);
        bench.check(&pulled.unwrap().1);
        notes.retain(|note| note.contains(told));
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert!(
            notes[0].starts_with(&format!("Hugging Face: {server} {told}; trying again in ")),
            "{notes:?}"
        );
        std::fs::remove_dir_all(bench.path("model")).unwrap();
    }
}

#[test]
fn a_page_in_a_hubs_place_leads_to_the_other_hub() {
    let bench = Bench::new(vec![model(60_000)]);
    let page = || Fault::Status(200, vec![], "<html>login here</html>".into());
    bench.server.fault(move |request| if is_of(Hub::ModelScope, request) { page() } else { Fault::None });
    let said = bench.run(&["pull", MODEL]);
    bench.check(&said.dir());
    std::fs::remove_dir_all(bench.path(".cache")).unwrap();
    bench.server.fault(move |_| page());
    let server = bench.server.address();
    refused(
        &bench.run(&["pull", MODEL]),
        &[
            &format!("on ModelScope: {server}, which MODELSCOPE_DOMAIN names, answers something else"),
            &format!("on Hugging Face: {server}, which HF_ENDPOINT names, answers something else"),
            "login page of this network",
            "login here",
            "--to DIR",
        ],
        &[],
    );
}

#[test]
fn hubs_that_hang_up_are_as_good_as_none() {
    let bench = Bench::new(vec![]);
    let hangs_up = serve(|_| Ok(()));
    let began = Instant::now();
    let mut command = bench.program(&["pull", "qwen-1_8b"]);
    for variable in ["MODELSCOPE_DOMAIN", "HF_ENDPOINT"] {
        command.env(variable, format!("http://{hangs_up}"));
    }
    let said = Said::of(command.output().unwrap());
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    let words = [
        "on ModelScope: the connection to",
        "on Hugging Face: the connection to",
        "was cut",
        &hangs_up,
        "--to DIR",
    ];
    refused(&said, &words, &[]);
}

#[test]
fn the_first_hub_counts_though_the_second_answers_before() {
    let bench = Bench::new(vec![model(60_000)]);
    let repos = [repo(Hub::ModelScope), repo(Hub::Hf)];
    bench.server.fault(|request| match request.path.contains("/repo/files") {
        true => Fault::Slow(1 << 20, 3000),
        false => Fault::None,
    });
    let options = impatient(&bench, Duration::from_secs(30));
    let (from, dir) = pull_first(&repos, &options, &mut |_| {}, &|| false).unwrap();
    assert_eq!(from.hub, Hub::ModelScope);
    bench.check(&dir);
    assert!(bench.server.seen().iter().any(|request| is_of(Hub::Hf, request)), "the second was not asked");
}

#[test]
fn a_token_that_none_can_be_is_told_by_its_place() {
    let bench = Bench::new(vec![model(60_000)]);
    let server = bench.server.address();
    let file = bench.path("token");
    for bad in ["hf_sec\nret", "hf_sec ret", "hf_sec\u{7f}ret"] {
        let from_variable = said(&bench, &server, &[("HF_TOKEN", bad)]);
        refused(&from_variable, &["HF_TOKEN holds no token", "one line"], &["hf_sec"]);
        std::fs::write(&file, bad).unwrap();
        let path = file.to_str().unwrap();
        refused(&said(&bench, &server, &[("HF_TOKEN_PATH", path)]), &[path, "holds no token"], &["hf_sec"]);
        let mut command = bench.program(&["pull", MODEL]);
        let from_variable = Said::of(command.env("MODELSCOPE_API_TOKEN", bad).output().unwrap());
        refused(&from_variable, &["MODELSCOPE_API_TOKEN holds no token"], &["hf_sec"]);
    }
    std::fs::create_dir(bench.path("dir")).unwrap();
    let dir = bench.path("dir").display().to_string();
    refused(&said(&bench, &server, &[("HF_TOKEN_PATH", &dir)]), &[&dir, "cannot be read"], &[]);
    assert!(bench.server.seen().is_empty(), "nobody is asked with half a token");
    // A line end at its end is none of it; a file that is not there is none at all.
    bench.check(&said(&bench, &server, &[("HF_TOKEN", " hf_secret\r\n")]).dir());
    let sent = bench.server.seen();
    assert!(sent.iter().any(|request| request.header("authorization") == Some("Bearer hf_secret")));
    said(&bench, &server, &[("HF_TOKEN_PATH", "/nonexistent")]).dir();
}

#[test]
fn values_that_mean_nothing_are_told() {
    let bench = Bench::new(vec![model(60_000)]);
    let server = bench.server.address();
    for bad in ["soon", "-1", "1.5", "99999999999"] {
        let said = said(&bench, &server, &[("HF_HUB_DOWNLOAD_TIMEOUT", bad)]);
        refused(&said, &[&format!("HF_HUB_DOWNLOAD_TIMEOUT={bad}"), "number of seconds"], &[]);
    }
    for good in ["0", " 7 ", ""] {
        said(&bench, &server, &[("HF_HUB_DOWNLOAD_TIMEOUT", good)]).dir();
    }
    let both = |value: &str| {
        let mut command = bench.program(&["pull", MODEL]);
        Said::of(command.env("USE_HF", value).output().unwrap())
    };
    refused(&both("maybe"), &["USE_HF=maybe", "neither yes nor no"], &[]);
    assert!(both("on").dir().starts_with(bench.path(".cache/huggingface")));
    assert!(both("").dir().starts_with(bench.path(".cache/modelscope")));
}

#[test]
fn a_wait_that_nobody_outlasts_is_told_and_not_waited_for() {
    let bench = Bench::new(vec![model(60_000)]);
    for (wait, told) in
        [("Thu, 01 Jan 2099 00:00:00 GMT", " days"), ("18446744073709551615", " days"), ("5400", "90 min")]
    {
        bench.server.fault(move |_| Fault::Status(429, vec![("Retry-After", wait.into())], String::new()));
        let began = Instant::now();
        let e = bench.pull(Hub::Hf, "model").unwrap_err().to_string();
        assert!(e.contains("it asks to try again in ") && e.contains(told), "{e}");
        assert!(began.elapsed() < Duration::from_secs(60));
    }
}

#[test]
fn a_network_that_wants_a_login_is_no_hub() {
    let bench = Bench::new(vec![model(60_000)]);
    bench.server.fault(only_modelscope(Fault::Status(511, vec![], "<html>log in</html>".into())));
    bench.check(&bench.run(&["pull", MODEL]).dir());
    std::fs::remove_dir_all(bench.path(".cache")).unwrap();
    bench.server.fault(|_| Fault::Status(511, vec![], "<html>log in</html>".into()));
    refused(
        &bench.run(&["pull", MODEL]),
        &["login page of this network", "log in", "--to DIR"],
        &["fault of its own"],
    );
}

#[test]
fn a_server_that_is_ill_is_waited_for_as_long_as_it_asks() {
    let bench = Bench::new(vec![model(60_000)]);
    let ill = |wait: &str| Fault::Status(503, vec![("Retry-After", wait.into())], String::new());
    let (long, now) = (ill("500"), ill("0"));
    bench.server.fault(move |_| long.clone());
    let e = bench.pull(Hub::Hf, "model").unwrap_err().to_string();
    assert!(e.contains("(503): it asks to try again in 9 min"), "{e}");
    assert_eq!(bench.server.seen().len(), 1, "nobody waits as long");
    bench.server.fault(move |_| now.clone());
    let e = bench.pull(Hub::Hf, "model").unwrap_err().to_string();
    assert!(e.contains("(503): try again now"), "{e}");
}

#[test]
fn a_model_that_is_asked_for_as_rows_is_told_to_be_one() {
    let bench = Bench::new(vec![model(60_000)]);
    refused(&bench.run(&["pull", MODEL, "--dataset"]), &["is a model: pull it without --dataset"], &[]);
}

/// ModelScope has another answer than Hugging Face, which has the model or not.
fn only_modelscope(fault: Fault) -> impl FnMut(&Request) -> Fault {
    move |request| if is_of(Hub::ModelScope, request) { fault.clone() } else { Fault::None }
}

#[test]
fn a_busy_hub_leads_to_the_other() {
    let repos = [repo(Hub::ModelScope), repo(Hub::Hf)];
    let busy = |wait: &str| Fault::Status(429, vec![("Retry-After", wait.into())], String::new());
    let ill = Fault::Status(503, vec![], String::new());
    for fault in [busy("60"), busy("3600"), ill.clone()] {
        let bench = Bench::new(vec![model(60_000)]);
        bench.server.fault(only_modelscope(fault));
        let options = impatient(&bench, Duration::from_secs(9));
        let began = Instant::now();
        let (from, dir) = pull_first(&repos, &options, &mut |_| {}, &|| false).unwrap();
        assert_eq!(from.hub, Hub::Hf);
        bench.check(&dir);
        assert!(began.elapsed() < Duration::from_secs(60), "the busy one was waited for");
    }
    // Both are named where both are.
    let bench = Bench::new(vec![model(60_000)]);
    bench.server.fault(move |_| ill.clone());
    let (failures, _) = failures(&bench.options("model"), &repos);
    assert!(!failures.unreached && !failures.missing && !failures.is_missing());
    let told = Error::from(failures).to_string();
    for hub in ["ModelScope", "Hugging Face"] {
        assert!(told.contains(&format!("the model {MODEL} on {hub}: ")) && told.contains("(503)"), "{told}");
    }
    // The other has nothing of the name: then the busy one is waited for.
    let bench = Bench::new(vec![model(60_000)]);
    let mut left = 1;
    bench.server.fault(move |request| {
        if request.path.starts_with("/api/models/") {
            return Fault::Status(404, vec![], String::new());
        }
        left -= i32::from(is_of(Hub::ModelScope, request));
        if left == 0 { busy("2") } else { Fault::None }
    });
    let mut notes = Vec::new();
    let options = impatient(&bench, Duration::from_secs(1));
    let pulled = pull_first(&repos, &options, &mut |p| notes.extend(p.notes.clone()), &|| false);
    assert_eq!(pulled.map_err(Error::from).unwrap().0.hub, Hub::ModelScope);
    assert!(bench.server.seen().iter().any(|request| is_of(Hub::Hf, request)), "{notes:?}");
}

#[test]
fn a_busy_hub_is_waited_for_where_the_other_is_slow_to_fail() {
    let repos = [repo(Hub::ModelScope), repo(Hub::Hf)];
    let busy = |wait: &str| Fault::Status(429, vec![("Retry-After", wait.into())], String::new());
    // Each takes longer than the second that both have together.
    for slow in [Fault::Silence, Fault::Status(503, vec![], String::new()), busy("1")] {
        let bench = Bench::new(vec![model(60_000)]);
        let (mut left, wait) = (2, busy("2"));
        bench.server.fault(move |request| {
            if !is_of(Hub::ModelScope, request) {
                return if request.is_cdn { Fault::None } else { slow.clone() };
            }
            left -= 1;
            if left >= 0 { wait.clone() } else { Fault::None }
        });
        let mut options = impatient(&bench, Duration::from_secs(1));
        options.network.retries = 2;
        options.network.pause = Duration::from_millis(600);
        let mut notes = Vec::new();
        let pulled = pull_first(&repos, &options, &mut |p| notes.extend(p.notes.clone()), &|| false);
        let (from, dir) = pulled.map_err(Error::from).unwrap();
        assert_eq!(from.hub, Hub::ModelScope);
        bench.check(&dir);
        let told = notes.iter().any(|note| note.contains("(429); trying again in 2 s"));
        assert!(told, "the wait was not told: {notes:?}");
    }
}

#[test]
fn whoever_only_looks_is_told_at_once_that_a_hub_is_busy() {
    let bench = Bench::new(vec![model(60_000)]);
    let busy = Fault::Status(429, vec![("Retry-After", "60".into())], String::new());
    bench.server.fault(move |_| busy.clone());
    let network = impatient(&bench, Duration::from_secs(9)).network;
    let began = Instant::now();
    for repos in [vec![repo(Hub::Hf)], vec![repo(Hub::ModelScope), repo(Hub::Hf)]] {
        let e = offer_by(&repos, &network, &|| false).unwrap_err().to_string();
        for repo in &repos {
            assert!(e.contains(&repo.hub.to_string()), "{e}");
        }
        assert!(e.contains("(429)") && e.contains("it asks to try again in 60 s"), "{e}");
    }
    assert!(began.elapsed() < Duration::from_secs(30), "it was waited for");
    assert_eq!(bench.server.seen().len(), 3);
}

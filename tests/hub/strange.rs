//! What answers in a hub's place and is none: logins, filters, listings of something else.

use qwen_tui::error::Error;
use qwen_tui::hub::{Hub, PullOptions, pull_first};

use crate::server::{Fault, Request};
use crate::tools::{Bench, MODEL, NEEDED, WEIGHTS, model, repo};
use crate::way::{is_of, refused};

/// What a server may answer that is no hub, and what is told of it.
fn answers() -> Vec<(Fault, &'static str)> {
    let to =
        |status, location: &str| Fault::Status(status, vec![("Location", location.into())], String::new());
    let bare = |status| Fault::Status(status, vec![], String::new());
    let html = |status| {
        Fault::Status(status, vec![("Content-Type", "text/html".into())], "<html>blocked here</html>".into())
    };
    let size = |size: &str| {
        let files = format!(r#"{{"Path":"config.json","Type":"blob","Size":{size}}}"#);
        Fault::Status(200, vec![], format!(r#"{{"Code":200,"Data":{{"Files":[{files}]}}}}"#))
    };
    vec![
        (to(302, "/round"), "sends us on in a circle"),
        (bare(302), "answers with status 302 and does not say where to go on"),
        (to(302, "ftp://u:seKret@x/y"), "sends us on to an address of the scheme ftp"),
        (to(302, "http://["), "sends us on to what is no address"),
        (bare(300), "answers with status 300"),
        (bare(304), "answers with status 304"),
        (html(400), "answers with status 400"),
        (html(403), "answers with status 403"),
        (bare(405), "answers with status 405"),
        (bare(418), "answers with status 418"),
        (html(451), "answers with status 451"),
        (bare(201), "answers with status 201"),
        (bare(204), "answers with status 204"),
        (Fault::Status(200, vec![], "{}".into()), "gives something else than a listing"),
        (size("-5"), "gives something else than a listing"),
        (size("1.5"), "gives something else than a listing"),
    ]
}

fn at(hub: Option<Hub>, fault: Fault) -> impl FnMut(&Request) -> Fault {
    move |request| if hub.is_none_or(|hub| is_of(hub, request)) { fault.clone() } else { Fault::None }
}

#[test]
fn what_is_no_answer_of_a_hub_leads_to_the_other() {
    for (number, (fault, told)) in answers().into_iter().enumerate() {
        let bench = Bench::new(vec![model(60_000)]);
        let to = bench.path(&number.to_string()).display().to_string();
        bench.server.fault(at(Some(Hub::ModelScope), fault.clone()));
        let said = bench.run(&["pull", MODEL, "--to", &to]);
        bench.check(&said.dir());
        bench.server.fault(at(None, fault));
        refused(
            &bench.run(&["pull", MODEL]),
            &[
                &format!("the model {MODEL} on ModelScope: "),
                "the model Qwen/Qwen-1_8B on Hugging Face: ",
                told,
                "login page of this network",
                "MODELSCOPE_DOMAIN and HF_ENDPOINT name other servers",
                "To bring it by hand",
            ],
            &["seKret", "hf auth login"],
        );
    }
}

/// `pull` says in one line why it goes on to the other hub, and between two beginnings of the files as well.
#[test]
fn why_the_first_hub_is_left_is_told() {
    let bare = |status| Fault::Status(status, vec![], String::new());
    let busy = Fault::Status(429, vec![("Retry-After", "9000".into())], String::new());
    let json = |body: &str| Fault::Status(200, vec![], body.into());
    let listing = [
        (page(), "answers something else than a hub does; asking Hugging Face\n"),
        (bare(451), "answers with status 451, as no hub does; asking Hugging Face\n"),
        (bare(404), "ModelScope has no model qwen/Qwen-1_8B; asking Hugging Face\n"),
        (json("{}"), "something else than a listing (it names no files); asking Hugging Face\n"),
        (busy.clone(), "had too many requests from here (429); asking Hugging Face\n"),
    ];
    let file = [
        (page(), "sends a page in the place of the file; asking Hugging Face\n"),
        (bare(403), "does not give it (403); asking Hugging Face\n"),
        (bare(404), "does not have it (404); asking Hugging Face\n"),
        (bare(451), "answers with status 451, as no hub does; asking Hugging Face\n"),
        (busy, "had too many requests from here (429); asking Hugging Face\n"),
    ];
    let cases =
        listing.into_iter().map(|case| (false, case)).chain(file.into_iter().map(|case| (true, case)));
    for (of_file, (fault, told)) in cases {
        let bench = Bench::new(vec![model(60_000)]);
        bench.server.fault(move |request| {
            let is_meant = is_of(Hub::ModelScope, request) && request.asked("FilePath").is_some() == of_file;
            if is_meant { fault.clone() } else { Fault::None }
        });
        let said = bench.run(&["pull", MODEL]);
        bench.check(&said.dir());
        let line = said.err.lines().position(|line| format!("{line}\n").ends_with(told));
        let line = line.unwrap_or_else(|| panic!("{told:?} is not told: {}", said.err));
        assert!(said.err.lines().nth(line).unwrap().starts_with("ModelScope"), "{}", said.err);
        let begun = |(at, text): (usize, &str)| text.starts_with("fetching ").then_some(at);
        let begun: Vec<usize> = said.err.lines().enumerate().filter_map(begun).collect();
        assert_eq!(begun.iter().filter(|at| **at < line).count(), usize::from(of_file), "{}", said.err);
    }
}

#[test]
fn a_hubs_own_refusal_stays_its_own() {
    let bench = Bench::new(vec![model(60_000)]);
    let said = r#"{"Code":10010205001,"Message":"bad revision","Success":false}"#;
    bench.server.fault(at(Some(Hub::ModelScope), Fault::Status(400, vec![], said.into())));
    refused(
        &bench.run(&["pull", MODEL]),
        &["answers with status 400", "It says: bad revision"],
        &["login page"],
    );
    let said = r#"{"Code":10010205001,"Message":"no permission","Success":false}"#;
    bench.server.fault(at(None, Fault::Status(403, vec![], said.into())));
    refused(&bench.run(&["pull", MODEL]), &["(403)", "MODELSCOPE_API_TOKEN", "HF_TOKEN"], &["login page"]);
}

fn page() -> Fault {
    let kind = ("Content-Type", "text/html; charset=utf-8".to_owned());
    Fault::Status(200, vec![kind], "<html>in</html>".into())
}

#[test]
fn a_page_in_a_files_place_leads_to_the_other_hub() {
    let bench = Bench::new(vec![model(60_000)]);
    let is_file = |request: &Request| !request.path.contains("/api/") || request.asked("FilePath").is_some();
    bench.server.fault(move |request| match request.asked("FilePath") {
        Some(_) => page(),
        None => Fault::None,
    });
    let to = bench.path("to").display().to_string();
    bench.check(&bench.run(&["pull", MODEL, "--to", &to]).dir());
    // The store of files too, to which both send us on.
    bench.server.fault(move |request| if request.is_cdn || is_file(request) { page() } else { Fault::None });
    refused(
        &bench.run(&["pull", MODEL]),
        &[
            &format!("the model {MODEL} on ModelScope: "),
            "the model Qwen/Qwen-1_8B on Hugging Face: ",
            "sends a page in the place of the file, perhaps the login page of this network or of a proxy",
            "To bring it by hand",
        ],
        &["where the hub's listing says"],
    );
}

#[test]
fn what_has_come_to_its_place_is_of_one_hub() {
    let bench = Bench::new(vec![model(60_000)]);
    let dir = bench.run(&["pull", MODEL]).dir();
    std::fs::remove_file(dir.join("qwen.tiktoken")).unwrap();
    bench.server.seen();
    bench.server.fault(|request| match request.asked("FilePath") {
        Some("qwen.tiktoken") => page(),
        _ => Fault::None,
    });
    let said = bench.run(&["pull", MODEL]);
    refused(
        &said,
        &[
            "qwen.tiktoken: ",
            "sends a page in the place of the file",
            "goes on from here",
            "To bring it by hand",
        ],
        &[],
    );
    assert!(bench.server.seen().iter().all(|request| is_of(Hub::ModelScope, request)), "the other was asked");
    bench.server.well();
    assert_eq!(bench.run(&["pull", MODEL]).dir(), dir);
    assert!(dir.join(WEIGHTS).is_file());
}

/// Whose sizes and checksums are asked for file by file.
#[test]
fn a_page_is_not_taken_for_a_file_of_a_mirror_that_tells_names_alone() {
    let bench = Bench::new(vec![model(60_000)]);
    let siblings = NEEDED.map(|name| serde_json::json!({"rfilename": name}));
    let names = serde_json::json!({"sha": "0".repeat(40), "siblings": siblings}).to_string();
    bench.server.fault(move |request| match request.path.starts_with("/api/") {
        true => Fault::Status(200, vec![], names.clone()),
        false => page(),
    });
    refused(
        &bench.run(&["pull", MODEL, "--hub", "hf"]),
        &["LICENSE: ", "sends a page in the place of the file", "To bring it by hand"],
        &[],
    );
}

#[test]
fn the_ways_to_a_hub_are_told_where_the_other_has_nothing() {
    let bench = Bench::new(vec![]);
    bench.server.fault(at(Some(Hub::ModelScope), Fault::Status(451, vec![], "<html>".into())));
    refused(
        &bench.run(&["pull", "me/Small"]),
        &[
            "the model me/Small on ModelScope: ",
            "answers with status 451",
            "there is no model me/Small on Hugging Face",
            "Where me/Small is a data set, add --dataset",
            "MODELSCOPE_DOMAIN and HF_ENDPOINT name other servers",
            "To bring it by hand",
        ],
        &[],
    );
}

/// Answers that are of no length, part or status that a listed file could have.
#[test]
fn what_cannot_be_the_file_leads_to_the_other_hub() {
    let status = |status, kind: &str, body: &str| {
        Fault::Status(status, vec![("Content-Type", kind.into())], body.into())
    };
    let long = "x".repeat(100_000);
    for (fault, told) in [
        (status(206, "application/octet-stream", "part"), "sends another part of the file"),
        (status(416, "text/plain", ""), "answers with status 416"),
        (status(200, "application/octet-stream", ""), "has 0 bytes where the hub's listing says"),
        (status(200, "application/octet-stream", "short"), "has 5 bytes where the hub's listing says"),
        (status(200, "application/json", r#"{"error":"login"}"#), "has 17 bytes where the hub's listing"),
        (status(200, "text/plain", &long), "has 100000 bytes where the hub's listing says"),
        (Fault::Cut(0), "was cut"),
    ] {
        let bench = Bench::new(vec![model(60_000)]);
        let to = bench.path("to").display().to_string();
        let fault = move |hub: Option<Hub>| {
            let fault = fault.clone();
            move |request: &Request| {
                let is_file =
                    request.asked("FilePath").is_some() || hub.is_none() && !request.path.contains("/api/");
                if is_file { fault.clone() } else { Fault::None }
            }
        };
        bench.server.fault(fault(Some(Hub::ModelScope)));
        let options = PullOptions { to: Some(to.into()), ..bench.options("") };
        let mut notes = Vec::new();
        let repos = [repo(Hub::ModelScope), repo(Hub::Hf)];
        let mut pull = || pull_first(&repos, &options, &mut |p| notes.extend(p.notes.clone()), &|| false);
        let (from, dir) = pull().map_err(Error::from).unwrap();
        assert_eq!(from.hub, Hub::Hf);
        bench.check(&dir);
        // Where some of it lies at its place already, nobody else is asked.
        std::fs::remove_file(dir.join("qwen.tiktoken")).unwrap();
        if !matches!(told, "was cut") {
            let e = pull().map_err(Error::from).unwrap_err().to_string();
            assert!(e.contains(told) && e.contains("goes on from here"), "{told}: {e}");
        }
        let told_once = notes.iter().any(|n| n.contains(told) && n.ends_with("; asking Hugging Face"));
        assert!(told_once, "{told}: {notes:?}");
        if matches!(told, "was cut") {
            continue;
        }
        bench.server.fault(fault(None));
        refused(
            &bench.run(&["pull", MODEL]),
            &[
                &format!("the model {MODEL} on ModelScope: "),
                told,
                "perhaps the login page",
                "To bring it by hand",
            ],
            &[],
        );
    }
}

#[test]
fn a_listing_that_none_can_be_leads_to_the_other_hub() {
    let file = |size: &str| format!(r#"{{"Path":"config.json","Type":"blob","Size":{size}}}"#);
    for (files, told) in [(String::new(), "it lists no files"), (file("99999999999999999"), "99999 TB")] {
        let bench = Bench::new(vec![model(60_000)]);
        let listing = format!(r#"{{"Code":200,"Data":{{"Files":[{files}]}}}}"#);
        bench.server.fault(at(Some(Hub::ModelScope), Fault::Status(200, vec![], listing)));
        let said = bench.run(&["pull", MODEL]);
        bench.check(&said.dir());
        assert!(said.err.contains(told) && said.err.contains("; asking Hugging Face"), "{}", said.err);
        refused(&bench.run(&["pull", MODEL, "--hub", "modelscope"]), &[told, "To bring it by hand"], &[]);
    }
}

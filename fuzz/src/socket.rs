//! Lines as they come over the worker's socket and the REPL's pipes, to either end. The first two bytes say in how large
//! pieces they come and how long a line may be.

use qwen_tui::job::event::Command;
use qwen_tui::job::frames::Frames;
use qwen_tui::job::repl::{Reply, Request};
use qwen_tui::job::socket::{Answer, LINE_LIMIT, command};

use super::place::{choice, message_for_people};

pub fn run(bytes: &[u8]) {
    let (piece, rest) = choice(bytes);
    let (limit, rest) = choice(rest);
    let limit = if limit == 0 { LINE_LIMIT } else { usize::from(limit) };
    let mut frames = Frames::new(limit);
    let mut lines = Vec::new();
    for part in rest.chunks(usize::from(piece).max(1)) {
        lines.extend(frames.push(part));
    }
    lines.extend(frames.finish().map(Ok));
    for line in lines {
        if let Ok(line) = &line {
            assert!(line.len() <= limit && !line.contains(&b'\n'));
            request(line);
            replies(line);
        }
        match command(line) {
            Ok(command) => {
                let written = serde_json::to_vec(&command).expect("a command is JSON");
                assert_eq!(serde_json::from_slice::<Command>(&written).ok(), Some(command));
            }
            Err(refusal) => {
                // The client reads no longer line.
                assert!(serde_json::to_vec(&refusal).is_ok_and(|line| line.len() <= LINE_LIMIT));
                let Answer::Error { error } = refusal else { panic!("{refusal:?}") };
                message_for_people(&error);
            }
        }
    }
}

/// At the REPL server.
fn request(line: &[u8]) {
    match Request::parse(line) {
        Ok(request) => {
            let written = serde_json::to_vec(&request).expect("a request is JSON");
            assert_eq!(Request::parse(&written), Ok(request));
        }
        Err(Reply::Error { error, .. }) => message_for_people(&error),
        Err(other) => panic!("{other:?}"),
    }
}

/// At the clients.
fn replies(line: &[u8]) {
    if let Ok(reply) = serde_json::from_slice::<Reply>(line) {
        let written = serde_json::to_vec(&reply).expect("a reply is JSON");
        assert_eq!(serde_json::from_slice::<Reply>(&written).ok(), Some(reply));
    }
    drop(serde_json::from_slice::<Answer>(line));
}

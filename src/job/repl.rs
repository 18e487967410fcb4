//! The engine's REPL server (`qwen-tui-engine repl`): what goes over its pipes, and the client's end.
//!
//! JSON lines both ways; `docs/repl.md` has them with examples. Answers carry the `id` of their request.

mod client;

pub use client::Repl;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::brief;

/// The longest line that either end reads, in bytes.
pub const LINE_LIMIT: usize = 4 << 20;

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RequestLine", into = "RequestLine")]
pub enum Request {
    /// The label of a text.
    Classify { id: u64, text: String },
    /// The answer to a prompt, told while it grows.
    Generate { id: u64, how: Generate },
    /// Turn to another checkpoint, or to the base alone.
    Open { id: u64, what: Open },
    /// Stop what was asked under this id; what has ended already is left alone.
    Cancel { id: u64 },
}

/// A prompt, and how to answer it; what is not set is as the server was started.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generate {
    pub prompt: String,
    /// Earlier turns, each query and response, for templates that know conversations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<[String; 2]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_new_tokens: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub do_sample: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_k: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repetition_penalty: Option<f64>,
    /// Makes an answer repeat; not set: the draws go on from the last answer's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

/// What to answer with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Open {
    /// The checkpoint in this directory.
    CkptDir(String),
    /// The base model in this directory; none: the base in use, without an adapter.
    Base(Option<String>),
}

/// What the server says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Reply {
    /// Something could not be done; the server lives on. No id where the line had none.
    Error { id: Option<u64>, error: String },
    /// The first line: the model is loaded.
    Ready {
        ready: bool,
        /// Directory of the checkpoint or the base.
        model: String,
        /// `cpu` or `cuda:N`.
        device: String,
        seconds: f64,
    },
    /// The end of [`Request::Classify`].
    Label {
        id: u64,
        label: String,
        /// Probability of each label, among the labels.
        probabilities: Map<String, Value>,
        seconds: f64,
    },
    /// The end of [`Request::Generate`], with the whole answer; after a cancel with what there was of it.
    Done {
        id: u64,
        done: bool,
        text: String,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        cancelled: bool,
        seconds: f64,
    },
    /// The end of [`Request::Open`].
    Opened {
        id: u64,
        /// Directory of the checkpoint or the base.
        opened: String,
        /// Whether a base had to be loaded, because it is another than before.
        loaded: bool,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        warnings: Vec<String>,
        seconds: f64,
    },
    /// What an answer has grown by.
    Text { id: u64, text: String },
}

/// A request as it is written: one of the keys beside `id`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RequestLine {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    classify: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generate: Option<Generate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    open: Option<Open>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cancel: Option<u64>,
}

impl From<Request> for RequestLine {
    fn from(request: Request) -> Self {
        let empty = RequestLine::default();
        match request {
            Request::Classify { id, text } => RequestLine { id: Some(id), classify: Some(text), ..empty },
            Request::Generate { id, how } => RequestLine { id: Some(id), generate: Some(how), ..empty },
            Request::Open { id, what } => RequestLine { id: Some(id), open: Some(what), ..empty },
            Request::Cancel { id } => RequestLine { cancel: Some(id), ..empty },
        }
    }
}

impl TryFrom<RequestLine> for Request {
    type Error = &'static str;

    fn try_from(line: RequestLine) -> Result<Self, Self::Error> {
        let id = line.id.ok_or("id is missing");
        match (line.classify, line.generate, line.open, line.cancel) {
            (Some(text), None, None, None) => Ok(Request::Classify { id: id?, text }),
            (None, Some(how), None, None) => Ok(Request::Generate { id: id?, how }),
            (None, None, Some(what), None) => Ok(Request::Open { id: id?, what }),
            (None, None, None, Some(id)) => Ok(Request::Cancel { id }),
            _ => Err("one of classify, generate, open and cancel is wanted"),
        }
    }
}

impl Request {
    /// Parses one line.
    ///
    /// # Errors
    /// The reply that refuses it, with its id where it has one.
    pub fn parse(line: &[u8]) -> Result<Request, Reply> {
        serde_json::from_slice(line).map_err(|e| {
            let id = serde_json::from_slice::<Value>(line).ok().and_then(|v| v.get("id")?.as_u64());
            Reply::Error { id, error: format!("not a request: {}", brief(&e)) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_written_and_read_as_documented() {
        let how = Generate { prompt: "今天".into(), max_new_tokens: Some(5), ..Generate::default() };
        for (line, request) in [
            (r#"{"id":1,"classify":"很好\n"}"#, Request::Classify { id: 1, text: "很好\n".into() }),
            (r#"{"id":2,"generate":{"prompt":"今天","max_new_tokens":5}}"#, Request::Generate { id: 2, how }),
            (
                r#"{"id":3,"open":{"ckpt_dir":"a/b"}}"#,
                Request::Open { id: 3, what: Open::CkptDir("a/b".into()) },
            ),
            (r#"{"id":4,"open":{"base":null}}"#, Request::Open { id: 4, what: Open::Base(None) }),
            (r#"{"cancel":2}"#, Request::Cancel { id: 2 }),
        ] {
            assert_eq!(serde_json::to_string(&request).unwrap(), line);
            assert_eq!(Request::parse(line.as_bytes()).unwrap(), request);
        }
    }

    #[test]
    fn a_wrong_line_is_refused_under_its_id() {
        for (line, expected, word) in [
            (&br#"{"id":7,"clasify":"x"}"#[..], Some(7), "clasify"),
            (br#"{"id":8}"#, Some(8), "one of classify"),
            (br#"{"id":9,"classify":"x","open":{"base":null}}"#, Some(9), "one of classify"),
            (br#"{"classify":"x"}"#, None, "id is missing"),
            (br#"{"id":-1,"classify":"x"}"#, None, "not a request"),
            (br#"{"id":1,"generate":{"promt":"x"}}"#, Some(1), "promt"),
            (b"[", None, "not a request"),
            (b"\xff\xfe", None, "not a request"),
        ] {
            let Err(Reply::Error { id, error }) = Request::parse(line) else { panic!("{line:?}") };
            assert_eq!(id, expected, "{error}");
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn replies_are_told_apart_by_their_keys() {
        let probabilities = Map::from_iter([("positive".to_owned(), 0.75.into())]);
        let replies = [
            Reply::Error { id: None, error: "no".into() },
            Reply::Ready { ready: true, model: "m".into(), device: "cpu".into(), seconds: 1.0 },
            Reply::Label { id: 1, label: "positive".into(), probabilities, seconds: 0.5 },
            Reply::Done { id: 2, done: true, text: "好".into(), cancelled: false, seconds: 0.5 },
            Reply::Done { id: 2, done: true, text: String::new(), cancelled: true, seconds: 0.5 },
            Reply::Opened { id: 3, opened: "m".into(), loaded: false, warnings: Vec::new(), seconds: 0.0 },
            Reply::Text { id: 2, text: "好".into() },
        ];
        for reply in replies {
            let line = serde_json::to_string(&reply).unwrap();
            assert_eq!(serde_json::from_str::<Reply>(&line).unwrap(), reply, "{line}");
        }
    }
}

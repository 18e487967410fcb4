//! From a row to token ids: SWIFT's templates, as far as Qwen users use them.

use rayon::prelude::*;

use super::tokenizer::Tokenizer;
use crate::args::models;
use crate::error::{Error, Result};

/// The label words, by `int(label)` of a JD row.
pub const LABELS: [&str; 2] = ["negative", "positive"];

/// The label of a token without loss.
pub const IGNORE: i64 = -100;

const DEFAULT_SYSTEM: &str = "You are a helpful assistant.";

/// What stands before and after the sentence of a prompt.
const BEFORE: &str = "Task: Sentiment Classification\nSentence: ";
const AFTER: &str = "\nCategory: negative, positive\nOutput:";

/// The prompt of a sentence to classify, as the reference run was trained with it.
pub fn sentiment_prompt(sentence: &str) -> String {
    format!("{BEFORE}{sentence}{AFTER}")
}

/// One row of a data set. `history` holds the earlier turns, each query and response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    pub query: String,
    pub response: String,
    pub system: Option<String>,
    pub history: Vec<[String; 2]>,
}

impl Row {
    /// A row of one turn without a system message.
    pub fn new(query: impl Into<String>, response: impl Into<String>) -> Self {
        Row { query: query.into(), response: response.into(), ..Row::default() }
    }
}

/// What of a row is blank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blank {
    /// The whole query: there may be none on purpose, where a model is trained to go on with texts.
    Query,
    /// The sentence in its prompt, or the response.
    Text,
}

/// What of a row is blank, if anything.
pub(super) fn blank(row: &Row) -> Option<Blank> {
    let is_blank = |text: &str| text.trim().is_empty();
    let sentence = row.query.strip_prefix(BEFORE).and_then(|rest| rest.strip_suffix(AFTER));
    if sentence.is_some_and(is_blank) || is_blank(&row.response) {
        Some(Blank::Text)
    } else {
        is_blank(&row.query).then_some(Blank::Query)
    }
}

/// What a row has beside query and response, in words.
pub(super) fn unplain(row: &Row) -> Option<&'static str> {
    match row {
        Row { system: Some(_), .. } => Some("a system message"),
        Row { history, .. } if !history.is_empty() => Some("a history"),
        _ => None,
    }
}

/// A row as token ids, with the label of each: the id itself where there is a loss, [`IGNORE`] elsewhere.
/// `labels[i]` belongs to `ids[i]`; the shift by one is the model's business.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Example {
    pub ids: Vec<u32>,
    pub labels: Vec<i64>,
}

impl Example {
    fn push(&mut self, ids: &[u32], loss: bool) {
        self.ids.extend_from_slice(ids);
        self.labels.extend(ids.iter().map(|&id| if loss { id.into() } else { IGNORE }));
    }
}

/// What becomes of a row longer than `max_length`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truncation {
    /// It is left out.
    Delete,
    /// Its last `max_length` tokens are kept.
    TruncationLeft,
}

/// How a conversation is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    /// The query as it is (`default-generation`).
    Plain,
    /// `### Human:` and `### Assistant:` (`default`).
    Human,
    /// `<|im_start|>` and `<|im_end|>` (`qwen`, `chatml`).
    ChatMl,
}

/// A template, with the system message that rows without one of their own get.
#[derive(Debug, Clone)]
pub struct Template {
    name: String,
    style: Style,
    system: Option<String>,
}

impl Template {
    /// The template SWIFT calls `template_type`; `system` replaces its default system message.
    ///
    /// # Errors
    /// `Error::User` for an unknown name, and for a system message where the template has no place for one.
    pub fn new(template_type: &str, system: Option<&str>) -> Result<Template> {
        let style = match template_type {
            "default-generation" => Style::Plain,
            "default" => Style::Human,
            "qwen" | "chatml" => Style::ChatMl,
            "default-generation-bos" => {
                return Err(Error::user(
                    "template_type default-generation-bos: Qwen has no token for the beginning of a text; \
                     use default-generation",
                ));
            }
            other => {
                return Err(Error::user(format!(
                    "template_type {other:?} is not known; there are {} and chatml",
                    models::TEMPLATE_TYPES.join(", ")
                )));
            }
        };
        if style == Style::Plain && system.is_some() {
            return Err(Error::user(format!(
                "system: template {template_type} has no place for a system message; leave it out or use qwen"
            )));
        }
        let default = (style != Style::Plain).then_some(DEFAULT_SYSTEM);
        Ok(Template { name: template_type.into(), style, system: system.or(default).map(str::to_owned) })
    }

    /// The system message of rows that have none of their own.
    pub fn system(&self) -> Option<&str> {
        self.system.as_deref()
    }

    /// Whether the template can write every row. [`encode`](Self::encode) leaves out what it cannot.
    ///
    /// # Errors
    /// `Error::User` with the number (from 1) of the first row that has a system message or a history
    /// where the template has no place for it.
    pub fn check(&self, rows: &[Row]) -> Result<()> {
        if self.style != Style::Plain {
            return Ok(());
        }
        match rows.iter().enumerate().find_map(|(i, row)| Some((i, unplain(row)?))) {
            None => Ok(()),
            Some((i, what)) => Err(self.no_place(&format!("row {} has {what}", i + 1))),
        }
    }

    /// [`check`](Self::check) of rows out of files; `unplain` tells where in them the first stands that has more than a
    /// query and a response.
    pub fn check_read(&self, rows: &[Row], unplain: Option<&str>) -> Result<()> {
        self.check(rows).map_err(|error| unplain.map_or(error, |row| self.no_place(row)))
    }

    fn no_place(&self, row: &str) -> Error {
        Error::user(format!(
            "{row}, for which template {} has no place; set template_type to qwen",
            self.name
        ))
    }

    /// The ids and labels of `row`: prompt without loss, then response and suffix with it.
    /// Prompt, response and suffix are tokenized apart and joined. Earlier responses have a loss too, as in SWIFT.
    /// None where the row is longer than `max_length` and `truncation` is `Delete`.
    pub fn encode(
        &self,
        tokenizer: &Tokenizer,
        row: &Row,
        max_length: Option<usize>,
        truncation: Truncation,
    ) -> Option<Example> {
        let mut example = self.prompt(tokenizer, row);
        example.push(&tokenizer.encode(&row.response), true);
        example.push(&[self.suffix(tokenizer)], true);
        let over = max_length.map_or(0, |max| example.ids.len().saturating_sub(max));
        if over > 0 {
            if truncation == Truncation::Delete {
                return None;
            }
            example.ids.drain(..over);
            example.labels.drain(..over);
        }
        Some(example)
    }

    /// The ids after which the model is to answer: everything but response and suffix.
    pub fn encode_prompt(&self, tokenizer: &Tokenizer, row: &Row) -> Vec<u32> {
        self.prompt(tokenizer, row).ids
    }

    /// The token that ends a response.
    pub fn suffix(&self, tokenizer: &Tokenizer) -> u32 {
        match self.style {
            Style::Plain | Style::Human => tokenizer.eos(),
            Style::ChatMl => tokenizer.im_end(),
        }
    }

    /// The tokens at which generation stops: `<|endoftext|>`, and the template's suffix where it is another.
    pub fn stop_ids(&self, tokenizer: &Tokenizer) -> Vec<u32> {
        let mut ids = vec![tokenizer.eos(), self.suffix(tokenizer)];
        ids.dedup();
        ids
    }

    fn prompt(&self, tokenizer: &Tokenizer, row: &Row) -> Example {
        let mut example = Example::default();
        // Text between two responses is tokenized as one piece, so it is gathered until a response comes.
        let mut text = String::new();
        if let Some(system) = row.system.as_deref().or(self.system()) {
            match self.style {
                Style::Plain => {}
                Style::Human => text += &format!("{system}\n\n"),
                Style::ChatMl => text += &format!("<|im_start|>system\n{system}<|im_end|>\n"),
            }
        }
        let history: &[_] = if self.style == Style::Plain { &[] } else { &row.history };
        for [query, response] in history {
            self.ask(&mut text, query);
            example.push(&tokenizer.encode(&text), false);
            example.push(&tokenizer.encode(response), true);
            text = if self.style == Style::Human { "\n\n" } else { "<|im_end|>\n" }.into();
        }
        self.ask(&mut text, &row.query);
        example.push(&tokenizer.encode(&text), false);
        example
    }

    fn ask(&self, text: &mut String, query: &str) {
        match self.style {
            Style::Plain => *text += query,
            Style::Human => *text += &format!("### Human:\n{query}\n\n### Assistant:\n"),
            Style::ChatMl => {
                *text += &format!("<|im_start|>user\n{query}<|im_end|>\n<|im_start|>assistant\n")
            }
        }
    }
}

/// [`Template::encode`] of every row on `threads` threads (0: one per core), in the order of the rows.
pub fn encode_rows(
    tokenizer: &Tokenizer,
    template: &Template,
    rows: &[Row],
    max_length: Option<usize>,
    truncation: Truncation,
    threads: usize,
) -> Vec<Option<Example>> {
    let encode = |row| template.encode(tokenizer, row, max_length, truncation);
    match workers(threads) {
        Some(pool) => pool.install(|| rows.par_iter().map(encode).collect()),
        None => rows.iter().map(encode).collect(),
    }
}

/// So many threads, or with 0 one a core; none on a machine that gives no more than the one that asks.
fn workers(threads: usize) -> Option<rayon::ThreadPool> {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::shared;

    fn qwen() -> Option<Tokenizer> {
        Some(Tokenizer::load(&shared("qwen1-tokenizer")?).unwrap())
    }

    /// The text of the tokens with a loss, and of all of them.
    fn texts(t: &Tokenizer, e: &Example) -> (String, String) {
        assert_eq!(e.ids.len(), e.labels.len());
        assert!(e.ids.iter().zip(&e.labels).all(|(&id, &l)| l == IGNORE || l == i64::from(id)));
        let loss: Vec<u32> = e.labels.iter().filter(|&&l| l != IGNORE).map(|&l| l as u32).collect();
        (t.decode(&loss), t.decode(&e.ids))
    }

    #[test]
    fn the_sentiment_row_of_the_reference() {
        let Some(t) = qwen() else { return };
        let prompt = sentiment_prompt("不错");
        assert_eq!(
            prompt,
            "Task: Sentiment Classification\nSentence: 不错\nCategory: negative, positive\nOutput:"
        );
        let template = Template::new("default-generation", None).unwrap();
        let row = Row::new(&prompt, "positive");
        let e = template.encode(&t, &row, None, Truncation::Delete).unwrap();
        assert_eq!(e.ids, [t.encode(&prompt), t.encode("positive"), vec![151_643]].concat());
        assert_eq!(texts(&t, &e).0, "positive<|endoftext|>");
        assert_eq!(template.encode_prompt(&t, &row), t.encode(&prompt));
        assert_eq!(template.stop_ids(&t), [151_643]);
    }

    #[test]
    fn prompts_have_the_ids_of_the_reference_run() {
        let (Some(t), Some(golden)) = (qwen(), shared("swift-golden/golden.json")) else { return };
        let golden: serde_json::Value = serde_json::from_slice(&std::fs::read(golden).unwrap()).unwrap();
        let mut compared = 0;
        for input in golden["base_logits"].as_array().unwrap() {
            let ids: Vec<u32> = serde_json::from_value(input["input_ids"].clone()).unwrap();
            let text = t.decode(&ids);
            // Other texts than prompts are among them.
            let sentence = text
                .split_once("Sentence: ")
                .and_then(|(_, rest)| rest.strip_suffix("\nCategory: negative, positive\nOutput:"));
            if let Some(sentence) = sentence {
                assert_eq!(t.encode(&sentiment_prompt(sentence)), ids, "{text}");
                compared += 1;
            }
        }
        assert!(compared > 0);
    }

    #[test]
    fn the_longest_row_that_fits() {
        let Some(t) = qwen() else { return };
        let template = Template::new("default-generation", None).unwrap();
        let row = Row::new("一二三四五六七八九", "positive");
        let whole = template.encode(&t, &row, None, Truncation::Delete).unwrap();
        let n = whole.ids.len();
        assert_eq!(template.encode(&t, &row, Some(n), Truncation::Delete), Some(whole.clone()));
        assert_eq!(template.encode(&t, &row, Some(n - 1), Truncation::Delete), None);
        let cut = template.encode(&t, &row, Some(3), Truncation::TruncationLeft).unwrap();
        assert_eq!((&cut.ids[..], &cut.labels[..]), (&whole.ids[n - 3..], &whole.labels[n - 3..]));
    }

    #[test]
    fn conversations_as_qwen_writes_them() {
        let Some(t) = qwen() else { return };
        let mut row = Row::new("再问", "再答");
        row.history.push(["问".into(), "答".into()]);
        let template = Template::new("qwen", None).unwrap();
        let e = template.encode(&t, &row, None, Truncation::Delete).unwrap();
        let (loss, all) = texts(&t, &e);
        assert_eq!(
            all,
            "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n问<|im_end|>\n\
             <|im_start|>assistant\n答<|im_end|>\n<|im_start|>user\n再问<|im_end|>\n<|im_start|>assistant\n\
             再答<|im_end|>"
        );
        assert_eq!(loss, "答再答<|im_end|>");
        assert_eq!(template.stop_ids(&t), [151_643, 151_645]);

        row.system = Some("S".into());
        let e = Template::new("default", Some("other")).unwrap().encode(&t, &row, None, Truncation::Delete);
        let (loss, all) = texts(&t, &e.unwrap());
        assert_eq!(
            all,
            "S\n\n### Human:\n问\n\n### Assistant:\n答\n\n### Human:\n再问\n\n### Assistant:\n再答<|endoftext|>"
        );
        assert_eq!(loss, "答再答<|endoftext|>");
    }

    #[test]
    fn what_a_template_has_no_place_for() {
        for (name, system) in
            [("lama", None), ("default-generation-bos", None), ("default-generation", Some("x"))]
        {
            assert!(matches!(Template::new(name, system), Err(Error::User(_))), "{name}");
        }
        let plain = Template::new("default-generation", None).unwrap();
        let mut rows = vec![Row::new("a", "b"), Row::new("a", "b")];
        assert!(plain.check(&rows).is_ok());
        rows[1].history.push(["q".into(), "r".into()]);
        assert!(plain.check(&rows).unwrap_err().to_string().contains("row 2 has a history"));
        assert!(Template::new("chatml", None).unwrap().check(&rows).is_ok());
    }

    #[test]
    fn many_rows_keep_their_order() {
        let Some(t) = qwen() else { return };
        let template = Template::new("default-generation", None).unwrap();
        let rows: Vec<Row> = (0..500).map(|i| Row::new("字".repeat(i % 40), LABELS[i % 2])).collect();
        let one: Vec<_> = rows.iter().map(|r| template.encode(&t, r, Some(20), Truncation::Delete)).collect();
        assert!(one.iter().any(Option::is_none) && one.iter().any(Option::is_some));
        assert_eq!(encode_rows(&t, &template, &rows, Some(20), Truncation::Delete, 2), one);
    }

    #[test]
    fn as_many_threads_as_asked_for() {
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        for (asked, wanted) in [(0, cores), (1, 1), (3, 3)] {
            assert_eq!(workers(asked).unwrap().current_num_threads(), wanted);
        }
    }
}

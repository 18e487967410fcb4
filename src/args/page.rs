//! `docs/arguments.md`: every argument of the two tables and what becomes of it here.

use std::fmt::Write;

use super::field::{Field, Group, Literal, Status};
use super::infer::INFER_FIELDS;
use super::sft::FIELDS;

/// Arguments that SWIFT does not have.
const OURS: [&str; 9] = [
    "hub",
    "resume_only_model",
    "save_minutes",
    "adam_epsilon",
    "init_adapter",
    "device",
    "threads",
    "output",
    "overwrite",
];

/// Values that SWIFT takes and this program refuses, beside the arguments that have a reason of their own: argument,
/// values, why.
const REFUSED_VALUES: &[(&str, &[&str], &str)] = &[
    (
        "model_type",
        &["llama2-7b", "qwen1half-7b"],
        "the first Qwen and the demo's base are the models there are",
    ),
    ("sft_type", &["longlora", "qalora"], "LongLoRA is for Llama, QA-LoRA needs quantized weights"),
    ("template_type", &["llama", "chatglm3"], "the templates of other model families"),
    ("infer_backend", &["vllm"], "answers are computed by libtorch; vLLM is a Python package"),
];

const INTRODUCTION: &str = "\
# Arguments

What becomes of each argument that SWIFT 1.5 writes to `sft_args.json` or takes for `infer`. This page is made from the
tables that check the arguments (`src/args/sft.rs`, `src/args/infer.rs`); `--help` of a command shows those that work.

An argument **works**; or it is *accepted*, so that SWIFT's files load, and changes nothing, for the reason given (a
file that sets it to something other than the default is told so in one warning); or it is *refused* unless it is left
at its default, with a message that has the reason. *Derived* are the keys that SWIFT adds to its file: they are
written for its readers and follow from another argument.

Names can be written with `-` for `_`. `null` in a file, or on the command line, is as good as leaving an argument out
where the default is \"not set\". A list takes several values on the command line (`--dataset a.jsonl b.jsonl`).

Other spellings: `template_type` `chatml` is `qwen`, `truncation_strategy` `ignore` is `delete`, `lora_target_modules`
`AUTO` is `DEFAULT`. `template_type` `default-generation-bos` is refused when the template is made: Qwen has no token for
the beginning of a text (SWIFT fails there too). A name in `lora_target_modules` stands for every module whose path ends
in it; `ALL` becomes the names of all linear layers but `lm_head`, in the run's files too, as in SWIFT.
";

/// The page.
fn markdown() -> String {
    let mut out = INTRODUCTION.to_owned();
    out += "\nValues that SWIFT takes and this program refuses:\n\n| argument | values, such as | why |\n|---|---|---|\n";
    for (name, values, why) in REFUSED_VALUES {
        let values: Vec<String> = values.iter().map(|value| format!("`{value}`")).collect();
        let _ = writeln!(out, "| `{name}` | {} | {why} |", values.join(", "));
    }
    section(&mut out, "`qwen-tui sft`", FIELDS);
    section(&mut out, "`qwen-tui infer`", INFER_FIELDS);
    out
}

fn section(out: &mut String, title: &str, fields: &[Field]) {
    let _ = writeln!(out, "\n## {title}");
    for group in Group::ALL {
        let mut rows = fields.iter().filter(|f| f.group == group).peekable();
        if rows.peek().is_none() {
            continue;
        }
        let _ =
            writeln!(out, "\n### {}\n\n| argument | what it is | allowed | default | here |", group.title());
        out.push_str("|---|---|---|---|---|\n");
        rows.for_each(|field| row(out, field));
    }
}

fn row(out: &mut String, field: &Field) {
    let default = match field.default {
        Literal::Null => "not set".to_owned(),
        literal => format!("`{literal}`"),
    };
    let here = match field.status {
        Status::Works if OURS.contains(&field.name) => "works; SWIFT has no such argument".to_owned(),
        Status::Works => "works".to_owned(),
        Status::NoEffect(why) => format!("accepted: {why}"),
        Status::Refused(why) => format!("refused: {why}"),
        Status::Derived(from) => format!("derived from `{from}`"),
    };
    let cells = [field.help, &field.kind.to_string(), &default, &here].map(|cell| cell.replace('|', "\\|"));
    let _ = writeln!(out, "| `{}` | {} |", field.name, cells.join(" | "));
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::{Map, Value};

    use super::*;

    #[test]
    fn the_page_is_these_tables() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/arguments.md");
        if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
            std::fs::write(&path, markdown()).unwrap();
        }
        let page = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            page == markdown(),
            "docs/arguments.md is old: run the tests with UPDATE_SNAPSHOTS=1 (make pictures)"
        );
    }

    #[test]
    fn each_argument_of_the_references_file_has_its_row_and_no_other_is_called_swifts() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sft_args_swift.json");
        let file: Map<String, Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let page = markdown();
        let (sft, infer) = page.split_once("## `qwen-tui infer`").unwrap();
        for name in file.keys() {
            assert_eq!(sft.matches(&format!("\n| `{name}` | ")).count(), 1 + refusals(name), "{name}");
        }
        for field in FIELDS {
            assert_eq!(file.contains_key(field.name), !OURS.contains(&field.name), "{}", field.name);
        }
        for field in INFER_FIELDS {
            assert_eq!(infer.matches(&format!("\n| `{}` | ", field.name)).count(), 1, "{}", field.name);
        }
    }

    /// Rows of the table of refused values.
    fn refusals(name: &str) -> usize {
        REFUSED_VALUES.iter().filter(|(refused, ..)| *refused == name).count()
    }

    #[test]
    fn reasons_are_given_and_refused_values_are_refused() {
        for field in FIELDS.iter().chain(INFER_FIELDS) {
            if let Status::NoEffect(why) | Status::Refused(why) = field.status {
                assert!(why.contains(' ') && !why.ends_with('.'), "{}: {why:?} is no reason", field.name);
            }
        }
        for (name, values, _) in REFUSED_VALUES {
            let field = FIELDS.iter().chain(INFER_FIELDS).find(|f| f.name == *name).unwrap();
            assert!(values.iter().all(|&value| field.check(&value.into()).is_none()), "{name}");
        }
    }
}

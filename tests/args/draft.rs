//! Arguments in the making: files and texts in, the same files out, and what is told on the way.

use super::{refused, root, says, words};
use qwen_tui::args::*;
use serde_json::{Value, json};

fn field(name: &str) -> &'static Field {
    FIELDS.iter().find(|f| f.name == name).unwrap()
}

#[test]
fn a_file_of_swifts_loads_with_its_one_warning_and_is_what_sft_makes_of_it() {
    let file = root("tests/data/sft_args_swift.json");
    let read = Draft::load(Some(&file), &[]).unwrap();
    let loaded = load_sft(Some(&file), &[]).unwrap();
    assert_eq!(read.problem, None);
    assert_eq!(read.warnings, loaded.warnings);
    assert_eq!(read.draft.check().unwrap().args, loaded.args);
    // The folder of another run is not this one's.
    assert_eq!(read.draft.get(field("output_dir")), "/data/output");
    assert!(read.draft.count() < 30, "only what differs: {}", read.draft.to_text());
}

#[test]
fn what_is_written_loads_again_equal() {
    for name in ["configs/jd-sentiment.json", "configs/demo.json", "tests/data/sft_args_swift.json"] {
        let draft = Draft::load(Some(&root(name)), &[]).unwrap().draft;
        let text = draft.to_text();
        let again = Draft::parse(&text).unwrap();
        assert_eq!(again.draft, draft, "{name}");
        assert_eq!(again.draft.to_text(), text, "{name}");
        assert!(text.starts_with("{\n  \"model_type\": \"qwen-"), "{text}");
        if name.contains("sentiment") {
            assert!(text.contains("\n  \"learning_rate\": 1e-4,\n"), "{text}");
            assert!(text.contains("\n  \"dataset\": [\"jd-sentiment-zh\"],\n"), "{text}");
            assert!(!text.contains("lora_rank"), "it is as by default: {text}");
        }
    }
    assert_eq!(Draft::parse(&Draft::default().to_text()).unwrap().draft, Draft::default());
}

#[test]
fn flags_go_over_the_file() {
    let read =
        Draft::load(Some(&root("configs/jd-sentiment.json")), &words("--lora_rank 4 --seed=42")).unwrap();
    assert_eq!(read.draft.get(field("lora_rank")), 4);
    assert!(!read.draft.is_set(field("seed")));
    let error = refused(Draft::load(Some(&root("configs/none.json")), &[]));
    says(&error, &["configs/none.json"]);
}

#[test]
fn what_is_typed_is_refused_in_the_words_of_sft() {
    let mut draft = Draft::default();
    let typed = |name: &str, text: &str| field(name).typed(text);
    for (name, text) in
        [("learning_rate", "abc"), ("lora_rank", "0"), ("lora_dropout_p", "1"), ("model_type", "gpt")]
    {
        let told = typed(name, text).unwrap_err();
        let line = format!("--{name} {text}");
        let sft = refused(load_sft(None, &words(&line)));
        let same = sft.strip_prefix("the command line: ").unwrap();
        // A form has null beside it.
        assert!(told.starts_with(same.trim_end_matches(", or null")), "{told:?} and {sft:?}");
    }
    assert_eq!(typed("learning_rate", " 2e-3 ").unwrap(), json!(2e-3));
    assert_eq!(typed("learning_rate", "").unwrap(), Value::Null);
    assert!(typed("lora_rank", "").is_err());
    assert!(typed("num_beams", "2").unwrap_err().contains("beam search"));
    assert!(typed("torch_dtype", "x").unwrap_err().contains("follows from dtype"));
    assert!(draft.set(field("eval_steps"), &json!("50")).is_err());
    draft.set(field("lora_alpha"), &json!(32.0)).unwrap();
    assert_eq!(draft, Draft::default(), "32.0 is the 32 of the default");
}

#[test]
fn rules_across_arguments_name_the_one_to_mend() {
    let mut draft = Draft::default();
    assert_eq!(draft.check().unwrap_err().key, Some("model_type"));
    draft.set(field("model_type"), &json!("qwen-demo")).unwrap();
    let problem = draft.check().unwrap_err();
    assert_eq!(problem.key, Some("dataset"));
    says(&problem.message, &["dataset is missing"]);
    draft.set(field("dataset"), &json!(["a.csv"])).unwrap();
    draft.check().unwrap();
    draft.set(field("save_steps"), &json!(75)).unwrap();
    let problem = draft.check().unwrap_err();
    assert_eq!((problem.key, problem.line), (Some("save_steps"), None));
    says(&problem.message, &["save_steps is 75", "multiple of eval_steps"]);
    assert!(!problem.message.contains("the arguments"), "{}", problem.message);
    draft.reset(field("save_steps"));
    draft.check().unwrap();
    // Another name of an argument is that argument.
    draft.set(field("per_device_train_batch_size"), &json!(4)).unwrap();
    draft.set(field("batch_size"), &json!(2)).unwrap();
    assert_eq!(draft.check().unwrap().args.batch_size, 2);
}

#[test]
fn a_text_is_refused_with_line_and_key() {
    let problem = |text: &str| Draft::parse(text).unwrap_err();
    let p = problem("{\n  \"seed\": 1,\n  \"lora_rank\": -3\n}");
    assert_eq!((p.key, p.line), (Some("lora_rank"), Some(3)));
    says(&p.message, &["line 3: lora_rank is -3; allowed is"]);
    let p = problem("{\n  \"seed\": 1,\n}");
    assert_eq!((p.key, p.line), (None, Some(3)));
    says(&p.message, &["line 3, column 1: not valid JSON"]);
    assert!(problem("[1]").message.contains("a JSON object"));
    assert!(problem("").message.starts_with("the text is empty; a JSON object"));
    let p = problem("{\n  \"seed\": 1,\n  \"lora_rank\": -3,\n  \"eval_steps\": \"x\"\n}");
    assert_eq!((p.key, p.line), (Some("lora_rank"), Some(3)));
    says(&p.message, &["line 3: lora_rank is -3", "; also wrong: eval_steps"]);
    let text =
        "{\"model_type\": \"qwen-7b\", \"dataset\": \"a.csv\",\n\"eval_steps\": 40, \"save_steps\": 50}";
    let problem = Draft::parse(text).unwrap().problem.unwrap();
    assert_eq!((problem.key, problem.line), (Some("save_steps"), Some(2)));
    says(&problem.message, &["line 2: save_steps is 50"]);
}

#[test]
fn choices_are_what_is_not_refused() {
    let choices = |name: &str| field(name).choices();
    assert_eq!(choices("add_output_dir_suffix"), Some(vec![json!(true), json!(false)]));
    assert_eq!(choices("save_only_model").unwrap()[0], Value::Null);
    assert_eq!(choices("quantization_bit"), Some(vec![json!(0)]));
    assert_eq!(choices("push_to_hub"), Some(vec![json!(false)]));
    assert_eq!(choices("lora_rank"), None);
    for field in FIELDS {
        let value = field.default.value();
        if let Some(choices) = field.choices()
            && !matches!(field.status, Status::Derived(_))
        {
            assert!(choices.contains(&value), "{}: {value}", field.name);
        }
    }
}

#[test]
fn a_secret_is_not_written() {
    let mut draft = Draft::default();
    draft.set(field("hub_token"), &json!("abc")).unwrap();
    assert!(!draft.to_text().contains("abc"));
}

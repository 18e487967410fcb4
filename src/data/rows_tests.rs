use super::*;
use crate::data::{sentiment_prompt, shared};

fn read(name: &str, content: impl AsRef<[u8]>, on_broken: OnBroken) -> Result<Read, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, content).unwrap();
    read_file(&path, on_broken).map_err(|e| {
        assert_eq!(e.exit_code(), 2);
        assert!(e.to_string().contains(name), "{e}");
        e.to_string()
    })
}

fn good(name: &str, content: impl AsRef<[u8]>) -> Vec<Row> {
    let read = read(name, content, OnBroken::Error).unwrap();
    assert!(read.broken.is_empty());
    read.rows
}

fn bad(name: &str, content: impl AsRef<[u8]>) -> String {
    read(name, content, OnBroken::Skip).unwrap_err()
}

fn jd(sentence: &str, label: &str) -> Row {
    Row::new(sentiment_prompt(sentence), label)
}

#[test]
fn the_reviews_in_reach() {
    for (name, n) in [("reviews/train.jsonl", 2000), ("reviews/validation.jsonl", 200)] {
        let Some(path) = shared(name) else { return };
        let read = read_file(&path, OnBroken::Error).unwrap();
        assert_eq!((read.rows.len(), read.unlabelled), (n, 0));
        assert!(read.rows.iter().all(|r| r.response == "negative" || r.response == "positive"));
    }
    let all = ["reviews/train.jsonl", "reviews/validation.jsonl"].map(|n| shared(n).unwrap());
    let read = read_files(&all, OnBroken::Skip).unwrap();
    assert_eq!(read.rows.len(), 2200);
    assert_eq!(read.rows[0], jd("失望，虽然买了几次，这次没想到这幺小……无语真的", "negative"));
}

#[test]
fn jd_rows_of_csv() {
    let csv = "\u{feff}sentence,label,dataset\r\n\
        \"好,\"\"真\"\"好\n第二行\",1.0,jd\r\n\
        差,0,jd\r\n\r\n\
        没有标签,,jd\r\n\
        也没有,nan,jd\r\n\
        奇怪,2.0,jd\r\n\
        少一格,1\r\n\
        最后,0.0,jd";
    let got = read("a.csv", csv, OnBroken::Skip).unwrap();
    assert_eq!(
        got.rows,
        [jd("好,\"真\"好\n第二行", "positive"), jd("差", "negative"), jd("最后", "negative")]
    );
    assert_eq!(got.unlabelled, 2);
    let broken: Vec<(u64, &str)> = got.broken.iter().map(|b| (b.place.line, b.reason.as_str())).collect();
    assert_eq!(broken.len(), 2);
    assert!(broken[0].0 == 8 && broken[0].1.starts_with("unknown label \"2.0\""), "{broken:?}");
    assert!(broken[1].0 == 9 && broken[1].1.starts_with("2 cells where the header has 3"), "{broken:?}");
    assert!(got.broken[0].to_string().contains("a.csv, line 8: unknown label"));

    let message = read("a.csv", csv, OnBroken::Error).unwrap_err();
    assert!(
        message.contains("line 8: unknown label") && message.contains("check_dataset_strategy"),
        "{message}"
    );
}

#[test]
fn jd_rows_of_json() {
    let lines = r#"{"sentence": "好", "label": 1.0, "dataset": "x"}
{"label": 0, "sentence": "差"}

{"sentence": "无", "label": null}
{"sentence": "也行", "label": "1.0"}
{"sentence": "半", "label": 0.5}
{"sentence": 5, "label": 1}
{"sentence": "真", "label": true}
{"sentence": "断
[1]
{"text": "x"}
"#;
    let got = read("a.jsonl", lines, OnBroken::Skip).unwrap();
    assert_eq!(got.rows, [jd("好", "positive"), jd("差", "negative"), jd("也行", "positive")]);
    assert_eq!(got.unlabelled, 1);
    let want = [
        (6, "unknown label 0.5"),
        (7, "`sentence` is not a text: 5"),
        (8, "unknown label true"),
        (9, "broken JSON at character"),
        (10, "not a JSON object"),
        (11, "columns not understood: text. Understood are: sentence, label;"),
    ];
    assert_eq!(got.broken.len(), want.len());
    for (b, (line, reason)) in got.broken.iter().zip(want) {
        assert!(b.place.line == line && b.reason.starts_with(reason), "{b}");
    }
}

#[test]
fn a_json_list_keeps_its_lines() {
    let list = "\u{feff} [\n {\"query\": \"a],}\\\\\\\"[\",\n  \"response\": \"b\"},\n 7, {\"response\": \"c\"}\n]\n";
    let got = read("a.json", list, OnBroken::Skip).unwrap();
    assert_eq!(got.rows, [Row::new("a],}\\\"[", "b"), Row::new("", "c")]);
    assert_eq!((got.broken.len(), got.broken[0].place.line), (1, 4));
    assert!(
        bad("a.json", "{\"query\": \"a\", \"response\": \"b\"}\n{\"response\": \"c\"}").contains(".jsonl")
    );
    assert!(bad("a.json", "[{\"response\": \"c\"}").contains("broken JSON"));
    assert!(bad("a.json", "[]").contains("no row in it"));
    assert!(bad("a.json", "[,]").contains("broken JSON"));
}

#[test]
fn swifts_own_shapes() {
    let whole = Row {
        query: "q".into(),
        response: "r".into(),
        system: Some("s".into()),
        history: vec![["a".into(), "b".into()]],
    };
    for row in [
        r#"{"query": "q", "response": "r", "system": "s", "history": [["a", "b"]]}"#,
        r#"{"query": "q", "response": "r", "system": "s", "history": "[('a', 'b')]"}"#,
        r#"{"conversations": [{"from": "system", "value": "s"}, {"from": "user", "value": "a"}, {"from": "assistant", "value": "b"}, {"from": "user", "value": "q"}, {"from": "assistant", "value": "r"}]}"#,
        r#"{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "q"}, {"role": "assistant", "content": "r"}]}"#,
    ] {
        assert_eq!(good("a.jsonl", row), std::slice::from_ref(&whole), "{row}");
    }
    let csv = "query,response,system,history\nq,r,s,\"[['a', 'b']]\"\nq,r,,\n";
    assert_eq!(good("a.CSV", csv), [whole, Row::new("q", "r")]);
    let csv = "instruction,input,output\ni,,o\ni,x,o\n";
    assert_eq!(good("a.csv", csv), [Row::new("i", "o"), Row::new("i\nx", "o")]);
    let csv = "conversations\n\"[{'from': 'user', 'value': 'q'}, {'from': 'assistant', 'value': 'r'}]\"\n";
    assert_eq!(good("a.csv", csv), [Row::new("q", "r")]);
    let unanswered =
        "{\"instruction\": \"i\", \"output\": null}\n{\"instruction\": \"i\", \"output\": \"o\"}";
    assert_eq!(read("a.jsonl", unanswered, OnBroken::Error).unwrap().unlabelled, 1);

    for broken in [
        r#"{"query": "q", "response": null}"#,
        r#"{"query": 1, "response": "r"}"#,
        r#"{"response": "r", "system": {}}"#,
        r#"{"response": "r", "history": [["a"]]}"#,
        r#"{"response": "r", "history": [["a", 1]]}"#,
        r#"{"response": "r", "history": {"a": 1}}"#,
        r#"{"response": "r", "history": "oops"}"#,
        r#"{"messages": []}"#,
        r#"{"messages": [{"role": "user", "content": "q"}]}"#,
        r#"{"messages": [{"role": "assistant", "content": "q"}, {"role": "user", "content": "q"}]}"#,
        r#"{"messages": [{"role": "user"}, 1]}"#,
        r#"{"messages": 5}"#,
        "{}",
    ] {
        assert!(bad("a.jsonl", broken).contains("no usable row"), "{broken}");
    }
}

#[test]
fn files_that_are_none() {
    for name in ["a.csv", "a.jsonl", "a.json"] {
        for empty in ["", "\n \n", "\u{feff}"] {
            let message = bad(name, empty);
            assert!(
                message.contains("no row in it") || message.contains("columns not understood"),
                "{message}"
            );
        }
    }
    assert!(bad("a.csv", "sentence,label\n").contains("no row in it"));
    assert!(bad("a.csv", "sentence,label\nx,\ny,\n").contains("none of its 2 has a label"));
    assert!(bad("a.csv", "text,stars\nx,5\n").contains("columns not understood: text, stars. Understood"));
    assert!(bad("a.txt", "x").contains(".csv, .jsonl or .json"));
    assert!(bad("a.jsonl", "{\"sentence\": \"好\", \"label\": 7}").contains("line 1: unknown label 7"));
    assert!(bad("a.jsonl", b"\xff\xfe{\0").contains("UTF-16"));

    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("jd");
    std::fs::create_dir(&folder).unwrap();
    assert!(read_file(&folder, OnBroken::Skip).unwrap_err().to_string().contains("is a directory"));
    assert!(
        read_file(&dir.path().join("no.csv"), OnBroken::Skip).unwrap_err().to_string().contains("no.csv")
    );
}

#[test]
fn other_encodings_and_open_quotes() {
    // "好" and "差" in GBK.
    let gbk = b"sentence,label\nfine,1\n\xba\xc3,1\n\xb2\xee,0\n";
    let got = read("a.csv", gbk, OnBroken::Skip).unwrap();
    assert_eq!((got.rows.len(), got.broken.len(), got.broken[0].place.line), (1, 2, 3));
    assert!(got.broken[0].reason.contains("not UTF-8"), "{}", got.broken[0]);
    assert!(bad("a.jsonl", b"{\"sentence\": \"\xba\xc3\", \"label\": 1}").contains("line 1: not UTF-8"));
    assert!(bad("a.json", b"[{\"sentence\": \"\xba\xc3\", \"label\": 1}]").contains("not UTF-8"));
    assert!(bad("a.csv", b"sen\xba,label\n").contains("header"));

    let open = "label,sentence\n1,好\n0,\"差\n1,好\n1,好\n";
    let got = read("a.csv", open, OnBroken::Skip).unwrap();
    assert_eq!((got.rows.len(), got.broken[0].place.line), (1, 3));
    assert!(got.broken[0].reason.contains("not closed"), "{}", got.broken[0]);
    // A lone quote within a cell is only a quote.
    assert_eq!(good("a.csv", "sentence,label\n5\" 屏幕,1\n"), [jd("5\" 屏幕", "positive")]);
}

#[test]
fn sizes_and_depths_beyond_reason() {
    let deep = format!("{{\"response\": {}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(bad("a.jsonl", &deep).contains("recursion limit"));
    assert!(bad("a.json", format!("[{deep}]")).contains("recursion limit"));
    let deep = format!("response,history\nr,\"{}\"\n", "[".repeat(100_000));
    assert!(bad("a.csv", deep).contains("nested too deeply"));
    let long = "好".repeat(2_000_000);
    assert_eq!(good("a.jsonl", format!("{{\"sentence\": \"{long}\", \"label\": 1}}")).len(), 1);
    assert_eq!(good("a.csv", format!("sentence,label\n{long},1\n")).len(), 1);
    let message = bad("a.jsonl", format!("{{\"sentence\": \"x\", \"label\": \"{long}\", \"{long}\": 1}}"));
    assert!(message.len() < 1000);
    assert!(bad("a.csv", format!("{long}\nx\n")).len() < 1000);
}

#[test]
fn names_of_data_sets() {
    assert_eq!(resolve_dataset_name("some/where.jsonl").unwrap(), Path::new("some/where.jsonl"));
    let message = resolve_dataset_name("jd-sentiment-zh").unwrap_err();
    assert_eq!(message.exit_code(), 2);
    let message = message.to_string();
    assert!(message.contains("in its place (dataset)") && message.contains("train.csv"), "{message}");
}

#[test]
fn rows_with_a_blank_text_are_kept_and_told() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        read_file(&path, OnBroken::Skip).unwrap()
    };
    let at = |places: &Places| {
        (places.count, places.first.as_ref().map(|f| f.rsplit(' ').next().unwrap().to_owned()))
    };
    let read = file("jd.csv", "sentence,label\n好,1\n,0\n\" \u{3000}\",1\n差,0\n");
    assert_eq!((read.rows.len(), read.broken.len()), (4, 0));
    assert_eq!((at(&read.blank), at(&read.unasked)), ((2, Some("3".to_owned())), (0, None)));
    let read = file(
        "qr.jsonl",
        "{\"query\":\"a\",\"response\":\"b\"}\n{\"query\":\" \",\"response\":\"b\"}\n{\"query\":\"a\",\"response\":\"\"}\n",
    );
    assert_eq!((at(&read.blank), at(&read.unasked)), ((1, Some("3".to_owned())), (1, Some("2".to_owned()))));
    // Texts without any query are meant so.
    let read = file("texts.jsonl", "{\"response\":\"b\"}\n{\"response\":\"c\"}\n");
    assert_eq!((at(&read.blank), at(&read.unasked)), ((0, None), (0, None)));
}

#[test]
fn a_file_of_broken_rows_is_counted_and_the_first_ones_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.jsonl");
    std::fs::write(&file, "{\"response\":\"a\"}\n".to_owned() + &"x\n".repeat(50_000)).unwrap();
    let read = read_file(&file, OnBroken::Skip).unwrap();
    assert_eq!((read.rows.len(), read.broken.len(), read.broken_rows), (1, TOLD, 50_000));
    assert_eq!(read.broken[TOLD - 1].place.line, 101);
    let long = format!("{{\"response\":\"{}\"}}\n", "a".repeat(16 << 20));
    std::fs::write(&file, &long).unwrap();
    let error = read_file(&file, OnBroken::Skip).unwrap_err().to_string();
    assert!(error.contains("line 1: longer than 16 MB") && error.len() < 500, "{error}");
    let file = dir.path().join("a.csv");
    std::fs::write(&file, "response\n".to_owned() + &long[13..] + "b\n").unwrap();
    let read = read_file(&file, OnBroken::Skip).unwrap();
    assert_eq!((read.rows.len(), read.broken_rows), (1, 1));
}

#[test]
fn rows_of_one_line_are_told_apart_by_their_number() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rows.json");
    let told = |text: &str| {
        std::fs::write(&path, text).unwrap();
        let broken = read_file(&path, OnBroken::Skip).unwrap().broken;
        broken
            .iter()
            .map(|b| b.to_string().rsplit_once("rows.json, ").unwrap().1.to_owned())
            .collect::<Vec<_>>()
    };
    let good = r#"{"query": "a", "response": "b"}"#;
    let lines = told(&format!("[{good}, 7, {good}, 8]"));
    assert!(lines[0].starts_with("line 1, row 2: ") && lines[1].starts_with("line 1, row 4: "), "{lines:?}");
    let lines = told(&format!("[{good},\n7,\n{good}, 8]"));
    assert!(lines[0].starts_with("line 2: ") && lines[1].starts_with("line 3, row 4: "), "{lines:?}");
}

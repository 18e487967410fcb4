//! Reading and writing files of arguments, and looking at the data they name.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::args::{ARGS_FILE, Draft, SftArgs, check_plain, typed};
use crate::data::load::{Chosen, Sources, balance, read};
use crate::data::template::Row;
use crate::data::tokenizer::VOCABULARY_FILE;
use crate::data::{Template, Tokenizer, Truncation, encode_rows};
use crate::error::{Error, Result};
use crate::hub::{Place, Sort, Wanted, shelf};
use crate::run::write_atomic;
use crate::tui::action::Notice;
use crate::tui::configs::{CONFIGS, ConfigNews, ConfigWork, Names, Part, Preview, Unit};
use crate::tui::message::Message;

/// The file that the form begins with where none is named.
const FIRST: &str = "configs/jd-sentiment.json";
/// Rows that are shown.
const SHOWN: usize = 40;
/// Rows tokenized between two looks at whether somebody still waits for them.
const CHUNK: usize = 2048;

/// What gives way to what comes later.
#[derive(Default)]
pub struct Turns {
    /// Counts the looks at data; each gives way to the next.
    previews: AtomicU64,
    /// Counts how often whoever asked the hubs has gone.
    asks: AtomicU64,
}

impl Turns {
    /// Whose questions to the hubs are waited for.
    pub fn asked(&self) -> u64 {
        self.asks.load(Ordering::Relaxed)
    }

    /// Nobody waits for what has been asked so far.
    pub fn stop_asking(&self) {
        self.asks.fetch_add(1, Ordering::Relaxed);
    }
}

/// Does `work`, away from the screen's thread; `asked` is [`Turns::asked`] when it was asked for.
pub fn work(work: ConfigWork, turns: &Turns, asked: u64, send: &dyn Fn(Message)) {
    let news = match work {
        ConfigWork::List => Ok(ConfigNews::Files(list(Path::new(CONFIGS)))),
        ConfigWork::Load(path) => load(&path),
        ConfigWork::Save { path, text, overwrite } => save(path, text, overwrite),
        ConfigWork::Find(inputs) => {
            let missing = inputs.missing();
            let places = inputs.names();
            let lines = places.iter().map(ToString::to_string).collect();
            let is_model = |place: &&Place| matches!(place, Place::Cached(c) if c.repo.sort == Sort::Model);
            let model = places.iter().find(is_model).map(|place| place.path().to_owned());
            Ok(ConfigNews::Found { inputs, missing, names: Names { lines, model } })
        }
        ConfigWork::Shelves => Ok(ConfigNews::Shelves(shelf::items())),
        ConfigWork::Ask(repos) => {
            let told = shelf::offer(&repos, &|| turns.asked() != asked);
            match told.transpose() {
                Some(told) => Ok(ConfigNews::Offer { repos, told: told.map_err(|e| e.to_string()) }),
                None => return,
            }
        }
        ConfigWork::StopAsking => {
            turns.stop_asking();
            return;
        }
        ConfigWork::Preview(args) => {
            let previews = &turns.previews;
            let this = previews.fetch_add(1, Ordering::Relaxed) + 1;
            let wanted = || previews.load(Ordering::Relaxed) == this;
            let preview = look(&args, &wanted).transpose();
            match preview.filter(|_| wanted()) {
                Some(preview) => Ok(ConfigNews::Preview(preview.map(Box::new).map_err(|e| e.to_string()))),
                None => return,
            }
        }
    };
    send(news.map_or_else(|e| Message::Notice(Notice::error(e.to_string())), Message::Config));
}

/// What the form begins with.
///
/// # Errors
/// `Error::User` where the named file or the flags are wrong. Of a file that nobody has named that is only told.
pub fn first_config(named: Option<PathBuf>, flags: &[String]) -> Result<Message> {
    let file = named.clone().or_else(|| Some(PathBuf::from(FIRST)).filter(|f| f.is_file()));
    match Draft::load(file.as_deref(), flags) {
        Ok(read) => Ok(Message::Config(ConfigNews::Loaded { file, read })),
        Err(e) if named.is_none() && flags.is_empty() => Ok(Message::Notice(Notice::error(e.to_string()))),
        Err(e) => Err(e),
    }
}

/// The files of arguments in `dir`, by name.
fn list(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path());
    let mut files: Vec<_> = entries
        .filter(|p| p.extension().is_some_and(|e| e.eq_ignore_ascii_case("json")) && p.is_file())
        .collect();
    files.sort();
    files
}

fn load(path: &Path) -> Result<ConfigNews> {
    let mut path = typed(path);
    if path.is_dir() {
        // A run's or a checkpoint's.
        path.push(ARGS_FILE);
        if !path.exists() {
            let dir = path.parent().unwrap_or(&path).display();
            return Err(Error::user(format!(
                "there is no {ARGS_FILE} in the directory {dir}: give a run, one of its checkpoints, or a file of arguments"
            )));
        }
    }
    check_plain(&path)?;
    let read = Draft::load(Some(&path), &[])?;
    Ok(ConfigNews::Loaded { file: Some(path), read })
}

fn save(path: PathBuf, text: String, overwrite: bool) -> Result<ConfigNews> {
    let path = typed(&path);
    if path.is_dir() {
        return Err(Error::user(format!("{} is a directory; give the file a name in it", path.display())));
    }
    if !overwrite && path.symlink_metadata().is_ok() {
        return Ok(ConfigNews::Exists { path, text });
    }
    let elsewhere = "type a path in a directory that is there and that you can write to, such as ~/NAME.json";
    if path.starts_with(CONFIGS) {
        let refused = |e| Error::user(format!("cannot make the directory {CONFIGS}/ here: {e}; {elsewhere}"));
        std::fs::create_dir_all(CONFIGS).map_err(refused)?;
    }
    let is_missing = |dir: &&Path| !dir.as_os_str().is_empty() && !dir.is_dir();
    if let Some(dir) = path.parent().filter(is_missing) {
        let (file, dir) = (path.display(), dir.display());
        return Err(Error::user(format!("cannot write {file}: there is no directory {dir}; {elsewhere}")));
    }
    write_atomic(&path, text.as_bytes()).map_err(|e| Error::user(format!("{e}; {elsewhere}")))?;
    Ok(ConfigNews::Saved(path))
}

/// Reads, chooses and measures the rows as a training does; none where it is no longer wanted.
fn look(args: &SftArgs, wanted: &dyn Fn() -> bool) -> Result<Option<Preview>> {
    let args = &Wanted::from(args).here()?.apply(args)?;
    let Chosen { train, validation, skipped, warnings, unplain } = read(&Sources::from(args))?;
    if !wanted() {
        return Ok(None);
    }
    let mut problem = train.is_empty().then(|| "no training rows: dataset_test_ratio left none".to_owned());
    let template = Template::new(&args.template_type, args.system.as_deref());
    let checked = template.as_ref().map_err(Clone::clone).and_then(|t| {
        t.check_read(&train, unplain.as_deref())?;
        t.check_read(&validation, unplain.as_deref())
    });
    problem = problem.or_else(|| checked.err().map(|e| e.to_string()));
    let (tokenizer, unit) = match (template, tokenizer(args)) {
        (Ok(template), Ok(tokenizer)) => (Some((template, tokenizer)), Unit::Tokens),
        (Err(_), _) => (None, Unit::Characters("the template cannot be used".to_owned())),
        (_, Err(e)) => (None, Unit::Characters(e.to_string())),
    };
    let measure = |rows: &[Row]| -> Option<Vec<u32>> {
        let mut lengths = Vec::with_capacity(rows.len());
        for rows in rows.chunks(CHUNK) {
            match &tokenizer {
                Some((template, tokenizer)) => {
                    let all = encode_rows(tokenizer, template, rows, None, Truncation::Delete, 0);
                    lengths.extend(all.into_iter().flatten().map(|e| e.ids.len() as u32));
                }
                None => lengths.extend(rows.iter().map(characters)),
            }
            if !wanted() {
                return None;
            }
        }
        lengths.sort_unstable();
        Some(lengths)
    };
    let part = |rows: &[Row], broken: u64| -> Option<Part> {
        let mut labels: Vec<(String, u64)> = balance(rows).into_iter().collect();
        labels.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        Some(Part { rows: rows.len(), broken, labels, lengths: measure(rows)? })
    };
    let parts = part(&train, skipped.0).zip(part(&validation, skipped.1));
    let Some((train_part, validation)) = parts else { return Ok(None) };
    let limit = args.max_length_limit().map(|l| u32::try_from(l).unwrap_or(u32::MAX));
    let cut = args.truncation_strategy == "truncation_left";
    if let (Some(limit), Unit::Tokens, false) = (limit, &unit, cut)
        && train_part.rows > 0
        && train_part.longer(limit) == train_part.rows
    {
        problem
            .get_or_insert(format!("max_length {limit}: all {} training rows are longer", train_part.rows));
    }
    let first = shown(train, &train_part.labels);
    Ok(Some(Preview { train: train_part, validation, first, warnings, problem, unit, limit, cut }))
}

/// The first rows of each label by turns: a file often has all of one label's first. Where there are no labels, the
/// first rows.
fn shown(rows: Vec<Row>, labels: &[(String, u64)]) -> Vec<[String; 2]> {
    // How many rows of its label stand before each.
    let mut before = vec![0usize; labels.len()];
    let mut turns: Vec<(usize, Row)> = Vec::new();
    for row in rows {
        let turn = match labels.iter().position(|(label, _)| *label == row.response) {
            Some(i) => {
                before[i] += 1;
                before[i] - 1
            }
            None => 0,
        };
        if turn < SHOWN {
            turns.push((turn, row));
        }
    }
    // Rows of the same turn stay in their order.
    turns.sort_by_key(|(turn, _)| *turn);
    turns.into_iter().take(SHOWN).map(|(_, row)| [row.query, row.response]).collect()
}

fn characters(row: &Row) -> u32 {
    let turns = row.history.iter().flatten().chain([&row.query, &row.response]).chain(&row.system);
    turns.map(|text| text.chars().count()).sum::<usize>() as u32
}

/// The tokenizer in the model's directory.
fn tokenizer(args: &SftArgs) -> Result<Tokenizer> {
    let named = args.model_cache_dir.as_ref().or(args.model_id_or_path.as_ref());
    let Some(dir) = named.map(Path::new) else {
        return Err(Error::user("model_id_or_path names no directory to take the tokenizer from"));
    };
    if !dir.join(VOCABULARY_FILE).is_file() {
        return Err(Error::user(format!("there is no {VOCABULARY_FILE} in {}", dir.display())));
    }
    Tokenizer::load(dir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::load_sft;
    use std::sync::Mutex;

    fn heard(work: ConfigWork) -> Vec<Message> {
        let heard = Mutex::new(Vec::new());
        super::work(work, &Turns::default(), 0, &|m| heard.lock().unwrap().push(m));
        heard.into_inner().unwrap()
    }

    #[test]
    fn a_file_that_is_there_is_not_overwritten_unasked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mine.json");
        let save = |text: &str, overwrite| {
            heard(ConfigWork::Save { path: path.clone(), text: text.to_owned(), overwrite })
        };
        assert!(matches!(&save("{\n}\n", false)[..], [Message::Config(ConfigNews::Saved(_))]));
        assert!(matches!(&save("x", false)[..], [Message::Config(ConfigNews::Exists { .. })]));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\n}\n");
        assert!(matches!(&save("{}", true)[..], [Message::Config(ConfigNews::Saved(_))]));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
        let beyond = dir.path().join("no/such/mine.json");
        match &heard(ConfigWork::Save { path: beyond, text: "{}".to_owned(), overwrite: false })[..] {
            [Message::Notice(Notice { text, is_error: true, .. })] => {
                assert!(
                    text.contains("no/such/mine.json") && text.contains("there is no directory"),
                    "{text}"
                );
                assert!(text.contains("type a path"), "{text}");
            }
            other => panic!("{other:?}"),
        }
        let nowhere =
            ConfigWork::Save { path: "/proc/x.json".into(), text: "{}".to_owned(), overwrite: false };
        match &heard(nowhere)[..] {
            [Message::Notice(Notice { text, is_error: true, .. })] => {
                assert!(text.contains("cannot write /proc/x.json") && text.contains("type a path"), "{text}");
            }
            other => panic!("{other:?}"),
        }
        let capitals = dir.path().join("中文.JSON");
        std::fs::write(&capitals, "{}").unwrap();
        assert_eq!(list(dir.path()), [path, capitals]);
    }

    #[test]
    fn what_cannot_be_opened_is_told_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let run = dir.path().join("run");
        std::fs::create_dir(&run).unwrap();
        std::os::unix::fs::symlink(&fifo, run.join(ARGS_FILE)).unwrap();
        for (path, told) in [
            (dir.path().to_owned(), "there is no sft_args.json in the directory"),
            (dir.path().join("nope"), "nope: no such file; give a JSON file"),
            (fifo, "pipe is no regular file; give a JSON file"),
            (run.clone(), "is no regular file"),
        ] {
            let error = load(&path).err().unwrap().to_string();
            assert!(error.contains(told) && !error.contains("os error"), "{error}");
        }
        // Nor does a look at such a run wait.
        let details = crate::job::checkpoints::RunDetails::read(&run);
        assert!(details.args.unwrap_err().contains("is no regular file"));
    }

    #[test]
    fn some_rows_of_each_label_are_shown() {
        let row = |i: usize| Row::new(i.to_string(), if i < 90 { "负" } else { "正" });
        let labels = [("负".to_owned(), 90), ("正".to_owned(), 10)];
        let first = shown((0..100).map(row).collect(), &labels);
        let queries: Vec<&str> = first.iter().map(|[query, _]| query.as_str()).collect();
        assert_eq!(queries[..6], ["0", "90", "1", "91", "2", "92"]);
        assert_eq!((queries.len(), queries[19], queries[20], queries[39]), (SHOWN, "99", "10", "29"));
        // Without labels: as they stand.
        let first = shown((0..100).map(row).collect(), &[]);
        assert_eq!((first.len(), first[39][0].as_str()), (SHOWN, "39"));
    }

    #[test]
    fn rows_are_chosen_and_measured_as_for_a_training() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("rows.jsonl");
        let row = |query: &str, label: &str| format!("{{\"query\":\"{query}\",\"response\":\"{label}\"}}\n");
        let rows: String = (0..30).map(|i| row(&"好".repeat(i + 1), ["负", "正"][i % 3 % 2])).collect();
        std::fs::write(&file, rows + "{\"query\": 1\n").unwrap();
        let words = format!(
            "--model_type qwen-demo --model_id_or_path demo/base --custom_train_dataset_path {} \
             --dataset_test_ratio 0.2 --max_length 12",
            file.display()
        );
        let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        let mut args = load_sft(None, &words).unwrap().args;
        let preview = look(&args, &|| true).unwrap().unwrap();
        let chosen = read(&Sources::from(&args)).unwrap();
        let parts = [&preview.train, &preview.validation].map(|p| (p.rows, p.broken));
        assert_eq!(parts, [(chosen.train.len(), 1), (chosen.validation.len(), 0)]);
        assert_eq!(parts[0].0, 24);
        assert!(preview.warnings[0].contains("rows.jsonl, line 31"), "{:?}", preview.warnings);
        assert_eq!(preview.train.labels.iter().map(|(_, n)| n).sum::<u64>(), 24);
        assert_eq!(preview.unit, Unit::Tokens);
        // As the engine counts them.
        let tokenizer = Tokenizer::load(Path::new("demo/base")).unwrap();
        let encoded = crate::data::load::encode(&args, &tokenizer, &chosen).unwrap();
        assert_eq!(preview.train.longer(12) as u64, encoded.train_stats.too_long);
        assert!(encoded.train_stats.too_long > 0);
        let kept = preview.train.lengths.iter().filter(|l| **l <= 12).map(|l| u64::from(*l)).sum::<u64>();
        assert_eq!(kept, encoded.train_stats.tokens.total);

        args.model_id_or_path = Some("no/such/model".to_owned());
        let preview = look(&args, &|| true).unwrap().unwrap();
        assert!(matches!(&preview.unit, Unit::Characters(why) if why.contains("no/such/model")));
        assert!(look(&args, &|| false).unwrap().is_none(), "nobody waits for it");
        args.custom_train_dataset_path = vec!["none.csv".to_owned()];
        assert!(look(&args, &|| true).unwrap_err().to_string().contains("none.csv"));
    }
}

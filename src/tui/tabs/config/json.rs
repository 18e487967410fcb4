//! The editor of long text: all arguments as JSON, or one argument that is long.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::Paragraph;
use serde_json::Value;
use tui_textarea::{CursorMove, Input, TextArea, WrapMode};

use super::edit;
use crate::args::{Draft, Field, Kind, Problem};
use crate::job::human::counted;
use crate::job::inputs::{Inputs, Missing};
use crate::tui::state::State;
use crate::tui::{keys, text, widgets};

/// The longest text, and the most lines of it.
const LONGEST: usize = 1 << 20;
const LINES: usize = 20_000;

/// What is edited.
#[derive(Debug, Clone, Copy)]
enum Subject {
    /// All arguments.
    Whole,
    One(&'static Field),
}

/// The editor over the form.
#[derive(Debug)]
pub struct Editor {
    subject: Subject,
    area: TextArea<'static>,
    /// The draft with the text taken in, and what else is to be said; or why it cannot be.
    verdict: Result<(Draft, Vec<String>), Problem>,
    /// What a training with it would read, where the rules allow it.
    inputs: Option<Inputs>,
    /// The draft that one argument is put into.
    draft: Draft,
    before: String,
    /// It was asked once already to throw a changed text away.
    warned: bool,
}

/// What became of a key.
#[derive(Debug)]
pub enum Edited {
    /// It was not for the editor.
    No,
    Stay,
    /// To be told.
    Tell(String),
    TakenBack,
    Taken(Box<Draft>),
}

impl Editor {
    /// All arguments as JSON.
    pub fn whole(draft: &Draft, state: &State) -> Editor {
        let mut editor = Editor::new(Subject::Whole, draft, draft.to_text());
        editor.area.set_line_number_style(state.theme.dim);
        editor
    }

    /// One argument: a list's items a line each, or text.
    pub fn one(field: &'static Field, draft: &Draft) -> Editor {
        let text = match draft.get(field) {
            Value::Array(items) => {
                let line = |v: &Value| v.as_str().unwrap_or("null").to_owned();
                items.iter().map(line).collect::<Vec<_>>().join("\n")
            }
            Value::String(text) => text,
            _ => String::new(),
        };
        let mut editor = Editor::new(Subject::One(field), draft, text);
        editor.area.set_wrap_mode(WrapMode::Glyph);
        editor.area.move_cursor(CursorMove::Bottom);
        editor.area.move_cursor(CursorMove::End);
        editor
    }

    fn new(subject: Subject, draft: &Draft, text: String) -> Editor {
        let lines = text.trim_end_matches('\n').split('\n').map(clean).collect();
        let area = edit::plain(lines);
        let before = area.lines().join("\n");
        let mut editor = Editor {
            subject,
            area,
            verdict: Ok((draft.clone(), Vec::new())),
            inputs: None,
            draft: draft.clone(),
            before,
            warned: false,
        };
        editor.judge();
        editor
    }

    pub fn handle(&mut self, key: &KeyEvent) -> Edited {
        if keys::TAKE_TEXT.is(key) {
            return match &self.verdict {
                Ok((draft, _)) => Edited::Taken(Box::new(draft.clone())),
                Err(problem) => {
                    if let Some(line) = problem.line {
                        self.area.move_cursor(CursorMove::Jump((line - 1) as u16, 0));
                    }
                    Edited::Tell(problem.message.clone())
                }
            };
        }
        if keys::TAKE_BACK.is(key) {
            if !self.is_changed() || self.warned {
                return Edited::TakenBack;
            }
            self.warned = true;
            return Edited::Tell(
                "The text was changed: Esc once more throws it away, F2 takes it".to_owned(),
            );
        }
        if edit::is_elsewhere(key) {
            return Edited::No;
        }
        self.warned = false;
        if keys::EMPTY.is(key) || keys::UNDO.is(key) {
            match keys::EMPTY.is(key) {
                true => edit::empty(&mut self.area),
                false => _ = self.area.undo(),
            }
            self.judge();
            return Edited::Stay;
        }
        if matches!(key.code, KeyCode::Char(_) | KeyCode::Enter) && !self.has_room(1, 1) {
            return Edited::Tell("the text is as long as it can be".to_owned());
        }
        // To the text area Ctrl+J would be another key.
        let is_new_line = keys::NEW_LINE.is(key);
        let key = if is_new_line { KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE) } else { *key };
        if self.area.input(Input::from(key)) {
            self.judge();
        }
        Edited::Stay
    }

    pub fn paste(&mut self, pasted: &str) -> Edited {
        if !self.has_room(pasted.len(), pasted.matches('\n').count()) {
            return Edited::Tell(format!("too long: {LONGEST} bytes or {LINES} lines at most"));
        }
        let lines: Vec<String> = pasted.split('\n').map(clean).collect();
        self.area.insert_str(lines.join("\n"));
        self.warned = false;
        self.judge();
        Edited::Stay
    }

    fn has_room(&self, bytes: usize, lines: usize) -> bool {
        let now: usize = self.area.lines().iter().map(|l| l.len() + 1).sum();
        now + bytes <= LONGEST && self.area.lines().len() + lines <= LINES
    }

    /// Whether the text is another than at the beginning.
    pub fn is_changed(&self) -> bool {
        self.text() != self.before
    }

    fn text(&self) -> String {
        self.area.lines().join("\n")
    }

    /// Looks at the text as `sft` looks at a file or a flag.
    fn judge(&mut self) {
        let text = self.text();
        self.verdict = match self.subject {
            Subject::Whole => Draft::parse(&text).map(|read| {
                let mut said = read.warnings;
                said.extend(read.problem.map(|p| format!("to be mended before the start: {}", p.message)));
                (read.draft, said)
            }),
            Subject::One(field) => self.judge_one(field, &text),
        };
        let checked = self.verdict.as_ref().ok().and_then(|(draft, _)| draft.check().ok());
        self.inputs = checked.map(|loaded| Inputs::from(&loaded.args));
    }

    pub fn inputs(&self) -> Option<&Inputs> {
        self.inputs.as_ref()
    }

    fn judge_one(&self, field: &'static Field, text: &str) -> Result<(Draft, Vec<String>), Problem> {
        let problem = |message| Problem { key: Some(field.name), line: None, message };
        let value = match field.kind.is_list() {
            true => {
                let items = text.lines().map(str::trim).filter(|l| !l.is_empty());
                items.map(|l| if l == "null" { Value::Null } else { l.into() }).collect()
            }
            false => field.typed(text.trim_end_matches('\n')).map_err(problem)?,
        };
        let mut draft = self.draft.clone();
        draft.set(field, &value).map_err(problem)?;
        let said = draft.check().err().map(|p| format!("to be mended before the start: {}", p.message));
        Ok((draft, said.into_iter().collect()))
    }

    /// `missing`: what of the inputs is not there, once they have been looked for.
    pub fn draw(&self, frame: &mut Frame, area: Rect, missing: Option<Option<&[Missing]>>, state: &State) {
        let theme = &state.theme;
        let title = match self.subject {
            Subject::Whole => " All that differs from the defaults, as JSON ".to_owned(),
            Subject::One(field) if field.kind.is_list() => format!(" {}: one a line ", field.name),
            Subject::One(field) => format!(" {} ", field.name),
        };
        let width = usize::from(area.width).saturating_sub(2);
        let (title_style, said) = match &self.verdict {
            Ok((draft, said)) => {
                let own = |m: &&Missing| matches!(self.subject, Subject::One(field) if field.name == m.key);
                let all = missing.flatten().unwrap_or_default();
                let wrong = all.iter().find(own);
                // What was not looked at yet is not called right.
                let is_named = matches!(self.subject, Subject::One(field) if field.kind == Kind::Paths);
                let sign = if is_named && missing == Some(None) { "…" } else { "✓" };
                let ready = match (self.subject, wrong) {
                    (_, Some(wrong)) => (format!("✗ {}", wrong.message), theme.bad),
                    (Subject::Whole, _) => {
                        let (n, them) = (draft.count(), if draft.count() == 1 { "it" } else { "them" });
                        (format!("✓ {}; F2 takes {them}", counted(n as u64, "argument")), theme.good)
                    }
                    (Subject::One(field), _) => (format!("{sign} {} F2 takes it", field.help), theme.good),
                };
                let taken = wrong.map(|_| ("F2 takes it as it is.".to_owned(), theme.text));
                let rest = all.first().filter(|_| wrong.is_none());
                let rest = rest.map(|m| format!("to be mended before the start: {}", m.message));
                let warnings = said.iter().cloned().chain(rest).map(|s| (s, theme.warning));
                (theme.title, [ready].into_iter().chain(taken).chain(warnings).collect::<Vec<_>>())
            }
            Err(problem) => (theme.bad, vec![(format!("✗ {}", problem.message), theme.bad)]),
        };
        let lines: Vec<Line> = said
            .into_iter()
            .flat_map(|(words, style)| {
                text::wrap(&words, width).into_iter().map(move |l| Line::styled(format!(" {l}"), style))
            })
            .collect();
        let height = (lines.len() as u16).clamp(2, (area.height / 3).max(2));
        let [upper, lower] =
            Layout::vertical([Constraint::Min(0), Constraint::Length(height + 1)]).areas(area);
        let inner = widgets::panel(frame, upper, Line::styled(title, title_style), theme);
        edit::draw(frame, inner, &self.area, state);
        let inner = widgets::panel(frame, lower, Line::default(), theme);
        frame.render_widget(Paragraph::new(lines), inner);
    }
}

/// A line without what would move the cursor; a tab is two blanks.
fn clean(line: &str) -> String {
    text::clean(&line.replace('\t', "  "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::FIELDS;

    fn field(name: &str) -> &'static Field {
        FIELDS.iter().find(|f| f.name == name).unwrap()
    }

    fn press(editor: &mut Editor, code: KeyCode) -> Edited {
        editor.handle(&KeyEvent::new(code, KeyModifiers::NONE))
    }

    #[test]
    fn errors_are_told_with_line_and_key_while_typing() {
        let mut editor = Editor::new(Subject::Whole, &Draft::default(), "{\n}".to_owned());
        editor.area.move_cursor(CursorMove::End);
        editor.paste("\n\"model_type\": \"qwen-demo\",\n\"lora_rank\": \"八\"");
        let problem = editor.verdict.as_ref().unwrap_err();
        assert_eq!((problem.line, problem.key), (Some(3), Some("lora_rank")));
        assert!(
            problem.message.starts_with("line 3: lora_rank is \"八\"; allowed is a whole number"),
            "{problem:?}"
        );
        assert!(matches!(press(&mut editor, KeyCode::F(2)), Edited::Tell(_)), "it is not taken");
        press(&mut editor, KeyCode::Char('"'));
        let problem = editor.verdict.as_ref().unwrap_err();
        assert!(problem.line.is_some() && problem.message.contains("not valid JSON"), "{problem:?}");
        // A changed text is not thrown away at once.
        assert!(matches!(press(&mut editor, KeyCode::Esc), Edited::Tell(_)));
        assert!(matches!(press(&mut editor, KeyCode::Esc), Edited::TakenBack));
    }

    #[test]
    fn ctrl_j_begins_a_line_and_deletes_nothing() {
        let ctrl_j = KeyEvent::new(KeyCode::Char('j'), KeyModifiers::CONTROL);
        let mut editor = Editor::one(field("system"), &Draft::default());
        let before = editor.text();
        editor.handle(&ctrl_j);
        editor.paste("用中文回答");
        assert_eq!(editor.text(), format!("{before}\n用中文回答"));
        let mut line = edit::Line::new("评论 一.csv");
        assert!(!line.handle(&ctrl_j), "it is no key of a line");
        assert_eq!(line.text(), "评论 一.csv");
    }

    #[test]
    fn what_is_missing_or_unknown_is_told_and_the_rest_taken() {
        let mut editor =
            Editor::new(Subject::Whole, &Draft::default(), "{\"lora_rank\": 4, \"x\": 1}".to_owned());
        let (_, said) = editor.verdict.as_ref().unwrap();
        assert!(said[0].contains("x (unknown)") && said[1].contains("model_type is missing"), "{said:?}");
        match press(&mut editor, KeyCode::F(2)) {
            Edited::Taken(draft) => assert_eq!(draft.get(field("lora_rank")), 4),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_list_is_an_item_a_line() {
        let mut draft = Draft::default();
        let paths = field("custom_train_dataset_path");
        draft.set(paths, &serde_json::json!(["评论 一.csv"])).unwrap();
        let mut editor = Editor::one(paths, &draft);
        press(&mut editor, KeyCode::Enter);
        editor.paste("b.jsonl\n\n");
        match press(&mut editor, KeyCode::F(2)) {
            Edited::Taken(draft) => {
                assert_eq!(draft.get(paths), serde_json::json!(["评论 一.csv", "b.jsonl"]))
            }
            other => panic!("{other:?}"),
        }
        let mut editor = Editor::one(field("system"), &Draft::default());
        assert!(!editor.text().contains('x'));
        editor.paste("你是\t助手。\nBe brief.\n");
        match press(&mut editor, KeyCode::F(2)) {
            Edited::Taken(draft) => assert_eq!(draft.get(field("system")), "你是  助手。\nBe brief."),
            other => panic!("{other:?}"),
        }
    }
}

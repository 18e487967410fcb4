//! The form as data: the arguments by group, what is set, what is wrong, where one is.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::args::{Draft, FIELDS, Field, Group, Loaded, Problem, ReadDraft, value_text};
use crate::hub::Sort;
use crate::hub::names::first_hub;
use crate::hub::shelf::Item;
use crate::job::human::counted;
use crate::job::inputs::{Inputs, Missing};
use crate::tui::configs::Names;

/// A line of the list.
#[derive(Debug, Clone, Copy)]
pub enum Row {
    Group(Group),
    Field(&'static Field),
}

impl PartialEq for Row {
    fn eq(&self, other: &Row) -> bool {
        match (self, other) {
            (Row::Group(a), Row::Group(b)) => a == b,
            (Row::Field(a), Row::Field(b)) => a.name == b.name,
            _ => false,
        }
    }
}

/// Inputs that were looked for, and what of them is not there.
type Found = Vec<(Inputs, Vec<Missing>, Names)>;

/// The arguments of the next job.
#[derive(Debug)]
pub struct Form {
    pub draft: Draft,
    /// As it was loaded or saved.
    pub saved: Draft,
    pub file: Option<PathBuf>,
    /// What the file's loading has warned of.
    pub warnings: Vec<String>,
    /// The draft with every rule applied, or what is wrong with it.
    pub checked: Result<Loaded, Problem>,
    /// What a training with `checked` would read.
    pub inputs: Option<Inputs>,
    found: Found,
    /// The values of `checked`, by name.
    resolved: Map<String, Value>,
    pub marked: Row,
    closed: BTreeSet<Group>,
    filter: String,
}

impl Default for Form {
    fn default() -> Form {
        let draft = Draft::default();
        let mut form = Form {
            saved: draft.clone(),
            checked: draft.check(),
            draft,
            file: None,
            warnings: Vec::new(),
            inputs: None,
            found: Found::default(),
            resolved: Map::new(),
            marked: Row::Group(Group::Model),
            closed: BTreeSet::from([Group::Elsewhere]),
            filter: String::new(),
        };
        form.marked = form.rows().get(1).copied().unwrap_or(form.marked);
        form
    }
}

impl Form {
    /// Begins anew with what was loaded.
    pub fn load(&mut self, file: Option<PathBuf>, read: ReadDraft) {
        self.draft = read.draft;
        self.saved = self.draft.clone();
        self.file = file;
        self.warnings = read.warnings;
        self.check();
    }

    /// Puts another draft in the place of this one.
    pub fn replace(&mut self, draft: Draft) {
        self.draft = draft;
        self.check();
    }

    /// Sets an argument.
    ///
    /// # Errors
    /// Why it cannot have this value.
    pub fn set(&mut self, field: &'static Field, value: &Value) -> Result<(), String> {
        self.draft.set(field, value)?;
        self.check();
        Ok(())
    }

    /// Sets what names `item`; returns what is to be said of that.
    ///
    /// # Errors
    /// Why it cannot be set.
    pub fn take(&mut self, item: &Item) -> Result<String, String> {
        let mut draft = self.draft.clone();
        let field = |name: &str| FIELDS.iter().find(|field| field.name == name);
        let is_set = |draft: &Draft, name: &str| field(name).is_some_and(|field| draft.is_set(field));
        let mut set = |name: &str, value: Option<Value>| match (field(name), value) {
            (Some(field), Some(value)) => draft.set(field, &value),
            (Some(field), None) => {
                draft.reset(field);
                Ok(())
            }
            (None, _) => Ok(()),
        };
        let mut told = match (item.sort, &item.rows) {
            (Sort::Dataset, None) => {
                set("dataset", Some(vec![item.name.clone()].into()))?;
                format!("dataset is {}", item.name)
            }
            (Sort::Dataset, Some(rows)) => {
                let value = |files: &[PathBuf]| {
                    let paths = files.iter().map(|file| file.display().to_string());
                    (!files.is_empty()).then(|| Value::from(paths.collect::<Vec<_>>()))
                };
                set("dataset", value(&rows.train))?;
                // Those of another data set say nothing of this one.
                set("custom_val_dataset_path", value(&rows.validation))?;
                format!("dataset is {} of {}", counted(rows.train.len() as u64, "file"), item.name)
            }
            (Sort::Model, _) => {
                if let Some(model_type) = &item.model_type {
                    set("model_type", Some(model_type.clone().into()))?;
                }
                set("model_id_or_path", Some(item.name.clone().into()))?;
                // They said where another one lies.
                set("model_cache_dir", None)?;
                let revision = item.page.as_ref().and_then(|page| page.revision.clone());
                let mut told = format!("model_id_or_path is {}", item.name);
                if let Some(page) = &item.page {
                    // Not what the form had for another one.
                    let hub = Some(page.hub).filter(|hub| *hub != first_hub(None));
                    set("hub", hub.and_then(|hub| serde_json::to_value(hub).ok()))?;
                    if hub.is_some() {
                        told += &format!(", hub is {}", page.hub);
                    }
                }
                if let Some(revision) = &revision {
                    told += &format!(", model_revision is {revision}");
                }
                set("model_revision", revision.map(Value::from))?;
                told
            }
        };
        if item.sort == Sort::Dataset {
            if let Some(rows) = item.rows.as_ref().filter(|rows| !rows.validation.is_empty()) {
                let files = counted(rows.validation.len() as u64, "file");
                told += &format!(", custom_val_dataset_path is {files} of it");
            } else if is_set(&draft, "custom_val_dataset_path") {
                told += "; the rows of custom_val_dataset_path are validation rows as well";
            }
            if is_set(&draft, "custom_train_dataset_path") {
                told += "; the rows of custom_train_dataset_path are trained on as well";
            }
        }
        self.replace(draft);
        Ok(told)
    }

    pub fn reset(&mut self, field: &'static Field) {
        self.draft.reset(field);
        self.check();
    }

    /// The next choice, or the one before.
    ///
    /// # Errors
    /// What is no choice, and a choice of one.
    pub fn choose(&mut self, field: &'static Field, by: isize) -> Result<(), String> {
        let Some(choices) = field.choices() else {
            return Err(format!("{}: Enter edits it; allowed is {}", field.name, field.allowed()));
        };
        let now = self.draft.get(field);
        let n = choices.len() as isize;
        let next = match choices.iter().position(|c| *c == now) {
            Some(i) if n > 1 => (i as isize + by).rem_euclid(n) as usize,
            Some(_) => return Err(only_choice(field)),
            None => 0,
        };
        match choices.get(next) {
            Some(value) => self.set(field, value),
            None => Err(only_choice(field)),
        }
    }

    /// Whether model and data are there; none where that is not known.
    pub fn inputs_found(&self) -> Option<Result<(), &Missing>> {
        let missing = self.missing(self.inputs.as_ref()?)?;
        Some(missing.first().map_or(Ok(()), Err))
    }

    /// What of `inputs` is not there; none where that is not known.
    pub fn missing(&self, inputs: &Inputs) -> Option<&[Missing]> {
        self.found.iter().find(|(known, ..)| known == inputs).map(|(_, missing, _)| missing.as_slice())
    }

    /// What the names of the form as it is stand for; none where that is not known.
    pub fn names(&self) -> Option<&Names> {
        let inputs = self.inputs.as_ref()?;
        self.found.iter().find(|(known, ..)| known == inputs).map(|(.., names)| names)
    }

    /// Keeps what was found, and of what was found before only what is of the form as it is: what is typed meanwhile
    /// may be thrown away.
    pub fn hear_found(&mut self, inputs: Inputs, missing: Vec<Missing>, names: Names) {
        self.found.retain(|(known, ..)| Some(known) == self.inputs.as_ref() && *known != inputs);
        self.found.push((inputs, missing, names));
    }

    /// The argument that stands in the way of a start.
    pub fn wrong(&self) -> Option<&'static str> {
        match &self.checked {
            Err(problem) => problem.key,
            Ok(_) => self.inputs_found()?.err().map(|missing| missing.key),
        }
    }

    /// Whether it differs from what was loaded or saved.
    pub fn is_changed(&self) -> bool {
        self.draft != self.saved
    }

    /// The marked line; none where the words of the filter leave nothing to mark.
    pub fn marked_row(&self) -> Option<Row> {
        self.rows().contains(&self.marked).then_some(self.marked)
    }

    /// The marked argument.
    pub fn field(&self) -> Option<&'static Field> {
        match self.marked_row() {
            Some(Row::Field(field)) => Some(field),
            Some(Row::Group(_)) | None => None,
        }
    }

    /// What the rules make of an argument that is not set.
    pub fn derived(&self, field: &Field) -> Option<String> {
        if !self.draft.get(field).is_null() {
            return None;
        }
        self.resolved.get(field.name).filter(|v| !v.is_null()).map(value_text)
    }

    fn check(&mut self) {
        self.checked = self.draft.check();
        self.inputs = self.checked.as_ref().ok().map(|l| Inputs::from(&l.args));
        self.resolved = self.checked.as_ref().map(|l| l.args.to_json()).unwrap_or_default();
    }

    /// The lines of the list.
    pub fn rows(&self) -> Vec<Row> {
        let words: Vec<String> = self.filter.split_whitespace().map(str::to_lowercase).collect();
        let wanted = |f: &Field| {
            let text = format!("{} {}", f.name, f.help).to_lowercase();
            words.iter().all(|w| text.contains(w.as_str()))
        };
        let mut rows = Vec::new();
        for group in Group::ALL {
            let fields = FIELDS.iter().filter(|f| f.group == group && wanted(f));
            let open = !words.is_empty() || !self.closed.contains(&group);
            let mut fields = fields.peekable();
            if fields.peek().is_some() {
                rows.push(Row::Group(group));
                rows.extend(fields.filter(|_| open).map(Row::Field));
            }
        }
        rows
    }

    /// How many arguments of a group differ from their defaults.
    pub fn set_in(&self, group: Group) -> usize {
        FIELDS.iter().filter(|f| f.group == group && self.draft.is_set(f)).count()
    }

    /// Whether a group's arguments are in the list.
    pub fn is_open(&self, group: Group) -> bool {
        !self.filter.trim().is_empty() || !self.closed.contains(&group)
    }

    /// Opens or closes a group.
    pub fn fold(&mut self, group: Group) {
        if !self.closed.remove(&group) {
            self.closed.insert(group);
        }
    }

    /// Moves the mark by so many lines, and not beyond the ends.
    pub fn step(&mut self, by: isize) {
        let rows = self.rows();
        let at = rows.iter().position(|r| *r == self.marked).unwrap_or(0);
        let last = rows.len().saturating_sub(1);
        if let Some(row) = rows.get(at.saturating_add_signed(by).min(last)) {
            self.marked = *row;
        }
    }

    /// Marks an argument, wherever it hides.
    pub fn show(&mut self, name: &str) {
        let Some(field) = FIELDS.iter().find(|f| f.name == name) else { return };
        self.closed.remove(&field.group);
        if !self.rows().contains(&Row::Field(field)) {
            self.filter.clear();
        }
        self.marked = Row::Field(field);
    }

    pub fn filter(&self) -> &str {
        &self.filter
    }

    /// Shows only the arguments that have all of these words in name or meaning.
    pub fn set_filter(&mut self, words: String) {
        self.filter = words;
        // What was found stays in sight when everything is shown again.
        if let (Row::Field(field), true) = (self.marked, self.filter.trim().is_empty()) {
            self.closed.remove(&field.group);
        }
        let rows = self.rows();
        if !rows.contains(&self.marked) {
            let field = rows.iter().find(|r| matches!(r, Row::Field(_)));
            self.marked = field.copied().unwrap_or(self.marked);
        }
    }
}

fn only_choice(field: &Field) -> String {
    use crate::args::Status::{Derived, NoEffect, Refused, Works};
    match field.status {
        Refused(why) => format!("{}: {why}", field.name),
        Derived(parent) => format!("{} follows from {parent}; set that", field.name),
        Works | NoEffect(_) => format!("{}: there is no other choice", field.name),
    }
}

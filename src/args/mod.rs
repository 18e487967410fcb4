//! SWIFT's arguments: names, defaults, derived values and checks; JSON and flags in, JSON out.
//!
//! One table ([`FIELDS`]) drives the checks, `--help`, the file of arguments and every form. Values are laid
//! over each other (defaults, file, flags), each checked as it comes in; then SWIFT's rules fill in what was
//! left open.

mod changes;
mod chosen;
mod draft;
mod field;
mod flags;
mod infer;
mod kind;
mod load;
pub mod models;
pub mod modules;
#[cfg(test)]
mod page;
mod paths;
mod rules;
pub mod schedule;
mod sft;
mod uses;
mod values;

pub use changes::Change;
pub use chosen::{chosen, chosen_of, read_object};
pub use draft::{Draft, Problem, ReadDraft, same, value_text};
pub use field::{Field, Group, Literal, Status, help_text};
pub use infer::{INFER_FIELDS, InferArgs};
pub use kind::{Kind, Range};
pub use load::{ARGS_FILE, Loaded, load_infer, load_infer_texts, load_merge, load_sft};
pub use paths::{adapter_file, typed};
pub use sft::{FIELDS, GradientCheckpointing, SftArgs};
pub use uses::{CLASSIFY, INFER, MERGE, Uses};
pub use values::check_plain;

//! The model types this program knows: the first Qwen family and the demo's base.

/// One entry of SWIFT's model table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Model {
    pub model_type: &'static str,
    /// Its id on ModelScope; the demo's base lies on no hub.
    pub id: Option<&'static str>,
    /// Its id on Hugging Face.
    pub hf: Option<&'static str>,
    /// The template that `AUTO` stands for.
    pub template_type: &'static str,
}

const fn base(model_type: &'static str, id: &'static str, hf: &'static str) -> Model {
    Model { model_type, id: Some(id), hf: Some(hf), template_type: "default-generation" }
}

const fn chat(model_type: &'static str, id: &'static str, hf: &'static str) -> Model {
    Model { model_type, id: Some(id), hf: Some(hf), template_type: "qwen" }
}

pub static MODELS: [Model; 9] = [
    base("qwen-1_8b", "qwen/Qwen-1_8B", "Qwen/Qwen-1_8B"),
    chat("qwen-1_8b-chat", "qwen/Qwen-1_8B-Chat", "Qwen/Qwen-1_8B-Chat"),
    base("qwen-7b", "qwen/Qwen-7B", "Qwen/Qwen-7B"),
    chat("qwen-7b-chat", "qwen/Qwen-7B-Chat", "Qwen/Qwen-7B-Chat"),
    base("qwen-14b", "qwen/Qwen-14B", "Qwen/Qwen-14B"),
    chat("qwen-14b-chat", "qwen/Qwen-14B-Chat", "Qwen/Qwen-14B-Chat"),
    base("qwen-72b", "qwen/Qwen-72B", "Qwen/Qwen-72B"),
    chat("qwen-72b-chat", "qwen/Qwen-72B-Chat", "Qwen/Qwen-72B-Chat"),
    Model { model_type: "qwen-demo", id: None, hf: None, template_type: "default-generation" },
];

pub const MODEL_TYPES: &[&str] = &{
    let mut names = [""; MODELS.len()];
    let mut i = 0;
    while i < names.len() {
        names[i] = MODELS[i].model_type;
        i += 1;
    }
    names
};

/// The linear layers of a Qwen-1's blocks, by the ends of their names: what `lora_target_modules` ALL stands for.
/// `lm_head` is none of them, as in SWIFT and PEFT.
pub const LINEAR_LAYERS: [&str; 4] = ["c_attn", "c_proj", "w1", "w2"];

/// What `lora_target_modules` DEFAULT stands for.
pub const DEFAULT_TARGETS: [&str; 1] = ["c_attn"];

/// The templates, under SWIFT's names, with AUTO for the model type's own. Another name of `qwen` is `chatml`.
pub const TEMPLATE_TYPES: &[&str] =
    &["AUTO", "default-generation", "default-generation-bos", "default", "qwen"];

/// The hubs, as arguments name them.
pub const HUBS: &[&str] = &["modelscope", "hf"];

pub fn by_type(model_type: &str) -> Option<&'static Model> {
    MODELS.iter().find(|m| m.model_type == model_type)
}

/// The model with this id on a hub, in any case (Hugging Face writes `Qwen/`, ModelScope `qwen/`).
pub fn by_id(id: &str) -> Option<&'static Model> {
    MODELS.iter().find(|m| m.id.is_some_and(|known| known.eq_ignore_ascii_case(id)))
}

/// The longest owner or name that is taken for one.
const LONGEST: usize = 96;

/// Whether a text has the form of a hub's id, `owner/name`: letters, digits, `-`, `_` and `.`, and not a path such as
/// `../models`.
pub fn is_id(text: &str) -> bool {
    let part = |part: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        !part.is_empty() && part.len() <= LONGEST && !part.starts_with(['.', '-']) && part.chars().all(fits)
    };
    text.split_once('/').is_some_and(|(owner, name)| part(owner) && part(name))
}

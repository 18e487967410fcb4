//! Files of weights. An even first byte: the rest is the file. An odd one: a small model's header is the rest up to a
//! zero byte, its length is written before it, and what follows are the numbers; so mutations get beyond the length.

use std::sync::OnceLock;

use qwen_tui::model::{Places, QwenConfig, Shard};

use super::place::{choice, dir, for_people, write};

/// A model of one layer, whose tensors are told in a few lines.
pub const CONFIG: &str = r#"{"model_type":"qwen","hidden_size":2,"num_hidden_layers":1,"num_attention_heads":1,
    "kv_channels":2,"intermediate_size":4,"vocab_size":3}"#;

/// Bytes of the numbers that a header may promise.
const NUMBERS: usize = 4096;

pub fn run(bytes: &[u8]) {
    let (how, rest) = choice(bytes);
    let file = match how % 2 {
        0 => rest.to_vec(),
        _ => {
            let cut = rest.iter().position(|b| *b == 0).unwrap_or(rest.len());
            let header = &rest[..cut];
            let numbers = match how % 4 {
                1 => promised(header),
                _ => rest.get(cut + 1..).unwrap_or_default().to_vec(),
            };
            [&(header.len() as u64).to_le_bytes()[..], header, &numbers].concat()
        }
    };
    let path = write("weights/model.safetensors", &file);
    let shard = for_people(Shard::open(&path));
    if let Some(tensors) = shard.as_ref().and_then(|shard| for_people(shard.tensors())) {
        // Each has as many bytes as its shape says, all within the file.
        let mut total = 0;
        for (_, view) in tensors.iter() {
            let count: usize = view.shape().iter().product();
            assert_eq!(view.data().len() * 8, count * view.dtype().bitsize());
            total += view.data().len();
        }
        assert!(total + 8 <= file.len());
    }
    if let Some(places) = for_people(Places::find(&dir().join("weights"), config())) {
        assert!(config().tensors().iter().all(|(name, _)| places.holds(name, 0)));
    }
}

fn config() -> &'static QwenConfig {
    static READ: OnceLock<QwenConfig> = OnceLock::new();
    READ.get_or_init(|| {
        let json = serde_json::from_str(CONFIG).expect("it is JSON");
        QwenConfig::from_json(json).expect("it is a config")
    })
}

/// As many bytes as the offsets in `header` reach, where that is a small number.
fn promised(header: &[u8]) -> Vec<u8> {
    let ends =
        header.split(|b| !b.is_ascii_digit()).filter_map(|n| std::str::from_utf8(n).ok()?.parse().ok());
    vec![0; ends.filter(|n: &usize| *n <= NUMBERS).max().unwrap_or(0)]
}

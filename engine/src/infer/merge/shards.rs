//! The files of a merged model: which tensor goes into which, the index over them, and their bytes.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Write;
use std::path::Path;

use qwen_tui::error::{Context, Result};
use qwen_tui::run::write_json;
use safetensors::tensor::{Metadata, TensorInfo};
use serde_json::json;

use super::piece::Piece;

/// Files of at most `limit` bytes of tensors, in the tensors' order; a larger tensor has a file of its own.
pub fn plan<'p, 'a>(pieces: &'p [Piece<'a>], limit: u64) -> Vec<Vec<&'p Piece<'a>>> {
    let mut files: Vec<Vec<&Piece<'_>>> = vec![Vec::new()];
    let mut bytes = 0;
    for piece in pieces {
        if bytes + piece.len() > limit && files.last().is_some_and(|file| !file.is_empty()) {
            files.push(Vec::new());
            bytes = 0;
        }
        bytes += piece.len();
        if let Some(file) = files.last_mut() {
            file.push(piece);
        }
    }
    files
}

/// Writes the files into `dir`: `model.safetensors`, or `model-0000K-of-0000N.safetensors` and an index whose
/// `total_size` is `total`. `written` hears of the bytes of each part.
pub fn write(
    dir: &Path,
    plan: &[Vec<&Piece<'_>>],
    total: u64,
    written: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<()> {
    if let [one] = plan {
        return write_file(&dir.join("model.safetensors"), one, written);
    }
    let mut map: BTreeMap<&str, String> = BTreeMap::new();
    for (number, pieces) in plan.iter().enumerate() {
        let name = format!("model-{:05}-of-{:05}.safetensors", number + 1, plan.len());
        write_file(&dir.join(&name), pieces, written)?;
        map.extend(pieces.iter().map(|piece| (piece.name.as_str(), name.clone())));
    }
    let index = json!({"metadata": {"total_size": total}, "weight_map": map});
    write_json(&dir.join("model.safetensors.index.json"), &index)
}

/// One file: the length of the header, the header padded with blanks to a multiple of 8, the tensors.
fn write_file(path: &Path, pieces: &[&Piece<'_>], written: &mut dyn FnMut(u64) -> Result<()>) -> Result<()> {
    let mut pieces = pieces.to_vec();
    // Wide elements first, as the format's own writer has them: every tensor is aligned.
    pieces.sort_by(|a, b| b.dtype.cmp(&a.dtype).then(a.name.cmp(&b.name)));
    let mut end = 0;
    let infos = pieces
        .iter()
        .map(|piece| {
            let begin = end;
            end += piece.len() as usize;
            let info =
                TensorInfo { dtype: piece.dtype, shape: piece.shape.clone(), data_offsets: (begin, end) };
            (piece.name.clone(), info)
        })
        .collect();
    let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let header = Metadata::new(Some(format), infos).internal(path.display())?;
    let mut header = serde_json::to_vec(&header).internal(path.display())?;
    header.resize(header.len().next_multiple_of(8), b' ');

    let mut file = File::create(path).user(path.display())?;
    let start = [&(header.len() as u64).to_le_bytes()[..], &header].concat();
    file.write_all(&start).user(path.display())?;
    for piece in pieces {
        piece.write(&mut |bytes| {
            file.write_all(bytes).user(path.display())?;
            written(bytes.len() as u64)
        })?;
    }
    file.sync_all().user(path.display())
}

//! Paths that outlive the folder they were typed in.

use std::path::{Path, PathBuf};

use super::sft::SftArgs;

impl SftArgs {
    /// Makes the paths of model, data and adapter absolute where they exist, as SWIFT does: a checkpoint's
    /// `sft_args.json` is read from any folder. Names that are no file or directory here, such as a hub's ids, stay.
    /// A checkpoint named by `init_adapter` becomes its adapter's file.
    pub fn make_paths_absolute(&mut self) {
        if let Some(file) = self.init_adapter.as_ref().and_then(|path| adapter_file(Path::new(path)))
            && let Some(text) = file.to_str()
        {
            self.init_adapter = Some(text.to_owned());
        }
        self.output_dir = without_dots(&self.output_dir);
        // It need not exist yet.
        self.logging_dir = self.logging_dir.take().map(|dir| {
            let absolute = std::path::absolute(&dir).ok().and_then(|path| path.to_str().map(str::to_owned));
            without_dots(&absolute.unwrap_or(dir))
        });
        let named = [&mut self.model_id_or_path, &mut self.model_cache_dir, &mut self.init_adapter];
        let listed =
            [&mut self.dataset, &mut self.custom_train_dataset_path, &mut self.custom_val_dataset_path];
        for path in named.into_iter().flatten().chain(listed.into_iter().flatten()) {
            if Path::new(path).exists()
                && let Ok(absolute) = std::path::absolute(&path)
                && let Some(text) = absolute.to_str()
            {
                *path = without_dots(text);
            }
        }
    }
}

/// A path as somebody typed it: `~` and what begins with `~/` lies in the home directory, as a shell has it.
pub fn typed(path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), std::env::var_os("HOME").filter(|home| !home.is_empty())) {
        (Ok(rest), Some(home)) if rest.as_os_str().is_empty() => home.into(),
        (Ok(rest), Some(home)) => Path::new(&home).join(rest),
        _ => path.to_owned(),
    }
}

/// The adapter's weights in a checkpoint's directory, SWIFT's or PEFT's; none where it has several.
pub fn adapter_file(dir: &Path) -> Option<PathBuf> {
    let name = "adapter_model.safetensors";
    let folders = std::fs::read_dir(dir).ok()?.flatten().map(|entry| entry.path());
    let mut files =
        folders.chain([dir.to_owned()]).map(|folder| folder.join(name)).filter(|file| file.is_file());
    let only = files.next().filter(|_| files.next().is_none())?;
    [dir.join("default"), dir.to_owned()].iter().any(|folder| only.parent() == Some(folder)).then_some(only)
}

/// `path` with each `..` resolved, as far as it exists.
fn without_dots(path: &str) -> String {
    let dots = |path: &Path| path.components().any(|part| part == std::path::Component::ParentDir);
    let path_there = Path::new(path);
    let Some(there) = path_there.ancestors().find(|p| p.exists()).filter(|p| dots(p)) else {
        return path.to_owned();
    };
    let resolved = there.canonicalize().ok().zip(path_there.strip_prefix(there).ok());
    let resolved =
        resolved.map(|(there, rest)| if rest.as_os_str().is_empty() { there } else { there.join(rest) });
    resolved.and_then(|path| path.to_str().map(str::to_owned)).unwrap_or_else(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::load_sft;
    use super::*;

    #[test]
    fn the_home_directory_is_taken_in_every_path() {
        let Some(home) = std::env::var_os("HOME").map(PathBuf::from) else { return };
        let under = |name: &str| home.join(name).display().to_string();
        let words = "--model_type qwen-7b --model_id_or_path ~/m --dataset jd-sentiment-zh ~/评论.csv a~/b \
                     --custom_val_dataset_path ~/v.csv --output_dir=~/out";
        let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        let args = load_sft(None, &words).unwrap().args;
        assert_eq!(args.model_id_or_path, Some(under("m")));
        assert_eq!(args.dataset, ["jd-sentiment-zh".to_owned(), under("评论.csv"), "a~/b".to_owned()]);
        assert_eq!(args.custom_val_dataset_path, [under("v.csv")]);
        assert!(args.output_dir.starts_with(&under("out")), "{}", args.output_dir);
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.json");
        std::fs::write(&file, r#"{"model_type":"qwen-7b","dataset":"~/a.csv","init_adapter":"~"}"#).unwrap();
        let args = load_sft(Some(&file), &[]).unwrap().args;
        assert_eq!(
            (args.dataset, args.init_adapter),
            (vec![under("a.csv")], home.to_str().map(str::to_owned))
        );
        assert_eq!(typed(Path::new("~somebody/m")), Path::new("~somebody/m"));
    }

    #[test]
    fn what_exists_becomes_absolute_and_names_stay() {
        let words =
            "--model_type qwen-7b --dataset jd-sentiment-zh Cargo.toml --custom_val_dataset_path none.csv";
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        let mut args = load_sft(None, &words).unwrap().args;
        args.make_paths_absolute();
        // Tests run in the package's folder.
        let here = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        assert_eq!(args.dataset, ["jd-sentiment-zh", here]);
        assert_eq!(args.custom_val_dataset_path, ["none.csv"]);
        assert_eq!(args.model_id_or_path.as_deref(), Some("qwen/Qwen-7B"));

        let checkpoint = tempfile::tempdir().unwrap();
        let dir = checkpoint.path().canonicalize().unwrap();
        std::fs::create_dir_all(dir.join("default")).unwrap();
        let weights = dir.join("default/adapter_model.safetensors");
        std::fs::write(&weights, "").unwrap();
        args.init_adapter = Some(dir.join("default/..").display().to_string());
        args.make_paths_absolute();
        assert_eq!(args.init_adapter.as_deref(), weights.to_str());
        assert_eq!(
            without_dots(&dir.join("default/../new/run").display().to_string()),
            dir.join("new/run").display().to_string()
        );
        assert_eq!(without_dots("a/b"), "a/b");
    }

    #[test]
    fn of_several_adapters_none_is_the_checkpoints() {
        let dir = tempfile::tempdir().unwrap();
        let file = |folder: &str| dir.path().join(folder).join("adapter_model.safetensors");
        for folder in ["default", "second"] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
            std::fs::write(file(folder), "").unwrap();
        }
        assert_eq!(adapter_file(dir.path()), None);
        std::fs::remove_file(file("second")).unwrap();
        assert_eq!(adapter_file(dir.path()), Some(file("default")));
        std::fs::rename(file("default"), file("second")).unwrap();
        assert_eq!(adapter_file(dir.path()), None, "a run's checkpoint is not the run's adapter");
        std::fs::write(file(""), "").unwrap();
        std::fs::remove_file(file("second")).unwrap();
        assert_eq!(adapter_file(dir.path()), Some(dir.path().join("adapter_model.safetensors")));
    }
}

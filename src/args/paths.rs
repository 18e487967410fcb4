//! Paths that outlive the folder they were typed in.

use std::path::Path;

use super::sft::SftArgs;

impl SftArgs {
    /// Makes the paths of model, data and adapter absolute where they exist, as SWIFT does: a checkpoint's
    /// `sft_args.json` is read from any folder. Names that are no file or directory here, such as a hub's ids, stay.
    pub fn make_paths_absolute(&mut self) {
        let named = [&mut self.model_id_or_path, &mut self.model_cache_dir, &mut self.init_adapter];
        let listed =
            [&mut self.dataset, &mut self.custom_train_dataset_path, &mut self.custom_val_dataset_path];
        for path in named.into_iter().flatten().chain(listed.into_iter().flatten()) {
            if Path::new(path).exists()
                && let Ok(absolute) = std::path::absolute(&path)
                && let Some(text) = absolute.to_str()
            {
                *path = text.to_owned();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::load_sft;

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
    }
}

//! The texts sent before, as the arrow keys walk through them.

/// Texts kept in memory.
const KEPT: usize = 1000;

/// Texts sent, oldest first, and where among them one is.
#[derive(Debug, Default)]
pub struct Recall {
    texts: Vec<String>,
    /// Index of the text shown; none: what is being written.
    at: Option<usize>,
    /// What was being written when the walk began.
    draft: String,
}

impl Recall {
    /// Puts the texts of earlier sessions before those of this one.
    pub fn earlier(&mut self, texts: &[String]) {
        self.texts.splice(0..0, texts.iter().cloned());
        self.at = self.at.map(|at| at + texts.len());
        self.shorten();
    }

    /// A text has been sent; true where it is another than the one before.
    pub fn sent(&mut self, text: &str) -> bool {
        self.at = None;
        self.draft.clear();
        if self.texts.last().is_some_and(|last| last == text) {
            return false;
        }
        self.texts.push(text.to_owned());
        self.shorten();
        true
    }

    /// Whether `text` has been sent.
    pub fn has(&self, text: &str) -> bool {
        self.texts.iter().any(|sent| sent == text)
    }

    /// Whether another text is shown than the one that was being written.
    pub fn holds_draft(&self) -> bool {
        self.at.is_some() && !self.draft.trim().is_empty()
    }

    /// The text before the one shown; `now` is what stands there.
    pub fn older(&mut self, now: &str) -> Option<&str> {
        let at = match self.at {
            Some(at) => at.checked_sub(1)?,
            None => {
                let last = self.texts.len().checked_sub(1)?;
                now.clone_into(&mut self.draft);
                last
            }
        };
        self.at = Some(at);
        self.texts.get(at).map(String::as_str)
    }

    /// The text after the one shown; after the last comes what was being written.
    pub fn newer(&mut self) -> Option<&str> {
        let at = self.at? + 1;
        if at < self.texts.len() {
            self.at = Some(at);
            return self.texts.get(at).map(String::as_str);
        }
        self.at = None;
        Some(&self.draft)
    }

    fn shorten(&mut self) {
        let over = self.texts.len().saturating_sub(KEPT);
        self.texts.drain(..over);
        self.at = self.at.map(|at| at.saturating_sub(over));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_back_and_forth_ends_at_what_was_being_written() {
        let mut recall = Recall::default();
        assert!(recall.older("x").is_none() && recall.newer().is_none());
        assert!(recall.sent("二") && recall.sent("三") && !recall.sent("三"));
        recall.earlier(&["零".into(), "一".into()]);
        let back: Vec<_> = std::iter::from_fn(|| recall.older("草稿").map(str::to_owned)).collect();
        assert_eq!(back, ["三", "二", "一", "零"]);
        let forth: Vec<_> = std::iter::from_fn(|| recall.newer().map(str::to_owned)).collect();
        assert_eq!(forth, ["一", "二", "三", "草稿"]);
        assert_eq!(recall.newer(), None);
        // What comes of a text found again is the newest one.
        assert_eq!(recall.older(""), Some("三"));
        assert!(recall.sent("一"));
        assert_eq!(recall.older(""), Some("一"));
    }

    #[test]
    fn it_is_bounded_and_news_of_earlier_sessions_do_not_move_the_place() {
        let mut recall = Recall::default();
        recall.sent("now");
        assert_eq!(recall.older(""), Some("now"));
        recall.earlier(&["a".into(), "b".into()]);
        assert_eq!(recall.older(""), Some("b"));
        for i in 0..2 * KEPT {
            recall.sent(&i.to_string());
        }
        assert_eq!(recall.texts.len(), KEPT);
        assert_eq!(recall.older(""), Some("1999"));
    }
}

/// What a loop fails for, round after round: news once for each reason, and
/// again after all went well.
#[derive(Debug, Default)]
pub struct News(Option<String>);

impl News {
    /// Whether it fails for another reason than the last time.
    pub fn is(&mut self, why: impl ToString) -> bool {
        let why = Some(why.to_string());
        let is_news = self.0 != why;
        self.0 = why;
        is_news
    }

    /// All went well. Whether it failed before.
    pub fn over(&mut self) -> bool {
        self.0.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_news_once_and_again_after_another_or_none() {
        let mut news = News::default();
        assert!(!news.over());
        let told = ["refused", "refused", "away", "refused", "refused"].map(|it| news.is(it));
        assert_eq!(told, [true, false, true, true, false]);
        assert!(news.over());
        assert!(news.is("refused"));
    }
}

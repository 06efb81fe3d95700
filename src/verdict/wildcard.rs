//! Text with `*` and `?`, as rules name sources, labels and places.

/// A pattern: `*` stands for any text, `?` for one character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wildcard(Vec<char>);

impl Wildcard {
    /// A pattern; every text is one.
    pub(super) fn new(pattern: &str) -> Self {
        Self(pattern.chars().collect())
    }

    /// Whether it has neither `*` nor `?`.
    pub(super) fn is_plain(&self) -> bool {
        !self.0.iter().any(|c| matches!(c, '*' | '?'))
    }

    /// Number of characters that are neither `*` nor `?`: how much it says.
    pub(super) fn weight(&self) -> usize {
        self.0.iter().filter(|c| !matches!(c, '*' | '?')).count()
    }

    /// Whether the whole text fits, letter case of ASCII apart.
    ///
    /// Goes back to the last `*` only, so that time is at most the product of both lengths.
    pub(super) fn fits(&self, text: &str) -> bool {
        let mut at = 0;
        let mut rest = text.chars();
        let mut retry: Option<(usize, std::str::Chars<'_>)> = None;
        loop {
            let here = rest.clone();
            let next = rest.next();
            match (self.0.get(at), next) {
                (Some('*'), _) => {
                    at += 1;
                    retry = Some((at, here.clone()));
                    rest = here;
                }
                (Some(want), Some(c)) if *want == '?' || want.eq_ignore_ascii_case(&c) => at += 1,
                (None, None) => return true,
                _ => {
                    let Some((after_star, tried)) = retry.as_mut() else {
                        return false;
                    };
                    if tried.next().is_none() {
                        return false;
                    }
                    at = *after_star;
                    rest = tried.clone();
                }
            }
        }
    }

    /// Whether the name of a source fits, or the last part of its path does.
    pub(super) fn fits_source(&self, name: &str) -> bool {
        self.fits(name)
            || name
                .rsplit_once('/')
                .is_some_and(|(_, last)| self.fits(last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fits() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "abc", true),
            ("a", "A", true),
            ("a*c", "abbc", true),
            ("a*c", "abcb", false),
            ("a*c", "ac", true),
            ("?", "", false),
            ("?", "\u{fc}", true),
            ("*.json", "x/y.json", true),
            ("*.json", "json", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("**", "", true),
            ("*ab", "aab", true),
            ("flow.*", "flow", false),
        ] {
            assert_eq!(
                Wildcard::new(pattern).fits(text),
                expected,
                "{pattern} {text}"
            );
        }
    }

    #[test]
    fn many_stars_cost_little() {
        let pattern = Wildcard::new(&"*a".repeat(1000));
        assert!(!pattern.fits(&"ab".repeat(900)));
    }

    #[test]
    fn sources_by_the_last_part_of_their_path() {
        assert!(Wildcard::new("partner.json").fits_source("/srv/intel/partner.json"));
        assert!(Wildcard::new("/srv/*").fits_source("/srv/intel/partner.json"));
        assert!(!Wildcard::new("partner").fits_source("/srv/intel/partner.json"));
    }
}

//! The word that was probably meant.

/// The one of `words` that takes the fewest changed, added or left out letters, if that is not a third of them.
#[must_use]
pub fn nearest<'w>(word: &str, words: &[&'w str]) -> Option<&'w str> {
    let allowed = word.len() / 3;
    let close = words.iter().map(|known| (distance(word, known), *known)).filter(|(d, _)| *d <= allowed);
    close.min().map(|(_, known)| known)
}

/// Levenshtein's distance in bytes, one row at a time.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, a) in from.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, b) in to.bytes().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_changes() {
        for (from, to, expected) in
            [("", "", 0), ("abc", "", 3), ("", "ab", 2), ("kitten", "sitting", 3), ("ab", "ba", 2)]
        {
            assert_eq!(distance(from, to), expected, "{from} {to}");
            assert_eq!(distance(to, from), expected, "{to} {from}");
        }
    }

    #[test]
    fn finds_what_was_meant_and_nothing_far_off() {
        let words = ["cvm_cluster_pin", "cvm_cluster_keys", "cvm_service_url"];
        assert_eq!(nearest("cvm_cluster_pi", &words), Some("cvm_cluster_pin"));
        assert_eq!(nearest("cvm_clusterkeys", &words), Some("cvm_cluster_keys"));
        assert_eq!(nearest("cvm_server_url", &words), Some("cvm_service_url"));
        assert_eq!(nearest("cvm_x", &words), None);
    }
}

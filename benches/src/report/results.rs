//! What was measured, and how it is summed up: medians over the repeats, ratios of what ran side by side.

use serde::Serialize;

/// One figure of one repeat.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Sample {
    /// What was done, for instance "16 clients GET a key".
    pub(crate) part: String,
    /// Who did it.
    pub(crate) subject: String,
    /// What was measured, with its unit: "CPU, µs".
    pub(crate) figure: String,
    /// Which repeat.
    pub(crate) repeat: usize,
    /// The value.
    pub(crate) value: f64,
}

/// Something that was to be measured and was not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Gap {
    /// What was to be done.
    pub(crate) part: String,
    /// The subject.
    pub(crate) subject: String,
    /// Why it was not.
    pub(crate) why: String,
}

/// Everything that a run found.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Results {
    /// The figures, in the order in which they were taken.
    pub(crate) samples: Vec<Sample>,
    /// What is missing.
    pub(crate) gaps: Vec<Gap>,
}

/// A figure over all repeats.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Summary {
    /// As in [`Sample`].
    pub(crate) part: String,
    /// As in [`Sample`].
    pub(crate) subject: String,
    /// As in [`Sample`].
    pub(crate) figure: String,
    /// Over the repeats.
    pub(crate) median: f64,
    /// The least of them.
    pub(crate) least: f64,
    /// The greatest of them.
    pub(crate) greatest: f64,
    /// How many there were.
    pub(crate) repeats: usize,
}

impl Results {
    /// Sums up every figure, in the order in which they first came.
    pub(crate) fn summaries(&self) -> Vec<Summary> {
        let mut summaries: Vec<Summary> = Vec::new();
        for sample in &self.samples {
            let known = |s: &Summary| {
                s.part == sample.part && s.subject == sample.subject && s.figure == sample.figure
            };
            if !summaries.iter().any(known) {
                summaries.push(self.summary(sample));
            }
        }
        summaries
    }

    /// The values of a figure with their repeats.
    pub(crate) fn values(&self, part: &str, subject: &str, figure: &str) -> Vec<(usize, f64)> {
        let wanted = |s: &&Sample| s.part == part && s.subject == subject && s.figure == figure;
        self.samples.iter().filter(wanted).map(|s| (s.repeat, s.value)).collect()
    }

    /// The median of one subject's figure.
    pub(crate) fn median(&self, part: &str, subject: &str, figure: &str) -> Option<f64> {
        median(self.values(part, subject, figure).into_iter().map(|(_, value)| value).collect())
    }

    /// The median of the ratios of two subjects within each repeat: what drifts from repeat to repeat drops out.
    pub(crate) fn ratio(&self, part: &str, figure: &str, subject: &str, against: &str) -> Option<f64> {
        let others = self.values(part, against, figure);
        let ratio = |(repeat, value): (usize, f64)| {
            let (_, other) = others.iter().find(|(other, _)| *other == repeat)?;
            Some(value / other)
        };
        median(self.values(part, subject, figure).into_iter().filter_map(ratio).collect())
    }

    fn summary(&self, sample: &Sample) -> Summary {
        let Sample { part, subject, figure, .. } = sample.clone();
        let mut values: Vec<f64> =
            self.values(&part, &subject, &figure).into_iter().map(|(_, v)| v).collect();
        values.sort_by(f64::total_cmp);
        let (least, greatest, repeats) = (values[0], values[values.len() - 1], values.len());
        let median = median(values).expect("the sample is in it");
        Summary { part, subject, figure, median, least, greatest, repeats }
    }
}

/// The middle value, the mean of the two middle ones where their number is even.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        length if length % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(samples: &[(&str, usize, f64)]) -> Results {
        let sample = |(subject, repeat, value): &(&str, usize, f64)| Sample {
            part: "p".into(),
            subject: (*subject).into(),
            figure: "f".into(),
            repeat: *repeat,
            value: *value,
        };
        Results { samples: samples.iter().map(sample).collect(), gaps: Vec::new() }
    }

    #[test]
    fn takes_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        let summaries = results(&[("a", 0, 3.0), ("b", 0, 9.0), ("a", 1, 1.0)]).summaries();
        let brief: Vec<_> = summaries.iter().map(|s| (&*s.subject, s.least, s.median, s.greatest)).collect();
        assert_eq!(brief, [("a", 1.0, 2.0, 3.0), ("b", 9.0, 9.0, 9.0)]);
    }

    #[test]
    fn compares_within_a_repeat() {
        // The second repeat was slow for both; the third has no partner.
        let results = results(&[("a", 0, 2.0), ("b", 0, 1.0), ("a", 1, 20.0), ("b", 1, 10.0), ("a", 2, 9.0)]);
        assert_eq!(results.ratio("p", "f", "a", "b"), Some(2.0));
        assert_eq!(results.ratio("p", "f", "a", "unknown"), None);
    }
}

//! Log lines that are not repeated at every try.

use std::time::Duration;

/// How often the same line is logged again.
const REPEAT_AFTER: Duration = Duration::from_secs(60);

/// Logs a line when it is new or has changed, then once a minute.
#[derive(Default)]
pub(super) struct LogThrottle(Option<(String, Duration)>);

impl LogThrottle {
    /// Whether to log `text` at this time. If so, it counts as logged.
    pub(super) fn is_due(&mut self, text: &str, now: Duration) -> bool {
        let due = match &self.0 {
            Some((last, at)) => last != text || now.saturating_sub(*at) >= REPEAT_AFTER,
            None => true,
        };
        if due {
            self.0 = Some((text.to_owned(), now));
        }
        due
    }

    /// Starts anew. Whether anything was logged.
    pub(super) fn reset(&mut self) -> bool {
        self.0.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_a_line_when_it_is_new_and_then_once_a_minute() {
        let mut throttle = LogThrottle::default();
        let mut due = |text, at| throttle.is_due(text, Duration::from_secs(at));
        let dues = [("a", 0), ("a", 59), ("a", 60), ("b", 61), ("b", 62), ("a", 63), ("a", 122), ("a", 123)];
        let expected = [true, false, true, true, false, true, false, true];
        assert_eq!(dues.map(|(text, at)| due(text, at)), expected);
        assert!(throttle.reset() && !throttle.reset());
        assert!(throttle.is_due("a", Duration::from_secs(124)));
    }
}

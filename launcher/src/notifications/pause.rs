//! Pauses between tries: each twice as long as the one before.

use std::time::Duration;

/// The first pause.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest.
const LONGEST: Duration = Duration::from_secs(30);

/// The pauses of one thing that is tried again and again.
#[derive(Debug)]
pub(super) struct Pauses(Duration);

impl Pauses {
    /// Begins with the shortest.
    pub(super) fn new() -> Self {
        Self(SHORTEST)
    }

    /// The next pause.
    pub(super) fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(LONGEST);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grow_up_to_a_bound() {
        let mut pauses = Pauses::new();
        let seconds: Vec<_> = (0..7).map(|_| pauses.next().as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 30, 30]);
    }
}
